"""What the design of a cohort makes inseparable: classes that occur in one cage, camera or date."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Int

from mpjax.taxonomy import Taxonomy, parse_fine_name

COLUMNS = ("cage", "camera", "date")  # of which one value can hold a whole class


@dataclasses.dataclass(frozen=True)
class Task:
    """The classes that a family of features is tested on.

    Attributes:
        classes: those that occur in two groups (animals or cages) at least.
        rows: the recordings of these classes (and, within days, of days with two of them).
        label: class of each recording of `rows`, 0..
        by_condition: whether condition and day make up the classes.
        within_day: whether recordings are compared with those of their own day only.
    """

    classes: tuple[str, ...]
    rows: Bool[np.ndarray, " n"]
    label: Int[np.ndarray, " m"]
    by_condition: bool
    within_day: bool


def is_by_condition(taxonomy: Taxonomy) -> bool:
    """Says whether the fine classes are made up of condition and day."""
    return all(parse_fine_name(name) for name in taxonomy.fine)


def main_classes(
    recordings: pd.DataFrame, taxonomy: Taxonomy
) -> tuple[tuple[str, ...], Int[np.ndarray, " n"]]:
    """Returns names and label of the groups, or of the classes of a cohort of labels."""
    label = recordings["label"].to_numpy(int)
    if taxonomy.coarse and is_by_condition(taxonomy):
        return taxonomy.coarse, np.asarray(taxonomy.fine_to_coarse)[label]
    return taxonomy.fine, label


def plan_tasks(
    recordings: pd.DataFrame, taxonomy: Taxonomy, group: str
) -> tuple[dict[str, Task], dict[str, str]]:
    """Chooses the classes and recordings that every family of features is tested on.

    The day is part of a class `<condition>@d<day>`. Groups are therefore compared within days: on
    days that have two of them, each feature minus its mean of the day.

    Args:
        recordings: of the classes, not of the split `drug`.
        taxonomy: of the column `label`.
        group: `animal` or `cage`.

    Returns:
        The tasks `fine` and `coarse`, and why one of them is not possible.
    """
    by_condition = is_by_condition(taxonomy)
    day, fine = recordings["day"].to_numpy(), recordings["label"].to_numpy(int)
    named = {"fine": (taxonomy.fine, fine)}
    if taxonomy.coarse:
        named["coarse"] = (taxonomy.coarse, np.asarray(taxonomy.fine_to_coarse)[fine])
    tasks, whys = {}, {}
    for name, (classes, label) in named.items():
        within_day = by_condition and name == "coarse"
        rows = _on_shared_days(day, label) if within_day else np.ones(len(label), bool)
        groups = recordings[group][rows].groupby(label[rows]).nunique()
        rows &= np.isin(label, groups.index[groups >= 2])
        if within_day:
            rows &= _on_shared_days(day, np.where(rows, label, -1))
        kept = np.unique(label[rows])
        if len(kept) < 2:
            where = " on days that they share" if within_day else ""
            whys[name] = f"fewer than two classes occur in two {group}s{where}"
            continue
        code = np.searchsorted(kept, label[rows])
        tasks[name] = Task(tuple(classes[c] for c in kept), rows, code, by_condition, within_day)
    return tasks, whys


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
    for column in COLUMNS:
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


def is_balanced(recordings: pd.DataFrame, column: str, task: Task) -> bool:
    """Says whether every class has the same share of each value of `column`."""
    shares = pd.crosstab(task.label, recordings[column].to_numpy()[task.rows], normalize="index")
    return bool(np.allclose(shares.to_numpy(), shares.to_numpy()[0], atol=1e-9))


def describe_days(recordings: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, Any]:
    """Describes what the day alone says about the class, by design.

    Returns:
        {"status", "why", "fine_from_day", "chance"}: the balanced accuracy that the day alone
        reaches on the fine classes; a cohort of labels has a status and a reason only.
    """
    if not is_by_condition(taxonomy):
        return {"status": "unknown", "why": "the classes are labels, not conditions on days"}
    parsed = dict(enumerate(parse_fine_name(name) for name in taxonomy.fine))
    day_of_class = recordings["label"].map({c: found[1] for c, found in parsed.items() if found})
    present = recordings["label"].nunique()
    described = {
        "fine_from_day": day_of_class.nunique() / present,
        "chance": 1 / present,
        "status": "green",
        "why": "the day is part of the fine class by design, so the day alone predicts it better "
        "than chance; groups are therefore compared within days",
    }
    days = recordings.groupby("condition")["day"].agg(lambda own: tuple(sorted(set(own))))
    if len(set(days)) > 1:
        listed = "; ".join(f"{name} on {', '.join(map(str, own))}" for name, own in days.items())
        described["status"] = "amber"
        described["why"] = (
            f"the conditions were recorded on different days ({listed}), so what changes between "
            "days can give them away; only days that they share are compared"
        )
    return described
