"""How far probabilities may be believed: calibration error, reliability, accuracy by coverage."""

from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int

from mpjax.analysis.classification.calibration import LEAST_P, Calibrated
from mpjax.analysis.stats.units import Units

BINS = 10
COVERAGES = tuple(k / 10 for k in range(1, 11))


def describe_calibration(
    calibrated: Calibrated,
    tasks: dict[
        str, tuple[Int[np.ndarray, " n"], Float[np.ndarray, "n _"], Float[np.ndarray, "n _"]]
    ],
    recordings: dict[str, tuple[Units | str, Units | str]],
) -> dict[str, Any]:
    """Tabulates calibration before and after temperature scaling.

    Args:
        calibrated: what the temperature was fitted on.
        tasks: per task, of the evaluated clips: true class, predicted and calibrated probabilities.
        recordings: per task, the evaluated recordings with predicted and with calibrated
            probabilities.

    Returns:
        `temperature`; per task `before` and `after` ({"ece", "nll"}) and `reliability` (after;
        before, where no temperature could be fitted); `coverage` per task. What there is not is
        {"value": None, "why"}.
    """
    described: dict[str, Any] = {"temperature": calibrated.meta}
    why = calibrated.meta.get("why")
    for task, (label, before, after) in tasks.items():
        if not len(label):
            described[task] = {"value": None, "why": "no held-out clip of a trained class"}
            continue
        described[task] = {
            "before": _figures(label, before),
            "after": {"value": None, "why": why} if why else _figures(label, after),
            "reliability": reliability_bins(label, after),
        }
    described["coverage"] = {
        task: _coverage(predicted, scaled) for task, (predicted, scaled) in recordings.items()
    }
    return described


def _figures(label: np.ndarray, p: np.ndarray) -> dict[str, float]:
    own = p[np.arange(len(label)), label]
    return {
        "ece": expected_calibration_error(label, p),
        "nll": float(-np.log(np.maximum(own, LEAST_P)).mean()),
    }


def reliability_bins(
    label: Int[np.ndarray, " n"], p: Float[np.ndarray, "n classes"]
) -> list[dict[str, Any]]:
    """Returns mean confidence and accuracy in 10 bins of equal width; empty ones are left out.

    Confidence is the largest probability; a bin holds its upper edge.

    Args:
        label: true class.
        p: probabilities.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, section 2.
    """
    confidence, right = p.max(axis=1), p.argmax(axis=1) == label
    index = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    return [
        {
            "confidence": float(confidence[index == k].mean()),
            "accuracy": float(right[index == k].mean()),
            "n": int((index == k).sum()),
        }
        for k in np.unique(index)
    ]


def expected_calibration_error(
    label: Int[np.ndarray, " n"], p: Float[np.ndarray, "n classes"]
) -> float:
    """Returns the mean |accuracy - confidence| of `reliability_bins`, weighted by their clips."""
    bins = reliability_bins(label, p)
    return sum(each["n"] * abs(each["accuracy"] - each["confidence"]) for each in bins) / len(label)


def _coverage(predicted: Units | str, scaled: Units | str) -> Any:
    """Ranks the classes named from p by their calibrated probability."""
    if isinstance(predicted, str) or isinstance(scaled, str):
        return {"value": None, "why": predicted}
    named = predicted.predicted
    confidence = scaled.p[np.arange(len(named)), named]
    return accuracy_by_coverage(confidence, named == predicted.label)


def accuracy_by_coverage(
    confidence: Float[np.ndarray, " n"], right: Bool[np.ndarray, " n"]
) -> list[dict[str, float]]:
    """Returns the accuracy on the most confident 10 %, 20 %, … 100 %.

    Of units of equal confidence that do not all belong to the share, each counts in part, so that
    their order means nothing.

    Args:
        confidence: of each unit, at least one.
        right: whether its class was named.

    Returns:
        Rows {"coverage", "accuracy", "threshold"}: the least confidence within the share.

    Source: Geifman & El-Yaniv (2017), Selective Classification for Deep Neural Networks.
    """
    _, block = np.unique(-confidence, return_inverse=True)
    mean = np.bincount(block, right) / np.bincount(block)
    order = np.argsort(block, kind="stable")
    hits = np.cumsum(mean[block[order]])  # a block's mean in place of each of its members
    rows = []
    for coverage in COVERAGES:
        count = max(1, int(np.ceil(coverage * len(right) - 1e-9)))
        rows.append(
            {
                "coverage": coverage,
                "accuracy": float(hits[count - 1] / count),
                "threshold": float(confidence[order[count - 1]]),
            }
        )
    return rows
