"""The difference between two methods on the same clips, with its interval over animals."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats import bootstrap as resampling
from mpjax.analysis.stats.units import LEVELS, Units, unit_levels

_FIGURES = ("accuracy", "mean_class_accuracy")


def compare(
    ours: Predictions, theirs: Predictions, *, bootstrap: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Compares two methods by a paired bootstrap: both are scored on the same resampled animals.

    Args:
        ours: predictions of the one.
        theirs: predictions of the other, of the same held-out clips and classes.
        bootstrap: resamples of whole animals (or cages).
        seed: of the resampling.

    Returns:
        Per task (`fine`, `coarse`), level and figure, ours minus theirs: {"value", "ci95", "n"}.

    Raises:
        ValueError: the two have not predicted the same clips of the same classes.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 8 (paired resampling).
    """
    _check_alike(ours, theirs)
    rows = ours.table[ours.evaluated]
    order = rows["clip_id"].to_numpy()
    place = theirs.table.reset_index(drop=True).reset_index().set_index("clip_id")["index"]
    p = {"ours": ours.p[ours.evaluated], "theirs": theirs.p[place[order].to_numpy()]}
    label = rows["label"].to_numpy()
    groups = rows[ours.group].nunique()
    weights = resampling.draw_weights(groups, resamples=bootstrap, seed=seed)
    tasks = {"fine": (label, lambda p: p)}
    if ours.taxonomy.coarse:
        coarse = np.asarray(ours.taxonomy.fine_to_coarse)[label]
        tasks["coarse"] = (coarse, ours.taxonomy.coarse_probabilities)
    result: dict[str, Any] = {}
    for task, (true, pool) in tasks.items():
        levels = {
            name: unit_levels(rows, true, pool(values), group=ours.group)
            for name, values in p.items()
        }
        result[task] = {
            level: _difference(
                levels["ours"][level], levels["theirs"][level], weights=weights, unit=ours.group
            )
            for level in LEVELS
        }
    return result


def _check_alike(ours: Predictions, theirs: Predictions) -> None:
    if ours.taxonomy != theirs.taxonomy:
        raise ValueError(
            f"the two do not tell the same classes apart: {', '.join(ours.taxonomy.fine)} "
            f"against {', '.join(theirs.taxonomy.fine)}"
        )
    clips = [set(each.table["clip_id"][each.evaluated]) for each in (ours, theirs)]
    if clips[0] != clips[1]:
        raise ValueError(
            f"the two were not evaluated on the same clips: {len(clips[0] - clips[1])} are held "
            f"out in the first alone, {len(clips[1] - clips[0])} in the second alone; use one "
            "cohort, one video geometry and one split"
        )


def _difference(
    ours: Units | str,
    theirs: Units | str,
    *,
    weights: Int[np.ndarray, "resamples groups"],
    unit: str,
) -> dict[str, Any]:
    if isinstance(ours, str) or isinstance(theirs, str):
        return {figure: {"value": None, "why": ours} for figure in _FIGURES}
    once = np.ones((1, weights.shape[1]), int)
    result = {}
    for figure in _FIGURES:
        drawn = [_scores(units, weights, figure) for units in (ours, theirs)]
        value = [float(_scores(units, once, figure)[0]) for units in (ours, theirs)]
        interval = resampling.percentile_interval(
            drawn[0] - drawn[1], groups=weights.shape[1], unit=unit
        )
        result[figure] = {"value": value[0] - value[1], **interval, "n": len(ours.label)}
    return result


def _scores(
    units: Units, weights: Int[np.ndarray, "resamples groups"], figure: str
) -> Float[np.ndarray, "resamples"]:
    counts = resampling.count_by_group(
        units.label, units.predicted, units.group, classes=units.p.shape[1]
    )
    draws = resampling.resample_scores(counts, weights)
    return draws.accuracy if figure == "accuracy" else draws.mean_class_accuracy
