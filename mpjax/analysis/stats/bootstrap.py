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

    They are the diagonal, the row sums and the column sums of each group's confusion matrix: memory
    grows with the number of classes, not with its square.
    """

    correct: Int[np.ndarray, "groups classes"]
    total: Int[np.ndarray, "groups classes"]  # of the class
    named: Int[np.ndarray, "groups classes"]  # predicted as the class, rightly or wrongly


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
    """Counts units by group (animal or cage, 0.., none left out) and class, 0..classes-1."""
    cell, cells = group * classes + label, (int(group.max()) + 1) * classes
    found = (cell[label == predicted], cell, group * classes + predicted)
    return Counts(*(np.bincount(each, minlength=cells).reshape(-1, classes) for each in found))


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

    Recall is averaged over the classes that have a unit, F1 over those that have one or are
    predicted, as scikit-learn's `balanced_accuracy_score` and `f1_score(average="macro")` do.
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
    """Returns the mean of numbers (or truth values) in every resample; NaN where it has none.

    `group` is the animal or cage of each unit, 0..groups-1; some groups may have none.
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
    """Returns the mean over all units, at least one, and its interval: {"value", "ci95", "n"}.

    Args: as in `resample_mean` and `percentile_interval`.
    """
    draws = resample_mean(values, group, weights)
    interval = percentile_interval(draws, groups=len(np.unique(group)), unit=unit)
    return {"value": float(np.mean(values)), **interval, "n": len(values)}


def percentile_interval(
    draws: Float[np.ndarray, " resamples"], *, groups: int, unit: str
) -> dict[str, Any]:
    """Returns the 95 % percentile interval of a score (NaN: undefined), or why there is none.

    `groups` is the number of groups that hold a unit, `unit` what they are: `animal` or `cage`.

    Returns:
        {"ci95": [low, high]}, with a "note" where care is needed; or {"ci95": None, "why": …}.

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
    """Means over units, of the data or of every resample; NaN where there are too few units."""

    mean: Float[np.ndarray, "draws days"]
    n: Float[np.ndarray, "draws days"]  # units behind each mean
    spread: Float[np.ndarray, " draws"]  # variance between units on a day, one for all days
    correlation: Float[np.ndarray, " draws"]  # of a unit's days, the mean over all pairs, 0..1

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
    """Averages over the units of every draw (weights of 1: the data); NaN counts nowhere.

    The variance is pooled over days: with the few animals of a condition that of a single day is
    mostly chance. Where pain spreads the scores, this widens the intervals of the days before it.
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
    Bonferroni's, between which the truth lies whatever the days' correlation. `deviation` is
    studentised, of resamples from the data, NaN where undefined; `df` is of a t test of one day.

    Source: Davison & Hinkley, Bootstrap Methods and their Application (1997), sections 2.4 and
        4.2.4 (studentised bootstrap, max-t).
    """
    single, bonferroni = stats.t.isf([ALPHA / 2, ALPHA / 2 / deviation.shape[1]], max(1.0, df))
    known = deviation[np.isfinite(deviation).any(axis=1)]
    if not len(known):
        return float(bonferroni)
    greatest = np.quantile(np.nanmax(np.abs(known), axis=1), 1 - ALPHA)
    return float(np.clip(greatest, single, bonferroni))
