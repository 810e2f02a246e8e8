"""Trajectories of the pain score: one score per held-out animal and day, and their means."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from mpjax.analysis.pain_score import average_by_animal, pain_score
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.estimates import ALPHA, NotEstimableError
from mpjax.taxonomy import NO_PAIN, Taxonomy, parse_fine_name

LEAST_UNITS = 2  # animals (or cages) of a mean that is compared
_FLAT = 1e-12  # a variance that is smaller comes from rounding


@dataclasses.dataclass(frozen=True)
class Courses:
    """The scores of all units over the recorded days.

    Attributes:
        score: logit; NaN where a unit was not recorded on a day.
        name: of each unit: animals, or cages with the mean over their animals.
        condition: of each unit.
        days: after induction, in order; negative before it.
        kind: what a unit is, `animal` or `cage`.
        pain: the conditions with pain, sorted.
        no_pain: the conditions without, sorted.
    """

    score: Float[np.ndarray, "units days"]
    name: tuple[str, ...]
    condition: tuple[str, ...]
    days: tuple[int, ...]
    kind: str
    pain: tuple[str, ...]
    no_pain: tuple[str, ...]

    def of(self, *conditions: str) -> Float[np.ndarray, "members days"]:
        """Returns the scores of the units of these conditions, in their order."""
        return self.score[[name in conditions for name in self.condition]]


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


def score_days(predictions: Predictions, p: Float[np.ndarray, "n fine"]) -> pd.DataFrame:
    """Scores every held-out animal on every day, as `drug_sessions.score_sessions` does.

    Clips are averaged within a recording, recordings within a day. Rows before induction belong
    to the condition that the animal has after it.

    Args:
        predictions: of a study whose classes tell of pain (see `why_no_pain_score`).
        p: calibrated probabilities of the fine classes, rows as in `predictions.table`.

    Returns:
        A row per animal and day: `animal, cage, sex, condition, day, score, recordings, clips`.

    Raises:
        NotEstimableError: nothing is held out, or an animal has several conditions.
    """
    mask = predictions.evaluated
    if not mask.any():
        raise NotEstimableError("no held-out clip of a trained class")
    clips = predictions.table[mask].assign(score=pain_score(predictions.taxonomy, p[mask]))
    clips = clips.assign(condition=own_conditions(clips))
    sessions = average_by_animal(clips, "score", by=["condition", "day"])
    kept = clips.groupby(["condition", "day", "animal"], as_index=False).agg(
        cage=("cage", "first"), sex=("sex", "first"), recordings=("video", "nunique"),
        clips=("video", "size"),
    )  # fmt: skip
    sessions = sessions.merge(kept, on=["condition", "day", "animal"])
    columns = ["animal", "cage", "sex", "condition", "day", "score", "recordings", "clips"]
    return sessions.sort_values(["condition", "animal", "day"], ignore_index=True)[columns]


def own_conditions(clips: pd.DataFrame) -> pd.Series:
    """Returns the condition of each clip's animal: that of its days from induction on.

    Raises:
        NotEstimableError: an animal has several.
    """
    after = clips[clips["day"] >= 0].groupby("animal")["condition"]
    several = after.nunique()
    if (several > 1).any():
        first = several.index[several > 1][0]
        raise NotEstimableError(
            f"animal {first!r} has several conditions after induction, so its days are no course "
            "of one"
        )
    return clips["animal"].map(after.first()).fillna(clips["condition"])


def painful_conditions(taxonomy: Taxonomy) -> dict[str, bool]:
    """Tells per condition whether any of its days from induction on is a class with pain."""
    painful: dict[str, bool] = {}
    for name, group in zip(taxonomy.fine, taxonomy.fine_to_coarse, strict=True):
        condition, day = parse_fine_name(name) or (name, 0)
        if day >= 0:
            pain = taxonomy.coarse[group] != NO_PAIN
            painful[condition] = painful.get(condition, False) or pain
    return painful


def arrange(sessions: pd.DataFrame, taxonomy: Taxonomy, *, group: str) -> Courses:
    """Lays the scores out as units x days.

    The unit is the cage where the split keeps cages together and every cage holds one condition:
    its animals then share more than their condition, so their mean counts once. Cages of several
    conditions favour none of them, and the animal stays the unit.

    Args:
        sessions: of `score_days`.
        taxonomy: tells which conditions are painful.
        group: of the split, `animal` or `cage`.
    """
    single = not sessions[["cage", "condition"]].drop_duplicates()["cage"].duplicated().any()
    kind = "cage" if group == "cage" and single and (sessions["cage"] != "").all() else "animal"
    wide = sessions.pivot_table(
        index=["condition", kind], columns="day", values="score", aggfunc="mean"
    )
    painful = painful_conditions(taxonomy)
    found = sorted(set(sessions["condition"]))
    return Courses(
        score=wide.to_numpy(float),
        name=tuple(str(name) for name in wide.index.get_level_values(1)),
        condition=tuple(str(name) for name in wide.index.get_level_values(0)),
        days=tuple(int(day) for day in wide.columns),
        kind=kind,
        pain=tuple(name for name in found if painful.get(name, False)),
        no_pain=tuple(name for name in found if not painful.get(name, True)),
    )


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


def draw(units: int, *, resamples: int, rng: np.random.Generator) -> Int[np.ndarray, "draws units"]:
    """Draws how often each unit of one condition occurs in each bootstrap resample."""
    if not units:
        return np.zeros((resamples, 0), int)
    return rng.multinomial(units, np.full(units, 1 / units), size=resamples)


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


def describe_means(courses: Courses, *, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Estimates the mean score per condition and day.

    The interval of one day is the t interval over units: with the few animals of a condition a
    percentile bootstrap is too narrow (with 4, it holds the mean in some 80 % of samples). The
    band over all days of a condition is the studentised bootstrap's over whole units.

    Args:
        courses: of `arrange`.
        resamples: bootstrap resamples of units.
        seed: of the drawing.

    Returns:
        [{"condition", "day", "value", "ci95", "band95", "n"}]; both intervals None, with "why",
        where a day has a single unit.
    """
    rows = []
    rng = np.random.default_rng(seed)
    for condition in sorted(set(courses.condition)):
        score = courses.of(condition)
        found = moments(score, np.ones((1, len(score)), int))
        drawn = moments(score, draw(len(score), resamples=resamples, rng=rng))
        mean, se, df = found.mean[0], np.sqrt(found.variance[0]), float(found.df[0])
        known = np.isfinite(se)
        deviation = (drawn.mean - mean) / np.sqrt(drawn.variance)
        critical = simultaneous_critical(deviation[:, known], df) if known.any() else np.nan
        for i in np.flatnonzero(found.n[0] > 0):
            row = {"condition": condition, "day": courses.days[i], "value": float(mean[i])}
            if known[i]:
                half = se[i] * np.array([stats.t.isf(ALPHA / 2, df), critical])
                row["ci95"] = [float(mean[i] - half[0]), float(mean[i] + half[0])]
                row["band95"] = [float(mean[i] - half[1]), float(mean[i] + half[1])]
            else:
                why = f"no interval from a single {courses.kind}, or from scores that are all alike"
                row |= {"ci95": None, "band95": None, "why": why}
            rows.append(row | {"n": int(found.n[0, i])})
    return rows
