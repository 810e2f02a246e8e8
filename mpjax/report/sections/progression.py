"""Tables of the course of pain: onset and peak, excess, model, order of days, flagged animals."""

from collections.abc import Iterator, Mapping
from typing import Any

from mpjax.formatting import span
from mpjax.report import columns as col
from mpjax.report.tables import WHY, Column, Row, Table, by_name, lay, reason, remark, spread

_POINTS = {"onset": "Onset", "peak": "Peak", "resolution": "Resolution"}
_CONDITION, _DAY = col.text("Condition", "condition"), col.integer("Day", "day")


def tabulate(progression: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the course of pain."""
    scores = list_of(progression, "trajectories")
    return by_name(
        [
            *_days(progression.get("rows", [])), _points(progression), _excess(progression),
            _means(progression), Table("scores", "Pain score of every animal and day", scores),
            *_model(_part(progression, "mixed_model")), _order(_part(progression, "day_order")),
            *_consistency(_part(progression, "consistency")),
            *_within(_part(progression, "within_recording")),
            *_unaffected(_part(progression, "unaffected")),
        ]
    )  # fmt: skip


def _part(progression: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Returns a part of the progression; empty where it is missing or cannot be estimated."""
    part = progression.get(name) or {}
    return {} if "why" in part else part


def list_of(progression: Mapping[str, Any], name: str) -> list[Row]:
    """Returns the rows of a part; none where a reason stands in their place."""
    part = progression.get(name)
    return part if isinstance(part, list) else []


def _days(rows: list[Row]) -> Iterator[Table]:
    means = [{key: row[key] for key in ("condition", "day", "value", "n")} for row in rows]
    columns = [_CONDITION, _DAY, col.real("Mean probability of pain", "value")]
    columns.append(col.integer("n animals", "n"))
    yield Table("days", "Mean probability of pain over days", means, columns)
    animals = [
        {"condition": row["condition"], "day": row["day"], "animal": animal, "p_pain": value}
        for row in rows
        for animal, value in row["animals"].items()
    ]
    yield Table("trajectories", "Probability of pain of every animal over days", animals)


def _points(progression: Mapping[str, Any]) -> Table:
    rows = []
    for condition in _part(progression, "onset"):
        for name, called in _POINTS.items():
            found = progression[name][condition]
            said = "none" if found["value"] is None else str(found["value"])
            compared = "without" in found
            rows.append(
                {"condition": condition, "what": called, "day": found["value"],
                 "said": f"on or before {said}" if found.get("at_first") else said,
                 "days95": " ".join(map(str, found.get("days95") or [])),
                 "without": found.get("without"),
                 "reference": progression["reference"].get(condition),
                 "note": remark(found) if compared else "",
                 WHY: "" if compared else remark(found)}
            )  # fmt: skip
    columns = [
        _CONDITION, col.text("Point", "what"), col.text("Day", "said"),
        Column("95 % of resamples", lambda row: row["days95"].replace(" ", ", "), numeric=False),
        col.share("Resamples without", "without"), col.text("Compared with", "reference"),
        col.text("Note", "note"),
    ]  # fmt: skip
    return Table("turning_points", "Onset, peak and resolution", rows, columns, labels=2)


def _band(row: Mapping[str, Any]) -> Row:
    low, high = row.get("band95") or (None, None)
    return {"simultaneous_low": low, "simultaneous_high": high}


def _show_band(row: Row) -> str:
    low, high = row["simultaneous_low"], row["simultaneous_high"]
    return span({"ci95": None if low is None else [low, high]})


def _excess(progression: Mapping[str, Any]) -> Table:
    rows = [
        {"condition": row["condition"], "day": row["day"], **spread("excess", row), **_band(row),
         "n": row.get("n"), "n_reference": row.get("n_reference"), "found": row.get("above"),
         WHY: reason(row)}
        for row in list_of(progression, "excess")
    ]  # fmt: skip
    columns = [
        _CONDITION, _DAY, col.estimate("Score above no pain (logit)", "excess"),
        Column("Over all days at once", _show_band), col.flag("Found", "found", no="no"),
        Column("n with / without pain", lambda row: f"{row['n']} / {row['n_reference'] or '–'}"),
    ]  # fmt: skip
    return Table("excess", "Score above no pain on every day", rows, columns, labels=2)


def _means(progression: Mapping[str, Any]) -> Table:
    model = {
        (row["condition"], row["day"]): row
        for row in _part(progression, "mixed_model").get("means", [])
    }
    rows = [
        {"condition": row["condition"], "day": row["day"], **spread("score", row), **_band(row),
         **spread("model", model.get((row["condition"], row["day"]), {})),
         "n": row["n"], "note": row.get("why")}
        for row in list_of(progression, "means")
    ]  # fmt: skip
    columns = [
        _CONDITION, _DAY, col.estimate("Mean score (logit)", "score"),
        Column("Over all days at once", _show_band), col.estimate("From the mixed model", "model"),
        col.integer(f"n {progression.get('unit', 'animal')}s", "n"),
    ]  # fmt: skip
    return Table("score_means", "Mean pain score", rows, columns, labels=2)


def _model(model: Mapping[str, Any]) -> Iterator[Table]:
    term, p = col.text("Term", "term"), col.p_value("p", "p")
    tests = [
        {"term": row["term"], "f": row["f"], "df": " / ".join(map(str, row["df"])), "p": row["p"]}
        for row in model.get("tests", [])
    ]
    columns = [term, col.real("F", "f"), col.text("df", "df"), p]
    yield Table("course_tests", "Do the courses differ?", tests, columns)
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
    columns = [term, col.estimate("Estimate (logit)", "value"), col.integer("df", "df"), p]
    yield Table("course_model", "Mixed model of the course", terms, columns)


def _order(order: Mapping[str, Any]) -> Table:
    rows = []
    named = {"all conditions": order["all"], **order["conditions"]} if order else {}
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
        _CONDITION, col.estimate("Spearman", "spearman"), col.estimate("Kendall", "kendall"),
        col.p_value("p", "p_order"), col.estimate("Mean error (days)", "mean_error_days"),
        col.real("Shuffled", "mean_error_shuffled"), col.p_value("p", "p_error"),
        col.integer("n animals", "animals"),
    ]  # fmt: skip
    return Table("day_order", "Order of the days within an animal", rows, columns)


