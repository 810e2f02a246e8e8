"""How is a head, an adapter or a whole projector trained on clips, on any number of devices?"""
