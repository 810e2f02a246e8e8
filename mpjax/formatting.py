"""Figures in words: number formats and the sentences of the report's head."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpjax.analysis.stats.units import LEVELS

UNITS = {"clip": "clips", "recording": "recordings", "animal_day": "animal × day units"}
SCHEMES = {
    "fixed": "one fixed split",
    "kfold": "grouped cross-validation",
    "leave_one_group_out": "leave-one-group-out cross-validation",
}
_ABSENT = "–"


def percent(share: float | None) -> str:
    """Formats a share as per cent."""
    return _ABSENT if share is None else f"{100 * share:.1f} %"


def interval(score: Mapping[str, Any]) -> str:
    """Formats a 95 % interval of a share in per cent, or a dash where there is none."""
    if score.get("ci95") is None:
        return _ABSENT
    low, high = score["ci95"]
    return f"{100 * low:.1f}–{100 * high:.1f} %"


def number(value: float | None, digits: int = 2) -> str:
    """Formats a number with a true minus sign, or a dash where there is none."""
    if value is None:
        return _ABSENT
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def signed(value: float, digits: int = 2) -> str:
    """Formats a difference with its sign, + or a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def span(entry: Mapping[str, Any], digits: int = 2) -> str:
    """Formats a 95 % interval of any number, or a dash where there is none."""
    if entry.get("ci95") is None:
        return _ABSENT
    low, high = entry["ci95"]
    return f"{number(low, digits)} to {number(high, digits)}"


def p_value(p: float | None) -> str:
    """Formats a p-value: three decimals, never 0."""
    if p is None:
        return _ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_phrase(p: float, name: str = "p") -> str:
    """Formats a p-value (or `q`) for a sentence; it does not break over two lines."""
    text = p_value(p).replace(" ", "\u00a0")
    return f"{name}\u00a0{text}" if text.startswith("<") else f"{name}\u00a0=\u00a0{text}"


def estimate(entry: Mapping[str, Any], digits: int = 2) -> str:
    """Formats an estimate with its interval and p, or the reason why there is none."""
    if entry.get("value") is None:
        return f"not estimable: {entry.get('why', 'no reason given')}"
    text = number(entry["value"], digits)
    if entry.get("ci95") is not None:
        text += f" (95 % CI {span(entry, digits)})"
    if entry.get("p") is not None:
        text += f", {p_phrase(entry['p'])}"
    return text


def headline_level(task: Mapping[str, Any]) -> str:
    """Chooses recordings; clips where a recording has no class of its own."""
    return "clip" if task["recording"]["accuracy"]["value"] is None else "recording"


def verdict(task: Mapping[str, Any], level: str) -> str:
    """Compares the interval of mean-class accuracy (rare classes count too) to chance."""
    score = task[level]["mean_class_accuracy"]
    chance = task["chance"]["value"]
    if score["value"] is None or score["ci95"] is None:
        return f"Whether this is more than chance cannot be said: {score['why']}."
    low, high = score["ci95"]
    caution = " Mind the note on the intervals." if "note" in score else ""
    if low > chance:
        return f"This is above chance: the whole interval of it lies above.{caution}"
    if high < chance:
        return f"This is below chance: the whole interval of it lies below.{caution}"
    return f"This cannot be told from chance, which the interval includes.{caution}"


def permutation(scores: Mapping[str, Any]) -> str:
    """Tells the permutation test of one level; empty where none was made."""
    test = scores.get("permutation")
    if test is None:
        return ""
    if "p" not in test:
        return f"No permutation test: {test['why']}."
    return (
        f"With the classes shuffled between {test['unit']}s {test['permutations']:,} times, chance "
        f"alone gives {percent(test['null']['mean'])} on average (permutation "
        f"{p_phrase(test['p'])})."
    )


def notes(tasks: Mapping[str, Any]) -> list[str]:
    """Collects what the intervals of the main scores say about themselves, once each."""
    scores = [
        task[level][score]
        for task in tasks.values()
        for level in LEVELS
        for score in ("accuracy", "mean_class_accuracy")
    ]
    return sorted({score["note"] for score in scores if "note" in score})


def join(names: Sequence[str]) -> str:
    """Joins names as prose: a, b and c."""
    names = list(names)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def count(n: int, one: str, many: str | None = None) -> str:
    """Formats a number of things: 1 animal, 3 animals, 12,000 clips."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def left_out(drug: Mapping[str, Any]) -> str:
    """Tells how many treated animals are in no test of the drug, and why; empty where none is."""
    found = drug.get("left_out") or []
    if not found:
        return ""
    whys = [row["why"] for row in found]
    listed = "; ".join(f"{why}: {whys.count(why)}" for why in sorted(set(whys)))
    return f"Left out of the drug test: {count(len(found), 'animal')} ({listed})."


def units(metrics: Mapping[str, Any]) -> str:
    """Names the experimental unit of the classification, and that of the drug test."""
    text = f"The experimental unit of the classification is the {metrics['bootstrap']['unit']}"
    unit = metrics["drug"].get("unit")
    if unit is None:
        return f"{text}."
    why = ", because every cage holds one arm" if unit == "cage" else ""
    return f"{text}; that of the drug test is the {unit}{why}."


def answers(tasks: Mapping[str, Any], levels: Mapping[str, str]) -> list[str]:
    """Returns one plain sentence per task: accuracy, interval, chance and n."""
    told = []
    for kind, task in tasks.items():
        score = task[levels[kind]]["accuracy"]
        classes = f"{len(task['classes'])} {'classes' if kind == 'fine' else 'groups'}"
        if score["value"] is None:
            told.append(f"Accuracy of {classes} is not estimable: {score['why']}.")
            continue
        between = f", 95 % CI {interval(score)}" if score.get("ci95") else ""
        told.append(
            f"Accuracy of {classes}: {percent(score['value'])} of {score['n']} "
            f"{UNITS[levels[kind]]}{between}; chance {percent(task['chance']['value'])}."
        )
    return told
