"""Blinded raters in the report: sentences, tables, and the table that `mpjax.rate score` prints."""

from collections.abc import Iterator, Mapping
from typing import Any

from mpjax import formatting
from mpjax.analysis.raters.score import MODEL
from mpjax.analysis.stats.estimates import ALPHA
from mpjax.report.tables import (
    WHY,
    Column,
    Row,
    Table,
    estimate,
    integer,
    p_value,
    real,
    remark,
    share,
    share_estimate,
    spread,
    text,
)

_KINDS = {"fine": "classes", "coarse": "groups"}
ALL = "all raters"


def tabulate(raters: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the raters by name; none without rows.

    Args:
        raters: what metrics.json holds under `raters`; empty where nobody has rated.
    """
    if "tasks" not in raters:
        return {}
    tables = [_accuracy(raters), _differences(raters), _agreement(raters), _trials(raters)]
    tables += [_confidence(raters), _confusion(raters)]
    return {table.name: table for table in tables if table.rows}


def sentences(raters: Mapping[str, Any]) -> list[str]:
    """Tells per task how often raters and methods were right on the same clips, and who was more.

    Args:
        raters: the content of raters.json.
    """
    if "tasks" not in raters:
        return []
    told = []
    package = raters["package"]
    who = formatting.count(len(raters["raters"]), "blinded rater")
    for kind, task in raters["tasks"].items():
        found = raters["pooled"][kind]["accuracy"]
        named = f"the right one of {len(task['classes'])} {_KINDS[kind]}"
        told.append(
            f"On {formatting.count(package['clips'], 'held-out clip')} of "
            f"{formatting.count(package['animals'], 'animal')}, {who} named {named} in "
            f"{_share(found)}; chance is {formatting.percent(task['chance'])}."
        )
        told += [
            _against(method, compared[kind], named)
            for method, compared in raters["against"].items()
        ]
    return told


def _share(found: Mapping[str, Any]) -> str:
    between = f" (95 % CI {formatting.interval(found)})" if found.get("ci95") else ""
    return f"{formatting.percent(found['value'])}{between} of answers"


def _against(method: str, compared: Mapping[str, Any], named: str) -> str:
    """Tells a method's accuracy on the same clips, and how it differs from the raters'."""
    accuracy, difference = compared["accuracy"], compared["difference"]
    method = "the model" if method == MODEL else method
    text = f"On the same clips {method} named {named} in {formatting.percent(accuracy['value'])}"
    points = formatting.number(100 * difference["value"], 1)
    if not difference.get("ci95"):
        return f"{text}: {points} points against the raters, without an interval."
    low, high = difference["ci95"]
    between = f"{formatting.number(100 * low, 1)} to {formatting.number(100 * high, 1)}"
    p = compared["permutation"].get("p")
    verdict = "which cannot be told from none"
    if (low > 0 or high < 0) and (p is None or p < ALPHA):
        verdict = f"so that {method} is right {'more' if low > 0 else 'less'} often"
    tested = f"; permutation {formatting.p_phrase(p)}" if p is not None else ""
    return f"{text}: {points} points against the raters (95 % CI {between}{tested}), {verdict}."


def notes(raters: Mapping[str, Any]) -> list[str]:
    """Collects what the pooled intervals say about themselves, once each."""
    if "tasks" not in raters:
        return []
    found = [each["accuracy"] for each in raters["pooled"].values()]
    found += [
        compared["difference"]
        for methods in raters["against"].values()
        for compared in methods.values()
    ]
    return sorted({each["note"] for each in found if "note" in each})


def as_text(raters: Mapping[str, Any]) -> str:
    """Returns sentences and the main tables as plain text, for a terminal."""
    tables = tabulate(raters)
    shown = [tables[name] for name in ("raters", "raters_trials") if name in tables]
    parts = ["\n".join(sentences(raters)), *map(_as_text, shown)]
    parts += [f"note on the pooled intervals: {note}" for note in notes(raters)]
    return "\n\n".join(parts)


def _as_text(table: Table) -> str:
    rows = [[column.heading for column in table.columns]]
    for row in table.rows:
        cells = []
        for column in table.columns:
            below = column.below(row) if column.below else ""
            cells.append(column.cell(row) + (f" [{below}]" if below.strip("–") else ""))
        rows.append(cells)
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()
        for cells in rows
    )


def _accuracy(raters: Mapping[str, Any]) -> Table:
    kinds = raters["tasks"]

    def row(name: str, found: Mapping[str, Any], clips: int | None) -> Row:
        made: Row = {"who": name, "clips": clips}
        for kind in kinds:
            made |= spread(kind, found[kind])
        return made

    rows = [
        row(one["name"], {kind: one[kind]["accuracy"] for kind in kinds}, one["clips"])
        for one in raters["raters"]
    ]
    if len(rows) > 1:
        pooled = {kind: raters["pooled"][kind]["accuracy"] for kind in kinds}
        rows.append(row(ALL, pooled, raters["package"]["clips"]))
    rows += [
        row(name, {kind: compared[kind]["accuracy"] for kind in kinds}, raters["package"]["clips"])
        for name, compared in raters["against"].items()
    ]
    rows.append(row("chance", {kind: {"value": kinds[kind]["chance"]} for kind in kinds}, None))
    columns = [text("Who", "who"), integer("Clips", "clips")]
    columns += [
        share_estimate(f"Right of {len(task['classes'])} {_KINDS[kind]}", kind)
        for kind, task in kinds.items()
    ]
    return Table("raters", "Raters and methods on the same clips", rows, columns)


def _differences(raters: Mapping[str, Any]) -> Table:
    rows = []
    for method, compared in raters["against"].items():
        for kind, found in compared.items():
            pooled = {"name": ALL, "mcnemar": {}, **found}
            ones = found["raters"] if len(raters["raters"]) == 1 else [pooled, *found["raters"]]
            for one in ones:
                rows.append(
                    {"method": method, "classes": len(raters["tasks"][kind]["classes"]),
                     "rater": one["name"], **spread("difference", one["difference"]),
                     "permutation_p": one["permutation"].get("p"),
                     "method_only": one["mcnemar"].get("method_only"),
                     "rater_only": one["mcnemar"].get("rater_only"),
                     "mcnemar_p": one["mcnemar"].get("p")}
                )  # fmt: skip
    columns = [
        text("Method", "method"), integer("Classes", "classes"), text("Minus", "rater"),
        share_estimate("Difference in accuracy", "difference"),
        p_value("Permutation p", "permutation_p"), integer("Method alone right", "method_only"),
        integer("Rater alone right", "rater_only"), p_value("McNemar p", "mcnemar_p"),
    ]  # fmt: skip
    return Table("raters_differences", "Methods minus raters", rows, columns, labels=3)


def _agreement(raters: Mapping[str, Any]) -> Table:
    rows = []
    for kind, found in raters["agreement"].items():
        pairs = [("Cohen", " and ".join(each["raters"]), each) for each in found["cohen"]]
        if len(raters["raters"]) > 2:
            pairs.insert(0, ("Fleiss", ALL, found["fleiss"]))
        for kappa, who, each in pairs:
            rows.append(
                {"classes": len(raters["tasks"][kind]["classes"]), "kappa": kappa, "raters": who,
                 "n": each.get("n"), **spread("value", each),
                 WHY: remark(each) if each["value"] is None else ""}
            )  # fmt: skip
    columns = [
        integer("Classes", "classes"), text("Kappa", "kappa"), text("Raters", "raters"),
        integer("Clips", "n"), estimate("Agreement beyond chance", "value"),
    ]  # fmt: skip
    return Table("raters_agreement", "Agreement of raters", rows, columns, labels=3)


def _trials(raters: Mapping[str, Any]) -> Table:
    rows = []
    for one in raters["raters"]:
        response = one["response"]
        row = {"rater": one["name"], "minutes": response["total_s"] / 60}
        row |= {key: response[key] for key in ("median_s", "q25_s", "q75_s")}
        row |= {key: response[key] for key in ("median_right_s", "median_wrong_s")}
        row["undone"] = one["undone"]
        for kind in raters["tasks"]:
            row |= spread(f"learning_{kind}", one[kind]["learning"])
            row |= spread(f"confidence_{kind}", one[kind]["confidence"]["discrimination"])
        rows.append(row)
    seconds = Column(
        "Seconds per clip, median",
        lambda row: formatting.number(row["median_s"], 1),
        below=lambda row: (
            f"{formatting.number(row['q25_s'], 1)} to {formatting.number(row['q75_s'], 1)}"
        ),
    )
    columns = [text("Rater", "rater"), real("Minutes", "minutes", digits=1), seconds]
    for kind, task in raters["tasks"].items():
        of = f"{len(task['classes'])} {_KINDS[kind]}"
        columns.append(estimate(f"Learning, {of}", f"learning_{kind}"))
        columns.append(estimate(f"Confidence tells, {of}", f"confidence_{kind}"))
    return Table("raters_trials", "Time, learning and confidence", rows, columns)


def _confidence(raters: Mapping[str, Any]) -> Table:
    rows = [
        {"classes": len(task["classes"]), "rater": name, "confidence": level["confidence"],
         "name": level["name"], "n": level["n"], "accuracy": level["accuracy"]}
        for kind, task in raters["tasks"].items()
        for name, of in _with_pooled(raters)
        for level in of[kind]["confidence"]["levels"]
    ]  # fmt: skip
    columns = [
        integer("Classes", "classes"), text("Rater", "rater"), text("Said", "name"),
        integer("Answers", "n"), share("Right", "accuracy"),
    ]  # fmt: skip
    return Table("raters_confidence", "Accuracy by confidence", rows, columns, labels=3)


def _with_pooled(raters: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if len(raters["raters"]) > 1:
        yield ALL, raters["pooled"]
    for one in raters["raters"]:
        yield one["name"], one


def _confusion(raters: Mapping[str, Any]) -> Table:
    rows = [
        {"classes": len(task["classes"]), "rater": name, "true": true, "named": named,
         "answers": of[kind]["confusion"][i][j]}
        for kind, task in raters["tasks"].items()
        for name, of in _with_pooled(raters)
        for i, true in enumerate(task["classes"])
        for j, named in enumerate(task["classes"])
    ]  # fmt: skip
    return Table("raters_confusion", "Confusion matrices of raters", rows, ())
