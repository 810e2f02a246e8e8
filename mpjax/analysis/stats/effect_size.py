"""How large an effect is: Hedges g with its interval, and what difference a test can detect."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats
from scipy.special import gammaln, nctdtr

from mpjax.analysis.stats.dunnett import pool
from mpjax.analysis.stats.estimates import ALPHA, POWER, absent


def hedges_g(
    group: Float[np.ndarray, "n m"], reference: Float[np.ndarray, "r m"]
) -> list[dict[str, Any]]:
    """Standardises the difference of two groups' means, one per column.

    The interval is the exact one of the noncentral t distribution. Over so few animals a
    percentile bootstrap held the truth in 78 to 88 % of simulated trials only. A row is an animal
    (or cage); NaN: no value. Each column gets {"value", "ci95"}, or why there is none.

    Source: Hedges (1981), doi:10.3102/10769986006002107, with the exact small-sample correction.
    """
    few = "each side needs 2 animals (or cages) with a value"
    return [_standardise(sides, 2, few) for sides in zip(group.T, reference.T, strict=True)]


def standardised_mean(values: Float[np.ndarray, "n m"]) -> list[dict[str, Any]]:
    """Divides the mean of each column by its standard deviation; see `hedges_g`."""
    few = "at least 3 animals (or cages) with a value are needed"
    return [_standardise([column], 3, few) for column in values.T]


def _standardise(sides: Sequence[Float[np.ndarray, "_"]], least: int, few: str) -> dict[str, Any]:
    """Standardises the mean of one side, or the difference of two sides' means."""
    sides = [values[np.isfinite(values)] for values in sides]
    if min(map(len, sides)) < least:
        return absent(few)
    mean, spread = sides[0].mean() - sum(other.mean() for other in sides[1:]), pool(sides)
    if spread.sd <= 1e-9 * max(abs(mean), 1e-9):
        return absent("all change alike, so there is no variance")
    scale = np.sqrt(sum(1 / len(values) for values in sides))
    t, half = float(mean / (spread.sd * scale)), spread.df / 2
    correction = np.exp(gammaln(half) - gammaln(half - 0.5)) / np.sqrt(half)
    ends = (_noncentrality(t, spread.df, quantile) for quantile in (0.975, 0.025))
    return {"value": float(t * scale * correction), "ci95": [float(end * scale) for end in ends]}


def _noncentrality(t: float, df: float, quantile: float) -> float:
    """Returns the noncentrality at which `t` is that quantile."""
    reach = 6 + 3 * abs(t)

    def excess(shift: float) -> float:
        below = nctdtr(df, shift, t)  # NaN where it is 0 or 1 to within its accuracy
        return (float(shift < t) if np.isnan(below) else below) - quantile

    return float(optimize.brentq(excess, t - reach, t + reach))


def detectable(se: float, df: int, *, critical: float | None = None) -> dict[str, Any]:
    """Returns the smallest true difference that a two-sided test finds with a power of 80 %.

    `critical` is what |t| must exceed; None: that of a single t test.
    """
    critical = critical or float(stats.t.isf(ALPHA / 2, df))

    def missing_power(shift: float) -> float:
        # The chance of a significant difference of the wrong sign is below 1e-3 at the solution.
        return float(stats.nct.sf(critical, df, shift) - POWER)

    shift = optimize.brentq(missing_power, critical / 2, 3 * critical + 3)
    return {"value": float(shift * se), "power": POWER, "alpha": ALPHA}
