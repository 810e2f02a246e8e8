"""The sentences at the head of the report, and those that several sections share."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpjax.analysis.stats.units import LEVELS
from mpjax.formatting import count, interval, p_phrase, percent
from mpjax.taxonomy import parse_fine_name

UNITS = {"clip": "clips", "recording": "recordings", "animal_day": "animal × day units"}
SCHEMES = {
    "fixed": "one fixed split",
    "kfold": "grouped cross-validation",
    "leave_one_group_out": "leave-one-group-out cross-validation",
}


def name_task(task: Mapping[str, Any], kind: str) -> str:
    """Names a task by its number of classes: `15 classes`, or `3 groups` of classes."""
    return f"{len(task['classes'])} {'classes' if kind == 'fine' else 'groups'}"


def describe_task(task: Mapping[str, Any], kind: str) -> str:
    """Names a task at its first use, with what its classes are."""
    name = name_task(task, kind)
    if kind == "coarse":
        return f"{name} ({', '.join(task['classes'])})"
    return f"{name} (condition × day)" if all(map(parse_fine_name, task["classes"])) else name


def headline_level(task: Mapping[str, Any]) -> str:
    """Chooses recordings; clips where a recording has no class of its own."""
    return "clip" if task["recording"]["accuracy"]["value"] is None else "recording"


def verdict(task: Mapping[str, Any], level: str) -> str:
    """Compares the interval of mean-class accuracy (rare classes count too) to chance."""
    score = task[level]["mean_class_accuracy"]
    chance = task["chance"]["value"]
    if score["value"] is None or score["ci95"] is None:
        return f"Whether this is above chance cannot be estimated: {score['why']}."
    low, high = score["ci95"]
    caution = " See the note on the intervals below." if "note" in score else ""
    if low <= chance <= high:
        return f"This cannot be distinguished from chance: the interval includes it.{caution}"
    side = "above" if low > chance else "below"
    return f"This is {side} chance: the whole interval lies {side} it.{caution}"


def permutation(scores: Mapping[str, Any]) -> str:
    """Reports the permutation test of one level; empty where none was made."""
    test = scores.get("permutation")
    if test is None:
        return ""
    if "p" not in test:
        return f"No permutation test: {test['why']}."
    return (
        f"With the classes shuffled between {test['unit']}s {test['permutations']:,} times, "
        f"it is {percent(test['null']['mean'])} on average (permutation {p_phrase(test['p'])})."
    )


def notes(tasks: Mapping[str, Any]) -> list[str]:
    """Collects the notes on the intervals of the main scores, once each."""
    scores = ("accuracy", "mean_class_accuracy")
    found = [task[level][score] for task in tasks.values() for level in LEVELS for score in scores]
    return sorted({score["note"] for score in found if "note" in score})


def left_out(drug: Mapping[str, Any]) -> str:
    """Says how many treated animals are in no test of the drug, and why; empty for none."""
    whys = [row["why"] for row in drug.get("left_out") or []]
    if not whys:
        return ""
    listed = "; ".join(f"{why}: {whys.count(why)}" for why in sorted(set(whys)))
    return f"Left out of the drug test: {count(len(whys), 'animal')} ({listed})."


def units(metrics: Mapping[str, Any]) -> str:
    """Names the experimental unit of the classification, and that of the drug test."""
    text = f"The experimental unit of the classification is the {metrics['bootstrap']['unit']}"
    unit = metrics["drug"].get("unit")
    if unit is None:
        return f"{text}."
    why = ", because every cage holds one arm" if unit == "cage" else ""
    return f"{text}; that of the drug test is the {unit}{why}."


def mixed_model(model: Mapping[str, Any]) -> str:
    """Describes a fitted mixed model by its formula, sizes and method."""
    sizes = ", ".join(f"{n} {name}" for name, n in model["n"].items() if n)
    return f"Mixed model: {model['formula']} ({sizes}; {model['method']})."


def incomplete(metrics: Mapping[str, Any]) -> list[str]:
    """Says which classes and clips are not counted, and which clips were padded."""
    n, sentences = metrics["n"], []
    if metrics["exclude"]:
        names = ", ".join(metrics["exclude"])
        sentences.append(f"Left out of training and of every figure: {names}.")
    if n["left_out_clips"]:
        sentences.append(
            f"{count(n['left_out_clips'], 'held-out clip')} of untrained classes not counted."
        )
    if n["padded_clips"]:
        clips = count(n["padded_clips"], "evaluated clip was", "evaluated clips were")
        sentences.append(f"{clips} too short and padded by repeating the last frame.")
    return sentences


def answers(tasks: Mapping[str, Any], levels: Mapping[str, str]) -> Sequence[str]:
    """Returns one sentence per task: accuracy, interval, chance and n."""
    sentences = []
    for kind, task in tasks.items():
        score, name = task[levels[kind]]["accuracy"], name_task(task, kind)
        if score["value"] is None:
            sentences.append(f"Accuracy of {name} is not estimable: {score['why']}.")
            continue
        between = f", 95 % CI {interval(score)}" if score.get("ci95") else ""
        sentences.append(
            f"Accuracy of {name}: {percent(score['value'])} of {score['n']} "
            f"{UNITS[levels[kind]]}{between}; chance {percent(task['chance']['value'])}."
        )
    return sentences
