"""Which recordings does a cohort have, of which animals, and which may be trained on?"""

from data_prep.cohort.errors import CohortError
from data_prep.cohort.table import Cohort, check, read_cohort, read_recordings

__all__ = ["Cohort", "CohortError", "check", "read_cohort", "read_recordings"]
