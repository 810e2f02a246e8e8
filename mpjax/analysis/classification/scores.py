"""Scores of one task at clip, recording and animal x day level, with intervals over animals."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Int
from sklearn.metrics import confusion_matrix

from mpjax.analysis.stats import bootstrap
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.units import Units
from mpjax.taxonomy import Taxonomy, parse_fine_name

_FIGURES = ("accuracy", "mean_class_accuracy", "macro_f1")
_TOP = 3  # of three classes, every answer is among the top 3


@dataclasses.dataclass(frozen=True)
class Task:
    """A list of classes to be distinguished: the fine ones, or their coarse groups."""

    classes: tuple[str, ...]
    to_class: Int[np.ndarray, " fine"]  # the class of each fine class
    pool: Callable[[np.ndarray], np.ndarray]  # from probabilities of the fine to those of `classes`


def tasks_of(taxonomy: Taxonomy) -> dict[str, Task]:
    """Returns the tasks of a taxonomy: `fine` and, where there are coarse groups, `coarse`."""
    tasks = {"fine": Task(taxonomy.fine, np.arange(len(taxonomy.fine)), lambda p: p)}
    if taxonomy.coarse:
        to_coarse = np.asarray(taxonomy.fine_to_coarse)
        tasks["coarse"] = Task(taxonomy.coarse, to_coarse, taxonomy.coarse_probabilities)
    return tasks


def score_levels(
    levels: dict[str, Units | str],
    classes: Sequence[str],
    *,
    weights: Int[np.ndarray, "resamples groups"],
    unit: str,
) -> dict[str, Any]:
    """Scores every level against one list of classes, with chance and majority rows.

    `majority` is the share of the largest class among the evaluated units: no constant answer can
    score more.
    """
    scores: dict[str, Any] = {"classes": list(classes), "chance": {"value": 1 / len(classes)}}
    scores["majority"] = {}
    top = ["top3_accuracy"] if len(classes) > _TOP else []
    figures = [*_FIGURES, *top, "confusion", "recall"]
    for level, units in levels.items():
        if isinstance(units, str):
            scores[level] = dict.fromkeys(figures, absent(units))
            scores["majority"][level] = absent(units)
            continue
        scores[level] = score_units(units, classes, weights=weights, unit=unit)
        share, n = np.bincount(units.label) / len(units.label), len(units.label)
        name = classes[int(share.argmax())]
        scores["majority"][level] = {"value": float(share.max()), "class": name, "n": n}
    return scores


def score_units(
    units: Units,
    classes: Sequence[str],
    *,
    weights: Int[np.ndarray, "resamples groups"],
    unit: str,
) -> dict[str, Any]:
    """Scores one level: accuracies, macro F1, confusion matrix, recall per class.

    Args:
        units: at least one unit.
        classes: names of the columns of `units.p`.
        weights: how often each group occurs in each bootstrap resample.
        unit: what a group is called, `animal` or `cage`.

    Returns:
        `accuracy` (top-1), `mean_class_accuracy` (mean recall over the classes that have a unit),
        `macro_f1` (mean F1 over the classes that have a unit or are predicted), from 4 classes on
        `top3_accuracy`, and per class `recall`, each {"value", "ci95", "n"}; `confusion` (rows:
        true class).
    """
    counts = bootstrap.count_by_group(
        units.label, units.predicted, units.group, classes=len(classes)
    )
    total = counts.total
    draws = bootstrap.resample_scores(counts, weights)
    value = bootstrap.resample_scores(counts, np.ones((1, len(total)), int))

    def entry(value: float, draws: np.ndarray, n: int, groups: int) -> dict[str, Any]:
        interval = bootstrap.percentile_interval(draws, groups=groups, unit=unit)
        return {"value": float(value), **interval, "n": int(n)}

    recall: dict[str, Any] = {}
    for index, name in enumerate(classes):
        if count := int(total[:, index].sum()):
            holders = int((total[:, index] > 0).sum())
            recall[name] = entry(value.recall[0, index], draws.recall[:, index], count, holders)
        else:
            recall[name] = absent("no evaluated unit of this class") | {"n": 0}
    scores: dict[str, Any] = {
        name: entry(getattr(value, name)[0], getattr(draws, name), len(units.label), len(total))
        for name in _FIGURES
    }
    if len(classes) > _TOP:
        p, label = units.p, units.label[:, None]
        own = np.take_along_axis(p, label, axis=1)
        # Of equal scores the first is larger.
        before = (p > own) | ((p == own) & (np.arange(len(classes)) < label))
        hit = before.sum(axis=1) < _TOP
        scores["top3_accuracy"] = bootstrap.estimate_mean(hit, units.group, weights, unit=unit)
    matrix = confusion_matrix(units.label, units.predicted, labels=range(len(classes)))
    return scores | {"confusion": matrix.tolist(), "recall": recall}


def describe_day_distance(
    units: Units | str,
    classes: Sequence[str],
    *,
    weights: Int[np.ndarray, "resamples groups"],
    unit: str,
) -> dict[str, Any]:
    """Describes how far off the predicted day is where the condition is right.

    The classes are `<condition>@d<day>`; other arguments are as in `score_units`.

    Returns:
        `within_condition` (units whose condition is predicted correctly), `units` (all), `steps`
        (how many of the former are how many recorded days off) and `mean_days` (their mean
        |predicted day - day|, an estimate); or {"value": None, "why"}.
    """
    if isinstance(units, str):
        return absent(units)
    parsed = [parse_fine_name(name) or (name, 0) for name in classes]
    condition = np.unique([condition for condition, _ in parsed], return_inverse=True)[1]
    day = np.array([day for _, day in parsed])
    rank = np.zeros(len(day), int)  # of a day among those of its condition
    for each in np.unique(condition):
        rank[condition == each] = np.unique(day[condition == each], return_inverse=True)[1]
    if not rank.any():
        return absent("no condition has more than one recorded day")
    right = condition[units.predicted] == condition[units.label]
    predicted, label = units.predicted[right], units.label[right]
    steps = np.bincount(np.abs(rank[predicted] - rank[label]), minlength=rank.max() + 1)
    mean_days = absent("no unit is predicted within its condition")
    if right.any():
        distance = np.abs(day[predicted] - day[label])
        mean_days = bootstrap.estimate_mean(distance, units.group[right], weights, unit=unit)
    return {
        "within_condition": int(right.sum()),
        "units": len(right),
        "steps": {str(step): int(count) for step, count in enumerate(steps)},
        "mean_days": mean_days,
    }
