"""Which recordings does a cohort have, of which animals, and which may be trained on?"""

from data_prep.cohort.checks import COLUMNS, check_no_leak
from data_prep.cohort.errors import CohortError, Fault
from data_prep.cohort.table import Cohort, check, read_cohort, read_recordings, summarise

__all__ = [
    "COLUMNS",
    "Cohort",
    "CohortError",
    "Fault",
    "check",
    "check_no_leak",
    "read_cohort",
    "read_recordings",
    "summarise",
]
