"""Blinded raters: sentences, tables, and the table that `mpjax.rate score` prints."""

from collections.abc import Mapping
from typing import Any

from mpjax.analysis.raters.score import MODEL
from mpjax.analysis.stats.estimates import ALPHA
from mpjax.formatting import count, interval, number, p_phrase, percent
from mpjax.report import columns as col
from mpjax.report.sections.answers import name_task
from mpjax.report.tables import WHY, Column, Row, Table, by_name, reason, spread

ALL = "all raters"


def tabulate(raters: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the raters."""
    if "tasks" not in raters:
        return {}
    tables = [_accuracy(raters), _differences(raters), _agreement(raters), _trials(raters)]
    return by_name([*tables, _confidence(raters), _confusion(raters)])


def sentences(raters: Mapping[str, Any]) -> list[str]:
    """Says per task how often raters and methods were correct on the same clips."""
    lines, package = [], raters.get("package", {})
    for kind, task in raters.get("tasks", {}).items():
        found = raters["pooled"][kind]["accuracy"]
        between = f" (95 % CI {interval(found)})" if found.get("ci95") else ""
        lines.append(
            f"On {count(package['clips'], 'held-out clip')} of "
            f"{count(package['animals'], 'animal')}, "
            f"{count(len(raters['raters']), 'blinded rater')} chose the correct one of "
            f"{name_task(task, kind)} in {percent(found['value'])}{between} of answers; chance is "
            f"{percent(task['chance'])}."
        )
        lines += [
            _against(method, compared[kind], name_task(task, kind))
            for method, compared in raters["against"].items()
        ]
    return lines


def _against(method: str, compared: Mapping[str, Any], task: str) -> str:
    """Says a method's accuracy on the same clips, and how it differs from the raters'."""
    accuracy, difference = compared["accuracy"], compared["difference"]
    method = "the model" if method == MODEL else method
    points = f"{number(100 * difference['value'], 1)} points compared with the raters"
    text = (
        f"On the same clips {method} predicted the correct one of {task} in "
        f"{percent(accuracy['value'])}: {points}"
    )
    if not difference.get("ci95"):
        return f"{text}, without an interval."
    low, high = difference["ci95"]
    between = f"{number(100 * low, 1)} to {number(100 * high, 1)}"
    p = compared["permutation"].get("p")
    verdict = "which cannot be distinguished from no difference"
    if (low > 0 or high < 0) and (p is None or p < ALPHA):
        verdict = f"so {method} is correct {'more' if low > 0 else 'less'} often"
    tested = f"; permutation {p_phrase(p)}" if p is not None else ""
    return f"{text} (95 % CI {between}{tested}), {verdict}."


def notes(raters: Mapping[str, Any]) -> list[str]:
    """Collects the notes on the pooled intervals, once each."""
    found = [each["accuracy"] for each in raters.get("pooled", {}).values()]
    for methods in raters.get("against", {}).values():
        found += [compared["difference"] for compared in methods.values()]
    return sorted({each["note"] for each in found if "note" in each})


def as_text(raters: Mapping[str, Any]) -> str:
    """Returns sentences and the main tables as plain text, for a terminal."""
    tables = tabulate(raters)
    shown = [tables[name] for name in ("raters", "raters_trials") if name in tables]
    parts = ["\n".join(sentences(raters)), *map(_as_text, shown)]
    parts += [f"note on the pooled intervals: {note}" for note in notes(raters)]
    return "\n\n".join(parts)


def _as_text(table: Table) -> str:
    def cell(column: Column, row: Row) -> str:
        below = column.below(row) if column.below else ""
        return column.cell(row) + (f" [{below}]" if below.strip("–") else "")

    rows = [[column.heading for column in table.columns]]
    rows += [[cell(column, row) for column in table.columns] for row in table.rows]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in rows
    )


def _accuracy(raters: Mapping[str, Any]) -> Table:
    kinds, clips = raters["tasks"], raters["package"]["clips"]
    scored = [(one["name"], one, one["clips"]) for one in raters["raters"]]
    if len(scored) > 1:
        scored.append((ALL, raters["pooled"], clips))
    scored += [(name, compared, clips) for name, compared in raters["against"].items()]
    chance = {kind: {"accuracy": {"value": task["chance"]}} for kind, task in kinds.items()}
    rows = []
    for name, found, n in [*scored, ("chance", chance, None)]:
        row: Row = {"who": name, "clips": n}
        for kind in kinds:
            row |= spread(kind, found[kind]["accuracy"])
        rows.append(row)
    columns = [
        col.text("Who", "who"), col.integer("Clips", "clips"),
        *(col.share_estimate(f"Accuracy, {name_task(task, kind)}", kind)
          for kind, task in kinds.items()),
    ]  # fmt: skip
    return Table("raters", "Raters and methods on the same clips", rows, columns)


def _differences(raters: Mapping[str, Any]) -> Table:
    rows = []
    for method, compared in raters["against"].items():
        for kind, found in compared.items():
            pooled = {"name": ALL, "mcnemar": {}, **found}
            ones = found["raters"] if len(raters["raters"]) == 1 else [pooled, *found["raters"]]
            rows += [
                {"method": method, **_task(raters, kind), "rater": one["name"],
                 **spread("difference", one["difference"]),
                 "permutation_p": one["permutation"].get("p"),
                 **{key: one["mcnemar"].get(key) for key in ("method_only", "rater_only")},
                 "mcnemar_p": one["mcnemar"].get("p")}
                for one in ones
            ]  # fmt: skip
    columns = [
        col.text("Method", "method"), col.text("Task", "task"), col.text("Minus", "rater"),
        col.share_estimate("Difference in accuracy", "difference"),
        col.p_value("Permutation p", "permutation_p"),
        col.integer("Only method correct", "method_only"),
        col.integer("Only rater correct", "rater_only"), col.p_value("McNemar p", "mcnemar_p"),
    ]  # fmt: skip
    return Table("raters_differences", "Methods minus raters", rows, columns, labels=3)


def _task(raters: Mapping[str, Any], kind: str) -> Row:
    task = raters["tasks"][kind]
    return {"task": name_task(task, kind), "classes": len(task["classes"])}


def _agreement(raters: Mapping[str, Any]) -> Table:
    rows = []
    for kind, found in raters["agreement"].items():
        pairs = [("Cohen", " and ".join(each["raters"]), each) for each in found["cohen"]]
        if len(raters["raters"]) > 2:
            pairs.insert(0, ("Fleiss", ALL, found["fleiss"]))
        rows += [
            {**_task(raters, kind), "kappa": kappa, "raters": who, "n": each.get("n"),
             **spread("value", each), WHY: reason(each)}
            for kappa, who, each in pairs
        ]  # fmt: skip
    columns = [
        col.text("Task", "task"), col.text("Kappa", "kappa"), col.text("Raters", "raters"),
        col.integer("Clips", "n"), col.estimate("Agreement beyond chance", "value"),
    ]  # fmt: skip
    return Table("raters_agreement", "Agreement of raters", rows, columns, labels=3)


def _trials(raters: Mapping[str, Any]) -> Table:
    rows, seconds = [], ("median_s", "q25_s", "q75_s", "median_right_s", "median_wrong_s")
    for one in raters["raters"]:
        response = one["response"]
        row = {"rater": one["name"], "minutes": response["total_s"] / 60}
        row |= {key: response[key] for key in seconds} | {"undone": one["undone"]}
        for kind in raters["tasks"]:
            row |= spread(f"learning_{kind}", one[kind]["learning"])
            row |= spread(f"confidence_{kind}", one[kind]["confidence"]["discrimination"])
        rows.append(row)
    median = Column(
        "Seconds per clip, median",
        lambda row: number(row["median_s"], 1),
        below=lambda row: f"{number(row['q25_s'], 1)} to {number(row['q75_s'], 1)}",
    )
    columns = [col.text("Rater", "rater"), col.real("Minutes", "minutes", digits=1), median]
    for kind, task in raters["tasks"].items():
        name = name_task(task, kind)
        columns.append(col.estimate(f"Learning, {name}", f"learning_{kind}"))
        columns.append(col.estimate(f"Informative confidence, {name}", f"confidence_{kind}"))
    return Table("raters_trials", "Time, learning and confidence", rows, columns)


def _confidence(raters: Mapping[str, Any]) -> Table:
    rows = [
        {**_task(raters, kind), "rater": name, "confidence": level["confidence"],
         "name": level["name"], "n": level["n"], "accuracy": level["accuracy"]}
        for kind in raters["tasks"]
        for name, of in _with_pooled(raters)
        for level in of[kind]["confidence"]["levels"]
    ]  # fmt: skip
    columns = [
        col.text("Task", "task"), col.text("Rater", "rater"),
        col.text("Confidence", "name"), col.integer("Answers", "n"),
        col.share("Correct", "accuracy"),
    ]  # fmt: skip
    return Table("raters_confidence", "Accuracy by confidence", rows, columns, labels=3)


def _with_pooled(raters: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    ones = [(one["name"], one) for one in raters["raters"]]
    return [(ALL, raters["pooled"]), *ones] if len(ones) > 1 else ones


def _confusion(raters: Mapping[str, Any]) -> Table:
    rows = [
        {"classes": len(task["classes"]), "rater": name, "true": true, "named": named,
         "answers": of[kind]["confusion"][i][j]}
        for kind, task in raters["tasks"].items()
        for name, of in _with_pooled(raters)
        for i, true in enumerate(task["classes"])
        for j, named in enumerate(task["classes"])
    ]  # fmt: skip
    return Table("raters_confusion", "Confusion matrices of raters", rows)
