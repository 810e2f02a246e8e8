"""One table of methods: the model and the methods it is compared with, on the same animals."""

from collections.abc import Mapping
from typing import Any

from mpjax.analysis.classification import comparison
from mpjax.analysis.classification.comparison import FIGURES
from mpjax.analysis.classification.scores import score_units, tasks_of
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats import bootstrap as resampling
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.units import unit_levels

OURS = "this model"


def compare_methods(
    ours: Predictions, others: Mapping[str, Predictions], *, bootstrap: int, seed: int
) -> dict[str, Any]:
    """Scores every method by recordings (clips, where these have no class) and pairs it with ours.

    Args:
        ours: the model's predictions.
        others: predictions of the same clips by other methods, by name.
        bootstrap: resamples of whole animals (or cages).
        seed: of the resampling.

    Returns:
        {"level", "unit", "rows", "sentences"}: a row has `name` and per task `fine` and `coarse`
        (where there are groups) `accuracy` and `mean_class_accuracy`, and, in the other methods'
        rows, `difference`: the model's mean-class accuracy minus the method's, with its paired
        interval; {"value": None, "why"} where there is no held-out clip.

    Raises:
        ValueError: a method has not predicted the same clips.
    """
    if not ours.evaluated.any():
        return absent("no held-out clip of a trained class")
    rows = ours.table[ours.evaluated]
    by_level = unit_levels(rows, rows["label"].to_numpy(), ours.p[ours.evaluated], group=ours.group)
    level = "clip" if isinstance(by_level["recording"], str) else "recording"
    table = [_score(OURS, ours, level, bootstrap=bootstrap, seed=seed)]
    for name, other in others.items():
        compared = comparison.compare(ours, other, bootstrap=bootstrap, seed=seed)
        row = _score(name, other, level, bootstrap=bootstrap, seed=seed)
        for task, found in compared.items():
            row[task]["difference"] = found[level]["mean_class_accuracy"]
        table.append(row)
    sentences = [_judge(table, task) for task in tasks_of(ours.taxonomy) if len(table) > 1]
    return {"level": level, "unit": ours.group, "rows": table, "sentences": sentences}


def _score(
    name: str, predictions: Predictions, level: str, *, bootstrap: int, seed: int
) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name}
    rows, p = predictions.table[predictions.evaluated], predictions.p[predictions.evaluated]
    for kind, task in tasks_of(predictions.taxonomy).items():
        label = task.to_class[rows["label"].to_numpy()]
        units = unit_levels(rows, label, task.pool(p), group=predictions.group)[level]
        if isinstance(units, str):
            row[kind] = {figure: absent(units) for figure in FIGURES}
            continue
        groups = int(units.group.max()) + 1
        weights = resampling.draw_weights(groups, resamples=bootstrap, seed=seed)
        scores = score_units(units, task.classes, weights=weights, unit=predictions.group)
        row[kind] = {figure: scores[figure] for figure in FIGURES}
    return row


def _judge(rows: list[dict[str, Any]], task: str) -> str:
    """Says which methods the model beats: those whose paired interval lies above 0."""
    kind = "classes" if task == "fine" else "groups"
    compared = {row["name"]: row[task].get("difference", {}).get("ci95") for row in rows[1:]}
    beaten = [name for name, interval in compared.items() if interval and interval[0] > 0]
    not_beaten = [name for name, interval in compared.items() if interval and interval[0] <= 0]
    if not beaten and not not_beaten:
        return f"For the {kind}, no method could be compared with the model."
    if not not_beaten:
        return f"For the {kind}, the model beats every other method: {', '.join(beaten)}."
    text = f"For the {kind}, the model is NOT shown to beat {', '.join(not_beaten)}"
    return f"{text}; it beats {', '.join(beaten)}." if beaten else f"{text}."
