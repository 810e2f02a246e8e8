"""Tables of the drug part: sessions, contrasts, reversal, dose-response, model, specificity."""

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
    spread,
    text,
)

_SIZES = Column("n arm / vehicle", lambda row: f"{row['n_arm']} / {row['n_vehicle']}")


def tabulate(drug: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the drug part by name; none without rows.

    Args:
        drug: what metrics.json holds under `drug`.
    """
    tables = [_means(drug.get("rows", [])), _sessions(drug.get("sessions", []))]
    tables += [*_contrasts(drug.get("contrasts") or {}), _interactions(drug)]
    tables += [*_reversal(drug), _doses(drug), _mixed_model(drug), _left_out(drug)]
    tables += _specificity(drug.get("specificity", {}))
    return {table.name: table for table in tables if table.rows}


def _means(rows: list[Row]) -> Table:
    flat = []
    for row in rows:
        first, last = row["minutes_post_dose"] or (None, None)
        flat.append(
            {"condition": row["condition"], "arm": row["arm"], "day": row["day"],
             "session": row["phase"], "minutes_first": first, "minutes_last": last,
             "p_pain": row["value"], "n": row["n"]}
        )  # fmt: skip

    def minutes(row: Row) -> str:
        ends = dict.fromkeys((row["minutes_first"], row["minutes_last"]))
        return "" if None in ends else "–".join(f"{end:g}" for end in ends)

    columns = [
        text("Condition", "condition"), text("Arm", "arm"), integer("Day", "day"),
        text("Session", "session"), Column("Minutes after dose", minutes),
        real("Mean probability of pain", "p_pain"), integer("n animals", "n"),
    ]  # fmt: skip
    return Table("drug_means", "Drug part, means per session", flat, columns, labels=2)


def _sessions(sessions: list[Row]) -> Table:
    columns = [
        text("Animal", "animal"), text("Condition", "condition"), text("Arm", "arm"),
        text("Session", "phase"), integer("Day", "day"),
        integer("Minutes after dose", "minutes_post_dose"), integer("Clips", "clips"),
        real("p(pain)", "p_pain"), real("Score (logit)", "score"),
    ]  # fmt: skip
    return Table("sessions", "Every animal and session", sessions, columns)


def _contrasts(contrasts: Mapping[str, Any]) -> Iterator[Table]:
    rows = [_contrast(condition, row) for condition, found in contrasts.items() for row in found]
    effect = [
        estimate("Change − vehicle's (logit)", "value"), p_value("p", "p"),
        p_value("p adjusted", "p_adjusted"), estimate("Hedges g", "hedges_g"),
        _SIZES,
        real("Detectable", "detectable"), text("Test", "method"),
        Column("Primary", lambda row: "yes" if row["primary"] else "", numeric=False),
    ]  # fmt: skip
    named = [text("Condition", "condition"), text("Arm", "arm")]
    yield Table(
        "contrasts", "Every arm against vehicle",
        [row for row in rows if row["minutes_post_dose"] is None], [*named, *effect], labels=2,
    )  # fmt: skip
    yield Table(
        "contrasts_over_time", "Every arm and time against vehicle",
        [row for row in rows if row["minutes_post_dose"] is not None],
        [*named, integer("Minutes", "minutes_post_dose"), *effect], labels=3,
    )  # fmt: skip


def _contrast(condition: str, found: Mapping[str, Any]) -> Row:
    n = found.get("n") or {}
    on_g = remark(found.get("hedges_g", {}))
    notes = [
        f"{condition}, {found['arm']}: {found['note']}" if found.get("note") else "",
        f"Hedges g: {on_g}" if on_g else "",
    ]
    return {
        "condition": condition, "arm": found["arm"], "kind": found.get("kind"),
        "minutes_post_dose": found.get("minutes_post_dose"), **spread("value", found),
        "p": found.get("p"), "p_adjusted": found.get("p_adjusted"),
        "method": found.get("method"), "n_arm": n.get("arm"), "n_vehicle": n.get("vehicle"),
        **spread("hedges_g", found.get("hedges_g", {})),
        "detectable": (found.get("detectable") or {}).get("value"),
        "primary": found.get("primary"),
        "note": "; ".join(filter(None, notes)),
        WHY: remark(found) if found.get("value") is None else "",
    }  # fmt: skip


def _size(drug: Mapping[str, Any]) -> Column:
    """A column of n, in the unit of the drug tests."""
    return integer(f"n {drug.get('unit', 'animal')}s", "n")


def _interactions(drug: Mapping[str, Any]) -> Table:
    rows = []
    for found in drug.get("interactions", []):
        if "of" not in found:
            continue
        detectable = found.get("detectable") or {}
        rows.append(
            {"arm": found.get("arm"), "first": found["of"][0], "second": found["of"][1],
             **spread("value", found), "p": found.get("p"), "p_adjusted": found.get("p_adjusted"),
             "n": found.get("n"), "method": found.get("method"),
             "detectable": detectable.get("value"), "note": remark(found),
             WHY: remark(found) if found.get("value") is None else ""}
        )  # fmt: skip
    columns = [
        text("Arm", "arm"), text("Effect in", "first"), text("minus effect in", "second"),
        estimate("Difference (logit)", "value"), p_value("p", "p"),
        p_value("p adjusted", "p_adjusted"), _size(drug), text("Test", "method"),
        real("Detectable", "detectable"),
    ]  # fmt: skip
    return Table("interactions", "Drug × pain-type interaction", rows, columns, labels=3)


def _reversal(drug: Mapping[str, Any]) -> Iterator[Table]:
    rows, animals = [], []
    reversal = drug.get("reversal") or {}
    for condition, arms in () if why_absent(reversal) else reversal.items():
        for arm, found in arms.items():
            named = {"condition": condition, "arm": arm}
            rows.append(
                {**named, **spread("reversal_percent", found), "p": found.get("p"),
                 "n": found.get("n"), "note": remark(found),
                 WHY: remark(found) if found["value"] is None else ""}
            )  # fmt: skip
            animals += [
                {**named, "animal": animal, "reversal_percent": value}
                for animal, value in found.get("animals", {}).items()
            ]
    columns = [
        text("Condition", "condition"), text("Arm", "arm"),
        estimate("Reversal (%), minus vehicle's", "reversal_percent", digits=0),
        p_value("p adjusted", "p"), _size(drug),
        *([text("Note", "note")] if any(row["note"] and not row[WHY] for row in rows) else []),
    ]  # fmt: skip
    yield Table("reversal", "Per cent reversal", rows, columns, labels=2)
    yield Table("reversal_animals", "Per cent reversal, every animal", animals, ())


def _doses(drug: Mapping[str, Any]) -> Table:
    rows = [
        {"condition": condition, "drug": name, "dose_mg_per_kg": row["dose_mg_per_kg"],
         **spread("reversal_percent", row), "n": row.get("n"),
         WHY: remark(row) if row["value"] is None else ""}
        for condition, name, found in by_drug(drug.get("dose_response"))
        for row in found["doses"]
    ]  # fmt: skip
    columns = [
        text("Condition", "condition"), text("Drug", "drug"),
        Column("Dose (mg/kg)", lambda row: f"{row['dose_mg_per_kg']:g}"),
        estimate("Reversal (%), minus vehicle's", "reversal_percent", digits=0),
        _size(drug),
    ]  # fmt: skip
    return Table("dose_response", "Dose-response", rows, columns, labels=3)


def _left_out(drug: Mapping[str, Any]) -> Table:
    columns = [
        text("Animal", "animal"), text("Condition", "condition"), text("Arm", "arm"),
        text("Why", "why"),
    ]  # fmt: skip
    return Table("left_out", "Animals left out of the drug test", drug.get("left_out", []), columns)


def _mixed_model(drug: Mapping[str, Any]) -> Table:
    terms = (drug.get("mixed_model") or {}).get("terms", [])
    rows = [
        {"term": term["term"], **spread("value", term), "se": term["se"], "p": term["p"]}
        for term in terms
    ]
    columns = [
        text("Term", "term"), estimate("Estimate (logit)", "value"), real("SE", "se"),
        p_value("p", "p"),
    ]  # fmt: skip
    return Table("mixed_model", "Mixed model", rows, columns)


def _specificity(specificity: Mapping[str, Any]) -> Iterator[Table]:
    named = [text("Condition", "condition"), text("Arm", "arm")]
    no_pain = specificity.get("no_pain")
    yield Table(
        "no_pain", "The drug on animals without pain",
        [
            _contrast(row.get("condition", "no pain"), row)
            for row in (no_pain if isinstance(no_pain, list) else [])
            if row["kind"] == "dose"
        ],
        [*named, estimate("Change − vehicle's (logit)", "value"), p_value("p", "p"),
         p_value("p adjusted", "p_adjusted"), _SIZES],
        labels=2,
    )  # fmt: skip
    rows: list[Row] = [
        {"condition": condition, "arm": row["arm"], **spread("value", row), "p": row.get("p"),
         "n": _animals(row.get("n")), WHY: remark(row) if row.get("value") is None else ""}
        for condition, row in by_condition(specificity.get("locomotion"))
    ]  # fmt: skip
    yield Table(
        "locomotion", "Locomotion", rows,
        [*named, estimate("Change of motion − vehicle's (log)", "value"),
         p_value("p adjusted", "p"), integer("n animals", "n")],
        labels=2,
    )  # fmt: skip
    rows = [
        {"condition": condition, "arm": row["arm"], **spread("along", row["along"]),
         "along_p": row["along"].get("p"), **spread("orthogonal", row["orthogonal"]),
         "orthogonal_p": row["orthogonal"].get("p"),
         **spread("share_along", row["share_along"]),
         WHY: remark(row["along"]) if row["along"].get("value") is None else ""}
        for condition, row in by_condition(specificity.get("shift"))
    ]  # fmt: skip
    yield Table(
        "shift", "Shift in embedding space", rows,
        [*named, estimate("Along the pain axis", "along"),
         estimate("Orthogonal", "orthogonal"),
         p_value("p (orthogonal)", "orthogonal_p"), share("Share along", "share_along")],
        labels=2,
    )  # fmt: skip
    manifold = specificity.get("manifold") or {}
    yield Table(
        "manifold", "Distance from the training data", manifold.get("rows", []),
        [*named, text("Session", "phase"), share("Clips far away", "value"), integer("n", "n"),
         Column("Flag", lambda row: "flag" if row["flag"] else "", numeric=False)],
        labels=3,
    )  # fmt: skip


def by_condition(found: Mapping[str, Any] | None) -> Iterator[tuple[str, Row]]:
    """Yields (condition, row) of a part {condition: [rows]}; nothing where it has a reason."""
    for condition, rows in (found or {}).items():
        if isinstance(rows, list):
            for row in rows:
                yield condition, row


def by_drug(responses: Mapping[str, Any] | None) -> Iterator[tuple[str, str, Row]]:
    """Yields (condition, drug, dose-response) of {condition: {drug: ...}}; none without doses."""
    for condition, drugs in (responses or {}).items():
        for name, found in drugs.items() if isinstance(drugs, Mapping) else ():
            if isinstance(found, Mapping) and found.get("doses"):
                yield condition, name, dict(found)


def reasons(found: Mapping[str, Any]) -> list[str]:
    """Returns why a part {condition: [rows]}, or what it should say of a condition, is missing."""
    if why := why_absent(found):
        return [why]
    return [f"{name}: {rows['why']}" for name, rows in found.items() if isinstance(rows, Mapping)]


def why_absent(found: Mapping[str, Any]) -> str:
    """Returns why there is a reason in place of a part; empty where there is the part."""
    return found["why"] if isinstance(found.get("why"), str) else ""


def _animals(n: Any) -> int | None:
    """Returns the number of animals behind a contrast, whether given in all or per side."""
    return sum(n.values()) if isinstance(n, Mapping) else n


def headline(drug: Mapping[str, Any]) -> list[str]:
    """Returns the drug's answers in words, the most important first.

    Args:
        drug: what metrics.json holds under `drug`.
    """
    if drug.get("summary"):
        return list(drug["summary"])
    if why := why_absent(drug):
        return [f"Drug test: none, because {why}."]
    interaction = drug.get("interaction", {})
    return [f"Drug × pain-type interaction: {formatting.estimate(interaction)}."]
