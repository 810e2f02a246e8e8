"""Tables of the drug part: sessions, contrasts, reversal, dose-response, model, specificity."""

from collections.abc import Iterator, Mapping
from typing import Any

from mpjax.formatting import estimate
from mpjax.report import columns as col
from mpjax.report.tables import WHY, Column, Row, Table, by_name, lay, reason, remark, spread

_CONDITION, _ARM = col.text("Condition", "condition"), col.text("Arm", "arm")
_NAMED = (_CONDITION, _ARM)
_P, _ADJUSTED = col.p_value("p", "p"), col.p_value("p adjusted", "p_adjusted")
_CHANGE = col.estimate("Change − vehicle's (logit)", "value")
_REVERSAL = col.estimate("Reversal (%), minus vehicle's", "reversal_percent", digits=0)
_SIZES = Column("n arm / vehicle", lambda row: f"{row['n_arm']} / {row['n_vehicle']}")
_DETECTABLE, _TEST = col.real("Detectable", "detectable"), col.text("Test", "method")


def tabulate(drug: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the drug part."""
    why = [col.text("Animal", "animal"), *_NAMED, col.text("Why", "why")]
    caption = "Animals left out of the drug test"
    return by_name(
        [
            _means(drug.get("rows", [])), _sessions(drug.get("sessions", [])),
            *_contrasts(drug.get("contrasts") or {}), _interactions(drug), *_reversal(drug),
            _doses(drug), _mixed_model((drug.get("mixed_model") or {}).get("terms", [])),
            Table("left_out", caption, drug.get("left_out", []), why),
            *_specificity(drug.get("specificity", {})),
        ]
    )  # fmt: skip


def _means(rows: list[Row]) -> Table:
    flat = [
        {"condition": row["condition"], "arm": row["arm"], "day": row["day"],
         "session": row["phase"], "minutes_first": first, "minutes_last": last,
         "p_pain": row["value"], "n": row["n"]}
        for row in rows
        for first, last in [row["minutes_post_dose"] or (None, None)]
    ]  # fmt: skip

    def minutes(row: Row) -> str:
        ends = dict.fromkeys((row["minutes_first"], row["minutes_last"]))
        return "" if None in ends else "–".join(f"{end:g}" for end in ends)

    columns = [
        *_NAMED, col.integer("Day", "day"), col.text("Session", "session"),
        Column("Minutes after dose", minutes), col.real("Mean probability of pain", "p_pain"),
        col.integer("n animals", "n"),
    ]  # fmt: skip
    return Table("drug_means", "Drug part, means per session", flat, columns, labels=2)


def _sessions(sessions: list[Row]) -> Table:
    columns = [
        col.text("Animal", "animal"), *_NAMED, col.text("Session", "phase"),
        col.integer("Day", "day"), col.integer("Minutes after dose", "minutes_post_dose"),
        col.integer("Clips", "clips"), col.real("Probability of pain", "p_pain"),
        col.real("Score (logit)", "score"),
    ]  # fmt: skip
    return Table("sessions", "Every animal and session", sessions, columns)


def _contrasts(contrasts: Mapping[str, Any]) -> Iterator[Table]:
    rows = [_contrast(condition, row) for condition, found in contrasts.items() for row in found]
    effect = [
        _CHANGE, _P, _ADJUSTED, col.estimate("Hedges g", "hedges_g"), _SIZES, _DETECTABLE, _TEST,
        col.flag("Primary", "primary"),
    ]  # fmt: skip
    whole = [row for row in rows if row["minutes_post_dose"] is None]
    yield Table("contrasts", "Every arm compared with vehicle", whole, [*_NAMED, *effect], labels=2)
    yield Table(
        "contrasts_over_time", "Every arm and time compared with vehicle",
        [row for row in rows if row["minutes_post_dose"] is not None],
        [*_NAMED, col.integer("Minutes", "minutes_post_dose"), *effect], labels=3,
    )  # fmt: skip


def _contrast(condition: str, found: Mapping[str, Any]) -> Row:
    n, g = found.get("n") or {}, found.get("hedges_g", {})
    notes = [
        f"{condition}, {found['arm']}: {found['note']}" if found.get("note") else "",
        f"Hedges g: {remark(g)}" if remark(g) else "",
    ]
    keys = ("kind", "minutes_post_dose", "p", "p_adjusted", "method", "primary")
    return {
        "condition": condition, "arm": found["arm"], **spread("value", found),
        **{key: found.get(key) for key in keys}, "n_arm": n.get("arm"),
        "n_vehicle": n.get("vehicle"), **spread("hedges_g", g),
        "detectable": (found.get("detectable") or {}).get("value"),
        "note": "; ".join(filter(None, notes)), WHY: reason(found),
    }  # fmt: skip


def _size(drug: Mapping[str, Any]) -> Column:
    return col.integer(f"n {drug.get('unit', 'animal')}s", "n")


def _interactions(drug: Mapping[str, Any]) -> Table:
    rows = [
        {"arm": found.get("arm"), "first": found["of"][0], "second": found["of"][1],
         **lay(found), "p_adjusted": found.get("p_adjusted"), "method": found.get("method"),
         "detectable": (found.get("detectable") or {}).get("value")}
        for found in drug.get("interactions", [])
        if "of" in found
    ]  # fmt: skip
    columns = [
        _ARM, col.text("Effect in", "first"), col.text("minus effect in", "second"),
        col.estimate("Difference (logit)", "value"), _P, _ADJUSTED, _size(drug), _TEST, _DETECTABLE,
    ]  # fmt: skip
    return Table("interactions", "Drug × pain-type interaction", rows, columns, labels=3)


def _reversal(drug: Mapping[str, Any]) -> Iterator[Table]:
    reversal = drug.get("reversal") or {}
    found = [
        ({"condition": condition, "arm": arm}, each)
        for condition, arms in ({} if why_absent(reversal) else reversal).items()
        for arm, each in arms.items()
    ]
    rows = [named | lay(each, "reversal_percent") for named, each in found]
    columns = [*_NAMED, _REVERSAL, col.p_value("p adjusted", "p"), _size(drug)]
    if any(row["note"] and not row[WHY] for row in rows):
        columns.append(col.text("Note", "note"))
    yield Table("reversal", "Per cent reversal", rows, columns, labels=2)
    animals = [
        named | {"animal": animal, "reversal_percent": value}
        for named, each in found
        for animal, value in each.get("animals", {}).items()
    ]
    yield Table("reversal_animals", "Per cent reversal, every animal", animals)


def _doses(drug: Mapping[str, Any]) -> Table:
    rows = [
        {"condition": condition, "drug": name, "dose_mg_per_kg": row["dose_mg_per_kg"],
         **lay(row, "reversal_percent")}
        for condition, name, found in by_drug(drug.get("dose_response"))
        for row in found["doses"]
    ]  # fmt: skip
    dose = Column("Dose (mg/kg)", lambda row: f"{row['dose_mg_per_kg']:g}")
    columns = [_CONDITION, col.text("Drug", "drug"), dose, _REVERSAL, _size(drug)]
    return Table("dose_response", "Dose-response", rows, columns, labels=3)


def _mixed_model(terms: list[Row]) -> Table:
    rows = [
        {"term": term["term"], **spread("value", term), "se": term["se"], "p": term["p"]}
        for term in terms
    ]
    columns = [col.text("Term", "term"), col.estimate("Estimate (logit)", "value")]
    return Table("mixed_model", "Mixed model", rows, [*columns, col.real("SE", "se"), _P])


def _specificity(specificity: Mapping[str, Any]) -> Iterator[Table]:
    no_pain = specificity.get("no_pain")
    treated = [
        _contrast(row.get("condition", "no pain"), row)
        for row in (no_pain if isinstance(no_pain, list) else [])
        if row["kind"] == "dose"
    ]
    columns = [*_NAMED, _CHANGE, _P, _ADJUSTED, _SIZES]
    yield Table("no_pain", "The drug in animals without pain", treated, columns, labels=2)
    moved = []
    for condition, row in by_condition(specificity.get("locomotion")):
        n = row.get("n")
        n = sum(n.values()) if isinstance(n, Mapping) else n  # in all, or per side
        moved.append({"condition": condition, "arm": row["arm"], **lay(row), "n": n})
    columns = [
        *_NAMED, col.estimate("Change of log motion − vehicle's", "value"),
        col.p_value("p adjusted", "p"), col.integer("n animals", "n"),
    ]  # fmt: skip
    yield Table("locomotion", "Locomotion", moved, columns, labels=2)
    shifts = [
        {"condition": condition, "arm": row["arm"], **spread("along", row["along"]),
         "along_p": row["along"].get("p"), **spread("orthogonal", row["orthogonal"]),
         "orthogonal_p": row["orthogonal"].get("p"),
         **spread("share_along", row["share_along"]), WHY: reason(row["along"])}
        for condition, row in by_condition(specificity.get("shift"))
    ]  # fmt: skip
    columns = [
        *_NAMED, col.estimate("Along the pain axis", "along"),
        col.estimate("Orthogonal", "orthogonal"), col.p_value("p (orthogonal)", "orthogonal_p"),
        col.share("Share along", "share_along"),
    ]  # fmt: skip
    yield Table("shift", "Shift of the embedding", shifts, columns, labels=2)
    far = (specificity.get("manifold") or {}).get("rows", [])
    columns = [
        *_NAMED, col.text("Session", "phase"), col.share("Clips far away", "value"),
        col.integer("n", "n"), col.flag("Flag", "flag", yes="flag"),
    ]  # fmt: skip
    yield Table("manifold", "Distance from the training data", far, columns, labels=3)


def by_condition(found: Mapping[str, Any] | None) -> Iterator[tuple[str, Row]]:
    """Yields (condition, row) of a part {condition: [rows]}; nothing where it has a reason."""
    for condition, rows in (found or {}).items():
        for row in rows if isinstance(rows, list) else ():
            yield condition, row


def by_drug(responses: Mapping[str, Any] | None) -> Iterator[tuple[str, str, Row]]:
    """Yields (condition, drug, dose-response) of {condition: {drug: ...}}; none without doses."""
    for condition, drugs in (responses or {}).items():
        for name, found in drugs.items() if isinstance(drugs, Mapping) else ():
            if isinstance(found, Mapping) and found.get("doses"):
                yield condition, name, dict(found)


def reasons(found: Mapping[str, Any]) -> list[str]:
    """Returns why a part {condition: [rows]}, or its figures of one condition, are missing."""
    if why := why_absent(found):
        return [why]
    return [f"{name}: {rows['why']}" for name, rows in found.items() if isinstance(rows, Mapping)]


def why_absent(found: Mapping[str, Any]) -> str:
    """Returns the reason that stands in place of a part; empty where there is the part."""
    return found["why"] if isinstance(found.get("why"), str) else ""


def headline(drug: Mapping[str, Any]) -> list[str]:
    """Returns the drug's answers in words, the most important first."""
    if drug.get("summary"):
        return list(drug["summary"])
    if why := why_absent(drug):
        return [f"Drug test: none, because {why}."]
    return [f"Drug × pain-type interaction: {estimate(drug.get('interaction', {}))}."]
