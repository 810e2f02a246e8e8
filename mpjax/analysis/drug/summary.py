"""States what the drug analysis found: every sentence carries its interval."""

import math
from typing import Any

from mpjax.formatting import number, p_phrase, percent, signed
from mpjax.taxonomy import NO_PAIN


def summarise(drug: dict[str, Any]) -> list[str]:
    """Returns the answers of `trial.analyse_drugs`, the main one first."""
    declared = drug["interaction"].get("of")
    sentences = [
        _interaction(found, drug) for found in drug["interactions"] if found.get("of") == declared
    ]
    painless = {row["condition"] for row in drug["sessions"] if row["coarse"] == NO_PAIN}
    for condition, rows in drug["contrasts"].items():
        name = f"without pain ({condition})" if condition in painless else condition
        sentences += [
            _contrast(name, row, drug["reversal"].get(condition, {}), unit=drug["unit"])
            for row in rows
            if row["primary"]
        ]
    return sentences + _specificity(drug["specificity"])


def _interaction(found: dict[str, Any], drug: dict[str, Any]) -> str:
    if found["value"] is None:
        return (
            f"Whether the drug works differently by pain type cannot be estimated: {found['why']}."
        )
    first, second = found["of"]
    low, high = found["ci95"]
    if high < 0:
        answer = _comparison(drug, found["arm"], first, second)
    elif low > 0:
        answer = _comparison(drug, found["arm"], second, first)
    else:
        answer = (
            f"These animals do not show whether {found['arm']} works differently in {first} and "
            f"{second} pain"
        )
    method = "the mixed model" if found["method"] == "mixed model" else f"{found['method']} of both"
    power = ""
    if (least := found["detectable"]["value"]) is not None:
        power = f" A true difference of {least:.2f} would be found in 4 of 5 such studies."
    return (
        f"{answer}: interaction {_estimate(found)} on the logit scale, "
        f"{p_phrase(found['p_adjusted'])} by {method}, {found['n']} {drug['unit']}s.{power}"
    )


def _comparison(drug: dict[str, Any], arm: str, more: str, less: str) -> str:
    """Claims relief only where the arm lowers the score of `more` itself."""
    members = {row["condition"] for row in drug["sessions"] if row["coarse"] == more}
    relieved = any(
        row["value"] is not None and row["ci95"][1] < 0
        for condition in members
        for row in drug["contrasts"].get(condition, [])
        if row["arm"] == arm and row["kind"] == "dose"
    )
    if relieved:
        return f"{arm} relieves {more} pain more than {less} pain"
    return (
        f"{arm} lowers the score more, or raises it less, in {more} pain than in {less} pain, "
        f"without clear relief in {more} pain itself"
    )


def _contrast(condition: str, row: dict[str, Any], reversals: dict[str, Any], *, unit: str) -> str:
    if row["value"] is None:
        return f"{condition}: {row['arm']} cannot be compared with vehicle: {row['why']}."
    low, high = row["ci95"]
    verdict = "lowers" if high < 0 else "raises" if low > 0 else "does not clearly change"
    found = reversals.get(row["arm"], {})
    share = ""
    if found.get("value") is not None:
        value, *ends = (number(each, 0) for each in (found["value"], *found["ci95"]))
        share = f"; reversal {value} % (95 % CI {ends[0]} to {ends[1]} %)"
    elif found:
        share = f"; no reversal in per cent: {found['why']}"
    return (
        f"{condition}: {row['arm']} {verdict} the pain score compared with vehicle: "
        f"{_estimate(row)}, adjusted {p_phrase(row['p_adjusted'])}, {row['n']['arm']} and "
        f"{row['n']['vehicle']} {unit}s{share}."
    )


def _specificity(found: dict[str, Any]) -> list[str]:
    slowed = [
        f"{row['arm']} in {condition} ({percent(math.expm1(row['value']))})"
        for condition, rows in found["locomotion"].items()
        if isinstance(rows, list)
        for row in rows
        if row["ci95"][1] < 0
    ]
    far = [
        f"{row['condition']}, {row['arm']} ({percent(row['value'])})"
        for row in found["manifold"].get("rows", [])
        if row["flag"]
    ]
    sentences = []
    if slowed:
        sentences.append(
            f"Possible sedation: the animals move less than under vehicle with {', '.join(slowed)}."
        )
    if far:
        sentences.append(
            "The head may not apply: after the dose, clips are unlike anything it was trained on "
            f"more often than the 5 % expected: {'; '.join(far)}."
        )
    return sentences


def _estimate(found: dict[str, Any]) -> str:
    """Formats an estimate with its sign and interval."""
    value, low, high = map(signed, (found["value"], *found["ci95"]))
    return f"{value} (95 % CI {low} to {high})"
