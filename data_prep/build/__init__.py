"""How do a cohort's videos become a dataset of records?"""

from data_prep.build.dataset import BuildError, build, report_failures

__all__ = ["BuildError", "build", "report_failures"]
