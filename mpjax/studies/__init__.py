"""What does the folder of a study hold, how is it made, and what can be done with it?"""

from mpjax.studies.workdir import Workdir

__all__ = ["Workdir"]
