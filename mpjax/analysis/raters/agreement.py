"""Agreement of raters beyond chance: Cohen's and Fleiss' kappa, with intervals over animals.

Sources: Cohen (1960), doi:10.1177/001316446002000104; Fleiss (1971), doi:10.1037/h0031619. The
values equal those of `statsmodels.stats.inter_rater`; here all resamples are computed at once.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mpjax.analysis.stats import bootstrap
from mpjax.analysis.stats.crossed_bootstrap import Crossed
from mpjax.analysis.stats.estimates import absent


def describe(
    answer: Int[np.ndarray, "raters clips"], crossed: Crossed, *, classes: int, names: Sequence[str]
) -> dict[str, Any]:
    """Describes the agreement of all raters (`fleiss`) and of every pair (`cohen`).

    Only clips are resampled, not raters, because kappa is about these raters. `answer` is the class
    by rater and clip, -1 where a clip was not answered.
    """
    if len(answer) < 2:
        return {"cohen": [], "fleiss": absent("agreement takes two raters or more")}
    pairs = [
        {"raters": [names[a], names[b]], **_estimate(answer[[a, b]], crossed, classes, cohen)}
        for a, b in itertools.combinations(range(len(answer)), 2)
    ]
    return {"cohen": pairs, "fleiss": _estimate(answer, crossed, classes, fleiss)}


def _estimate(
    answer: Int[np.ndarray, "raters clips"],
    crossed: Crossed,
    classes: int,
    kappa: Callable[[np.ndarray, np.ndarray], np.ndarray],
) -> dict[str, Any]:
    """Estimates a kappa on the clips that all of these raters answered."""
    both = (answer >= 0).all(0)
    if not both.any():
        return absent("no clip was answered by all of them")
    named = np.eye(classes)[answer[:, both]]
    group = crossed.group[both]
    [value] = kappa(named, np.ones((1, both.sum())))
    if np.isnan(value):
        return absent("all gave one class throughout, so chance agreement is complete")
    draws = kappa(named, crossed.weights[:, group].astype(float))
    interval = bootstrap.percentile_interval(draws, groups=len(np.unique(group)), unit=crossed.unit)
    return {"value": float(value), **interval, "n": int(both.sum())}


def cohen(
    named: Float[np.ndarray, "2 clips classes"], weights: Float[np.ndarray, "resamples clips"]
) -> Float[np.ndarray, " resamples"]:
    """Returns Cohen's kappa of two raters in every resample; NaN where chance agreement is 1.

    `named` is 1 at the class that a rater gave; `weights` is how often each clip occurs.
    """
    total = weights.sum(1)
    observed = weights @ (named[0] * named[1]).sum(1)
    shares = [weights @ each for each in named]
    return _beyond_chance(observed, (shares[0] * shares[1]).sum(1) / np.maximum(total, 1), total)


def fleiss(
    named: Float[np.ndarray, "raters clips classes"], weights: Float[np.ndarray, "resamples clips"]
) -> Float[np.ndarray, " resamples"]:
    """Returns Fleiss' kappa of two raters or more in every resample; see `cohen`."""
    raters, total = len(named), weights.sum(1)
    counts = named.sum(0)
    pairs = (counts * (counts - 1)).sum(1) / (raters * (raters - 1))
    share = weights @ counts / (raters * np.maximum(total, 1))[:, None]
    return _beyond_chance(weights @ pairs, (share**2).sum(1) * total, total)


def _beyond_chance(
    observed: Float[np.ndarray, " resamples"],
    expected: Float[np.ndarray, " resamples"],
    total: Float[np.ndarray, " resamples"],
) -> Float[np.ndarray, " resamples"]:
    """Returns (observed - expected) / (total - expected), all in clips."""
    room = total - expected
    defined = room > 1e-9 * np.maximum(total, 1)
    return np.divide(observed - expected, room, out=np.full(len(total), np.nan), where=defined)
