"""Tables of the course of pain: onset and peak, excess, model, order of days, flagged animals."""

from collections.abc import Iterator, Mapping
from typing import Any

from mpjax import formatting
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

_POINTS = {"onset": "Onset", "peak": "Peak", "resolution": "Resolution"}


def tabulate(progression: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the course of pain by name; none without rows.

    Args:
        progression: what metrics.json holds under `progression`.
    """
    scores = _list(progression, "trajectories")
    tables = [
        _points(progression), _excess(progression), _means(progression),
        Table("scores", "Pain score of every animal and day", scores, ()),
        *_model(_part(progression, "mixed_model")), _order(_part(progression, "day_order")),
        *_consistency(_part(progression, "consistency")),
        *_within(_part(progression, "within_recording")),
        *_unaffected(_part(progression, "unaffected")),
    ]  # fmt: skip
    return {table.name: table for table in tables if table.rows}


def _part(progression: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns a part of the progression; empty where it is not there or cannot be estimated."""
    part = progression.get(name) or {}
    return {} if "why" in part else part


def _list(progression: Mapping[str, Any], name: str) -> list[Row]:
    part = progression.get(name)
    return part if isinstance(part, list) else []


def _points(progression: Mapping[str, Any]) -> Table:
    rows = []
    for condition in _part(progression, "onset"):
        for name, called in _POINTS.items():
            found = progression[name][condition]
            rows.append(_point(condition, called, found, progression["reference"].get(condition)))
    columns = [
        text("Condition", "condition"), text("", "what"), text("Day", "said"),
        Column("95 % of resamples", lambda row: row["days95"].replace(" ", ", "), numeric=False),
        share("Resamples without", "without"), text("Compared with", "reference"),
        text("Note", "note"),
    ]  # fmt: skip
    return Table("turning_points", "Onset, peak and resolution", rows, columns, labels=2)


def _point(condition: str, called: str, found: Mapping[str, Any], reference: str | None) -> Row:
    said = "none" if found["value"] is None else str(found["value"])
    searched = "without" in found  # else nothing could be compared
    return {
        "condition": condition, "what": called, "day": found["value"],
        "said": f"on or before {said}" if found.get("at_first") else said,
        "days95": " ".join(map(str, found.get("days95") or [])), "without": found.get("without"),
        "reference": reference, "note": remark(found) if searched else "",
        WHY: "" if searched else remark(found),
    }  # fmt: skip


def _excess(progression: Mapping[str, Any]) -> Table:
    rows = [
        {"condition": row["condition"], "day": row["day"], **spread("excess", row),
         **{f"simultaneous_{end}": bound for end, bound in zip(
             ("low", "high"), row.get("band95") or (None, None), strict=True)},
         "n": row.get("n"), "n_reference": row.get("n_reference"),
         "found": row.get("above"),
         WHY: remark(row) if row["value"] is None else ""}
        for row in _list(progression, "excess")
    ]  # fmt: skip
    columns = [
        text("Condition", "condition"), integer("Day", "day"),
        estimate("Score above no pain (logit)", "excess"), _band("Over all days at once"),
        Column("Found", lambda row: "yes" if row["found"] else "no", numeric=False),
        Column("n with / without pain", lambda row: f"{row['n']} / {row['n_reference'] or '–'}"),
    ]  # fmt: skip
    return Table("excess", "Score above no pain on every day", rows, columns, labels=2)


def _band(heading: str) -> Column:
    """A column of simultaneous intervals."""

    def cell(row: Row) -> str:
        low, high = row["simultaneous_low"], row["simultaneous_high"]
        return formatting.span({"ci95": None if low is None else [low, high]})

    return Column(heading, cell)


def _means(progression: Mapping[str, Any]) -> Table:
    """Lays the means and those of the mixed model side by side."""
    model = {
        (row["condition"], row["day"]): row
        for row in _part(progression, "mixed_model").get("means", [])
    }
    rows = [
        {"condition": row["condition"], "day": row["day"], **spread("score", row),
         **{f"simultaneous_{end}": bound for end, bound in zip(
             ("low", "high"), row.get("band95") or (None, None), strict=True)},
         **spread("model", model.get((row["condition"], row["day"]), {})),
         "n": row["n"], "note": row.get("why")}
        for row in _list(progression, "means")
    ]  # fmt: skip
    columns = [
        text("Condition", "condition"), integer("Day", "day"),
        estimate("Mean score (logit)", "score"), _band("Over all days at once"),
        estimate("By the mixed model", "model"),
        integer(f"n {progression.get('unit', 'animal')}s", "n"),
    ]  # fmt: skip
    return Table("score_means", "Mean pain score", rows, columns, labels=2)


def _model(model: Mapping[str, Any]) -> Iterator[Table]:
    tests = [
        {"term": row["term"], "f": row["f"], "df": " / ".join(map(str, row["df"])), "p": row["p"]}
        for row in model.get("tests", [])
    ]
    yield Table(
        "course_tests", "Do the courses differ?", tests,
        [text("Term", "term"), real("F", "f"), text("df", "df"), p_value("p", "p")],
    )  # fmt: skip
    terms = [
        {
            "term": row["term"],
            **spread("value", row),
            "se": row["se"],
            "df": row["df"],
            "p": row["p"],
        }
        for row in model.get("terms", [])
    ]
    yield Table(
        "course_model", "Mixed model of the course", terms,
        [text("Term", "term"), estimate("Estimate (logit)", "value"), integer("df", "df"),
         p_value("p", "p")],
    )  # fmt: skip


def _order(order: Mapping[str, Any]) -> Table:
    named = {"all conditions": order["all"], **order["conditions"]} if order else {}
    rows = []
    for name, found in named.items():
        null = found.get("permutation") or {}
        error = null.get("mean_absolute_error") or {}
        rows.append(
            {"condition": name, **spread("spearman", found.get("spearman") or {}),
             **spread("kendall", found.get("kendall") or {}),
             "p_order": (null.get("spearman") or {}).get("p"),
             **spread("mean_error_days", found.get("mean_absolute_error") or {}),
             "mean_error_shuffled": error.get("null_mean"), "p_error": error.get("p"),
             "animals": found.get("animals"), "too_few_days": found.get("too_few_days"),
             WHY: found.get("why")}
        )  # fmt: skip
    columns = [
        text("Condition", "condition"), estimate("Spearman", "spearman"),
        estimate("Kendall", "kendall"), p_value("p", "p_order"),
        estimate("Mean error (days)", "mean_error_days"),
        real("Shuffled", "mean_error_shuffled"), p_value("p", "p_error"),
        integer("n animals", "animals"),
    ]  # fmt: skip
    return Table("day_order", "Order of the days within an animal", rows, columns)


def _consistency(found: Mapping[str, Any]) -> Iterator[Table]:
    measures = {}
    if found:
        by_condition = found["over_days_by_condition"]
        measures = {
            "Fine and coarse answers agree (recordings)": found["fine_and_coarse"],
            "Two days of an animal called alike (animals)": found["over_days"],
            **{
                f"the same, {name}": each
                for name, each in ({} if "why" in by_condition else by_condition).items()
            },
        }
    rows = [
        {"measure": name, **spread("share", each), "n": each.get("n"),
         WHY: remark(each) if each["value"] is None else ""}
        for name, each in measures.items()
    ]  # fmt: skip
    yield Table(
        "consistency", "How far the answers agree", rows,
        [text("", "measure"), share_estimate("Share", "share"), integer("n", "n")],
    )  # fmt: skip
    switching = [
        {"animal": row["animal"], "condition": row["condition"],
         "calls": "; ".join(f"day {day}: {group}" for day, group in row["calls"].items())}
        for row in found.get("switching", [])
    ]  # fmt: skip
    yield Table(
        "switching", "Animals called two types of pain", switching,
        [text("Animal", "animal"), text("Condition", "condition"), text("Called", "calls")],
        labels=2,
    )  # fmt: skip


def _within(found: Mapping[str, Any]) -> Iterator[Table]:
    bins = [
        {"condition": row["condition"], "start_s": row["start_s"], "end_s": row["end_s"],
         **spread("score", row), "n": row["n"], "note": row.get("why")}
        for row in found.get("bins", [])
    ]  # fmt: skip
    yield Table(
        "within_recording", "Pain score within a recording", bins,
        [text("Condition", "condition"), real("From (s)", "start_s", digits=1),
         real("To (s)", "end_s", digits=1), estimate("Mean score (logit)", "score"),
         integer("n", "n")],
        labels=3,
    )  # fmt: skip
    against = found.get("against_no_pain", {})
    slopes = []
    for name, each in found.get("slopes", {}).items():
        other = against.get(name, {})
        slopes.append(
            {"condition": name, **spread("per_minute", each), "p": each.get("p"),
             **spread("less_no_pain", other), "p_less_no_pain": other.get("p"),
             "n": each.get("n"), "note": other.get("why"),
             WHY: remark(each) if each["value"] is None else ""}
        )  # fmt: skip
    yield Table(
        "slopes", "Change of the score within a recording", slopes,
        [text("Condition", "condition"), estimate("Per minute (logit)", "per_minute"),
         p_value("p", "p"), estimate("Less that of no pain", "less_no_pain"),
         p_value("p", "p_less_no_pain"), integer("n", "n")],
    )  # fmt: skip


def _unaffected(found: Mapping[str, Any]) -> Iterator[Table]:
    rows = [
        {"condition": name,
         "flagged": len(each["flagged"]) if "flagged" in each else None, "n": each.get("n"),
         "expected_by_chance": (each.get("expected_by_chance") or {}).get("value"),
         "days": " ".join(map(str, each.get("days", []))), WHY: each.get("why")}
        for name, each in found.items()
    ]  # fmt: skip
    yield Table(
        "unaffected", "Animals within the range of no pain, counted", rows,
        [text("Condition", "condition"), integer("Flagged", "flagged"), integer("of", "n"),
         real("Expected by chance", "expected_by_chance", digits=1),
         Column("On days", lambda row: row["days"].replace(" ", ", "), numeric=False)],
    )  # fmt: skip
    animals = [
        {"animal": row["animal"], "condition": name, "day": int(day), "score": score,
         "limit": each["limits"][day]}
        for name, each in found.items()
        for row in each.get("flagged", [])
        for day, score in row["scores"].items()
    ]  # fmt: skip
    yield Table(
        "unaffected_animals", "Animals within the range of no pain", animals,
        [text("Animal", "animal"), text("Condition", "condition"), integer("Day", "day"),
         real("Score as compared (logit)", "score"), real("Upper limit of no pain", "limit")],
        labels=2,
    )  # fmt: skip
