"""The difference between two methods on the same clips, with its interval over animals."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from mpjax.analysis.classification.scores import tasks_of
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats import bootstrap as resampling
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.units import LEVELS, Units, unit_levels
from mpjax.taxonomy import Taxonomy

FIGURES = ("accuracy", "mean_class_accuracy")


def check_classes(ours: Taxonomy, theirs: Taxonomy) -> None:
    """Raises ValueError where two methods have different classes."""
    if ours != theirs:
        fine, other = (", ".join(each.fine) for each in (ours, theirs))
        raise ValueError(f"the two methods have different classes: {fine} against {other}")


def compare(
    ours: Predictions, theirs: Predictions, *, bootstrap: int = 2000, seed: int = 0
) -> dict[str, Any]:
    """Compares two methods by a paired bootstrap: both are scored on the same resampled animals.

    Returns:
        Per task (`fine`, `coarse`), level and figure, ours minus theirs: {"value", "ci95", "n"}.

    Raises:
        ValueError: the two have not predicted the same clips of the same classes.

    Source: Efron & Tibshirani, An Introduction to the Bootstrap (1993), ch. 8 (paired resampling).
    """
    check_classes(ours.taxonomy, theirs.taxonomy)
    first, second = (set(each.table["clip_id"][each.evaluated]) for each in (ours, theirs))
    if first != second:
        raise ValueError(
            f"the two methods were not evaluated on the same clips: {len(first - second)} are held "
            f"out in the first only, {len(second - first)} in the second only; use the same "
            "cohort, video geometry and split for both"
        )
    rows = ours.table[ours.evaluated]
    place = pd.Index(theirs.table["clip_id"]).get_indexer(rows["clip_id"])
    weights = resampling.draw_weights(rows[ours.group].nunique(), resamples=bootstrap, seed=seed)
    result: dict[str, Any] = {}
    for name, task in tasks_of(ours.taxonomy).items():
        label = task.to_class[rows["label"].to_numpy()]
        levels = [
            unit_levels(rows, label, task.pool(p), group=ours.group)
            for p in (ours.p[ours.evaluated], theirs.p[place])
        ]
        result[name] = {
            level: _difference(*(each[level] for each in levels), weights=weights, unit=ours.group)
            for level in LEVELS
        }
    return result


def _difference(
    ours: Units | str,
    theirs: Units | str,
    *,
    weights: Int[np.ndarray, "resamples groups"],
    unit: str,
) -> dict[str, Any]:
    if isinstance(ours, str) or isinstance(theirs, str):
        return {figure: absent(str(ours)) for figure in FIGURES}
    groups = weights.shape[1]
    counts = [
        resampling.count_by_group(each.label, each.predicted, each.group, classes=each.p.shape[1])
        for each in (ours, theirs)
    ]
    once = [resampling.resample_scores(each, np.ones((1, groups), int)) for each in counts]
    drawn = [resampling.resample_scores(each, weights) for each in counts]
    result = {}
    for figure in FIGURES:
        value, draws = (getattr(a, figure) - getattr(b, figure) for a, b in (once, drawn))
        interval = resampling.percentile_interval(draws, groups=groups, unit=unit)
        result[figure] = {"value": float(value[0]), **interval, "n": len(ours.label)}
    return result
