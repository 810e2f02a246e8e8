"""Tables of accuracy: scores per level, recall, confusion, calibration, splits, days."""

from collections.abc import Iterator, Mapping
from typing import Any

from mpjax import formatting
from mpjax.analysis.stats.units import LEVELS
from mpjax.report.tables import (
    WHY,
    Column,
    Row,
    Table,
    integer,
    p_value,
    real,
    remark,
    share,
    share_estimate,
    spread,
    text,
)

_EXTRA = {"macro_f1": "Macro F1", "top3_accuracy": "Top-3 accuracy"}


def tabulate(metrics: Mapping[str, Any], tasks: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of everything but the drug part, by name; none without rows.

    Args:
        metrics: the content of metrics.json.
        tasks: its `fine` and, where there is one, `coarse`.
    """
    tables = [_levels(tasks), _confusion(tasks), _day_distance(tasks), _separate(tasks)]
    tables += [_recall(kind, task) for kind, task in tasks.items()]
    tables += [*_calibration(metrics.get("calibration") or {}), _splits(metrics["splits"])]
    tables += _days(metrics["progression"])
    tables += [_comparison(metrics.get("comparison", {}))]
    return {table.name: table for table in tables if table.rows}


def _levels(tasks: Mapping[str, Any]) -> Table:
    rows = []
    for task in tasks.values():
        for level, level_name in LEVELS.items():
            scores = task[level]
            accuracy = scores["accuracy"]
            row: Row = {"classes": len(task["classes"]), "level": level_name}
            row |= {"n": accuracy.get("n"), **spread("accuracy", accuracy)}
            row |= spread("mean_class_accuracy", scores["mean_class_accuracy"])
            for key in _EXTRA:
                row |= spread(key, scores.get(key, {}))
            row["permutation_p"] = scores.get("permutation", {}).get("p")
            row["chance"] = task["chance"]["value"]
            row["majority"] = task["majority"][level]["value"]
            row[WHY] = remark(accuracy) if accuracy["value"] is None else ""
            rows.append(row)
    extra: list[Column] = []
    for key, heading in _EXTRA.items():
        if any(row[key] is not None for row in rows):
            extra.append(share_estimate(heading, key))
    if any(row["permutation_p"] is not None for row in rows):
        extra.append(p_value("Permutation p", "permutation_p"))
    columns = [
        integer("Classes", "classes"), text("Level", "level"), integer("n", "n"),
        share_estimate("Accuracy", "accuracy"),
        share_estimate("Mean-class accuracy", "mean_class_accuracy"),
        *extra, share("Chance", "chance"), share("Majority", "majority"),
    ]  # fmt: skip
    return Table("levels", "Accuracy by level", rows, columns, labels=2)


def _recall(kind: str, task: Mapping[str, Any]) -> Table:
    level = formatting.headline_level(task)
    rows: list[Row] = []
    if task[level]["accuracy"]["value"] is not None:
        rows = [
            {"class": name, "level": LEVELS[level], "n": entry["n"], **spread("recall", entry),
             "note": remark(entry)}
            for name, entry in task[level]["recall"].items()
        ]  # fmt: skip
    columns = [
        text("Class", "class"), integer("n", "n"), share_estimate("Recall", "recall"),
        *([text("Note", "note")] if any(row["note"] for row in rows) else []),
    ]  # fmt: skip
    return Table(f"recall_{kind}", "Recall per class", rows, columns)


def _confusion(tasks: Mapping[str, Any]) -> Table:
    rows = [
        {"classes": len(task["classes"]), "level": LEVELS[level], "true": true,
         "predicted": predicted, "units": task[level]["confusion"][i][j]}
        for task in tasks.values()
        for level in LEVELS
        if task[level]["accuracy"]["value"] is not None
        for i, true in enumerate(task["classes"])
        for j, predicted in enumerate(task["classes"])
    ]  # fmt: skip
    return Table("confusion", "Confusion matrices, every level", rows, ())


def _day_distance(tasks: Mapping[str, Any]) -> Table:
    rows = []
    for level, level_name in LEVELS.items():
        found = tasks["fine"][level].get("day_distance")
        if found is None or "steps" not in found:
            continue
        for steps, units in sorted(found["steps"].items(), key=lambda item: int(item[0])):
            rows.append(
                {"level": level_name, "steps": int(steps), "units": units,
                 "share": units / found["within_condition"] if found["within_condition"] else None}
            )  # fmt: skip
    columns = [
        text("Level", "level"), integer("Recorded days off", "steps"), integer("Units", "units"),
        share("Share of those within the right condition", "share"),
    ]  # fmt: skip
    return Table("day_distance", "How far off the day is", rows, columns)


def _separate(tasks: Mapping[str, Any]) -> Table:
    """Sets groups summed from the fine classes beside a head trained on the groups."""
    coarse = tasks.get("coarse", {})
    separate = coarse.get("separate", {})
    rows = [
        {"level": LEVELS[level], "head": head, **spread("accuracy", scores["accuracy"]),
         **spread("mean_class_accuracy", scores["mean_class_accuracy"])}
        for level in LEVELS
        if level in separate
        for head, scores in (("sums of the fine classes", coarse[level]),
                             ("its own head", separate[level]))
    ]  # fmt: skip
    columns = [
        text("Level", "level"), text("Groups from", "head"), share_estimate("Accuracy", "accuracy"),
        share_estimate("Mean-class accuracy", "mean_class_accuracy"),
    ]  # fmt: skip
    return Table("separate_head", "Two ways to the groups", rows, columns, labels=2)


def _calibration(calibration: Mapping[str, Any]) -> Iterator[Table]:
    names = ("fine", "coarse")
    scored = [
        {"classes": kind, "probabilities": when, **calibration[kind][when]}
        for kind in names
        if kind in calibration
        for when in ("before", "after")
        if "ece" in calibration[kind].get(when, {})
    ]
    yield Table(
        "calibration", "Calibration error", scored,
        [text("Classes", "classes"), text("Temperature scaling", "probabilities"),
         share("ECE", "ece"), real("Negative log-likelihood", "nll", digits=3)],
        labels=2,
    )  # fmt: skip
    bins = [
        {"classes": kind, **entry}
        for kind in names
        if kind in calibration
        for entry in calibration[kind].get("reliability", [])
    ]
    yield Table(
        "reliability", "Reliability: accuracy by confidence", bins,
        [text("Classes", "classes"), share("Mean confidence", "confidence"),
         share("Accuracy", "accuracy"), integer("Clips", "n")],
    )  # fmt: skip
    coverage = calibration.get("coverage", {})
    points = [
        {"classes": kind, **point}
        for kind in names
        if isinstance(coverage.get(kind), list)
        for point in coverage[kind]
    ]
    yield Table(
        "coverage", "Accuracy by coverage", points,
        [text("Classes", "classes"), share("Recordings answered", "coverage"),
         share("Accuracy among them", "accuracy"), real("Least confidence", "threshold")],
    )  # fmt: skip


def _splits(splits: list[Row]) -> Table:
    def side(row: Row) -> str:
        return row["split"] if row["fold"] is None else f"{row['split']}, fold {row['fold']}"

    columns = [
        Column("Side", side, numeric=False), integer("Clips", "clips"),
        integer("Recordings", "recordings"), integer("Animals", "animals"),
        Column("Cages", lambda row: str(row["cages"] or "–")),
    ]  # fmt: skip
    return Table("splits", "Who was trained on, who was tested", splits, columns)


def _days(progression: Mapping[str, Any]) -> Iterator[Table]:
    rows = progression.get("rows", [])
    means = [{key: row[key] for key in ("condition", "day", "value", "n")} for row in rows]
    yield Table(
        "days", "Pain over days, means", means,
        [text("Condition", "condition"), integer("Day", "day"),
         real("Mean probability of pain", "value"), integer("n animals", "n")],
    )  # fmt: skip
    animals = [
        {"condition": row["condition"], "day": row["day"], "animal": animal, "p_pain": value}
        for row in rows
        for animal, value in row["animals"].items()
    ]
    yield Table("trajectories", "Pain over days, every animal", animals, ())


def _comparison(comparison: Mapping[str, Any]) -> Table:
    rows = []
    for kind in ("fine", "coarse"):
        for level, found in comparison.get(kind, {}).items():
            entry = found["accuracy"]
            rows.append(
                {"classes": kind, "level": LEVELS[level], "n": entry.get("n"),
                 **spread("difference", entry),
                 WHY: remark(entry) if entry["value"] is None else ""}
            )  # fmt: skip
    columns = [
        text("Classes", "classes"), text("Level", "level"), integer("n", "n"),
        share_estimate("Difference in accuracy", "difference"),
    ]  # fmt: skip
    return Table("comparison", "Against another method", rows, columns, labels=2)
