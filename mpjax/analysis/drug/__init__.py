"""What does a drug do that the network was never trained on, for each type of pain?"""
