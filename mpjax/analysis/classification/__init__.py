"""How well are held-out animals classified, and compared with what?"""

from mpjax.analysis.classification.calibration import Calibrated, calibrate
from mpjax.analysis.classification.comparison import compare
from mpjax.analysis.classification.method_table import compare_methods
from mpjax.analysis.classification.scores import score_units, tasks_of

__all__ = ["Calibrated", "calibrate", "compare", "compare_methods", "score_units", "tasks_of"]
