"""The answers of the motif analysis in words: every sentence has its interval or its p."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpjax import formatting
from mpjax.analysis.stats.estimates import ALPHA

_NAMED = 3  # motifs of a sentence

_Row = Mapping[str, Any]


def summarise(found: _Row) -> list[str]:
    """Returns the answers as sentences; `found` is the result of `analyse.analyse` without them."""
    usage = [row for row in found["tests"] if row["measure"] == "usage"]
    sentences = [_codebook(found["codebook"])]
    for kind in ("pain", "label", "drug"):
        own = [row for row in usage if row["kind"] == kind]
        for contrast in dict.fromkeys(row["contrast"] for row in own):
            sentences.append(_usage([row for row in own if row["contrast"] == contrast], found))
    if trends := [row for row in usage if row["kind"] == "days"]:
        sentences.append(_trends(trends, found))
    sentences += [f"Not tested, {row['contrast']}: {row['why']}." for row in found["not_tested"]]
    return [*sentences, _score(found["score"])]


def _codebook(book: _Row) -> str:
    text = (
        f"Without any label, the {book['n']['windows']:,} training windows of "
        f"{book['n']['groups']} animals (or cages) fall into {book['motifs']} motifs"
    )
    chosen = next((row for row in book["stability"] if row["motifs"] == book["motifs"]), None)
    if chosen is not None:
        text += (
            f"; codebooks of two halves of the animals agree on other animals with an adjusted "
            f"Rand index of {chosen['adjusted_rand']:.2f} (sd {chosen['sd']:.2f} over "
            f"{len(chosen['draws'])} draws; without structure {chosen['without_structure']:.2f})"
        )
    note = book["chosen"].get("note")
    return f"{text}.{f' Note: {note}.' if note else ''}"


def _usage(rows: Sequence[_Row], found: _Row) -> str:
    first, hits = rows[0], _hits(rows)
    if first["kind"] == "drug":
        subject = f"Under {first['group']} in {first['condition']}"
        verb, effect = "changes compared with vehicle", "change in usage compared with vehicle"
    else:
        subject, verb = f"In {first['group']}", f"differs from {first['reference']}"
        effect = f"difference in usage from {first['reference']}"
    if not hits:
        none = f"no {effect} is found for any of {len(rows)} motifs"
        return f"{subject}, {none}{_power(first, found)}."
    return (
        f"{subject}, the usage of {len(hits)} of {len(rows)} motifs {verb} (false discovery rate "
        f"5 %), most clearly {'; '.join(map(_named, hits[:_NAMED]))}."
    )


def _trends(rows: Sequence[_Row], found: _Row) -> str:
    hits = _hits(rows)
    if not hits:
        return f"No trend over days is found in any motif's usage{_power(rows[0], found)}."
    named = "; ".join(f"{row['group']}, {_named(row)}" for row in hits[:_NAMED])
    return (
        f"Over the days, from the first to the last, {len(hits)} of {len(rows)} trends of usage "
        f"are found, most clearly {named}."
    )


def _hits(rows: Sequence[_Row]) -> list[_Row]:
    """Returns the tests that find something, the clearest first."""
    found = [row for row in rows if row["q"] <= ALPHA]
    return sorted(found, key=lambda row: (row["q"], -abs(row["effect"].get("value") or 0.0)))


def _named(row: _Row) -> str:
    effect, points = row["effect"], formatting.signed(100 * row["difference"], 1)
    text = f"motif {row['motif']}: {points} points of the time"
    if effect.get("value") is not None:
        g = formatting.number(effect["value"], 1)
        text += f" (standardised {g}, 95 % CI {formatting.span(effect, 1)})"
    return f"{text}, {formatting.p_phrase(row['q'], 'q')}"


def _power(row: _Row, found: _Row) -> str:
    family = next(each for each in found["families"] if each["family"] == row["family"])
    if family["could_find_one"]:
        return ""
    return (
        f"; with so few {row['unit']}s none could be found, because no p can fall below "
        f"{family['least_p']:.2g} and {family['tests']} tests were made"
    )


def _score(score: _Row) -> str:
    task = score.get("coarse") or score.get("fine") or score
    if task.get("why") and "accuracy" not in task:
        return f"No score from motif usage alone: {task['why']}."
    accuracy = task["accuracy"]
    interval = f"95 % CI {formatting.interval(accuracy)}, " if accuracy.get("ci95") else ""
    return (
        f"From the usage of motifs alone, {formatting.percent(accuracy['value'])} of "
        f"{accuracy['n']} recordings of held-out animals are classified correctly among "
        f"{len(task['classes'])} classes ({interval}chance "
        f"{formatting.percent(task['chance']['value'])})."
    )
