"""Student's t for an estimate with a standard error."""

from typing import Any

from scipy import stats

from mpjax.analysis.stats.estimates import ALPHA


def t_interval(value: float, se: float, df: float) -> list[float]:
    """Returns the 95 % interval of an estimate."""
    half = stats.t.isf(ALPHA / 2, df) * se
    return [float(value - half), float(value + half)]


def t_test(value: float, se: float, df: float) -> dict[str, Any]:
    """Returns {"value", "ci95", "p"} of an estimate, p being two-sided."""
    p = float(2 * stats.t.sf(abs(value) / se, df))
    return {"value": float(value), "ci95": t_interval(value, se, df), "p": p}
