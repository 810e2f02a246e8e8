"""metrics.json: fine and coarse accuracy at clip, recording and animal x day level."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis import resampling
from mpjax.analysis.drugs import describe_drugs
from mpjax.analysis.predictions import Predictions, count_leaks
from mpjax.analysis.progression import describe_days

SCHEMA = "mpjax.metrics/1"
LEVELS = {"clip": "clip", "recording": "recording", "animal_day": "animal × day"}


@dataclasses.dataclass(frozen=True)
class Units:
    """The evaluated units of one level.

    Attributes:
        label: true class.
        p: predicted probabilities.
        group: the animal or cage each unit belongs to, 0..groups-1.
    """

    label: Int[np.ndarray, " n"]
    p: Float[np.ndarray, "n classes"]
    group: Int[np.ndarray, " n"]


def evaluate(predictions: Predictions, *, bootstrap: int = 2000, seed: int = 0) -> dict[str, Any]:
    """Computes the content of metrics.json; figures on the held-out clips of trained classes only.

    Args:
        predictions: checked predictions.
        bootstrap: resamples of whole animals (or cages) behind every interval.
        seed: of the resampling.

    Returns:
        A JSON-safe dict; what cannot be estimated is {"value": None, "why": …}.
    """
    table, taxonomy = predictions.table, predictions.taxonomy
    rows = table[predictions.evaluated]
    label = rows["label"].to_numpy()
    p = predictions.p[predictions.evaluated]
    groups = rows[predictions.group].nunique()
    weights = resampling.draw_weights(groups, resamples=bootstrap, seed=seed) if groups else None

    def score(label: np.ndarray, p: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
        levels = unit_levels(rows, label, p, group=predictions.group)
        return score_levels(levels, classes, weights=weights, unit=predictions.group)

    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        **{key: predictions.meta.get(key) for key in ("fingerprint", "scheme", "group", "exclude")},
        "bootstrap": {
            "unit": predictions.group, "groups": groups, "resamples": bootstrap, "seed": seed
        },
        "n": {
            **_count(rows),
            "padded_clips": int((rows["padded_frames"] > 0).sum()),
            "left_out_clips": int(((table["split"] == "test") & (table["label"] < 0)).sum()),
        },
        "splits": _describe_splits(table),
        "leak": {
            "animals": count_leaks(table, "animal"),
            "groups": count_leaks(table, predictions.group),
        },
        "fine": score(label, p, taxonomy.fine),
    }  # fmt: skip
    if taxonomy.coarse:
        coarse = np.asarray(taxonomy.fine_to_coarse)[label]
        metrics["coarse"] = score(coarse, taxonomy.coarse_probabilities(p), taxonomy.coarse)
    metrics["progression"] = describe_days(predictions)
    metrics["drug"] = describe_drugs(predictions)
    return metrics


def unit_levels(
    rows: pd.DataFrame,
    label: Int[np.ndarray, " n"],
    p: Float[np.ndarray, "n classes"],
    *,
    group: str,
) -> dict[str, Units | str]:
    """Pools clips into recordings and recordings into animal x day.

    A recording's p is the mean over its clips; an animal's p on a day is the mean over its
    recordings of that day, however many clips each has.

    Args:
        rows: metadata of the clips.
        label: true class of each clip.
        p: predicted probabilities of each clip.
        group: the column of `rows` that is resampled.

    Returns:
        The units per level, or why there are none.
    """
    if rows.empty:
        return dict.fromkeys(LEVELS, "no held-out clip of a trained class")
    levels: dict[str, Units | str] = {}
    levels["clip"] = clips = Units(label, p, rows.groupby(group).ngroup().to_numpy())
    recording = rows.groupby("video").ngroup().to_numpy()
    animal_day = rows.groupby(["animal", "day"]).ngroup().to_numpy()
    recordings = _pool(clips, recording)
    _, first = np.unique(recording, return_index=True)
    animal_days = _pool(recordings, animal_day[first])
    for level, codes, units in (
        ("recording", recording, recordings),
        ("animal_day", animal_day, animal_days),
    ):
        mixed = len(np.unique(codes[units.label[codes] != label]))
        levels[level] = units
        if mixed:
            levels[level] = (
                f"{mixed} of {len(units.label)} {LEVELS[level]} units hold clips of several "
                "classes, so they have no true class of their own"
            )
    return levels


def _pool(units: Units, codes: Int[np.ndarray, " n"]) -> Units:
    """Averages p over the units of each code 0..m-1, keeping the first unit's label and group."""
    _, first, count = np.unique(codes, return_index=True, return_counts=True)
    p = np.zeros((len(first), units.p.shape[1]))
    np.add.at(p, codes, units.p)
    return Units(units.label[first], p / count[:, None], units.group[first])


