"""Adjusts the p-values of several tests."""

from collections.abc import Sequence

from scipy import stats
from statsmodels.stats.multitest import multipletests


def holm(p: Sequence[float]) -> list[float]:
    """Adjusts p-values so that the chance of any false positive is held.

    Source: Holm (1979), https://www.jstor.org/stable/4615733.
    """
    return multipletests(p, method="holm")[1].tolist() if len(p) else []


def false_discovery_rate(p: Sequence[float]) -> list[float]:
    """Adjusts p-values so that the share of false positives among the positives is held.

    Source: Benjamini & Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    return stats.false_discovery_control(p, method="bh").tolist() if len(p) else []
