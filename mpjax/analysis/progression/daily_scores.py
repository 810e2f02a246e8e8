"""The pain score of every held-out animal and day, and its mean per condition and day."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from mpjax.analysis.pain_score import (
    average_by_animal,
    pain_probability,
    pain_score,
    why_no_pain_score,
)
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.bootstrap import draw_weights, moments, simultaneous_critical
from mpjax.analysis.stats.estimates import NotEstimableError, absent
from mpjax.analysis.stats.t_test import t_interval
from mpjax.analysis.stats.units import unit_of
from mpjax.taxonomy import NO_PAIN, Taxonomy, parse_fine_name

_NOBODY = "no held-out clip of a trained class"


@dataclasses.dataclass(frozen=True)
class DailyScores:
    """The scores of all units over the recorded days."""

    score: Float[np.ndarray, "units days"]  # logit; NaN where a unit was not recorded on a day
    name: tuple[str, ...]  # of each unit: animals, or cages with the mean over their animals
    condition: tuple[str, ...]  # of each unit
    days: tuple[int, ...]  # after induction, in order; negative before it
    kind: str  # what a unit is, `animal` or `cage`
    pain: tuple[str, ...]  # the conditions with pain, sorted
    no_pain: tuple[str, ...]  # those without, sorted

    def of(self, *conditions: str) -> Float[np.ndarray, "members days"]:
        """Returns the scores of the units of these conditions, in their order."""
        return self.score[[name in conditions for name in self.condition]]


def describe_days(predictions: Predictions, p: Float[np.ndarray, "n fine"]) -> dict[str, Any]:
    """Tabulates the (calibrated) probability of pain per condition and day, over held-out animals.

    Returns:
        {"rows": [{"condition", "day", "value", "n", "animals": {name: value}}]}: `value` is the
        mean of the `n` animals' own means; or {"value": None, "why": …}.
    """
    mask = predictions.evaluated
    if why := why_no_pain_score(predictions.taxonomy) or ("" if mask.any() else _NOBODY):
        return absent(why)
    clips = predictions.table[mask].assign(pain=pain_probability(predictions.taxonomy, p[mask]))
    rows, by = [], ["condition", "day"]
    for (condition, day), part in average_by_animal(clips, "pain", by=by).groupby(by):
        animals = {str(k): float(v) for k, v in zip(part["animal"], part["pain"], strict=True)}
        row = {"condition": str(condition), "day": int(day), "value": float(part["pain"].mean())}
        rows.append(row | {"n": len(part), "animals": animals})
    return {"rows": rows}


def score_days(predictions: Predictions, p: Float[np.ndarray, "n fine"]) -> pd.DataFrame:
    """Scores every held-out animal on every day, as the drug test scores its sessions.

    Clips are averaged within a recording, recordings within a day. Rows before induction belong
    to the condition that the animal has after it. The classes must include pain (see
    `why_no_pain_score`); `p` is calibrated, with rows as in `predictions.table`.

    Returns:
        A row per animal and day: `animal, cage, sex, condition, day, score, recordings, clips`.

    Raises:
        NotEstimableError: nothing is held out, or an animal has several conditions.
    """
    mask = predictions.evaluated
    if not mask.any():
        raise NotEstimableError(_NOBODY)
    clips = predictions.table[mask].assign(score=pain_score(predictions.taxonomy, p[mask]))
    clips = clips.assign(condition=own_conditions(clips))
    keys = ["condition", "day", "animal"]
    how = {name: (name, "first") for name in ("cage", "sex")}
    how |= {"recordings": ("video", "nunique"), "clips": ("video", "size")}
    facts = clips.groupby(keys, as_index=False).agg(**how)
    sessions = average_by_animal(clips, "score", by=["condition", "day"]).merge(facts, on=keys)
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
            f"animal {first!r} has several conditions after induction, so its days do not form one "
            "course"
        )
    return clips["animal"].map(after.first()).fillna(clips["condition"])


def painful_conditions(taxonomy: Taxonomy) -> dict[str, bool]:
    """Says for each condition whether any of its days from induction on is a class with pain."""
    painful: dict[str, bool] = {}
    for name, group in zip(taxonomy.fine, taxonomy.fine_to_coarse, strict=True):
        condition, day = parse_fine_name(name) or (name, 0)
        if day >= 0:
            pain = taxonomy.coarse[group] != NO_PAIN
            painful[condition] = painful.get(condition, False) or pain
    return painful


def arrange(sessions: pd.DataFrame, taxonomy: Taxonomy, *, group: str) -> DailyScores:
    """Arranges the scores from `score_days` as units x days; see `units.unit_of` for the unit."""
    kind = unit_of(sessions, sessions["condition"].to_numpy(), group=group)
    wide = sessions.pivot_table(
        index=["condition", kind], columns="day", values="score", aggfunc="mean"
    )
    painful = painful_conditions(taxonomy)
    found = sorted(set(sessions["condition"]))
    return DailyScores(
        score=wide.to_numpy(float),
        name=tuple(map(str, wide.index.get_level_values(1))),
        condition=tuple(map(str, wide.index.get_level_values(0))),
        days=tuple(int(day) for day in wide.columns),
        kind=kind,
        pain=tuple(name for name in found if painful.get(name, False)),
        no_pain=tuple(name for name in found if not painful.get(name, True)),
    )


def describe_means(scores: DailyScores, *, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Estimates the mean score per condition and day.

    The interval of one day is the t interval over units: with the few animals of a condition a
    percentile bootstrap is too narrow (with 4, it holds the mean in some 80 % of samples). The
    band over all days of a condition comes from a studentised bootstrap of whole units.

    Returns:
        [{"condition", "day", "value", "ci95", "band95", "n"}]; both intervals None, with "why",
        where a day has a single unit.
    """
    rows = []
    rng = np.random.default_rng(seed)
    for condition in sorted(set(scores.condition)):
        score = scores.of(condition)
        found = moments(score, np.ones((1, len(score)), int))
        drawn = moments(score, draw_weights(len(score), resamples=resamples, seed=rng))
        means, ses, df = found.mean[0], np.sqrt(found.variance[0]), float(found.df[0])
        known = np.isfinite(ses)
        deviation = (drawn.mean - means) / np.sqrt(drawn.variance)
        critical = simultaneous_critical(deviation[:, known], df) if known.any() else np.nan
        for i in np.flatnonzero(found.n[0] > 0):
            mean, se = float(means[i]), float(ses[i])
            row = {"condition": condition, "day": scores.days[i], "value": mean}
            if known[i]:
                band = [mean - critical * se, mean + critical * se]
                row |= {"ci95": t_interval(mean, se, df), "band95": band}
            else:
                why = f"no interval from a single {scores.kind}, or from equal scores"
                row |= {"ci95": None, "band95": None, "why": why}
            rows.append(row | {"n": int(found.n[0, i])})
    return rows
