"""Onset, peak and resolution of pain: on which recorded day the score leaves that without pain.

The excess of a day is the mean score of a condition's animals less that of the no-pain animals on
the same day; where every animal was filmed before induction, each is first taken from its own mean
of those days. Without no-pain animals it is the change from the animals' own days before induction,
which then cannot be told from what time alone does.

- Onset: the first recorded day on which the excess is above 0 by a step-down max-t test of all days
  of the condition (two-sided level 5 %). The error rate is kept over the days, so that without pain
  2.5 % of cohorts report an onset. A day whose simultaneous 95 % interval lies above 0 is always
  found; once such days are found, the others are tested among themselves. As no proof of pain is no
  proof of its absence, the onset says that pain began on or before that day.
- Peak: the day of the largest excess.
- Resolution: the first day after the peak from which on the excess is not found and is surely, by
  the critical value of the simultaneous intervals, less than half of the peak's.

Their uncertainty is their distribution over bootstrap resamples of whole animals (cages) within
each condition; the 95 % set of days is the smallest that holds 95 % of the resamples with one.

Source: step-down: Romano & Wolf (2005), doi:10.1198/016214504000000539; unequal variances of the
    two groups: Welch (1947), doi:10.1093/biomet/34.1-2.28.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from mpjax.analysis.progression.daily_scores import Courses
from mpjax.analysis.stats.bootstrap import (
    LEAST_UNITS,
    ROUGH_BELOW,
    draw_weights,
    moments,
    simultaneous_critical,
)
from mpjax.analysis.stats.estimates import ALPHA, absent

HALF = 0.5  # of the peak's excess: below it, pain counts as resolved
_SET = 0.95


@dataclasses.dataclass(frozen=True)
class Compared:
    """What a condition's scores are compared with.

    Attributes:
        own: of the condition's units, on the days from induction on.
        other: of the no-pain units, on the same days; None: `own` is compared with 0.
        days: from induction on.
        reference: what they are compared with, in words.
    """

    own: Float[np.ndarray, "units days"]
    other: Float[np.ndarray, "others days"] | None
    days: tuple[int, ...]
    reference: str


@dataclasses.dataclass(frozen=True)
class Excess:
    """Contrasts of one condition with its reference, in the data or in every resample.

    Attributes:
        value: the contrast; NaN where a day cannot be compared.
        se: its standard error.
        half_se: that of a day's contrast less half of another's.
        df: degrees of freedom (Satterthwaite's).
        n: units of the condition.
        others: units of the reference; 0 where there are none.
    """

    value: Float[np.ndarray, "draws days"]
    se: Float[np.ndarray, "draws days"]
    half_se: Float[np.ndarray, "draws days"]
    df: Float[np.ndarray, " draws"]
    n: Float[np.ndarray, "draws days"]
    others: Float[np.ndarray, "draws days"]


@dataclasses.dataclass(frozen=True)
class TurningPoints:
    """Positions among the days, in the data or in every resample; -1: none."""

    onset: Int[np.ndarray, " draws"]
    peak: Int[np.ndarray, " draws"]
    resolution: Int[np.ndarray, " draws"]


def compare(courses: Courses, condition: str) -> Compared | str:
    """Chooses what a condition is compared with, or says why nothing is there.

    Args:
        courses: of `trajectories.arrange`.
        condition: with pain.
    """
    days = np.array(courses.days)
    before, after = days < 0, days >= 0
    own, other = courses.of(condition), courses.of(*courses.no_pain)
    kept = tuple(int(day) for day in days[after])
    if not kept:
        return "no day from induction on was recorded"
    if len(own) < LEAST_UNITS:
        return f"{len(own)} {courses.kind}(s) of {condition} held out; it takes {LEAST_UNITS}"
    based = bool(before.any()) and bool(np.isfinite(own[:, before]).any(axis=1).all())
    if len(other) >= LEAST_UNITS:
        control = f"{', '.join(courses.no_pain)} on the same day"
        if based and np.isfinite(other[:, before]).any(axis=1).all():
            changes = [score[:, after] - _baseline(score[:, before]) for score in (own, other)]
            words = f"{control}, each less its own days before induction"
            return Compared(changes[0], changes[1], kept, words)
        return Compared(own[:, after], other[:, after], kept, control)
    if not based:
        return (
            f"{len(other)} held-out {courses.kind}(s) of a condition without pain (it takes "
            f"{LEAST_UNITS}), nor was every {courses.kind} of {condition} filmed before induction"
        )
    change = own[:, after] - _baseline(own[:, before])
    return Compared(change, None, kept, "its own days before induction")


def _baseline(score: Float[np.ndarray, "units days"]) -> Float[np.ndarray, "units 1"]:
    return np.nanmean(score, axis=1, keepdims=True)


def find_excess(
    own: Float[np.ndarray, "units days"],
    other: Float[np.ndarray, "others days"] | None,
    weights: tuple[Int[np.ndarray, "draws units"], Int[np.ndarray, "draws others"]],
) -> Excess:
    """Contrasts the means of every day, without assuming that both groups spread alike.

    Args:
        own, other: see `Compared`.
        weights: how often each unit of either occurs in each draw.
    """
    groups = [moments(own, weights[0])]
    if other is not None:
        groups.append(moments(other, weights[1]))
    parts = [each.variance for each in groups]
    # Of x_day - x_peak / 2 in a unit: 1 + 1/4 - correlation, times the spread of a day.
    halves = [
        each.variance * (1 + HALF**2 - 2 * HALF * each.correlation[:, None]) for each in groups
    ]
    # Units are weighed alike on all days, so the first known day speaks for the ratio.
    sizes = [np.nanmean(np.where(each.n > 0, each.n, np.nan), axis=1) for each in groups]
    of_mean = [each.spread / size for each, size in zip(groups, sizes, strict=True)]
    with np.errstate(divide="ignore", invalid="ignore"):
        df = sum(of_mean) ** 2 / sum(
            part**2 / each.df for part, each in zip(of_mean, groups, strict=True)
        )
    return Excess(
        value=groups[0].mean - (groups[1].mean if other is not None else 0.0),
        se=np.sqrt(sum(parts)),
        half_se=np.sqrt(sum(halves)),
        df=df,
        n=groups[0].n,
        others=groups[1].n if other is not None else np.zeros_like(groups[0].n),
    )


class Criteria:
    """What |t| must exceed for a day to be found, among any set of the days; from one bootstrap."""

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
    """Tells which days are above 0: those found are taken out, until no further one is.

    Args:
        t: excess / standard error; NaN is never found.
        criteria: critical values of any set of days.
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
    """Finds onset, peak and resolution by their definitions (see the module).

    Args:
        value: the excess; NaN: not known.
        above: whether it is found to be above 0.
        half_margin: how far it must lie below half of the peak's to be surely less.
    """
    draws, last = np.arange(len(value)), value.shape[1] - 1
    found = above.any(axis=1)
    onset = np.where(found, above.argmax(axis=1), -1)
    peak = np.where(found, np.where(np.isfinite(value), value, -np.inf).argmax(axis=1), -1)
    gone = ~above & (value + half_margin < HALF * value[draws, peak][:, None])
    lasting = np.logical_and.accumulate(gone[:, ::-1], axis=1)[:, ::-1]
    lasting &= np.arange(last + 1) > peak[:, None]
    resolution = np.where(found & lasting.any(axis=1), lasting.argmax(axis=1), -1)
    return TurningPoints(onset, peak, resolution)


def describe_condition(compared: Compared, *, kind: str, resamples: int, seed: int) -> dict:
    """Estimates the excess on every day, and onset, peak and resolution with their 95 % sets.

    Args:
        compared: of `compare`.
        kind: what a unit is, `animal` or `cage`.
        resamples: of whole units.
        seed: of the drawing.

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
    rows = [_absent_row(day, compared) for day in days]
    if not len(kept):
        why = "on no day are there 2 scores on either side that differ from each other"
        return {"excess": rows, **dict.fromkeys(("onset", "peak", "resolution"), absent(why))}
    rng = np.random.default_rng(seed)
    weights = (
        draw_weights(len(own), resamples=resamples, seed=rng),
        draw_weights(others, resamples=resamples, seed=rng),
    )
    own, other = own[:, kept], None if other is None else other[:, kept]
    found, drawn = find_excess(own, other, ones), find_excess(own, other, weights)
    criteria = Criteria((drawn.value - found.value[0]) / drawn.se, float(found.df[0]))
    critical = criteria.among(np.ones(len(kept), bool))
    above = step_down(found.value / found.se, criteria)
    for i, day in enumerate(kept):
        rows[day] = _row(days[day], found, i, critical) | {"above": bool(above[0, i])}
    points = locate(found.value, above, critical * found.half_se)
    resampled = locate(
        drawn.value, step_down(drawn.value / drawn.se, criteria), critical * drawn.half_se
    )
    described = _describe_points(
        points, resampled, [days[i] for i in kept], rows=[rows[i] for i in kept]
    )
    if (units := min(len(own), others or len(own))) < ROUGH_BELOW:
        for each in described.values():
            each["note"] = f"rough, as it rests on {units} {kind}s of a condition only"
    return {"excess": rows, **described}


def _absent_row(day: int, compared: Compared) -> dict[str, Any]:
    side = "animals" if compared.other is None else "animals of the condition and without pain"
    why = f"fewer than {LEAST_UNITS} {side} recorded on this day, or all of one score"
    return {"day": day, **absent(why)}


def _row(day: int, found: Excess, i: int, critical: float) -> dict[str, Any]:
    value, se = float(found.value[0, i]), float(found.se[0, i])
    half = float(stats.t.isf(ALPHA / 2, found.df[0])) * se
    return {
        "day": day,
        "value": value,
        "ci95": [value - half, value + half],
        "band95": [value - critical * se, value + critical * se],
        "n": int(found.n[0, i]),
        "n_reference": int(found.others[0, i]),
    }


def _describe_points(
    points: TurningPoints,
    resampled: TurningPoints,
    days: Sequence[int],
    *,
    rows: Sequence[dict[str, Any]],
) -> dict[str, dict[str, Any]]:
    none = "on no day is the excess found to be above 0"
    onset = _point(int(points.onset[0]), resampled.onset, days, why=none)
    peak = _point(int(points.peak[0]), resampled.peak, days, why=none)
    last = rows[-1]
    if points.onset[0] < 0:
        why = none
    elif last["above"]:
        why = f"the excess is still there on the last recorded day, {days[-1]}"
    else:
        why = (
            f"on the last recorded day, {days[-1]}, the excess is not found, but it is not surely "
            "below half of the peak's either"
        )
    resolution = _point(int(points.resolution[0]), resampled.resolution, days, why=why)
    if onset["value"] is not None:
        onset["at_first"] = bool(points.onset[0] == 0)
        peak["excess"] = {key: rows[points.peak[0]][key] for key in ("value", "ci95", "n")}
        resolution["persists"] = last["above"]
    return {"onset": onset, "peak": peak, "resolution": resolution}


def _point(
    found: int, drawn: Int[np.ndarray, " draws"], days: Sequence[int], *, why: str
) -> dict[str, Any]:
    """Describes one turning point by its distribution over the resamples."""
    counts = np.bincount(drawn[drawn >= 0], minlength=len(days))
    without = float((drawn < 0).mean())
    if found < 0:
        return {**absent(why), "without": without}
    order = np.argsort(-counts, kind="stable")
    reached = np.cumsum(counts[order]) >= _SET * counts.sum()
    smallest = order[: int(reached.argmax()) + 1]
    shares = zip(days, counts / len(drawn), strict=True)
    return {
        "value": days[found],
        "days95": sorted(days[i] for i in smallest) if counts.any() else [days[found]],
        "shares": {str(day): float(share) for day, share in shares},
        "without": without,
    }
