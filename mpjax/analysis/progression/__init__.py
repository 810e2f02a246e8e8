"""How does pain change over days, and within a recording?"""
