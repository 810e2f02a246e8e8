"""Which pixels and moments of a clip decided a prediction, and what does a motif look like?"""
