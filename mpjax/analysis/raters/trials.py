"""What raters do from trial to trial: response times, learning, and confidence."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis.raters.files import CONFIDENCE
from mpjax.analysis.stats import bootstrap
from mpjax.analysis.stats.crossed_bootstrap import Crossed
from mpjax.analysis.stats.estimates import absent

_STEP = 10  # trials; a slope per trial would be a tiny number


def response_times(
    trials: pd.DataFrame, right: Float[np.ndarray, " trials"]
) -> dict[str, float | None]:
    """Describes how long a rater took, in seconds.

    Args:
        trials: of one rater, with `response_ms`.
        right: 1 where the fine class was named.
    """
    seconds = trials["response_ms"].to_numpy() / 1000

    def median(values: np.ndarray) -> float | None:
        return float(np.median(values)) if len(values) else None

    low, high = np.quantile(seconds, [0.25, 0.75])
    return {
        "median_s": median(seconds),
        "q25_s": float(low),
        "q75_s": float(high),
        "median_right_s": median(seconds[right == 1]),
        "median_wrong_s": median(seconds[right == 0]),
        "total_s": float(trials["response_ms"].sum() / 1000),
    }


def learning(right: Sequence[Float[np.ndarray, " _"]]) -> dict[str, Any]:
    """Estimates how the odds of a right answer change over the trials, by logistic regression.

    The order of clips is random for each rater, so that trial and clip are not entangled. Several
    raters have an intercept each and one slope.

    Args:
        right: 1 or 0 by trial, in the order of answering; one array per rater.

    Returns:
        {"value", "ci95", "p", "n"}: the change of the log-odds per 10 trials, positive for
        learning; or {"value": None, "why"}.

    Source: Agresti, Categorical Data Analysis (3rd ed., 2013), ch. 5 (Wald interval).
    """
    told = [each for each in right if len(each) > 2 and 0 < each.sum() < len(each)]
    if not told:
        return absent("all answers are right, or all are wrong, or there are fewer than 3")
    if all(_separated(each) for each in told):
        return absent("all right answers come before all wrong ones, or after them")
    import statsmodels.api as sm

    trial = np.concatenate([np.arange(len(each)) / _STEP for each in told])
    rater = np.repeat(np.arange(len(told)), [len(each) for each in told])
    design = np.column_stack([trial, np.eye(len(told))[rater]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of separation, or no convergence
        try:
            fit = sm.Logit(np.concatenate(told), design).fit(disp=0)
        except (Warning, np.linalg.LinAlgError) as fault:
            return absent(f"the logistic regression did not converge ({type(fault).__name__})")
    low, high = fit.conf_int()[0]
    return {
        "value": float(fit.params[0]),
        "ci95": [float(low), float(high)],
        "p": float(fit.pvalues[0]),
        "n": len(trial),
    }


def _separated(right: Float[np.ndarray, " _"]) -> bool:
    """Tells whether a single trial divides right answers from wrong ones."""
    return int(np.abs(np.diff(right)).sum()) < 2


def levels(
    confidence: Int[np.ndarray, " n"], right: Float[np.ndarray, " n"]
) -> list[dict[str, Any]]:
    """Returns the accuracy at each level of confidence that was chosen.

    Args:
        confidence: 1 to 5.
        right: 1 or 0.
    """
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
    """Estimates how well confidence tells right from wrong answers.

    Args:
        confidence: 1 to 5, by trial of one rater.
        right: 1 or 0.
        group: animal or cage of the trial's clip.
        crossed: how these are resampled.

    Returns:
        {"value", "ci95", "n"}: the chance that of a right and a wrong answer the right one was
        given with more confidence, ties counting half (area under the type 2 ROC curve: Fleming &
        Lau 2014, doi:10.3389/fnhum.2014.00443); 0.5 is none. Or {"value": None, "why"}.
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
