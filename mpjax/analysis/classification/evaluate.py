"""Fine and coarse accuracy at the level of clips, recordings and animal-days."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis.classification.calibration import (
    Calibrated,
    describe_calibration,
)
from mpjax.analysis.classification.scores import describe_day_distance, score_levels, tasks_of
from mpjax.analysis.classification.significance import permutation_test
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats import bootstrap as resampling
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.units import LEVELS, Units, scores_are_constant, unit_levels
from mpjax.taxonomy import parse_fine_name

_NO_DEMONSTRATION = (
    "no head was trained under both splits; that takes a head on cached embeddings "
    "(config.train.what=probe) and at least 2 groups of animals"
)


@dataclasses.dataclass(frozen=True)
class _Held:
    """The held-out clips of trained classes, and how they are resampled and permuted."""

    rows: pd.DataFrame
    predictions: Predictions
    weights: Int[np.ndarray, "resamples groups"] | None
    permutations: int
    seed: int

    @property
    def unit(self) -> str:
        return self.predictions.group


def describe_tasks(
    predictions: Predictions,
    calibrated: Calibrated,
    *,
    bootstrap: int,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Scores the held-out clips of trained classes.

    Args:
        predictions: checked predictions.
        calibrated: their calibration.
        bootstrap: resamples of whole animals (or cages) behind every interval.
        permutations: of the labels over animals, behind every p of the accuracy.
        seed: of both.

    Returns:
        `fine`, `coarse` (where there are coarse classes) and `calibration` of metrics.json.
    """
    rows = predictions.table[predictions.evaluated]
    groups = rows[predictions.group].nunique()
    weights = resampling.draw_weights(groups, resamples=bootstrap, seed=seed) if groups else None
    held = _Held(rows, predictions, weights, permutations, seed)
    described = _describe_tasks(held, calibrated)
    if predictions.taxonomy.coarse and predictions.p_coarse is not None:
        described["coarse"]["separate"] = _describe_separate(held, predictions.p_coarse)
    return described


def count_evaluated(predictions: Predictions) -> dict[str, int]:
    """Counts what is evaluated, and the held-out clips that are not: of no trained class."""
    rows = predictions.table[predictions.evaluated]
    return _count(rows) | _count_clips(predictions.table, rows)


def _describe_tasks(held: _Held, calibrated: Calibrated) -> dict[str, Any]:
    """Returns `fine`, `coarse` (where there are coarse classes) and `calibration`."""
    fine, mask = held.rows["label"].to_numpy(), held.predictions.evaluated
    constant = scores_are_constant(held.predictions.p[mask])
    described: dict[str, Any] = {}
    clips: dict[str, Any] = {}
    recordings: dict[str, Any] = {}
    for name, task in tasks_of(held.predictions.taxonomy).items():
        label = task.to_class[fine]
        before, after = task.pool(held.predictions.p[mask]), task.pool(calibrated.p[mask])
        levels = _levels(held, label, before, constant=constant)
        scores = score_levels(levels, task.classes, weights=held.weights, unit=held.unit)
        for level, units in levels.items():
            scores[level]["permutation"] = _permute(held, units, task.to_class, level)
            if name == "fine" and all(map(parse_fine_name, task.classes)):
                scores[level]["day_distance"] = describe_day_distance(
                    units, task.classes, weights=held.weights, unit=held.unit
                )
        described[name] = scores
        clips[name] = (label, before, after)
        scaled = _levels(held, label, after, constant=constant)
        recordings[name] = (levels["recording"], scaled["recording"])
    return described | {"calibration": describe_calibration(calibrated, clips, recordings)}


def _levels(
    held: _Held, label: np.ndarray, p: np.ndarray, *, constant: bool
) -> dict[str, Units | str]:
    if constant:
        why = f"in all {len(p)} clips every class has the same score, so none is predicted"
        return dict.fromkeys(LEVELS, why)
    return unit_levels(held.rows, label, p, group=held.unit)


def _permute(held: _Held, units: Units | str, to_class: np.ndarray, level: str) -> dict[str, Any]:
    return permutation_test(
        units,
        held.rows,
        taxonomy=held.predictions.taxonomy,
        fine_to_class=to_class,
        group=held.unit,
        level=level,
        permutations=held.permutations,
        seed=held.seed,
    )


def _describe_separate(held: _Held, p_coarse: Float[np.ndarray, "n coarse"]) -> dict[str, Any]:
    """Scores the head trained on the coarse classes, and how often it disagrees with the fine."""
    predictions, task = held.predictions, tasks_of(held.predictions.taxonomy)["coarse"]
    label = task.to_class[held.rows["label"].to_numpy()]
    separate = p_coarse[predictions.evaluated]
    levels = _levels(held, label, separate, constant=scores_are_constant(separate))
    scores = score_levels(levels, task.classes, weights=held.weights, unit=held.unit)
    described: dict[str, Any] = {
        level: {figure: scores[level][figure] for figure in ("accuracy", "mean_class_accuracy")}
        for level in LEVELS
    }
    clips = levels["clip"]
    if isinstance(clips, str) or held.weights is None:
        return described | {"disagreement": absent(str(clips))}
    differ = task.pool(predictions.p[predictions.evaluated]).argmax(axis=1) != clips.predicted
    return described | {
        "disagreement": resampling.estimate_mean(differ, clips.group, held.weights, unit=held.unit)
    }


def describe_demonstration(
    demonstration: pd.DataFrame | None, predictions: Predictions, *, bootstrap: int, seed: int
) -> dict[str, Any]:
    """Compares the clip accuracy of one head under a split by animals and one by clips.

    The coarse answer is the group of the predicted fine class.

    Returns:
        Per task `animal_split` and `clip_split` (clip accuracies) and `inflation`, their difference
        with its paired interval over animals (or cages); or {"value": None, "why"}.
    """
    if demonstration is None:
        return absent(_NO_DEMONSTRATION)
    group, names = pd.factorize(demonstration[predictions.group])
    weights = resampling.draw_weights(len(names), resamples=bootstrap, seed=seed)
    described = {}
    for name, task in tasks_of(predictions.taxonomy).items():
        label = task.to_class[demonstration["label"]]
        by_animal, by_clip = (
            (task.to_class[demonstration[f"predicted_by_{split}_split"]] == label).astype(float)
            for split in ("animal", "clip")
        )
        described[name] = {
            "animal_split": float(by_animal.mean()),
            "clip_split": float(by_clip.mean()),
            "inflation": resampling.estimate_mean(
                by_clip - by_animal, group, weights, unit=predictions.group
            ),
        }
    return described


def _count(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "clips": len(rows),
        "recordings": rows["video"].nunique(),
        "animals": rows["animal"].nunique(),
        "cages": rows.loc[rows["cage"] != "", "cage"].nunique(),
    }


def _count_clips(table: pd.DataFrame, rows: pd.DataFrame) -> dict[str, int]:
    return {
        "padded_clips": int((rows["padded_frames"] > 0).sum()),
        "left_out_clips": int(((table["split"] == "test") & (table["label"] < 0)).sum()),
    }


def describe_splits(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts clips, recordings, animals and cages per split, and per fold of each."""
    order = {"train": 0, "val": 1, "test": 2, "drug": 3}
    parts = [
        {"split": str(split), "fold": int(fold) if fold >= 0 else None, **_count(part)}
        for (split, fold), part in table.groupby(["split", "fold"])
    ]
    return sorted(parts, key=lambda part: (order[part["split"]], part["fold"] or 0))
