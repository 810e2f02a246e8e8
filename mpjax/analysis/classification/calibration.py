"""Do the probabilities mean what they say? Temperature scaling, calibration error, coverage.

Sources: Guo et al. (2017), On Calibration of Modern Neural Networks (temperature, reliability);
Geifman & El-Yaniv (2017), Selective Classification for Deep Neural Networks (coverage).
"""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import scipy.optimize
from jaxtyping import Bool, Float, Int
from scipy.special import softmax

from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.estimates import NotEstimableError, absent
from mpjax.analysis.stats.units import Units
from mpjax.data.splits import FIXED, calibration_rows

LIMITS = (0.05, 20.0)  # of the temperature
LEAST_P = float(np.finfo(np.float32).tiny)  # smallest that differs from 0 in the float32 file
BINS = 10
COVERAGES = tuple(k / 10 for k in range(1, 11))
_LEAST_ANIMALS = 2
_NO_CLIP = "held-out clip of a trained class"


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """Probabilities of the fine classes after temperature scaling, rows as in the predictions.

    `p` is the predicted one where no temperature can be fitted. `meta` is {"value", "fitted_on",
    "animals", "clips"}, or {"value": None, "why"}; under folds `value` is that of all held-out
    clips.
    """

    p: Float[np.ndarray, "n fine"]
    meta: dict[str, Any]


def calibrate(predictions: Predictions) -> Calibrated:
    """Scales every clip's probabilities by a temperature fitted without its animal.

    Under a fixed split the temperature is fitted on the validation animals. Under folds it is
    cross-fitted: fold k gets the temperature of the other folds' held-out clips, and the split
    `drug`, whose animals are in no fold, that of all held-out clips.
    """
    table = predictions.table
    log_p = np.log(np.maximum(predictions.p, LEAST_P))
    fixed = predictions.meta["scheme"] == FIXED
    fold, label = table["fold"].to_numpy(), table["label"].to_numpy()
    animal = pd.factorize(table["animal"])[0]
    fitted = calibration_rows(table, predictions.meta["scheme"])

    def fit(mask: np.ndarray) -> float:
        return fit_temperature(log_p[mask], label[mask], animal[mask])

    if not fitted.any():
        which = "validation animals to fit the temperature on" if fixed else _NO_CLIP
        return Calibrated(predictions.p, absent(f"no {which}"))
    try:
        shared = fit(fitted)
        temperature = np.full(len(table), shared)
        for k in () if fixed else np.unique(fold[fitted]):
            temperature[fold == k] = fit(fitted & (fold != k))
    except NotEstimableError as error:
        return Calibrated(predictions.p, absent(str(error)))
    meta = {
        "value": shared,
        "fitted_on": "validation animals" if fixed else "animals of the other folds",
        "animals": len(np.unique(animal[fitted])),
        "clips": int(fitted.sum()),
    }
    return Calibrated(softmax(log_p / temperature[:, None], axis=1), meta)


def fit_temperature(
    log_p: Float[np.ndarray, "n classes"],
    label: Int[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
) -> float:
    """Finds the temperature T that minimises the mean log-loss of softmax(log_p / T).

    Args:
        log_p: logits or log-probabilities, finite.
        label: true class, 0..classes-1.
        group: the animal of each clip; animals have equal weight, however many clips they have.

    Returns:
        T; above 1 where the classifier is overconfident.

    Raises:
        NotEstimableError: fewer than 2 animals, scores that do not differ between classes, or no
            minimum within `LIMITS`.

    Source: Guo et al. (2017), section 4.2.
    """
    _, code, clips = np.unique(group, return_inverse=True, return_counts=True)
    if len(clips) < _LEAST_ANIMALS:
        raise NotEstimableError(
            f"{len(clips)} animal(s) to fit the temperature on; {_LEAST_ANIMALS} are needed"
        )
    shifted = log_p - log_p.max(axis=1, keepdims=True)  # so that no exponential overflows
    if shifted.min() > -1e-6:
        raise NotEstimableError("the scores are the same for every class, at every temperature")
    weight = 1 / (len(clips) * clips[code])
    true = float(weight @ shifted[np.arange(len(label)), label])
    scaled, ones = np.empty_like(shifted), np.ones(shifted.shape[1])

    def loss(log_t: float) -> float:
        scale = np.exp(-log_t)
        np.exp(np.multiply(shifted, scale, out=scaled), out=scaled)
        return float(weight @ np.log(scaled @ ones) - scale * true)  # @: twice as fast as sum

    low, high = np.log(LIMITS)
    found = scipy.optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-4}
    )
    for end, reason in ((low, "makes too few errors"), (high, "carries no information")):
        if loss(end) <= found.fun + 1e-9:
            raise NotEstimableError(
                f"the log-loss has no minimum at a temperature between {LIMITS[0]:g} and "
                f"{LIMITS[1]:g}: on the animals that it is fitted on, the classifier {reason}"
            )
    return float(np.exp(found.x))


