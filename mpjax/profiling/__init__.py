"""What does a program cost on accelerators that are not present?"""
