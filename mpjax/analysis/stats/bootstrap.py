"""Confidence intervals by resampling whole animals (or cages), never clips."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped

ROUGH_BELOW = 6  # groups; with fewer, at most a few hundred distinct resamples exist


@dataclasses.dataclass(frozen=True)
class Counts:
    """Units per group (animal or cage) and class: all that the scores below need.

    They are the diagonal, the row sums and the column sums of each group's confusion matrix, so
    the matrices themselves are not kept: memory grows with the classes, not with their square.

    Attributes:
        correct: units of the class that were named correctly.
        total: units of the class.
        named: units that were named so, rightly or wrongly.
    """

    correct: Int[np.ndarray, "groups classes"]
    total: Int[np.ndarray, "groups classes"]
    named: Int[np.ndarray, "groups classes"]


@dataclasses.dataclass(frozen=True)
class Draws:
    """Scores under resampling; NaN where a resample holds no unit of the class."""

    accuracy: Float[np.ndarray, " resamples"]
    mean_class_accuracy: Float[np.ndarray, " resamples"]
    macro_f1: Float[np.ndarray, " resamples"]
    recall: Float[np.ndarray, "resamples classes"]


def count_by_group(
    label: Int[np.ndarray, " n"],
    predicted: Int[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    *,
    classes: int,
) -> Counts:
    """Counts units by group and class.

    Args:
        label: true class, 0..classes-1.
        predicted: predicted class, 0..classes-1.
        group: the animal or cage of each unit, 0..groups-1, none left out.
        classes: number of classes.
    """
    shape = (int(group.max()) + 1, classes)

    def count(cell: np.ndarray) -> np.ndarray:
        return np.bincount(cell, minlength=shape[0] * classes).reshape(shape)

    cell = group * classes + label
    return Counts(
        correct=count(cell[label == predicted]),
        total=count(cell),
        named=count(group * classes + predicted),
    )


def draw_weights(groups: int, *, resamples: int, seed: int) -> Int[np.ndarray, "resamples groups"]:
    """Draws how often each group occurs in each bootstrap resample of all groups."""
    generator = np.random.default_rng(seed)
    return generator.multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def resample_scores(counts: Counts, weights: Int[np.ndarray, "resamples groups"]) -> Draws:
    """Scores every resample.

    Recall is averaged over the classes that have a unit, F1 over those that have one or are named,
    as scikit-learn's `balanced_accuracy_score` and `f1_score(average="macro")` do.

    Args:
        counts: of all units.
        weights: how often each group occurs in each resample.
    """
    times = weights.astype(np.float64)  # whole numbers, exact; integers have no fast product
    hits, units, named = times @ counts.correct, times @ counts.total, times @ counts.named
    recall = np.divide(hits, units, out=np.full(units.shape, np.nan), where=units > 0)
    occurs = units + named > 0
    f1 = np.divide(2 * hits, units + named, out=np.zeros(units.shape), where=occurs)
    return Draws(
        accuracy=hits.sum(1) / units.sum(1),
        mean_class_accuracy=np.nansum(recall, axis=1) / (units > 0).sum(1),
        macro_f1=f1.sum(1) / occurs.sum(1),
        recall=recall,
    )


def resample_mean(
    values: Shaped[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    weights: Int[np.ndarray, "resamples groups"],
) -> Float[np.ndarray, " resamples"]:
    """Returns the mean of `values` over the units of every resample; NaN where it holds none.

    Args:
        values: a number (or truth value) per unit.
        group: the animal or cage of each unit, 0..groups-1; some may have none.
        weights: how often each group occurs in each resample.
    """
    groups = weights.shape[1]
    times = weights.astype(np.float64)
    total = times @ np.bincount(group, weights=values, minlength=groups)
    count = times @ np.bincount(group, minlength=groups)
    return np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0)


def estimate_mean(
    values: Shaped[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    weights: Int[np.ndarray, "resamples groups"],
    *,
    unit: str,
) -> dict[str, Any]:
    """Returns the mean over all units and its interval: {"value", "ci95", "n"}.

    Args:
        values: a number (or truth value) per unit, at least one.
        group: the animal or cage of each unit.
        weights: how often each group occurs in each resample.
        unit: what a group is called, `animal` or `cage`.
    """
    draws = resample_mean(values, group, weights)
    interval = percentile_interval(draws, groups=len(np.unique(group)), unit=unit)
    return {"value": float(np.mean(values)), **interval, "n": len(values)}


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
