"""One table of methods: the model and all that stands beside it, on the same held-out animals."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mpjax.analysis.classification import comparison
from mpjax.analysis.classification.scores import score_units
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats import bootstrap as resampling
from mpjax.analysis.stats.units import unit_levels

OURS = "this model"
_FIGURES = ("accuracy", "mean_class_accuracy")


def compare_methods(
    ours: Predictions, others: Mapping[str, Predictions], *, bootstrap: int, seed: int
) -> dict[str, Any]:
    """Scores every method at the level of recordings and pairs it with the model.

    Args:
        ours: the model's predictions.
        others: those of other methods, of the same clips, by their names.
        bootstrap: resamples of whole animals (or cages).
        seed: of the resampling.

    Returns:
        {"level", "unit", "rows", "sentences"}: a row has `name` and per task `fine` and `coarse`
        (where there is one) `accuracy` and `mean_class_accuracy`, and `difference`, the model's
        mean-class accuracy minus the method's with its paired interval (not of the model itself);
        {"value": None, "why"} where there is no held-out clip.

    Raises:
        ValueError: a method has not predicted the same clips.
    """
    if not ours.evaluated.any():
        return {"value": None, "why": "no held-out clip of a trained class"}
    level = "recording"
    if isinstance(_units(ours, "fine", level), str):
        level = "clip"
    rows = [_score(OURS, ours, level, bootstrap=bootstrap, seed=seed)]
    for name, other in others.items():
        compared = comparison.compare(ours, other, bootstrap=bootstrap, seed=seed)
        row = _score(name, other, level, bootstrap=bootstrap, seed=seed)
        for task, found in compared.items():
            row[task]["difference"] = found[level]["mean_class_accuracy"]
        rows.append(row)
    return {
        "level": level,
        "unit": ours.group,
        "rows": rows,
        "sentences": [_judge(rows, task) for task in _tasks(ours) if len(rows) > 1],
    }


def _tasks(predictions: Predictions) -> tuple[str, ...]:
    return ("fine", "coarse") if predictions.taxonomy.coarse else ("fine",)


def _units(predictions: Predictions, task: str, level: str) -> Any:
    """Returns the evaluated units of a level, or why there are none."""
    rows, p = predictions.table[predictions.evaluated], predictions.p[predictions.evaluated]
    label = rows["label"].to_numpy()
    taxonomy = predictions.taxonomy
    if task == "coarse":
        label, p = np.asarray(taxonomy.fine_to_coarse)[label], taxonomy.coarse_probabilities(p)
    return unit_levels(rows, label, p, group=predictions.group)[level]


def _score(
    name: str, predictions: Predictions, level: str, *, bootstrap: int, seed: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name}
    taxonomy = predictions.taxonomy
    for task in _tasks(predictions):
        units = _units(predictions, task, level)
        if isinstance(units, str):
            row[task] = {figure: {"value": None, "why": units} for figure in _FIGURES}
            continue
        classes = taxonomy.fine if task == "fine" else taxonomy.coarse
        weights = resampling.draw_weights(
            int(units.group.max()) + 1, resamples=bootstrap, seed=seed
        )
        scores = score_units(units, classes, weights=weights, unit=predictions.group)
        row[task] = {figure: scores[figure] for figure in _FIGURES}
    return row


def _judge(rows: list[dict[str, Any]], task: str) -> str:
    """Says which methods the model beats: those whose paired interval lies above 0."""
    kind = "classes" if task == "fine" else "groups"
    beaten: list[str] = []
    not_beaten: list[str] = []
    for row in rows[1:]:
        found = row[task].get("difference", {})
        if found.get("ci95") is None:
            continue
        (beaten if found["ci95"][0] > 0 else not_beaten).append(row["name"])
    if not beaten and not not_beaten:
        return f"No method could be paired with the model in the {kind}."
    if not not_beaten:
        return f"In the {kind} the model beats every method beside it: {', '.join(beaten)}."
    told = f"In the {kind} the model is NOT shown to beat {', '.join(not_beaten)}"
    return f"{told}; it beats {', '.join(beaten)}." if beaten else f"{told}."
