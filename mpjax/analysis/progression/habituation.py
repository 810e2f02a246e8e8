"""The pain score within a recording: does it fade as an animal gets used to the chamber?"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from mpjax.analysis.pain_score import average_by_animal, pain_score
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.progression.daily_scores import own_conditions
from mpjax.analysis.stats.bootstrap import LEAST_UNITS
from mpjax.analysis.stats.estimates import NotEstimableError, absent
from mpjax.analysis.stats.permutation import flip_signs
from mpjax.analysis.stats.t_test import t_interval

BINS = 6
_LEAST_CLIPS = 3  # of a recording, at as many times, for a slope


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
    least-squares slope of its clips' scores on their start. As the effects of handling and of a new
    place fade without pain, too, each slope is also compared with that of the no-pain animals.

    Args:
        p: calibrated probabilities, rows as in `predictions.table`.
        kind: the unit, `animal` or `cage`.
        no_pain: the conditions without pain.
        permutations: random sign flips (with many animals), and relabellings of animals.

    Returns:
        {"bins": [{"condition", "start_s", "end_s", "value", "ci95", "n"}], "slopes": {condition:
        {"value", "ci95", "p", "n"}} (logit per minute, p by sign flips), "against_no_pain":
        {condition: the same, p by permuting animals}}, or {"value": None, "why"}.
    """
    mask = predictions.evaluated & (predictions.table["day"] >= 0).to_numpy()
    clips = predictions.table[mask].assign(score=pain_score(predictions.taxonomy, p[mask]))
    if not clips.groupby("video")["start_s"].agg(np.ptp).any():
        return absent("no recording has clips that start at different times")
    try:
        clips = clips.assign(condition=own_conditions(clips))
    except NotEstimableError as error:
        return absent(str(error))
    none = np.zeros(0)
    slopes = dict.fromkeys(sorted(set(clips["condition"])), none) | _slopes(clips, kind)
    control = np.concatenate([none, *(slopes[name] for name in no_pain if name in slopes)])
    rng = np.random.default_rng(seed)
    return {
        "bins": _bins(clips, kind),
        "slopes": {
            name: describe_slope(own, kind=kind, draws=permutations, rng=rng)
            for name, own in slopes.items()
        },
        "against_no_pain": {
            name: compare_slopes(own, control, kind=kind, draws=permutations, rng=rng)
            for name, own in slopes.items()
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
    return [
        {"condition": str(condition), "start_s": float(edges[i]), "end_s": float(edges[i + 1])}
        | _mean(part["score"].to_numpy(), kind=kind)
        for (condition, i), part in units.groupby(["condition", "bin"])
    ]


def _slopes(clips: pd.DataFrame, kind: str) -> dict[str, Float[np.ndarray, "_"]]:
    """Returns each unit's slope per condition, logit per minute."""
    columns = ["condition", "animal", "cage", "video"]
    found = [
        (*key, stats.linregress(own["start_s"] / 60, own["score"]).slope)
        for key, own in clips.groupby(columns)
        if own["start_s"].nunique() >= _LEAST_CLIPS
    ]
    videos = pd.DataFrame(found, columns=[*columns, "slope"])
    units = _by_unit(videos, "slope", by=["condition"], kind=kind)
    return {str(name): part["slope"].to_numpy() for name, part in units.groupby("condition")}


def _mean(values: Float[np.ndarray, " units"], *, kind: str) -> dict[str, Any]:
    """Returns the mean over units with its t interval."""
    mean, n = float(values.mean()), len(values)
    if n < LEAST_UNITS:
        return {"value": mean, "n": n, "ci95": None, "why": f"no interval from a single {kind}"}
    return {"value": mean, "n": n, "ci95": t_interval(mean, stats.sem(values), n - 1)}


def describe_slope(
    slopes: Float[np.ndarray, " units"], *, kind: str, draws: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Tests the mean slope by flipping the signs of whole units' slopes; all flips if few.

    Source: Fisher, The Design of Experiments (1935), section 21.
    """
    n = len(slopes)
    if n < LEAST_UNITS:
        return absent(
            f"{n} {kind}(s) with a recording of {_LEAST_CLIPS} clips; at least {LEAST_UNITS} are "
            "needed"
        )
    return _mean(slopes, kind=kind) | {"p": flip_signs(slopes, draws, rng).p}


def compare_slopes(
    slopes: Float[np.ndarray, " units"],
    control: Float[np.ndarray, " others"],
    *,
    kind: str,
    draws: int,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Tests the difference of two mean slopes by permuting units, with Welch's interval.

    `draws` is the number of random permutations; all are used where there are fewer.

    Source: Janssen (1997), doi:10.1016/S0167-7152(97)00043-6 (studentised permutation under
        unequal variances).
    """
    n, m = len(slopes), len(control)
    if min(n, m) < LEAST_UNITS:
        return absent(
            f"{n} {kind}(s) with and {m} without pain have a recording of {_LEAST_CLIPS} clips; at "
            f"least {LEAST_UNITS} each are needed"
        )
    if np.ptp(slopes) == 0 and np.ptp(control) == 0:
        return absent("all slopes are alike, so there is no variance to test by")
    interval = stats.ttest_ind(slopes, control, equal_var=False).confidence_interval()
    method = stats.PermutationMethod(n_resamples=draws, rng=rng)
    test = stats.ttest_ind(slopes, control, equal_var=False, method=method)
    return {
        "value": float(slopes.mean() - control.mean()),
        "ci95": [float(end) for end in interval],
        "p": float(test.pvalue),
        "n": n + m,
    }
