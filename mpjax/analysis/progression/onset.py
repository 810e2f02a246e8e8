"""Onset, peak and resolution of pain: from which recorded day on the score differs from no pain.

The excess of a day is the mean score of a condition's animals minus that of the no-pain animals on
the same day; where every animal was filmed before induction, each score is first taken relative to
the animal's own mean of those days. Without no-pain animals it is the change from the animals' own
days before induction, which cannot be distinguished from the effect of time alone.

- Onset: the first recorded day on which the excess is above 0 by a step-down max-t test of all days
  of the condition (two-sided level 5 %). The error rate is kept over the days, so that without pain
  2.5 % of cohorts report an onset. A day whose simultaneous 95 % interval lies above 0 is always
  found; once such days are found, the others are tested among themselves. As a test cannot prove
  the absence of pain, the onset means that pain began on or before that day.
- Peak: the day of the largest excess.
- Resolution: the first day after the peak from which on the excess is not found and is, by the
  critical value of the simultaneous intervals, less than half of the peak's.

Their uncertainty is their distribution over bootstrap resamples of whole animals (cages) within
each condition; the 95 % set of days is the smallest that holds 95 % of the resamples with one.

Source: step-down: Romano & Wolf (2005), doi:10.1198/016214504000000539; unequal variances of the
    two groups: Welch (1947), doi:10.1093/biomet/34.1-2.28.
"""

import dataclasses
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from mpjax.analysis.progression.daily_scores import DailyScores
from mpjax.analysis.stats.bootstrap import (
    LEAST_UNITS,
    ROUGH_BELOW,
    draw_weights,
    moments,
    simultaneous_critical,
)
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.t_test import t_interval

POINTS = ("onset", "peak", "resolution")
HALF = 0.5  # of the peak's excess: below it, pain counts as resolved
_SET = 0.95


@dataclasses.dataclass(frozen=True)
class Compared:
    """A condition's scores from induction on, and what they are compared with."""

    own: Float[np.ndarray, "units days"]
    other: Float[np.ndarray, "others days"] | None  # without pain; None: `own` is compared with 0
    days: tuple[int, ...]
    names: tuple[str, ...]  # of the condition's units
    reference: str  # what they are compared with, in words


class Excess(NamedTuple):
    """The excess of one condition, in the data or in every resample."""

    value: Float[np.ndarray, "draws days"]  # NaN where a day cannot be compared
    se: Float[np.ndarray, "draws days"]
    half_se: Float[np.ndarray, "draws days"]  # of a day's excess minus half of another's
    df: Float[np.ndarray, " draws"]  # degrees of freedom (Satterthwaite's)
    n: Float[np.ndarray, "draws days"]  # units of the condition
    others: Float[np.ndarray, "draws days"]  # units of the reference; 0 where there are none


class TurningPoints(NamedTuple):
    """Positions among the days, in the data or in every resample; -1: none."""

    onset: Int[np.ndarray, " draws"]
    peak: Int[np.ndarray, " draws"]
    resolution: Int[np.ndarray, " draws"]


def compare(scores: DailyScores, condition: str) -> Compared | str:
    """Chooses what a condition with pain is compared with, or says why there is nothing."""
    days = np.array(scores.days)
    before, after = days < 0, days >= 0
    own, other = scores.of(condition), scores.of(*scores.no_pain)
    if not after.any():
        return "no day from induction on was recorded"
    if len(own) < LEAST_UNITS:
        held_out = f"{len(own)} {scores.kind}(s) of {condition} held out"
        return f"{held_out}; at least {LEAST_UNITS} are needed"

    def has_baseline(score: np.ndarray) -> bool:
        return bool(before.any() and np.isfinite(score[:, before]).any(axis=1).all())

    controlled = len(other) >= LEAST_UNITS
    based = has_baseline(own) and (not controlled or has_baseline(other))
    if not controlled and not based:
        return (
            f"{len(other)} held-out {scores.kind}(s) of a condition without pain (at least "
            f"{LEAST_UNITS} are needed), and not every {scores.kind} of {condition} was filmed "
            "before induction"
        )
    reference = f"{', '.join(scores.no_pain)} on the same day" if controlled else ""
    other = other if controlled else other[:0]
    if based:
        own, other = (
            score - np.nanmean(score[:, before], axis=1, keepdims=True) for score in (own, other)
        )
        reference += ", each less its own days before induction" if controlled else ""
    return Compared(
        own=own[:, after],
        other=other[:, after] if controlled else None,
        days=tuple(days[after].tolist()),
        names=tuple(np.array(scores.name)[np.array(scores.condition) == condition].tolist()),
        reference=reference or "its own days before induction",
    )


