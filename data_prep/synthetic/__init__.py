"""What does a cohort look like whose truth is known?"""

from data_prep.synthetic.cohort import generate, preview

__all__ = ["generate", "preview"]
