"""From trial to trial: how long a rater takes, whether they learn, and what confidence is worth."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis.raters.files import CONFIDENCE
from mpjax.analysis.stats import bootstrap
from mpjax.analysis.stats.comparisons import absent
from mpjax.analysis.stats.crossed_bootstrap import Crossed

_STEP = 10  # trials; a slope per trial would be a tiny number


def response_times(
    trials: pd.DataFrame, right: Float[np.ndarray, " trials"]
) -> dict[str, float | None]:
    """Describes how long a rater took, in seconds."""
    seconds = trials["response_ms"].to_numpy() / 1000
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75])
    found: dict[str, float | None] = {
        "median_s": float(middle), "q25_s": float(low), "q75_s": float(high),
        "total_s": float(trials["response_ms"].sum() / 1000),
    }  # fmt: skip
    for name, own in (("right", seconds[right == 1]), ("wrong", seconds[right == 0])):
        found[f"median_{name}_s"] = float(np.median(own)) if len(own) else None
    return found


def learning(right: Float[np.ndarray, " trials"]) -> dict[str, Any]:
    """Estimates how the odds of a right answer change over the trials, by logistic regression.

    The order of clips is random for each rater, so trial and clip are not confounded. The value is
    the change of the log-odds per 10 trials in the order of answering, positive for learning.

    Source: Agresti, Categorical Data Analysis (3rd ed., 2013), ch. 5 (Wald interval).
    """
    if len(right) < 3 or right.min() == right.max():
        return absent("all answers are right, or all are wrong, or there are fewer than 3")
    if np.abs(np.diff(right)).sum() < 2:  # a single trial separates right from wrong answers
        return absent("all right answers come before all wrong ones, or after them")
    import statsmodels.api as sm

    design = np.column_stack([np.arange(len(right)) / _STEP, np.ones(len(right))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of separation, or no convergence
        try:
            fit = sm.Logit(right, design).fit(disp=0)
        except (Warning, np.linalg.LinAlgError) as fault:
            return absent(f"the logistic regression did not converge ({type(fault).__name__})")
    return {
        "value": float(fit.params[0]),
        "ci95": [float(end) for end in fit.conf_int()[0]],
        "p": float(fit.pvalues[0]),
        "n": len(right),
    }


def levels(
    confidence: Int[np.ndarray, " n"], right: Float[np.ndarray, " n"]
) -> list[dict[str, Any]]:
    """Returns the accuracy at each level of confidence (1 to 5) that was chosen."""
    return [
        {
            "confidence": level,
            "name": name,
            "n": int((confidence == level).sum()),
            "accuracy": float(right[confidence == level].mean()),
        }
        for level, name in enumerate(CONFIDENCE, 1)
        if (confidence == level).any()
    ]


def discrimination(
    confidence: Int[np.ndarray, " n"],
    right: Float[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    crossed: Crossed,
) -> dict[str, Any]:
    """Estimates how well a rater's confidence distinguishes right from wrong answers.

    The value is the area under the type 2 ROC curve: the chance that of a right and a wrong answer
    the right one was given with more confidence, ties counting half. `group` is the animal or cage
    of each trial's clip.

    Source: Fleming & Lau (2014), doi:10.3389/fnhum.2014.00443.
    """
    if not 0 < right.sum() < len(right):
        return absent("all answers are right, or all are wrong")
    cells = np.zeros((2, crossed.weights.shape[1], len(CONFIDENCE)))
    np.add.at(cells, (right.astype(int), group, confidence - 1), 1)
    once = np.ones((1, crossed.weights.shape[1]))
    interval = bootstrap.percentile_interval(
        _area(cells, crossed.weights.astype(float)),
        groups=len(np.unique(group)),
        unit=crossed.unit,
    )
    return {"value": float(_area(cells, once)[0]), **interval, "n": len(right)}


def _area(
    cells: Float[np.ndarray, "2 groups levels"], weights: Float[np.ndarray, "resamples groups"]
) -> Float[np.ndarray, " resamples"]:
    """Returns the area under the curve from counts of wrong and right answers by level."""
    wrong, right = weights @ cells[0], weights @ cells[1]
    below = np.cumsum(wrong, axis=1) - wrong / 2
    pairs = wrong.sum(1) * right.sum(1)
    won = (right * below).sum(1)
    return np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
