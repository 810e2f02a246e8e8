"""What does B-SOiD, the published label-free baseline, see in the same recordings?"""
