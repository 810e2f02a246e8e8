"""The answers of the drug analysis in words: every sentence has its interval."""

import math
from typing import Any

from mpjax import formatting
from mpjax.taxonomy import NO_PAIN


def summarise(drug: dict[str, Any]) -> list[str]:
    """Returns the answers of the drug part, the first one first.

    Args:
        drug: the result of `trial.analyse_drugs`.
    """
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
    sentences += _specificity(drug["specificity"])
    return sentences


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
            f"Whether {found['arm']} works differently in {first} and {second} pain cannot be "
            "decided from these animals"
        )
    return (
        f"{answer}: interaction {formatting.signed(found['value'])} on the logit scale "
        f"({_interval(found)}), {formatting.p_phrase(found['p_adjusted'])} by "
        f"{_method(found['method'])}, {found['n']} {drug['unit']}s.{_power(found['detectable'])}"
    )


def _comparison(drug: dict[str, Any], arm: str, more: str, less: str) -> str:
    """Mentions relief only where the arm lowers the score of `more` itself."""
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
        f"{arm} lowers the score in {more} pain more, or raises it less, than in {less} pain, "
        f"without clear relief in {more} pain itself"
    )


def _power(detectable: dict[str, Any]) -> str:
    if detectable["value"] is None:
        return ""
    return f" A difference of {detectable['value']:.2f} would be found with a power of 80 %."


def _method(name: str) -> str:
    return "the mixed model" if name == "mixed model" else f"{name} of both"


def _contrast(condition: str, row: dict[str, Any], reversals: dict[str, Any], *, unit: str) -> str:
    if row["value"] is None:
        return f"{condition}: {row['arm']} cannot be compared with vehicle: {row['why']}."
    low, high = row["ci95"]
    verdict = "lowers" if high < 0 else "raises" if low > 0 else "does not clearly change"
    reversed_ = reversals.get(row["arm"], {})
    share = ""
    if reversed_.get("value") is not None:
        value = formatting.number(reversed_["value"], 0)
        share = f"; reversal {value} % (95 % CI {formatting.span(reversed_, 0)} %)"
    elif reversed_:
        share = f"; no per cent reversal: {reversed_['why']}"
    return (
        f"{condition}: {row['arm']} {verdict} the pain score compared with vehicle: "
        f"{formatting.signed(row['value'])} ({_interval(row)}), adjusted "
        f"{formatting.p_phrase(row['p_adjusted'])}, {row['n']['arm']} and {row['n']['vehicle']} "
        f"{unit}s{share}."
    )


def _specificity(found: dict[str, Any]) -> list[str]:
    sentences = []
    slowed = [
        f"{row['arm']} in {condition} (−{100 * (1 - math.exp(row['value'])):.0f} %)"
        for condition, rows in found["locomotion"].items()
        if isinstance(rows, list)
        for row in rows
        if row["ci95"][1] < 0
    ]
    if slowed:
        sentences.append(
            f"Possible sedation: animals move less than under vehicle with {', '.join(slowed)}."
        )
    far = [
        f"{row['condition']}, {row['arm']} ({row['value']:.0%})"
        for row in found["manifold"].get("rows", [])
        if row["flag"]
    ]
    if far:
        sentences.append(
            "Limits of the head: after the dose, clips are unlike its training clips more often "
            f"than the expected 5 %: {'; '.join(far)}."
        )
    return sentences


def _interval(found: dict[str, Any]) -> str:
    low, high = map(formatting.signed, found["ci95"])
    return f"95 % CI {low} to {high}"
