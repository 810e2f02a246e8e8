"""How well are held-out animals classified, and compared with what?"""
