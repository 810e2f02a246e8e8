"""Trajectories of the pain score: one score per held-out animal and day, and their means."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from mpjax.analysis.pain_score import average_by_animal, pain_score
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.bootstrap import draw_weights, moments, simultaneous_critical
from mpjax.analysis.stats.estimates import ALPHA, NotEstimableError
from mpjax.analysis.stats.units import unit_of
from mpjax.taxonomy import NO_PAIN, Taxonomy, parse_fine_name


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
    """Lays the scores out as units x days; see `units.unit_of`.

    Args:
        sessions: of `score_days`.
        taxonomy: tells which conditions are painful.
        group: of the split, `animal` or `cage`.
    """
    kind = unit_of(sessions, sessions["condition"].to_numpy(), group=group)
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
        drawn = moments(score, draw_weights(len(score), resamples=resamples, seed=rng))
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
