"""The model compared with other methods: one table of accuracies and paired differences."""

from collections.abc import Mapping
from typing import Any

from mpjax.analysis.raters.score import MODEL
from mpjax.formatting import count
from mpjax.report import columns as col
from mpjax.report.sections.answers import name_task
from mpjax.report.tables import Row, Table, by_name, remark, spread


def tabulate(
    found: Mapping[str, Any], raters: Mapping[str, Any], tasks: Mapping[str, Any]
) -> dict[str, Table]:
    """Returns the table of methods; the raters' scores are of fewer clips, as a note says."""
    scored = [kind for kind in tasks if kind in (found.get("rows") or [{}])[0]]
    rows = []
    for row in found.get("rows", []):
        accuracy = row["fine"]["accuracy"]
        laid: Row = {"method": row["name"], "n": count(accuracy.get("n") or 0, found["level"])}
        for kind in scored:
            laid |= _scores(kind, row[kind])
        rows.append(laid | {"note": remark(accuracy)})
    if raters.get("pooled"):
        rows += [_rated(raters, scored)] if rows else []
    elif len(rows) < 2:
        rows = []
    columns = [col.text("Method", "method"), col.text("n", "n")]
    for kind in scored:
        name = name_task(tasks[kind], kind)
        columns += [
            col.share_estimate(f"Accuracy, {name}", kind),
            col.share_estimate(f"Mean-class accuracy, {name}", f"{kind}_mean_class"),
            col.points_estimate(f"Model minus method, {name}", f"{kind}_difference"),
        ]
    return by_name([Table("methods", "The model compared with other methods", rows, columns)])


def _scores(kind: str, found: Mapping[str, Any]) -> Row:
    return {
        **spread(kind, found["accuracy"]),
        **spread(f"{kind}_mean_class", found.get("mean_class_accuracy") or {}),
        **spread(f"{kind}_difference", found.get("difference") or {}),
    }


def _rated(raters: Mapping[str, Any], scored: list[str]) -> Row:
    """Returns the row of the human raters; the model was scored on the same clips."""
    model = raters.get("against", {}).get(MODEL, {})
    who = count(len(raters["raters"]), "blinded rater")
    laid: Row = {"method": who, "n": count(raters["package"]["clips"], "clip")}
    for kind in scored:
        accuracy = raters["pooled"][kind]["accuracy"]
        difference = model.get(kind, {}).get("difference")
        laid |= _scores(kind, {"accuracy": accuracy, "difference": difference})
    return laid | {"note": "on the clips that they rated; the difference is of accuracy"}
