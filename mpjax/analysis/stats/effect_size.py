"""How large an effect is: Hedges g with its interval, and what difference a test can detect."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats
from scipy.optimize import elementwise
from scipy.special import gammaln, nctdtr

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
    return _standardise([group, reference], 2, few)


def standardised_mean(values: Float[np.ndarray, "n m"]) -> list[dict[str, Any]]:
    """Divides the mean of each column by its standard deviation; see `hedges_g`."""
    return _standardise([values], 3, "at least 3 animals (or cages) with a value are needed")


def _standardise(
    sides: Sequence[Float[np.ndarray, "_ m"]], least: int, few: str
) -> list[dict[str, Any]]:
    """Standardises the mean of one side, or the difference of two sides' means, by column."""
    sizes = np.stack([np.isfinite(side).sum(0) for side in sides])
    means = np.stack([np.nansum(side, 0) for side in sides]) / np.maximum(sizes, 1)
    squares = sum(np.nansum(np.square(x - mean), 0) for x, mean in zip(sides, means, strict=True))
    mean, df = means[0] - means[1:].sum(0), sizes.sum(0) - len(sides)
    sd, scale = np.sqrt(squares / np.maximum(df, 1)), np.sqrt((1 / np.maximum(sizes, 1)).sum(0))
    enough = np.asarray((sizes >= least).all(0))
    able = enough & (sd > 1e-9 * np.maximum(np.abs(mean), 1e-9))
    t, half = (mean / np.where(able, sd, 1) / scale)[able], df[able] / 2
    value = t * scale[able] * np.exp(gammaln(half) - gammaln(half - 0.5)) / np.sqrt(half)
    low, high = (_noncentrality(t, 2 * half, quantile) * scale[able] for quantile in (0.975, 0.025))
    found = iter(zip(value.tolist(), low.tolist(), high.tolist(), strict=True))
    results: list[dict[str, Any]] = []
    for is_able, is_enough in zip(able, enough, strict=True):
        if is_able:
            value, *ends = next(found)
            results.append({"value": value, "ci95": ends})
        else:
            why = "all change alike, so there is no variance" if is_enough else few
            results.append(absent(why))
    return results


def _noncentrality(
    t: Float[np.ndarray, " m"], df: Float[np.ndarray, " m"], quantile: float
) -> Float[np.ndarray, " m"]:
    """Returns the noncentralities at which each `t` is that quantile."""
    reach = 6 + 3 * np.abs(t)

    def excess(shift: np.ndarray, t: np.ndarray, df: np.ndarray) -> np.ndarray:
        below = nctdtr(df, shift, t)  # NaN where it is 0 or 1 to within its accuracy
        return np.where(np.isnan(below), shift < t, below) - quantile

    return elementwise.find_root(excess, (t - reach, t + reach), args=(t, df)).x


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
