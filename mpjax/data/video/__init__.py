"""Which frames does a video file hold, and which clips are cut from them?"""
