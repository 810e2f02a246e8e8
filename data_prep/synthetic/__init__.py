"""What would a cohort look like of which the truth is known?"""

from data_prep.synthetic.cohort import generate

__all__ = ["generate"]
