"""The model beside other methods: one table of accuracies and paired differences."""

from collections.abc import Mapping
from typing import Any

from mpjax import formatting
from mpjax.analysis.raters.score import MODEL
from mpjax.report.tables import Column, Row, Table, remark, share_estimate, spread, text

_TASKS = {"fine": "classes", "coarse": "groups"}


def tabulate(found: Mapping[str, Any], raters: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of methods, none without rows.

    Args:
        found: what metrics.json holds under `methods`.
        raters: what it holds under `raters`; their figures are of fewer clips, which is said.
    """
    rows = [_row(row, found) for row in found.get("rows", [])]
    if len(rows) < 2 and not raters.get("pooled"):
        return {}
    rows += _rated(raters, tasks=[task for task in _TASKS if rows and task in rows[0]])
    columns: list[Column] = [text("Method", "method"), text("n", "n")]
    for task, called in _TASKS.items():
        if rows and task in rows[0]:
            columns += [
                share_estimate(f"Accuracy, {called}", task),
                share_estimate(f"Mean-class accuracy, {called}", f"{task}_mean_class"),
                _points(f"Model minus it, {called}", f"{task}_difference"),
            ]
    table = Table("methods", "The model beside other methods", rows, columns)
    return {table.name: table} if rows else {}


def _points(heading: str, key: str) -> Column:
    """A column of differences of shares in percentage points, each with its interval below."""

    def interval(row: Row) -> str:
        low, high = row[f"{key}_ci_low"], row[f"{key}_ci_high"]
        return "–" if low is None else f"{_hundred(low)} to {_hundred(high)}"

    return Column(heading, lambda row: _hundred(row[key]), below=interval)


def _hundred(value: float | None) -> str:
    return formatting.number(None if value is None else 100 * value, 1)


def _row(row: Mapping[str, Any], found: Mapping[str, Any]) -> Row:
    n = row["fine"]["accuracy"].get("n")
    laid: Row = {"method": row["name"], "n": formatting.count(n or 0, found["level"])}
    for task in _TASKS:
        if task in row:
            scores = row[task]
            laid |= spread(task, scores["accuracy"])
            laid |= spread(f"{task}_mean_class", scores["mean_class_accuracy"])
            laid |= spread(f"{task}_difference", scores.get("difference", {}))
    return laid | {"note": remark(row["fine"]["accuracy"])}


def _rated(raters: Mapping[str, Any], *, tasks: list[str]) -> list[Row]:
    """Returns the row of the human raters, against whom the model was judged on the same clips."""
    if not raters.get("pooled"):
        return []
    model = raters.get("against", {}).get(MODEL, {})
    who = formatting.count(len(raters["raters"]), "blinded rater")
    laid: Row = {"method": who, "n": formatting.count(raters["package"]["clips"], "clip")}
    for task in tasks:
        laid |= spread(task, raters["pooled"][task]["accuracy"])
        laid |= spread(f"{task}_mean_class", {})
        laid |= spread(f"{task}_difference", model.get(task, {}).get("difference", {}))
    return [laid | {"note": "on the clips that they saw; the difference is of accuracy"}]
