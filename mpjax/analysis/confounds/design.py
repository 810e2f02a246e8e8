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
    """A question to the features: which of these classes does a recording belong to?

    Attributes:
        name: `fine` or `coarse`.
        classes: that can be tested: they occur in two groups at least.
        rows: the recordings of these classes (and, within days, of days with two of them).
        label: class of each recording of `rows`, 0..
        by_condition: whether condition and day make the classes.
        within_day: whether recordings are compared with those of their own day only.
    """

    name: str
    classes: tuple[str, ...]
    rows: Bool[np.ndarray, " n"]
    label: Int[np.ndarray, " m"]
    by_condition: bool
    within_day: bool


def is_by_condition(taxonomy: Taxonomy) -> bool:
    """Says whether the fine classes are made of condition and day."""
    return all(parse_fine_name(name) for name in taxonomy.fine)


def plan_tasks(
    recordings: pd.DataFrame, taxonomy: Taxonomy, group: str
) -> tuple[dict[str, Task], dict[str, str]]:
    """Lays out what is asked of every family of features.

    Day is part of a class `<condition>@d<day>`. Coarse classes are therefore compared within days:
    on days that have two of them, each feature less its mean of the day.

    Args:
        recordings: of the classes, not of the split `drug`.
        taxonomy: of the column `label`.
        group: `animal` or `cage`.

    Returns:
        The tasks; and why others cannot be asked.
    """
    by_condition = is_by_condition(taxonomy)
    fine = recordings["label"].to_numpy(int)
    everywhere = np.ones(len(fine), bool)
    names = {"fine": (taxonomy.fine, fine, everywhere)}
    if taxonomy.coarse:
        coarse = np.asarray(taxonomy.fine_to_coarse)[fine]
        shared = _shared_days(recordings["day"].to_numpy(), coarse) if by_condition else everywhere
        names["coarse"] = (taxonomy.coarse, coarse, shared)
    tasks, whys = {}, {}
    for name, (classes, label, rows) in names.items():
        kept = [
            c for c in range(len(classes))
            if recordings[group][rows & (label == c)].nunique() >= 2
        ]  # fmt: skip
        rows = rows & np.isin(label, kept)
        if name == "coarse" and by_condition:
            rows = rows & _shared_days(recordings["day"].to_numpy(), np.where(rows, label, -1))
            kept = [c for c in kept if (rows & (label == c)).any()]
        if len(kept) < 2:
            whys[name] = f"fewer than two classes occur in two {group}s" + (
                " on days that they share" if name == "coarse" and by_condition else ""
            )
            continue
        tasks[name] = Task(
            name, tuple(classes[c] for c in kept), rows, np.searchsorted(kept, label[rows]),
            by_condition, by_condition and name == "coarse",
        )  # fmt: skip
    return tasks, whys


def _shared_days(
    day: Int[np.ndarray, " n"], label: Int[np.ndarray, " n"]
) -> Bool[np.ndarray, " n"]:
    """Returns the recordings of days on which two classes (of 0 or more) were recorded."""
    shared = [d for d in np.unique(day) if len(np.unique(label[(day == d) & (label >= 0)])) > 1]
    return np.isin(day, shared) & (label >= 0)


def by_construction(recordings: pd.DataFrame, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Finds classes that occur in a single cage, camera or on a single date, of several.

    Coarse classes, or the labels of a cohort of labels.

    Returns:
        Per case {"column", "class", "value", "sentence"}.
    """
    fine = recordings["label"].to_numpy(int)
    names, label = taxonomy.fine, fine
    if is_by_condition(taxonomy):
        names, label = taxonomy.coarse, np.asarray(taxonomy.fine_to_coarse)[fine]
    found = []
    for column in COLUMNS:
        value = recordings[column].astype(str).to_numpy()
        if len(set(value) - {""}) < 2:
            continue
        for c, name in enumerate(names):
            own = set(value[label == c]) - {""}
            if len(own) == 1 and len(set(label)) > 1:
                (only,) = own
                found.append(
                    {
                        "column": column,
                        "class": name,
                        "value": only,
                        "sentence": (
                            f"{name} occurs in one {column} only ({only}): what is peculiar to it "
                            f"cannot be told from {name}, whatever the accuracy."
                        ),
                    }
                )
    return found


def is_balanced(recordings: pd.DataFrame, column: str, task: Task) -> bool:
    """Says whether every class has the same share of each value of `column`: it tells nothing."""
    shares = pd.crosstab(task.label, recordings[column].to_numpy()[task.rows], normalize="index")
    return bool(np.allclose(shares.to_numpy(), shares.to_numpy()[0], atol=1e-9))


def describe_days(recordings: pd.DataFrame, taxonomy: Taxonomy) -> dict[str, Any]:
    """Tells what the day alone says of the class, by design.

    Returns:
        {"status", "why", "fine_from_day"}: the balanced accuracy that the day alone reaches on
        the fine classes of which it is a part; None for a cohort of labels.
    """
    if not is_by_condition(taxonomy):
        return {"status": "unknown", "why": "the classes are labels, not conditions on days"}
    sets = recordings.groupby("condition")["day"].agg(lambda days: tuple(sorted(set(days))))
    days = recordings["label"].map(dict(enumerate(parse_fine_name(n)[1] for n in taxonomy.fine)))  # type: ignore[index]
    classes_of_day = recordings.groupby(days)["label"].nunique()
    present = len(set(recordings["label"]))
    told = {
        "fine_from_day": len(classes_of_day) / present,
        "chance": 1 / present,
        "why": (
            "day is part of the fine class by design, so that the day alone tells it better than "
            "chance; coarse classes are therefore compared within days"
        ),
    }
    if len(set(sets)) == 1:
        return told | {"status": "green"}
    listed = "; ".join(
        f"{name} on {', '.join(str(day) for day in days)}" for name, days in sets.items()
    )
    return told | {
        "status": "amber",
        "why": (
            f"the conditions were recorded on different days ({listed}), so that what changes "
            "between days can tell them; only days that they share are compared"
        ),
    }
