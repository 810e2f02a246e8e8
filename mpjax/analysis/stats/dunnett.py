"""Dunnett's test: several arms, each compared with one control."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats
from scipy.special import ndtr

from mpjax.analysis.stats.estimates import ALPHA

Groups = Mapping[str, Float[np.ndarray, "_"]]  # values of each arm's animals


@dataclasses.dataclass(frozen=True)
class Pooled:
    """The spread within groups: standard deviation and degrees of freedom."""

    sd: float
    df: int


def pool(groups: Iterable[Float[np.ndarray, "_"]]) -> Pooled:
    """Pools the variance within groups."""
    groups = list(groups)
    df = sum(len(values) - 1 for values in groups)
    squares = sum(float(np.square(values - values.mean()).sum()) for values in groups)
    return Pooled(float(np.sqrt(squares / df)), df)


def dunnett(
    control: Float[np.ndarray, " n"], arms: Groups, *, families: int = 1
) -> dict[str, dict[str, Any]]:
    """Compares each arm's mean with the control's, with one error rate over all arms.

    `scipy.stats.dunnett` integrates by quasi-Monte Carlo, so its p-values and intervals vary from
    call to call; these do not, and agree with its.

    Args:
        control: a value per animal.
        arms: the same, per arm.
        families: such comparisons (of other times) that share the error rate, by Bonferroni.

    Returns:
        Per arm {"value", "ci95" (simultaneous), "p" (unadjusted), "p_adjusted"}: the difference
        of the means and its tests by the variance pooled over all groups.

    Source: Dunnett (1955), doi:10.1080/01621459.1955.10501294.
    """
    pooled, shared = pool([control, *arms.values()]), _shared(control, arms)
    critical = dunnett_critical(control, arms, families=families)
    result = {}
    for name, values in arms.items():
        value = float(values.mean() - control.mean())
        se = pooled.sd * np.sqrt(1 / len(values) + 1 / len(control))
        result[name] = {
            "value": value,
            "ci95": [float(value - critical * se), float(value + critical * se)],
            "p": float(2 * stats.t.sf(abs(value) / se, pooled.df)),
            "p_adjusted": min(1.0, families * _p(abs(value) / se, pooled.df, shared)),
        }
    return result


def dunnett_critical(control: Float[np.ndarray, " n"], arms: Groups, *, families: int = 1) -> float:
    """Returns what |t| must exceed for an arm to differ; see `dunnett`."""
    df, shared = pool([control, *arms.values()]).df, _shared(control, arms)
    alpha = ALPHA / families
    # The search's bounds: those of one test alone, and Bonferroni's of all.
    low, high = stats.t.isf(alpha / 2, df), stats.t.isf(alpha / 2 / len(arms), df)
    excess = lambda critical: _p(critical, df, shared) - alpha  # noqa: E731
    return float(optimize.brentq(excess, low * 0.98, high * 1.02))


def _shared(control: Float[np.ndarray, " n"], arms: Groups) -> Float[np.ndarray, " arms"]:
    """Returns factors whose products are the correlations of the arms' differences."""
    sizes = np.array([len(values) for values in arms.values()])
    return np.sqrt(sizes / (sizes + len(control)))


_NORMAL = np.polynomial.hermite_e.hermegauss(48)
_UNIFORM = np.polynomial.legendre.leggauss(48)


def _p(statistic: float, df: int, shared: Float[np.ndarray, " arms"]) -> float:
    """Returns the chance that the largest |t| exceeds `statistic` where no arm differs.

    Given the pooled standard deviation s and the control's mean z the arms are independent; both
    are integrated out by Gauss quadrature, s over the quantiles of its chi distribution.
    """
    z, weight_z = _NORMAL[0], _NORMAL[1] / _NORMAL[1].sum()
    quantile, weight_s = (1 + _UNIFORM[0]) / 2, _UNIFORM[1] / 2
    s = np.sqrt(stats.chi2.ppf(quantile, df) / df)
    reach = (statistic * s)[:, None, None]
    common, own = z[:, None] * shared, np.sqrt(1 - shared**2)
    inside = ndtr((reach + common) / own) - ndtr((common - reach) / own)
    return float(np.clip(1 - weight_s @ inside.prod(-1) @ weight_z, 0.0, 1.0))
