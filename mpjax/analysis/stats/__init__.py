"""How certain is a figure? Units, intervals, tests, effect sizes, multiple testing."""

from mpjax.analysis.stats.estimates import ALPHA, NotEstimableError, absent
from mpjax.analysis.stats.units import Units, unit_levels, unit_of

__all__ = ["ALPHA", "NotEstimableError", "Units", "absent", "unit_levels", "unit_of"]