def score_levels(
    levels: dict[str, Units | str],
    classes: Sequence[str],
    *,
    weights: Int[np.ndarray, "resamples groups"] | None,
    unit: str,
) -> dict[str, Any]:
    """Scores every level against one list of classes, with chance and majority rows.

    `majority` is the share of the largest class among the evaluated units: what the best constant
    answer would score, so no smaller than what the training side's largest class would.
    """
    scores: dict[str, Any] = {"classes": list(classes), "chance": {"value": 1 / len(classes)}}
    scores["majority"] = {}
    for level, units in levels.items():
        if isinstance(units, str):
            absent = {"value": None, "why": units}
            keys = ("accuracy", "mean_class_accuracy", "confusion", "recall")
            scores[level] = dict.fromkeys(keys, absent)
            scores["majority"][level] = absent
            continue
        assert weights is not None
        scores[level] = score_units(units, classes, weights=weights, unit=unit)
        sizes = np.bincount(units.label, minlength=len(classes))
        largest = int(sizes.argmax())
        scores["majority"][level] = {
            "value": float(sizes[largest] / sizes.sum()),
            "class": classes[largest],
            "n": int(sizes.sum()),
        }
    return scores


def score_units(
    units: Units,
    classes: Sequence[str],
    *,
    weights: Int[np.ndarray, "resamples groups"],
    unit: str,
) -> dict[str, Any]:
    """Scores one level: accuracy, mean-class accuracy, confusion matrix, recall per class.

    Args:
        units: at least one unit.
        classes: names of the columns of `units.p`.
        weights: how often each group occurs in each bootstrap resample.
        unit: what a group is called, `animal` or `cage`.

    Returns:
        `accuracy` (top-1), `mean_class_accuracy` (mean recall over the classes that have a unit)
        and per class `recall`, each {"value", "ci95", "n"}; `confusion` (rows: true class).
    """
    predicted = units.p.argmax(1)
    correct, total = resampling.count_by_group(
        units.label, predicted, units.group, classes=len(classes)
    )
    draws = resampling.resample_scores(correct, total, weights)
    value = resampling.resample_scores(correct, total, np.ones((1, len(total)), int))

    def entry(value: float, draws: np.ndarray, n: int, groups: int) -> dict[str, Any]:
        interval = resampling.percentile_interval(draws, groups=groups, unit=unit)
        return {"value": float(value), **interval, "n": int(n)}

    n, groups = len(units.label), len(total)
    recall: dict[str, Any] = {}
    for index, name in enumerate(classes):
        if count := int(total[:, index].sum()):
            holders = int((total[:, index] > 0).sum())
            recall[name] = entry(value.recall[0, index], draws.recall[:, index], count, holders)
        else:
            recall[name] = {"value": None, "why": "no evaluated unit of this class", "n": 0}
    return {
        "accuracy": entry(value.accuracy[0], draws.accuracy, n, groups),
        "mean_class_accuracy": entry(
            value.mean_class_accuracy[0], draws.mean_class_accuracy, n, groups
        ),
        "confusion": confusion_matrix(units.label, predicted, classes=len(classes)).tolist(),
        "recall": recall,
    }


def confusion_matrix(
    label: Int[np.ndarray, " n"], predicted: Int[np.ndarray, " n"], *, classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Counts units by true class (rows) and predicted class (columns)."""
    cells = np.bincount(label * classes + predicted, minlength=classes**2)
    return cells.reshape(classes, classes)


def _count(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "clips": len(rows),
        "recordings": rows["video"].nunique(),
        "animals": rows["animal"].nunique(),
        "cages": rows.loc[rows["cage"] != "", "cage"].nunique(),
    }


def _describe_splits(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts what lies on each side: a row per split, per fold under cross-validation."""
    order = {"train": 0, "val": 1, "test": 2, "drug": 3}
    parts = [
        {"split": str(split), "fold": int(fold) if fold >= 0 else None, **_count(part)}
        for (split, fold), part in table.groupby(["split", "fold"])
    ]
    return sorted(parts, key=lambda part: (order[part["split"]], part["fold"] or 0))