def find_excess(
    own: Float[np.ndarray, "units days"],
    other: Float[np.ndarray, "others days"] | None,
    weights: tuple[Int[np.ndarray, "draws units"], Int[np.ndarray, "draws others"]],
) -> Excess:
    """Compares the means of every day, without assuming equal variances in both groups.

    `own` and `other` are as in `Compared`; `weights` says how often a unit of either is drawn.
    """
    sides = [own] if other is None else [own, other]
    groups = [moments(*each) for each in zip(sides, weights, strict=False)]
    # Var(x_day - x_peak / 2) in a unit: the variance of a day times 1 + 1/4 - correlation.
    shares = [1 + HALF**2 - 2 * HALF * each.correlation[:, None] for each in groups]
    # The weights of units are the same on all days, so the first known day gives the ratio.
    sizes = [np.nanmean(np.where(each.n > 0, each.n, np.nan), axis=1) for each in groups]
    of_mean = [each.spread / size for each, size in zip(groups, sizes, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        squares = [part**2 / each.df for part, each in zip(of_mean, groups, strict=True)]
        df = sum(of_mean) ** 2 / sum(squares)
    return Excess(
        value=groups[0].mean - sum(each.mean for each in groups[1:]),
        se=np.sqrt(sum(each.variance for each in groups)),
        half_se=np.sqrt(sum(each.variance * k for each, k in zip(groups, shares, strict=True))),
        df=df,
        n=groups[0].n,
        others=groups[1].n if groups[1:] else np.zeros_like(groups[0].n),
    )


class Criteria:
    """What |t| must exceed for a day to be found among any set of days; from one bootstrap."""

    def __init__(self, deviation: Float[np.ndarray, "draws days"], df: float):
        self._deviation, self._df = deviation, df
        self._known: dict[bytes, float] = {}

    def among(self, days: Bool[np.ndarray, " days"]) -> float:
        """Returns the critical value of the days that are true, at least one."""
        key = days.tobytes()
        if key not in self._known:
            self._known[key] = simultaneous_critical(self._deviation[:, days], self._df)
        return self._known[key]


def step_down(
    t: Float[np.ndarray, "draws days"], criteria: Criteria
) -> Bool[np.ndarray, "draws days"]:
    """Finds the days above 0: those found are removed and the others tested again.

    `t` is excess / standard error; NaN is never found.
    """
    left = np.ones(t.shape, bool)
    active = np.arange(len(t))
    while len(active):
        sets, of = np.unique(left[active], axis=0, return_inverse=True)
        critical = np.array([criteria.among(days) if days.any() else np.inf for days in sets])
        new = left[active] & (t[active] > critical[of.reshape(-1)][:, None])
        left[active] &= ~new
        active = active[new.any(axis=1)]
    return ~left


def locate(
    value: Float[np.ndarray, "draws days"],
    above: Bool[np.ndarray, "draws days"],
    half_margin: Float[np.ndarray, "draws days"],
) -> TurningPoints:
    """Finds onset, peak and resolution by the definitions above.

    Args:
        value: the excess; NaN: unknown.
        above: whether it is found to be above 0.
        half_margin: how far below half of the peak's excess it must lie to be clearly less.
    """
    draws, last = np.arange(len(value)), value.shape[1] - 1
    found = above.any(axis=1)
    peak = np.where(np.isfinite(value), value, -np.inf).argmax(axis=1)
    gone = ~above & (value + half_margin < HALF * value[draws, peak][:, None])
    lasting = np.logical_and.accumulate(gone[:, ::-1], axis=1)[:, ::-1]
    lasting &= np.arange(last + 1) > peak[:, None]
    return TurningPoints(
        onset=np.where(found, above.argmax(axis=1), -1),
        peak=np.where(found, peak, -1),
        resolution=np.where(found & lasting.any(axis=1), lasting.argmax(axis=1), -1),
    )


def describe_condition(compared: Compared, *, kind: str, resamples: int, seed: int) -> dict:
    """Estimates the excess on every day, and onset, peak and resolution with their 95 % sets.

    Returns:
        {"excess": [{"day", "value", "ci95", "band95", "n", "n_reference", "above"}], "onset",
        "peak", "resolution"}, the last three {"value": day, "days95", "shares": {day: share of all
        resamples}, "without": share of resamples without one, …}, or {"value": None, "why",
        "without"}.
    """
    own, other, days = compared.own, compared.other, compared.days
    others = 0 if other is None else len(other)
    ones = (np.ones((1, len(own)), int), np.ones((1, others), int))
    kept = np.flatnonzero(np.isfinite(find_excess(own, other, ones).se[0]))
    side = "animals" if other is None else "animals of the condition and without pain"
    why = f"fewer than {LEAST_UNITS} {side} recorded on this day, or all with the same score"
    rows = [{"day": day, **absent(why)} for day in days]
    if not len(kept):
        why = f"on no day are there {LEAST_UNITS} different scores on either side"
        return {"excess": rows, **dict.fromkeys(POINTS, absent(why))}
    rng = np.random.default_rng(seed)
    weights = (
        draw_weights(len(own), resamples=resamples, seed=rng),
        draw_weights(others, resamples=resamples, seed=rng),
    )
    own, other = own[:, kept], None if other is None else other[:, kept]
    found, drawn = find_excess(own, other, ones), find_excess(own, other, weights)
    criteria = Criteria((drawn.value - found.value[0]) / drawn.se, float(found.df[0]))
    critical = criteria.among(np.ones(len(kept), bool))
    above, above_drawn = (step_down(each.value / each.se, criteria) for each in (found, drawn))
    for i, k in enumerate(kept):
        value, se = float(found.value[0, i]), float(found.se[0, i])
        rows[k] = {
            "day": days[k],
            "value": value,
            "ci95": t_interval(value, se, found.df[0]),
            "band95": [value - critical * se, value + critical * se],
            "n": int(found.n[0, i]),
            "n_reference": int(found.others[0, i]),
            "above": bool(above[0, i]),
        }
    points = locate(found.value, above, critical * found.half_se)
    resampled = locate(drawn.value, above_drawn, critical * drawn.half_se)
    described = _describe_points(points, resampled, [rows[k] for k in kept])
    if (units := min(len(own), others or len(own))) < ROUGH_BELOW:
        for each in described.values():
            each["note"] = f"rough, as it rests on {units} {kind}s of a condition only"
    return {"excess": rows, **described}


def _describe_points(
    points: TurningPoints, resampled: TurningPoints, rows: list[dict[str, Any]]
) -> dict[str, dict[str, Any]]:
    """Describes the turning points among the compared days by their resamples."""
    first, last = int(points.onset[0]), rows[-1]
    whys = dict.fromkeys(POINTS, "on no day is the excess found to be above 0")
    if first >= 0 and last["above"]:
        whys["resolution"] = f"the excess is still there on the last recorded day, {last['day']}"
    elif first >= 0:
        whys["resolution"] = (
            f"on the last recorded day, {last['day']}, the excess is not found, but it is not "
            "clearly below half of the peak's either"
        )
    days = [row["day"] for row in rows]
    described = {
        name: _describe_point(int(found[0]), drawn, days, why=whys[name])
        for name, found, drawn in zip(POINTS, points, resampled, strict=True)
    }
    if first >= 0:
        described["onset"]["at_first"] = first == 0
        peak = rows[points.peak[0]]
        described["peak"]["excess"] = {key: peak[key] for key in ("value", "ci95", "n")}
        described["resolution"]["persists"] = last["above"]
    return described


def _describe_point(
    found: int, drawn: Int[np.ndarray, " draws"], days: list[int], *, why: str
) -> dict[str, Any]:
    counts = np.bincount(drawn[drawn >= 0], minlength=len(days))
    without = float((drawn < 0).mean())
    if found < 0:
        return {**absent(why), "without": without}
    order = np.argsort(-counts, kind="stable")
    reached = np.cumsum(counts[order]) >= _SET * counts.sum()
    smallest = order[: int(reached.argmax()) + 1] if counts.any() else [found]
    shares = (counts / len(drawn)).tolist()
    return {
        "value": days[found],
        "days95": sorted(days[i] for i in smallest),
        "shares": {str(day): share for day, share in zip(days, shares, strict=True)},
        "without": without,
    }
