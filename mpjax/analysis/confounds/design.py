"""What the design of a cohort makes inseparable: classes that occur in one cage, camera or date."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from mpjax.analysis.classification.scores import tasks_of
from mpjax.taxonomy import Taxonomy, parse_fine_name


@dataclasses.dataclass(frozen=True)
class Task:
    """The classes that a family of features is tested on."""

    classes: tuple[str, ...]  # those that occur in two groups (animals or cages) at least
    rows: Bool[np.ndarray, " n"]  # recordings of these (within days: of days with two of them)
    label: Int[np.ndarray, " m"]  # class of each recording of `rows`, 0..
    by_condition: bool  # whether condition and day make up the classes
    within_day: bool  # whether recordings are compared with those of their own day only
    why: str  # the task is not possible


def is_by_condition(taxonomy: Taxonomy) -> bool:
    """Says whether the fine classes are made up of condition and day."""
    return all(parse_fine_name(name) for name in taxonomy.fine)


def main_classes(
    recordings: pd.DataFrame, taxonomy: Taxonomy
) -> tuple[tuple[str, ...], Int[np.ndarray, " n"]]:
    """Returns names and label of the groups, or of the classes of a cohort of labels."""
    grouped = taxonomy.coarse and is_by_condition(taxonomy)
    task = tasks_of(taxonomy)["coarse" if grouped else "fine"]
    return task.classes, task.to_class[recordings["label"].to_numpy(int)]


def plan_tasks(recordings: pd.DataFrame, taxonomy: Taxonomy, group: str) -> dict[str, Task]:
    """Returns the task `fine` and, where there are groups, `coarse` of every family.

    The day is part of a class `<condition>@d<day>`. Groups are therefore compared within days: on
    days that have two of them, each feature minus its mean of the day.
    """
    by_condition, day = is_by_condition(taxonomy), recordings["day"].to_numpy()
    tasks = {}
    for name, task in tasks_of(taxonomy).items():
        label = task.to_class[recordings["label"].to_numpy(int)]
        within_day = by_condition and name == "coarse"
        rows = _on_shared_days(day, label) if within_day else np.ones(len(label), bool)
        groups = recordings[group][rows].groupby(label[rows]).nunique()
        rows &= np.isin(label, groups.index[groups >= 2])
        if within_day:
            rows &= _on_shared_days(day, np.where(rows, label, -1))
        kept, code = np.unique(label[rows], return_inverse=True)
        classes, why = tuple(task.classes[c] for c in kept), ""
        if len(kept) < 2:
            where = " on days that they share" if within_day else ""
            why = f"fewer than two classes occur in two {group}s{where}"
        tasks[name] = Task(classes, rows, code, by_condition, within_day, why)
    return tasks


def _on_shared_days(
    day: Int[np.ndarray, " n"], label: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Marks the recordings of days on which two classes (of 0 or more) were recorded."""
    classes = pd.Series(label).where(label >= 0).groupby(day).transform("nunique").to_numpy()
    return (classes > 1) & (label >= 0)


def find_inseparable(recordings: pd.DataFrame, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Finds groups (or labels) that occur in one of several cages, cameras or dates only.

    Returns:
        Per case {"column", "class", "value", "sentence"}.
    """
    names, label = main_classes(recordings, taxonomy)
    found = []
    for column in ("cage", "camera", "date"):
        value = recordings[column].astype(str).to_numpy()
        if len(set(value) - {""}) < 2:
            continue
        for c, name in enumerate(names):
            own = set(value[label == c]) - {""}
            if len(own) == 1 and len(set(label)) > 1:
                (only,) = own
                sentence = (
                    f"{name} occurs in one {column} only ({only}): what is peculiar to it cannot "
                    f"be distinguished from {name}, whatever the accuracy."
                )
                found.append({"column": column, "class": name, "value": only, "sentence": sentence})
    return found


def describe_days(recordings: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, Any]:
    """Describes what the day alone says about the class, by design.

    Returns:
        {"status", "why", "fine_from_day", "chance"}: the balanced accuracy that the day alone
        reaches on the fine classes; a cohort of labels has a status and a reason only.
    """
    if not is_by_condition(taxonomy):
        return {"status": "unknown", "why": "the classes are labels, not conditions on days"}
    status = "green"
    why = (
        "the day is part of the fine class by design, so the day alone predicts it better than "
        "chance; groups are therefore compared within days"
    )
    days = recordings.groupby("condition")["day"].agg(lambda own: tuple(sorted(set(own))))
    if len(set(days)) > 1:
        listed = "; ".join(f"{name} on {', '.join(map(str, own))}" for name, own in days.items())
        status = "amber"
        why = (
            f"the conditions were recorded on different days ({listed}), so what changes between "
            "days can give them away; only days that they share are compared"
        )
    present = recordings["label"].unique()
    days_of_class = {taxonomy.fine[label].rpartition("@")[2] for label in present}
    chance = 1 / len(present)
    share = len(days_of_class) / len(present)
    return {"status": status, "why": why, "fine_from_day": share, "chance": chance}