def describe_calibration(
    calibrated: Calibrated,
    tasks: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    recordings: dict[str, tuple[Units | str, Units | str]],
) -> dict[str, Any]:
    """Tabulates calibration before and after temperature scaling.

    Args:
        calibrated: the temperature, or why there is none.
        tasks: per task, of the evaluated clips: true class, predicted and calibrated probabilities.
        recordings: per task, the recordings with predicted and with calibrated probabilities.

    Returns:
        `temperature`; per task `before` and `after` ({"ece", "nll"}) and `reliability` (after;
        before, where no temperature could be fitted); `coverage` per task. Missing parts are
        {"value": None, "why"}.
    """
    why = calibrated.meta.get("why")

    def figures(label: np.ndarray, p: np.ndarray) -> dict[str, float]:
        loss = -np.log(np.maximum(p[np.arange(len(label)), label], LEAST_P))
        return {"ece": expected_calibration_error(label, p), "nll": float(loss.mean())}

    described: dict[str, Any] = {"temperature": calibrated.meta}
    for task, (label, before, after) in tasks.items():
        described[task] = absent(f"no {_NO_CLIP}")
        if len(label):
            described[task] = {
                "before": figures(label, before),
                "after": absent(why) if why else figures(label, after),
                "reliability": reliability_bins(label, after),
            }
    coverage: dict[str, Any] = {}
    for task, (predicted, scaled) in recordings.items():
        if isinstance(predicted, str) or isinstance(scaled, str):
            coverage[task] = absent(str(predicted))
        else:  # the predicted classes, ranked by their calibrated probability
            named = predicted.predicted
            confidence = scaled.p[np.arange(len(named)), named]
            coverage[task] = accuracy_by_coverage(confidence, named == predicted.label)
    return described | {"coverage": coverage}


def reliability_bins(
    label: Int[np.ndarray, " n"], p: Float[np.ndarray, "n classes"]
) -> list[dict[str, Any]]:
    """Returns mean confidence and accuracy in 10 bins of equal width; empty ones are left out.

    Confidence is the largest probability; a bin holds its upper edge (Guo et al. 2017, section 2).
    """
    confidence, right = p.max(axis=1), p.argmax(axis=1) == label
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    clips = pd.DataFrame({"confidence": confidence, "accuracy": right, "n": 1}).groupby(index)
    return clips.agg({"confidence": "mean", "accuracy": "mean", "n": "sum"}).to_dict("records")


def expected_calibration_error(
    label: Int[np.ndarray, " n"], p: Float[np.ndarray, "n classes"]
) -> float:
    """Returns the mean |accuracy - confidence| of `reliability_bins`, weighted by their clips."""
    bins = reliability_bins(label, p)
    return sum(each["n"] * abs(each["accuracy"] - each["confidence"]) for each in bins) / len(label)


def accuracy_by_coverage(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]
) -> list[dict[str, float]]:
    """Returns the accuracy on the most confident 10 %, 20 %, … 100 %.

    Where units of equal confidence do not all fit into the share, each counts in part, so that
    their order does not matter. The threshold is the lowest confidence within the share.
    """
    mean = pd.Series(right.astype(float)).groupby(confidence).transform("mean").to_numpy()
    order = np.argsort(-confidence, kind="stable")
    hits = np.cumsum(mean[order])
    counts = [max(1, int(np.ceil(coverage * len(right) - 1e-9))) for coverage in COVERAGES]
    return [
        {
            "coverage": coverage,
            "accuracy": float(hits[count - 1] / count),
            "threshold": float(confidence[order[count - 1]]),
        }
        for coverage, count in zip(COVERAGES, counts, strict=True)
    ]
