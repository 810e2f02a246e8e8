"""What does a recording show besides behaviour: light, cage, animal, burned-in text?"""
