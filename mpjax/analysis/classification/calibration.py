"""Temperature scaling on animals that were not trained on, and how well probabilities are meant."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
import scipy.optimize
from jaxtyping import Float, Int
from scipy.special import softmax

from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.estimates import NotEstimableError
from mpjax.data.splits import FIXED, calibration_rows

LIMITS = (0.05, 20.0)  # of the temperature; beyond, there is no minimum worth the name
_LEAST_ANIMALS = 2
LEAST_P = float(np.finfo(np.float32).tiny)  # that is told from 0; the file holds float32


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """Probabilities after temperature scaling.

    Attributes:
        p: calibrated probabilities of the fine classes, rows as in the table of the predictions;
            the predicted ones where no temperature can be fitted.
        meta: {"value", "fitted_on", "animals", "clips"}, or {"value": None, "why"}. Under folds
            `value` is the temperature of all held-out clips.
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
    scheme = predictions.meta["scheme"]
    fixed = scheme == FIXED
    fold, label = table["fold"].to_numpy(), table["label"].to_numpy()
    animal = pd.factorize(table["animal"])[0]
    fitted = calibration_rows(table, scheme)
    crossed = np.unique(fold[fitted]) if not fixed else ()

    def fit(mask: np.ndarray) -> float:
        return fit_temperature(log_p[mask], label[mask], animal[mask])

    try:
        if not fitted.any():
            raise NotEstimableError(
                "no validation animals to fit the temperature on"
                if fixed
                else "no held-out clip of a trained class"
            )
        shared = fit(fitted)
        temperature = np.full(len(table), shared)
        for k in crossed:
            temperature[fold == k] = fit(fitted & (fold != k))
    except NotEstimableError as error:
        return Calibrated(predictions.p, {"value": None, "why": str(error)})
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
        group: the animal of each clip; every animal counts the same, however many clips it has.

    Returns:
        T; above 1 where the classifier is too sure of itself.

    Raises:
        NotEstimableError: fewer than 2 animals, scores that do not differ between classes, or no
            minimum within `LIMITS`.

    Source: Guo et al. (2017), On Calibration of Modern Neural Networks, section 4.2.
    """
    _, code, clips = np.unique(group, return_inverse=True, return_counts=True)
    if len(clips) < _LEAST_ANIMALS:
        raise NotEstimableError(
            f"{len(clips)} animal(s) to fit the temperature on; it takes {_LEAST_ANIMALS}"
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
    for end, reason in ((low, "errs too rarely"), (high, "tells nothing of the true class")):
        if loss(end) <= found.fun + 1e-9:
            raise NotEstimableError(
                f"the log-loss has no minimum at a temperature between {LIMITS[0]:g} and "
                f"{LIMITS[1]:g}: on the animals to fit it on, the classifier {reason}"
            )
    return float(np.exp(found.x))
