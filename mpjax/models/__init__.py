"""Which networks project clips into the action space, and with which weights?"""
