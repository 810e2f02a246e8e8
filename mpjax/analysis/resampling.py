"""Confidence intervals by resampling whole animals (or cages), never clips."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

ROUGH_BELOW = 6  # groups; with fewer, at most a few hundred distinct resamples exist


@dataclasses.dataclass(frozen=True)
class Draws:
    """Scores under resampling; NaN where a resample holds no unit of the class."""

    accuracy: Float[np.ndarray, " resamples"]
    mean_class_accuracy: Float[np.ndarray, " resamples"]
    recall: Float[np.ndarray, "resamples classes"]


def count_by_group(
    label: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    *,
    classes: int,
) -> tuple[Int[np.ndarray, "groups classes"], Int[np.ndarray, "groups classes"]]:
    """Counts, per group and true class, the correctly named units and all units.

    The diagonal and the row sums of each group's confusion matrix are all that accuracy, recall
    and mean-class accuracy need, so the matrices themselves are not kept.

    Args:
        label: true class, 0..classes-1.
        predicted: predicted class, 0..classes-1.
        group: the animal or cage of each unit, 0..groups-1, none left out.
        classes: number of classes.
    """
    groups = int(group.max()) + 1
    cell = group * classes + label
    size = groups * classes
    total = np.bincount(cell, minlength=size).reshape(groups, classes)
    correct = np.bincount(cell[label == predicted], minlength=size).reshape(groups, classes)
    return correct, total


def draw_weights(groups: int, *, resamples: int, seed: int) -> Int[np.ndarray, "resamples groups"]:
    """Draws how often each group occurs in each bootstrap resample of all groups."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def resample_scores(
    correct: Int[np.ndarray, "groups classes"],
    total: Int[np.ndarray, "groups classes"],
    weights: Int[np.ndarray, "resamples groups"],
) -> Draws:
    """Scores every resample; classes absent from a resample are left out of its mean.

    Args:
        correct: units named correctly, per group and true class.
        total: units, per group and true class.
        weights: how often each group occurs in each resample.
    """
    hits, units = weights @ correct, weights @ total
    recall = np.divide(hits, units, out=np.full(units.shape, np.nan), where=units > 0)
    return Draws(
        accuracy=hits.sum(1) / units.sum(1),
        mean_class_accuracy=np.nansum(recall, axis=1) / (units > 0).sum(1),
        recall=recall,
    )


def percentile_interval(
    draws: Float[np.ndarray, " resamples"], *, groups: int, unit: str
) -> dict[str, Any]:
    """Returns the 95 % percentile interval, or the reason why there is none.

    Args:
        draws: the score in every resample; NaN where it is undefined.
        groups: the groups that hold a unit the score rests on.
        unit: what a group is called, `animal` or `cage`.

    Returns:
        {"ci95": [low, high]}, with a "note" where it should be read with care; or
        {"ci95": None, "why": …}.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 13.
    """
    if groups < 2:
        return {"ci95": None, "why": f"no interval from a single {unit}; at least 2 are needed"}
    low, high = (float(value) for value in np.nanquantile(draws, [0.025, 0.975]))
    notes = []
    if low == high:
        notes.append("all resamples score alike, so its width says nothing")
    if groups < ROUGH_BELOW:
        notes.append(f"rough, as it rests on {groups} {unit}s only")
    return {"ci95": [low, high]} | ({"note": "; ".join(notes)} if notes else {})
