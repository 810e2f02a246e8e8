"""How large an effect is: Hedges g with its interval, and what difference a test can detect."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy import optimize, stats
from scipy.special import gammaln, nctdtr

from mpjax.analysis.stats.estimates import ALPHA, POWER, absent


def hedges_g(
    group: Float[np.ndarray, "n m"], reference: Float[np.ndarray, "r m"]
) -> list[dict[str, Any]]:
    """Standardises the difference of two groups' means, one per column.

    The interval is the exact one of the noncentral t distribution. Over so few animals a
    percentile bootstrap held the truth in 78 to 88 % of simulated trials only.

    Args:
        group, reference: a row per animal (or cage), a column per figure; NaN: no value.

    Returns:
        Per column {"value", "ci95"}, or why there is none.

    Source: Hedges (1981), doi:10.3102/10769986006002107, with the exact small-sample correction.
    """
    (mean, squares, n), (other, more, m) = map(_moments, (group, reference))
    df = n + m - 2
    return _standardise(
        mean - other,
        np.sqrt((squares + more) / np.maximum(df, 1)),
        np.sqrt(1 / np.maximum(n, 1) + 1 / np.maximum(m, 1)),
        df,
        enough=np.minimum(n, m) > 1,
        few="each side needs 2 animals (or cages) with a value",
    )


def standardised_mean(values: Float[np.ndarray, "n m"]) -> list[dict[str, Any]]:
    """Divides the mean of each column by its standard deviation; see `hedges_g`."""
    mean, squares, n = _moments(values)
    return _standardise(
        mean,
        np.sqrt(squares / np.maximum(n - 1, 1)),
        1 / np.sqrt(np.maximum(n, 1)),
        n - 1,
        enough=n > 2,
        few="at least 3 animals (or cages) with a value are needed",
    )


def _moments(
    values: Float[np.ndarray, "n m"],
) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Returns each column's mean, sum of squares about it, and number of values."""
    valid = np.isfinite(values)
    n = valid.sum(0).astype(float)
    mean = np.where(valid, values, 0).sum(0) / np.maximum(n, 1)
    return mean, np.square(np.where(valid, values - mean, 0)).sum(0), n


def _standardise(
    mean: Float[np.ndarray, " m"],
    sd: Float[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
    df: Float[np.ndarray, " m"],
    *,
    enough: Bool[np.ndarray, " m"],
    few: str,
) -> list[dict[str, Any]]:
    varies = sd > 1e-9 * np.maximum(np.abs(mean), 1e-9)
    found = []
    for each in range(len(mean)):
        if not enough[each] or not varies[each]:
            why = few if not enough[each] else "all change alike, so there is no variance"
            found.append(absent(why))
            continue
        t, half = float(mean[each] / (sd[each] * scale[each])), df[each] / 2
        correction = np.exp(gammaln(half) - gammaln(half - 0.5)) / np.sqrt(half)
        ends = (_noncentrality(t, df[each], quantile) for quantile in (0.975, 0.025))
        interval = [float(end * scale[each]) for end in ends]
        found.append({"value": float(t * scale[each] * correction), "ci95": interval})
    return found


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
