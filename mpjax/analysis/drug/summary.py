"""What the drug analysis found, in words: every sentence carries its interval."""

import math
from typing import Any

from mpjax.taxonomy import NO_PAIN


def summarise(drug: dict[str, Any]) -> list[str]:
    """Returns the answers of the drug part, the first one first.

    Args:
        drug: of `drugs.analyse_drugs`.
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
            "told from these animals"
        )
    return (
        f"{answer}: interaction {_signed(found)} on the logit scale ({_interval(found)}), "
        f"{_p(found['p_adjusted'])} by {_method(found['method'])}, {found['n']} "
        f"{drug['unit']}s.{_power(found['detectable'])}"
    )


def _comparison(drug: dict[str, Any], arm: str, more: str, less: str) -> str:
    """Speaks of relief only where the arm lowers the score of `more` itself."""
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
    return f" A difference of {detectable['value']:.2f} would be found 4 times in 5."


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
        bottom, top = reversed_["ci95"]
        share = f"; reversal {reversed_['value']:.0f} % (95 % CI {bottom:.0f} to {top:.0f} %)"
        share = share.replace("-", "−")
    elif reversed_:
        share = f"; no per cent reversal, for {reversed_['why']}"
    return (
        f"{condition}: {row['arm']} {verdict} the pain score against vehicle: {_signed(row)} "
        f"({_interval(row)}), adjusted {_p(row['p_adjusted'])}, {row['n']['arm']} and "
        f"{row['n']['vehicle']} {unit}s{share}."
    )


def _specificity(found: dict[str, Any]) -> list[str]:
    sentences = []
    slowed = [
        f"{row['arm']} in {condition} (−{100 * (1 - math.exp(row['value'])):.0f} %)"
        for condition, rows in _tables(found["locomotion"])
        for row in rows
        if row["ci95"][1] < 0
    ]
    if slowed:
        sentences.append(
            f"Mind sedation: the animals move less than under vehicle with {', '.join(slowed)}."
        )
    far = [
        f"{row['condition']}, {row['arm']} ({row['value']:.0%})"
        for row in found["manifold"].get("rows", [])
        if row["flag"]
    ]
    if far:
        sentences.append(
            "Mind the head's limits: after the dose, clips look unlike anything it was trained "
            f"on more often than the 5 % expected: {'; '.join(far)}."
        )
    return sentences


def _tables(part: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    return [(name, rows) for name, rows in part.items() if isinstance(rows, list)]


def _p(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.2g}"


def _signed(found: dict[str, Any]) -> str:
    return _number(found["value"])


def _interval(found: dict[str, Any]) -> str:
    return f"95 % CI {_number(found['ci95'][0])} to {_number(found['ci95'][1])}"


def _number(value: float) -> str:
    return f"{value:+.2f}".replace("-", "\N{MINUS SIGN}")
