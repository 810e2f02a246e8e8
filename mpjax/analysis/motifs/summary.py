"""What the motifs tell, in words: every sentence carries its interval or its p."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpjax.analysis.motifs.contrasts import KINDS

ALPHA = 0.05
_NAMED = 3  # motifs of a sentence
_COMPARED = ("pain", "label", "drug", "days", "days_against_no_pain")


def summarise(found: Mapping[str, Any]) -> list[str]:
    """Returns the answers, the first one first.

    Args:
        found: of `motifs.analyse`, all but its summary.
    """
    sentences = [_codebook(found["codebook"])]
    usage = [row for row in found["tests"] if row["measure"] == "usage"]
    for contrast in _contrasts(usage):
        own = [row for row in usage if row["contrast"] == contrast]
        if own[0]["kind"] in ("pain", "label", "drug"):
            sentences.append(_usage(own, found))
    sentences += [_trends(usage, found)] if any(row["kind"] == "days" for row in usage) else []
    sentences += _absent(found["not_tested"])
    sentences += _score(found["score"])
    return sentences


def _contrasts(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    order = sorted(rows, key=lambda row: _COMPARED.index(row["kind"]))
    return list(dict.fromkeys(row["contrast"] for row in order))


def _codebook(book: Mapping[str, Any]) -> str:
    text = (
        f"Without any label, the {book['n']['windows']:,} training windows of "
        f"{book['n']['groups']} animals (or cages) fall into {book['motifs']} motifs"
    )
    chosen = next((row for row in book["stability"] if row["motifs"] == book["motifs"]), None)
    if chosen is not None:
        text += (
            f"; codebooks of two halves of the animals agree on other animals by an adjusted Rand "
            f"index of {chosen['adjusted_rand']:.2f} (sd {chosen['sd']:.2f} over "
            f"{len(chosen['draws'])} draws; without structure {chosen['without_structure']:.2f})"
        )
    note = book["chosen"].get("note")
    return f"{text}.{f' Mind: {note}.' if note else ''}"


def _usage(rows: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> str:
    first = rows[0]
    hits = sorted((row for row in rows if row["q"] <= ALPHA), key=_strength)
    if first["kind"] == "drug":
        subject, verb = f"Under {first['group']} in {first['condition']}", "change against vehicle"
    else:
        subject, verb = f"In {first['group']}", f"differ from {first['reference']}"
    if not hits:
        return (
            f"{subject}, the usage of none of {len(rows)} motifs is found to {verb}"
            f"{_power(first, found)}."
        )
    named = "; ".join(_named(row) for row in hits[:_NAMED])
    return (
        f"{subject}, the usage of {len(hits)} of {len(rows)} motifs is found to {verb} (false "
        f"discovery rate 5 %), most clearly {named}."
    )


def _strength(row: Mapping[str, Any]) -> tuple[float, float]:
    effect = row["effect"].get("value")
    return row["q"], -abs(effect) if effect is not None else 0.0


def _named(row: Mapping[str, Any]) -> str:
    points = f"{100 * row['difference']:+.1f}".replace("-", "\N{MINUS SIGN}")
    text = f"motif {row['motif']}: {points} points of the time"
    effect = row["effect"]
    if effect.get("value") is not None:
        low, high = (f"{bound:.1f}".replace("-", "\N{MINUS SIGN}") for bound in effect["ci95"])
        g = f"{effect['value']:.1f}".replace("-", "\N{MINUS SIGN}")
        text += f" (standardised {g}, 95 % CI {low} to {high})"
    return f"{text}, q {_p(row['q'])}"


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"= {value:.2g}"


def _power(row: Mapping[str, Any], found: Mapping[str, Any]) -> str:
    family = next(each for each in found["families"] if each["family"] == row["family"])
    if family["could_find_one"]:
        return ""
    return (
        f"; nor could a single one be: so few {row['unit']}s give no p below "
        f"{family['least_p']:.2g}, and {family['tests']} tests were made"
    )


def _trends(usage: Sequence[Mapping[str, Any]], found: Mapping[str, Any]) -> str:
    rows = [row for row in usage if row["kind"] == "days"]
    hits = sorted((row for row in rows if row["q"] <= ALPHA), key=_strength)
    if not hits:
        return f"No trend of a motif's usage over days is found{_power(rows[0], found)}."
    named = "; ".join(f"{row['group']}, {_named(row)}" for row in hits[:_NAMED])
    return (
        f"Over the days, from the first to the last, {len(hits)} of {len(rows)} trends of usage "
        f"are found, most clearly {named}."
    )


def _absent(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return [f"Not tested, {row['contrast']}: {row['why']}." for row in rows if row["kind"] in KINDS]


def _score(score: Mapping[str, Any]) -> list[str]:
    task = score.get("coarse") or score.get("fine") or score
    if task.get("why") and "accuracy" not in task:
        return [f"No score from motif usage alone: {task['why']}."]
    accuracy = task["accuracy"]
    interval = ""
    if accuracy.get("ci95"):
        low, high = (100 * bound for bound in accuracy["ci95"])
        interval = f"95 % CI {low:.1f} to {high:.1f} %, "
    return [
        f"From the usage of motifs alone, the right one of {len(task['classes'])} classes is named "
        f"in {100 * accuracy['value']:.1f} % of {accuracy['n']} recordings of held-out animals "
        f"({interval}chance {100 * task['chance']['value']:.1f} %)."
    ]
