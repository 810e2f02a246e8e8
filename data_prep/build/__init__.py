"""How do the videos of a cohort become one dataset of clips, whole or not at all?"""

from data_prep.build.dataset import FAILURES_FILE, build, report_failures
from data_prep.build.publish import BuildError

__all__ = ["FAILURES_FILE", "BuildError", "build", "report_failures"]
