"""Dunnett's test: several arms, each compared with one control."""

import dataclasses
import functools
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import optimize, stats
from scipy.special import ndtr

from mpjax.analysis.stats.estimates import ALPHA

_NORMAL = np.polynomial.hermite_e.hermegauss(48)
_UNIFORM = np.polynomial.legendre.leggauss(48)


class Pooled(NamedTuple):
    """The spread within groups: standard deviation and degrees of freedom."""

    sd: float
    df: int


def pool(groups: Iterable[Float[np.ndarray, "_"]]) -> Pooled:
    """Pools the variance within groups."""
    groups = list(groups)
    df = sum(len(values) - 1 for values in groups)
    squares = sum(float(np.square(values - values.mean()).sum()) for values in groups)
    return Pooled(float(np.sqrt(squares / df)), df)


@dataclasses.dataclass(frozen=True)
class Dunnett:
    """The comparison of each arm's mean with the control's, with one error rate over all arms.

    `scipy.stats.dunnett` integrates by quasi-Monte Carlo, so its p-values and intervals vary from
    call to call; these do not, and agree with its.

    Source: Dunnett (1955), doi:10.1080/01621459.1955.10501294.
    """

    control: Float[np.ndarray, " n"]  # a value per animal
    arms: Mapping[str, Float[np.ndarray, "_"]]
    families: int = 1  # of comparisons (at other times) that share the error rate, by Bonferroni

    @functools.cached_property
    def pooled(self) -> Pooled:
        """The spread within all groups."""
        return pool([self.control, *self.arms.values()])

    @functools.cached_property
    def critical(self) -> float:
        """What |t| must exceed for an arm to differ."""
        alpha, df = ALPHA / self.families, self.pooled.df
        # The search's bounds: those of one test alone, and Bonferroni's of all.
        low, high = stats.t.isf(alpha / 2, df), stats.t.isf(alpha / 2 / len(self.arms), df)
        return float(optimize.brentq(lambda t: self._chance(t) - alpha, low * 0.98, high * 1.02))

    def se(self, arm: str) -> float:
        """Returns the standard error of an arm's difference."""
        return float(self.pooled.sd * np.sqrt(1 / len(self.arms[arm]) + 1 / len(self.control)))

    def test(self, arm: str) -> dict[str, Any]:
        """Returns {"value", "ci95" (simultaneous), "p" (unadjusted), "p_adjusted"} of an arm."""
        value, se = float(self.arms[arm].mean() - self.control.mean()), self.se(arm)
        half = self.critical * se
        return {
            "value": value,
            "ci95": [value - half, value + half],
            "p": float(2 * stats.t.sf(abs(value) / se, self.pooled.df)),
            "p_adjusted": min(1.0, self.families * self._chance(abs(value) / se)),
        }

    def _chance(self, statistic: float) -> float:
        """Returns the chance that the largest |t| exceeds `statistic` where no arm differs.

        Given the pooled standard deviation s and the control's mean z the arms are independent;
        both are integrated out by Gauss quadrature, s over the quantiles of its chi distribution.
        """
        sizes, df = np.array([len(values) for values in self.arms.values()]), self.pooled.df
        # Factors whose products are the correlations of the arms' differences.
        shared = np.sqrt(sizes / (sizes + len(self.control)))
        s = np.sqrt(stats.chi2.ppf((1 + _UNIFORM[0]) / 2, df) / df)
        reach = (statistic * s)[:, None, None]
        common, own = _NORMAL[0][:, None] * shared, np.sqrt(1 - shared**2)
        inside = ndtr((reach + common) / own) - ndtr((common - reach) / own)
        mean = _UNIFORM[1] / 2 @ inside.prod(-1) @ (_NORMAL[1] / _NORMAL[1].sum())
        return float(np.clip(1 - mean, 0.0, 1.0))
