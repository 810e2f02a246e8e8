"""How well do blinded human experts classify the same clips?"""
