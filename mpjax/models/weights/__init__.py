"""How do public weights become parameters of ours?"""
