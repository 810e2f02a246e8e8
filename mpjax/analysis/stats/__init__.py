"""How certain is a figure: units, intervals, tests, effect sizes, multiple testing."""

from mpjax.analysis.stats.estimates import ALPHA, POWER, NotEstimableError, absent
from mpjax.analysis.stats.units import LEVELS, Units, unit_levels, unit_of

__all__ = [
    "ALPHA",
    "LEVELS",
    "POWER",
    "NotEstimableError",
    "Units",
    "absent",
    "unit_levels",
    "unit_of",
]
