"""Where does each clip lie in the action space of the frozen projector?"""
