"""The pain score within a recording: does it fade, as an animal gets used to the chamber?"""

import itertools
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from mpjax.analysis.pain_score import average_by_animal, pain_score
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.progression.daily_scores import own_conditions
from mpjax.analysis.stats.bootstrap import LEAST_UNITS
from mpjax.analysis.stats.estimates import ALPHA, NotEstimableError, absent

BINS = 6
_LEAST_CLIPS = 3  # of a recording, at as many times, for a slope
_EXACT = 12  # units, up to which all 2^n sign flips are counted


def describe_within_recording(
    predictions: Predictions,
    p: Float[np.ndarray, "n fine"],
    *,
    kind: str,
    no_pain: tuple[str, ...],
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Averages the pain score by the time since the recording's start, and tests its slope.

    Days before induction are left out. An animal's slope is the mean over its recordings of the
    least-squares slope of its clips' scores on their start. Handling and a new place wear off
    without pain, too, so each condition's slope is also compared with that of the no-pain animals.

    Args:
        predictions: of a study whose classes tell of pain.
        p: calibrated probabilities of the fine classes, rows as in `predictions.table`.
        kind: the unit, `animal` or `cage`.
        no_pain: the conditions without pain.
        permutations: random sign flips (with many animals), and relabellings of animals.
        seed: of both.

    Returns:
        {"bins": [{"condition", "start_s", "end_s", "value", "ci95", "n"}], "slopes": {condition:
        {"value", "ci95", "p", "n"}} (logit per minute, p by sign flips), "against_no_pain":
        {condition: the same, p by permuting animals}}, or {"value": None, "why"}.

    Source: Fisher, The Design of Experiments (1935), section 21 (sign flips); Janssen (1997),
        doi:10.1016/S0167-7152(97)00043-6 (studentised permutation under unequal variances).
    """
    mask = predictions.evaluated & (predictions.table["day"] >= 0).to_numpy()
    clips = predictions.table[mask].assign(score=pain_score(predictions.taxonomy, p[mask]))
    if clips.groupby("video")["start_s"].nunique().max() in (1, np.nan) or clips.empty:
        return absent("no recording has clips that start at different times")
    try:
        clips = clips.assign(condition=own_conditions(clips))
    except NotEstimableError as error:
        return absent(str(error))
    slopes = _slopes(clips, kind)
    rng = np.random.default_rng(seed)
    names = sorted(set(clips["condition"]))
    control = np.concatenate([slopes.get(name, np.zeros(0)) for name in no_pain] or [np.zeros(0)])
    return {
        "bins": _bins(clips, kind),
        "slopes": {
            name: judge_slope(slopes.get(name, np.zeros(0)), kind=kind, draws=permutations, rng=rng)
            for name in names
        },
        "against_no_pain": {
            name: compare_slopes(
                slopes.get(name, np.zeros(0)), control, kind=kind, draws=permutations, rng=rng
            )
            for name in names
            if name not in no_pain
        },
    }


def _by_unit(clips: pd.DataFrame, value: str, *, by: list[str], kind: str) -> pd.DataFrame:
    """Averages over recordings, animals and, where they are the unit, cages."""
    if kind == "animal":
        return average_by_animal(clips, value, by=by)
    cages = average_by_animal(clips, value, by=[*by, "cage"])
    return cages.groupby([*by, "cage"], as_index=False)[value].mean()


def _bins(clips: pd.DataFrame, kind: str) -> list[dict[str, Any]]:
    """Averages the score in bins of equal width up to the start of the latest clip."""
    starts = clips["start_s"].to_numpy()
    count = min(BINS, len(np.unique(starts)))
    edges = np.linspace(starts.min(), starts.max(), count + 1)
    index = np.clip(np.searchsorted(edges, starts, side="right") - 1, 0, count - 1)
    units = _by_unit(clips.assign(bin=index), "score", by=["condition", "bin"], kind=kind)
    rows = []
    for (condition, at), part in units.groupby(["condition", "bin"]):
        estimate = _mean(part["score"].to_numpy(), kind=kind)
        place = {"start_s": float(edges[at]), "end_s": float(edges[at + 1])}
        rows.append({"condition": str(condition), **place, **estimate})
    return rows


def _slopes(clips: pd.DataFrame, kind: str) -> dict[str, Float[np.ndarray, "_"]]:
    """Returns each unit's slope per condition, logit per minute."""
    minutes = clips["start_s"] / 60
    videos = clips.groupby("video")
    time = minutes - minutes.groupby(clips["video"]).transform("mean")
    score = clips["score"] - videos["score"].transform("mean")
    sums = pd.DataFrame({"video": clips["video"], "xy": time * score, "xx": time**2})
    sums = sums.groupby("video").sum()
    kept = (videos["start_s"].nunique() >= _LEAST_CLIPS) & (sums["xx"] > 0)
    slope = (sums["xy"] / sums["xx"])[kept]
    first = videos[["condition", "animal", "cage"]].first().loc[slope.index].reset_index()
    units = _by_unit(first.assign(slope=slope.to_numpy()), "slope", by=["condition"], kind=kind)
    return {str(name): part["slope"].to_numpy() for name, part in units.groupby("condition")}


def _mean(values: Float[np.ndarray, " units"], *, kind: str) -> dict[str, Any]:
    """Returns the mean over units with its t interval."""
    n = len(values)
    estimate: dict[str, Any] = {"value": float(values.mean()), "n": n}
    if n < LEAST_UNITS:
        return estimate | {"ci95": None, "why": f"no interval from a single {kind}"}
    half = stats.t.isf(ALPHA / 2, n - 1) * values.std(ddof=1) / np.sqrt(n)
    return estimate | {"ci95": [estimate["value"] - float(half), estimate["value"] + float(half)]}


def judge_slope(
    slopes: Float[np.ndarray, " units"], *, kind: str, draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Tests the mean slope by flipping the signs of whole units' slopes; all flips if few.

    Args:
        slopes: of each unit, logit per minute.
        kind: what a unit is.
        draws: random flips, where there are too many to count all.
        rng: of them.
    """
    n = len(slopes)
    if n < LEAST_UNITS:
        return absent(
            f"{n} {kind}(s) with a recording of {_LEAST_CLIPS} clips; it takes {LEAST_UNITS}"
        )
    if n <= _EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=n)))
    else:
        signs = np.vstack([np.ones(n), rng.choice((1.0, -1.0), (draws, n))])
    flipped = np.abs(signs @ slopes)
    p = float((flipped >= flipped[0] * (1 - 1e-9)).mean())
    return _mean(slopes, kind=kind) | {"p": p}


def compare_slopes(
    slopes: Float[np.ndarray, " units"],
    control: Float[np.ndarray, " others"],
    *,
    kind: str,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Tests the difference of two mean slopes by permuting units, with Welch's interval.

    Args:
        slopes, control: of each unit with and without pain, logit per minute.
        kind: what a unit is.
        draws: random permutations.
        rng: of them.
    """
    n, m = len(slopes), len(control)
    if min(n, m) < LEAST_UNITS:
        return absent(
            f"{n} {kind}(s) with and {m} without pain have a recording of {_LEAST_CLIPS} clips; "
            f"it takes {LEAST_UNITS} each"
        )
    pooled = np.concatenate([slopes, control])
    orders = np.vstack(
        [np.arange(n + m), rng.permuted(np.tile(np.arange(n + m), (draws, 1)), axis=1)]
    )
    drawn = pooled[orders]
    difference = drawn[:, :n].mean(1) - drawn[:, n:].mean(1)
    parts = np.stack([drawn[:, :n].var(1, ddof=1) / n, drawn[:, n:].var(1, ddof=1) / m])
    se = np.sqrt(parts.sum(0))
    if se[0] == 0:
        return absent("all slopes are alike, so there is no variance to judge by")
    t = np.abs(np.divide(difference, se, out=np.full(len(se), np.inf), where=se > 0))
    df = se[0] ** 4 / (parts[0, 0] ** 2 / (n - 1) + parts[1, 0] ** 2 / (m - 1))
    half = stats.t.isf(ALPHA / 2, df) * se[0]
    value = float(difference[0])
    return {
        "value": value,
        "ci95": [value - float(half), value + float(half)],
        "p": float((t >= t[0] * (1 - 1e-9)).mean()),
        "n": n + m,
    }