def _consistency(found: Mapping[str, Any]) -> Iterator[Table]:
    measures = {}
    if found:
        measures = {
            "Predicted class and group agree (recordings)": found["fine_and_coarse"],
            "Same group on two days of an animal (animals)": found["over_days"],
        }
        each = found["over_days_by_condition"]
        measures |= {f"the same, {name}": each[name] for name in each if "why" not in each}
    rows = [
        {"measure": name, **spread("share", each), "n": each.get("n"), WHY: reason(each)}
        for name, each in measures.items()
    ]
    columns = [col.text("Measure", "measure"), col.share_estimate("Share", "share")]
    columns.append(col.integer("n", "n"))
    yield Table("consistency", "Consistency of the predictions", rows, columns)
    switching = [
        {"animal": row["animal"], "condition": row["condition"],
         "calls": "; ".join(f"day {day}: {group}" for day, group in row["calls"].items())}
        for row in found.get("switching", [])
    ]  # fmt: skip
    columns = [col.text("Animal", "animal"), _CONDITION, col.text("Predicted", "calls")]
    caption = "Animals with two predicted types of pain"
    yield Table("switching", caption, switching, columns, labels=2)


def _within(found: Mapping[str, Any]) -> Iterator[Table]:
    bins = [
        {"condition": row["condition"], "start_s": row["start_s"], "end_s": row["end_s"],
         **spread("score", row), "n": row["n"], "note": row.get("why")}
        for row in found.get("bins", [])
    ]  # fmt: skip
    columns = [
        _CONDITION, col.real("From (s)", "start_s", digits=1),
        col.real("To (s)", "end_s", digits=1), col.estimate("Mean score (logit)", "score"),
        col.integer("n", "n"),
    ]  # fmt: skip
    yield Table("within_recording", "Pain score within a recording", bins, columns, labels=3)
    slopes = []
    for name, each in found.get("slopes", {}).items():
        other = found.get("against_no_pain", {}).get(name, {})
        slopes.append(
            {"condition": name, **lay(each, "per_minute"), **spread("less_no_pain", other),
             "p_less_no_pain": other.get("p"), "note": other.get("why")}
        )  # fmt: skip
    columns = [
        _CONDITION, col.estimate("Per minute (logit)", "per_minute"), col.p_value("p", "p"),
        col.estimate("Minus no pain", "less_no_pain"), col.p_value("p", "p_less_no_pain"),
        col.integer("n", "n"),
    ]  # fmt: skip
    yield Table("slopes", "Change of the score within a recording", slopes, columns)


def _unaffected(found: Mapping[str, Any]) -> Iterator[Table]:
    rows = [
        {"condition": name,
         "flagged": len(each["flagged"]) if "flagged" in each else None, "n": each.get("n"),
         "expected_by_chance": (each.get("expected_by_chance") or {}).get("value"),
         "days": " ".join(map(str, each.get("days", []))), WHY: each.get("why")}
        for name, each in found.items()
    ]  # fmt: skip
    columns = [
        _CONDITION, col.integer("Flagged", "flagged"), col.integer("of", "n"),
        col.real("Expected by chance", "expected_by_chance", digits=1),
        Column("On days", lambda row: row["days"].replace(" ", ", "), numeric=False),
    ]  # fmt: skip
    yield Table("unaffected", "Number of animals within the range of no pain", rows, columns)
    animals = [
        {"animal": row["animal"], "condition": name, "day": int(day), "score": score,
         "limit": each["limits"][day]}
        for name, each in found.items()
        for row in each.get("flagged", [])
        for day, score in row["scores"].items()
    ]  # fmt: skip
    columns = [
        col.text("Animal", "animal"), _CONDITION, _DAY, col.real("Score (logit)", "score"),
        col.real("Upper limit of no pain", "limit"),
    ]  # fmt: skip
    caption = "Animals within the range of no pain"
    yield Table("unaffected_animals", caption, animals, columns, labels=2)
