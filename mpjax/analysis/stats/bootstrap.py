"""Confidence intervals by resampling whole animals (or cages), never clips."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy import stats

from mpjax.analysis.stats.estimates import ALPHA

ROUGH_BELOW = 6  # groups; with fewer, at most a few hundred distinct resamples exist
LEAST_UNITS = 2  # animals (or cages) of a mean that is compared
_FLAT = 1e-12  # a variance that is smaller comes from rounding


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


def draw_weights(
    groups: int, *, resamples: int, seed: int | np.random.Generator
) -> Int[np.ndarray, "resamples groups"]:
    """Draws how often each group occurs in each bootstrap resample of all groups."""
    if not groups:
        return np.zeros((resamples, 0), int)
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


@dataclasses.dataclass(frozen=True)
class Moments:
    """Means over units, of the data or of every resample; NaN where there are too few units.

    Attributes:
        mean: of each day.
        n: units behind it.
        spread: variance between units on a day, one for all days.
        correlation: between the days of a unit, the mean over all pairs, 0..1.
    """

    mean: Float[np.ndarray, "draws days"]
    n: Float[np.ndarray, "draws days"]
    spread: Float[np.ndarray, " draws"]
    correlation: Float[np.ndarray, " draws"]

    @property
    def variance(self) -> Float[np.ndarray, "draws days"]:
        """Squared standard error of each mean."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.n >= LEAST_UNITS, self.spread[:, None] / self.n, np.nan)

    @property
    def df(self) -> Float[np.ndarray, " draws"]:
        """Degrees of freedom of `spread`.

        The variances of two days of normal scores correlate by the square of their correlation:
        independent days add up, days that are all alike count once. As few units may hide their
        correlation, it is taken as if there were one more whose days are all alike.
        """
        days, units = (self.n > 0).sum(1), self.n.max(1)
        correlation = ((units - 1) * self.correlation + 1) / units
        return (units - 1) * days / (1 + (days - 1) * correlation**2)


def moments(
    values: Float[np.ndarray, "units days"], weights: Int[np.ndarray, "draws units"]
) -> Moments:
    """Averages over the units of every draw; missing values count nowhere.

    The variance is pooled over days: with the few animals of a condition that of a single day is
    mostly chance. Where pain spreads the scores, this widens the intervals of the days before it.

    Args:
        values: NaN where missing.
        weights: how often each unit occurs in each draw; ones for the data themselves.
    """
    there = np.isfinite(values)
    count = np.maximum(there.sum(0), 1)
    centre = np.where(there, values, 0.0).sum(0) / count  # against cancellation in the squares
    offset = np.where(there, values - centre, 0.0)
    level = offset.sum(1) / np.maximum(there.sum(1), 1)  # of each unit, over its days
    times = weights.astype(float)
    n, total, squares = times @ there, times @ offset, times @ offset**2
    units = times.sum(1)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(n > 0, total / n, np.nan)
        within = squares - np.where(n > 0, total**2 / n, 0.0)
        spread = within.sum(1) / np.maximum(n - 1, 0).sum(1)
        # Var(level) = spread (1 + (days - 1) correlation) / days
        of_level = (times @ level**2 - (times @ level) ** 2 / units) / (units - 1)
        days = (n > 0).sum(1)
        correlation = (days * of_level / spread - 1) / np.maximum(days - 1, 1)
    spread = np.where(np.isfinite(spread) & (spread > _FLAT), spread, np.nan)
    return Moments(mean + centre, n, spread, np.clip(np.nan_to_num(correlation), 0.0, 1.0))


def simultaneous_critical(deviation: Float[np.ndarray, "draws days"], df: float) -> float:
    """Returns what every |t| of a family stays below with 95 % confidence at once.

    The 95 % quantile of the greatest studentised deviation over bootstrap resamples. With few
    animals resamples of nearly one animal give wild values, and with very few they are too alike;
    the quantile is therefore kept between the critical values of a single t test and of
    Bonferroni's, between which the truth lies whatever the days' correlation.

    Args:
        deviation: studentised deviations of resamples from the data; NaN where undefined.
        df: degrees of freedom of a t test of one day.

    Source: Davison & Hinkley, Bootstrap Methods and their Application (1997), sections 2.4 and
        4.2.4 (studentised bootstrap, max-t).
    """
    least = max(1.0, df)
    single = stats.t.isf(ALPHA / 2, least)
    bonferroni = stats.t.isf(ALPHA / 2 / deviation.shape[1], least)
    known = deviation[np.isfinite(deviation).any(axis=1)]
    if not len(known):
        return float(bonferroni)
    greatest = np.nanmax(np.abs(known), axis=1)
    return float(np.clip(np.quantile(greatest, 1 - ALPHA), single, bonferroni))
