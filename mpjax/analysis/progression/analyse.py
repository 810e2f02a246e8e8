"""The course of pain over days, on held-out predictions: the part `progression` of metrics.json."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from mpjax.analysis.predictions import Predictions
from mpjax.analysis.progression import daily_scores, day_order, onset
from mpjax.analysis.progression.habituation import describe_within_recording
from mpjax.analysis.progression.mixed_model import fit_course
from mpjax.analysis.progression.non_responders import flag_non_responders
from mpjax.analysis.progression.summary import summarise
from mpjax.analysis.stats.bootstrap import draw_weights
from mpjax.analysis.stats.estimates import NotEstimableError, absent
from mpjax.analysis.stats.units import LEVELS, Units, scores_are_constant, unit_levels
from mpjax.taxonomy import Taxonomy


def describe_progression(
    predictions: Predictions,
    p: Float[np.ndarray, "n fine"],
    *,
    bootstrap: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Analyses the pain score over days; the animal (or cage) is the unit throughout.

    Args:
        p: calibrated probabilities, rows as in `predictions.table`.
        bootstrap: resamples of whole units.
        permutations: of days within animals, and of slopes over animals.

    Returns:
        The part `progression` of metrics.json (see its schema); or {"value": None, "why"} where
        the classes give no probability of pain.
    """
    days = daily_scores.describe_days(predictions, p)
    if "rows" not in days:
        return days
    mask, taxonomy = predictions.evaluated, predictions.taxonomy
    rows, unit = predictions.table[mask], predictions.group
    weights = draw_weights(rows[unit].nunique(), resamples=bootstrap, seed=seed)
    try:
        sessions = daily_scores.score_days(predictions, p)
        scores = describe_scores(sessions, taxonomy, group=unit, resamples=bootstrap, seed=seed)
    except NotEstimableError as error:
        scores = {"unit": unit, "trajectories": [], "reference": {}}
        of_scores = ("means", "excess", *onset.POINTS, "mixed_model", "unaffected")
        scores |= dict.fromkeys(of_scores, absent(str(error)))

    def levels(p: Float[np.ndarray, "n fine"]) -> dict[str, Units | str]:
        if scores_are_constant(p):
            return dict.fromkeys(LEVELS, "every class scores alike in all clips")
        return unit_levels(rows, rows["label"].to_numpy(), p, group=unit)

    painful = daily_scores.painful_conditions(taxonomy)
    result = {
        **days,
        **scores,
        "day_order": day_order.describe_day_order(
            levels(p[mask])["animal_day"], rows, taxonomy,
            weights=weights, permutations=permutations, seed=seed, unit=unit,
        ),
        "consistency": day_order.describe_consistency(
            levels(predictions.p[mask]), rows, taxonomy, weights=weights, unit=unit
        ),
        "within_recording": describe_within_recording(
            predictions, p, kind=scores["unit"],
            no_pain=tuple(name for name, pain in painful.items() if not pain),
            permutations=permutations, seed=seed,
        ),
    }  # fmt: skip
    return result | {"summary": summarise(result)}


def describe_scores(
    sessions: pd.DataFrame, taxonomy: Taxonomy, *, group: str, resamples: int, seed: int
) -> dict[str, Any]:
    """Analyses the scores of animals on days (see `score_days`): everything that needs no clips.

    Returns:
        `unit`, `trajectories` (the sessions), `means`, `excess` (over no pain, per condition and
        day), `reference`, `onset`, `peak`, `resolution`, `unaffected` (each per condition with
        pain) and `mixed_model`.
    """
    scores = daily_scores.arrange(sessions, taxonomy, group=group)
    animals = daily_scores.arrange(sessions, taxonomy, group="animal")
    result: dict[str, Any] = {
        "unit": scores.kind,
        "trajectories": sessions.to_dict("records"),
        "means": daily_scores.describe_means(scores, resamples=resamples, seed=seed),
        "excess": [],
        **{name: {} for name in ("reference", *onset.POINTS, "unaffected")},
    }
    for condition in scores.pain:
        compared = onset.compare(scores, condition)
        if isinstance(compared, str):
            for name in (*onset.POINTS, "unaffected"):
                result[name][condition] = absent(compared)
            continue
        found = onset.describe_condition(compared, kind=scores.kind, resamples=resamples, seed=seed)
        result["excess"] += [{"condition": condition, **row} for row in found["excess"]]
        found["reference"] = compared.reference
        found["unaffected"] = _flag(animals, condition, found, seed=seed)
        for name in ("reference", *onset.POINTS, "unaffected"):
            result[name][condition] = found[name]
    reference = (scores.no_pain or scores.pain)[0] if scores.condition else ""
    result["mixed_model"] = fit_course(sessions, reference=reference)
    return result


def _flag(
    animals: daily_scores.DailyScores, condition: str, found: dict[str, Any], *, seed: int
) -> dict[str, Any]:
    """Flags animals from the onset on, until pain is resolved."""
    first = found["onset"]["value"]
    if first is None:
        return absent(f"no onset was found ({found['onset']['why']})")
    compared = onset.compare(animals, condition)
    if isinstance(compared, str):
        return absent(compared)
    return flag_non_responders(compared, period=(first, found["resolution"]["value"]), seed=seed)
