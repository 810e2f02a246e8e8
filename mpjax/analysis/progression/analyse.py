"""The course of pain over days, on held-out predictions: the part `progression` of metrics.json."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from mpjax.analysis.pain_score import describe_days
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.progression import daily_scores, day_order, onset
from mpjax.analysis.progression.habituation import describe_within_recording
from mpjax.analysis.progression.mixed_model import fit_course
from mpjax.analysis.progression.non_responders import flag_unaffected
from mpjax.analysis.progression.summary import summarise
from mpjax.analysis.stats import bootstrap as resampling
from mpjax.analysis.stats.estimates import NotEstimableError, absent
from mpjax.analysis.stats.units import LEVELS, Units, scores_are_constant, unit_levels
from mpjax.taxonomy import Taxonomy

_POINTS = ("onset", "peak", "resolution")
_OF_SCORES = ("means", "excess", *_POINTS, "mixed_model", "unaffected")


def describe_course(
    predictions: Predictions,
    p: Float[np.ndarray, "n fine"],
    *,
    bootstrap: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Analyses the pain score over days; the animal (or cage) is the unit throughout.

    Args:
        predictions: of a study, under folds or a fixed split.
        p: calibrated probabilities of the fine classes, rows as in `predictions.table`.
        bootstrap: resamples of whole units.
        permutations: of days within animals, and of slopes over animals.
        seed: of both.

    Returns:
        The part `progression` of metrics.json (see its schema): `rows` of `describe_days`, and
        what `describe_scores`, `day_order` and `within_recording` return; or {"value": None,
        "why"} where nothing tells of pain.
    """
    days = describe_days(predictions, p)
    if "rows" not in days:
        return days
    mask = predictions.evaluated
    rows = predictions.table[mask]
    weights = resampling.draw_weights(
        rows[predictions.group].nunique(), resamples=bootstrap, seed=seed
    )
    try:
        sessions = daily_scores.score_days(predictions, p)
        scores = describe_scores(
            sessions, predictions.taxonomy, group=predictions.group, resamples=bootstrap, seed=seed
        )
    except NotEstimableError as error:
        scores = {"unit": predictions.group, "trajectories": [], "reference": {}}
        scores |= dict.fromkeys(_OF_SCORES, absent(str(error)))
    painful = daily_scores.painful_conditions(predictions.taxonomy)
    result = days | scores
    result["day_order"] = day_order.describe_day_order(
        _levels(predictions, rows, p[mask])["animal_day"], rows, predictions.taxonomy,
        weights=weights, permutations=permutations, seed=seed, unit=predictions.group,
    )  # fmt: skip
    result["consistency"] = day_order.describe_consistency(
        _levels(predictions, rows, predictions.p[mask]), rows, predictions.taxonomy,
        weights=weights, unit=predictions.group,
    )  # fmt: skip
    result["within_recording"] = describe_within_recording(
        predictions, p, kind=scores["unit"],
        no_pain=tuple(name for name, pain in painful.items() if not pain),
        permutations=permutations, seed=seed,
    )  # fmt: skip
    return result | {"summary": summarise(result)}


def _levels(
    predictions: Predictions, rows: pd.DataFrame, p: Float[np.ndarray, "n fine"]
) -> dict[str, Units | str]:
    if scores_are_constant(p):
        return dict.fromkeys(LEVELS, "every class scores alike in all clips")
    return unit_levels(rows, rows["label"].to_numpy(), p, group=predictions.group)


def describe_scores(
    sessions: pd.DataFrame, taxonomy: Taxonomy, *, group: str, resamples: int, seed: int
) -> dict[str, Any]:
    """Analyses the scores of animals on days: all but what needs clips.

    Args:
        sessions: of `trajectories.score_days`.
        taxonomy: tells which conditions are painful.
        group: of the split, `animal` or `cage`.
        resamples: of whole units.
        seed: of the drawing.

    Returns:
        `unit`, `trajectories` (the sessions), `means`, `excess` (over no pain, per condition and
        day), `reference`, `onset`, `peak`, `resolution`, `unaffected` (each per condition with
        pain) and `mixed_model`.
    """
    courses = daily_scores.arrange(sessions, taxonomy, group=group)
    animals = daily_scores.arrange(sessions, taxonomy, group="animal")
    result: dict[str, Any] = {
        "unit": courses.kind,
        "trajectories": sessions.to_dict("records"),
        "means": daily_scores.describe_means(courses, resamples=resamples, seed=seed),
        "excess": [],
        **{name: {} for name in ("reference", *_POINTS, "unaffected")},
    }
    for condition in courses.pain:
        compared = onset.compare(courses, condition)
        if isinstance(compared, str):
            for name in (*_POINTS, "unaffected"):
                result[name][condition] = absent(compared)
            continue
        found = onset.describe_condition(
            compared, kind=courses.kind, resamples=resamples, seed=seed
        )
        result["reference"][condition] = compared.reference
        result["excess"] += [{"condition": condition, **row} for row in found["excess"]]
        for name in _POINTS:
            result[name][condition] = found[name]
        result["unaffected"][condition] = _flag(animals, condition, found, seed=seed)
    reference = (courses.no_pain or courses.pain)[0] if courses.condition else ""
    result["mixed_model"] = fit_course(sessions, reference=reference)
    return result


def _flag(
    animals: daily_scores.Courses, condition: str, found: dict[str, Any], *, seed: int
) -> dict[str, Any]:
    """Flags animals from the onset on, until pain is resolved."""
    first = found["onset"]["value"]
    if first is None:
        return absent(f"no onset was found ({found['onset']['why']})")
    compared = onset.compare(animals, condition)
    if isinstance(compared, str):
        return absent(compared)
    period = (first, found["resolution"]["value"])
    return flag_unaffected(animals, compared, condition, period=period, seed=seed)
