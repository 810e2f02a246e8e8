"""Which label-free units of behaviour carry pain?"""
