"""What do the predictions say? A sub-package per question, and `stats`, their toolbox. No JAX here.

Import from the sub-packages: each hands on its public names.
"""
