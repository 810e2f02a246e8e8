"""Fine and coarse accuracy at the level of clips, recordings and animal-days."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Int

from mpjax.analysis.classification.calibration import Calibrated, describe_calibration
from mpjax.analysis.classification.comparison import FIGURES
from mpjax.analysis.classification.scores import describe_day_distance, score_levels, tasks_of
from mpjax.analysis.classification.significance import permutation_test
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats import bootstrap as resampling
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.units import LEVELS, Units, scores_are_constant, unit_levels
from mpjax.data.splits import SPLITS
from mpjax.taxonomy import parse_fine_name

_NO_DEMONSTRATION = (
    "no head was trained under both splits; that takes a head on cached embeddings "
    "(config.train.what=probe) and at least 2 groups of animals"
)


def describe_tasks(
    predictions: Predictions,
    calibrated: Calibrated,
    *,
    bootstrap: int,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Returns `fine`, `coarse` (if there are groups) and `calibration` of metrics.json.

    Held-out clips of trained classes count. `bootstrap` resamples of whole animals (or cages) are
    behind every interval, `permutations` of the labels over animals behind every p.
    """
    mask, taxonomy, group = predictions.evaluated, predictions.taxonomy, predictions.group
    rows = predictions.table[mask]
    weights = resampling.draw_weights(rows[group].nunique(), resamples=bootstrap, seed=seed)
    constant = scores_are_constant(predictions.p[mask])
    described: dict[str, Any] = {}
    clips, recordings = {}, {}
    for name, task in tasks_of(taxonomy).items():
        label = task.to_class[rows["label"].to_numpy()]
        before, after = task.pool(predictions.p[mask]), task.pool(calibrated.p[mask])
        levels = _levels(rows, label, before, group=group, constant=constant)
        scores = score_levels(levels, task.classes, weights=weights, unit=group)
        for level, units in levels.items():
            scores[level]["permutation"] = permutation_test(
                units,
                rows,
                taxonomy=taxonomy,
                fine_to_class=task.to_class,
                group=group,
                level=level,
                permutations=permutations,
                seed=seed,
            )
            if name == "fine" and all(map(parse_fine_name, task.classes)):
                scores[level]["day_distance"] = describe_day_distance(
                    units, task.classes, weights=weights, unit=group
                )
        described[name] = scores
        clips[name] = (label, before, after)
        scaled = _levels(rows, label, after, group=group, constant=constant)
        recordings[name] = (levels["recording"], scaled["recording"])
    if taxonomy.coarse and predictions.p_coarse is not None:
        described["coarse"]["separate"] = _describe_separate(predictions, weights)
    return described | {"calibration": describe_calibration(calibrated, clips, recordings)}


def _levels(
    rows: pd.DataFrame, label: np.ndarray, p: np.ndarray, *, group: str, constant: bool
) -> dict[str, Units | str]:
    if constant:
        why = f"in all {len(p)} clips every class has the same score, so none is predicted"
        return dict.fromkeys(LEVELS, why)
    return unit_levels(rows, label, p, group=group)


def _describe_separate(
    predictions: Predictions, weights: Int[np.ndarray, "resamples groups"]
) -> dict[str, Any]:
    """Scores the head trained on the coarse classes, and how often it disagrees with the fine."""
    assert predictions.p_coarse is not None
    mask, group = predictions.evaluated, predictions.group
    rows, separate = predictions.table[mask], predictions.p_coarse[mask]
    task = tasks_of(predictions.taxonomy)["coarse"]
    label, constant = task.to_class[rows["label"].to_numpy()], scores_are_constant(separate)
    levels = _levels(rows, label, separate, group=group, constant=constant)
    scores = score_levels(levels, task.classes, weights=weights, unit=group)
    described: dict[str, Any] = {
        level: {figure: scores[level][figure] for figure in FIGURES} for level in LEVELS
    }
    clips = levels["clip"]
    if isinstance(clips, str):
        return described | {"disagreement": absent(clips)}
    differ = task.pool(predictions.p[mask]).argmax(axis=1) != clips.predicted
    disagreement = resampling.estimate_mean(differ, clips.group, weights, unit=group)
    return described | {"disagreement": disagreement}


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


def count_evaluated(predictions: Predictions) -> dict[str, int]:
    """Counts what is evaluated, and the held-out clips that are not: of no trained class."""
    table, rows = predictions.table, predictions.table[predictions.evaluated]
    return _count(rows) | {
        "padded_clips": int((rows["padded_frames"] > 0).sum()),
        "left_out_clips": int(((table["split"] == "test") & (table["label"] < 0)).sum()),
    }


def _count(rows: pd.DataFrame) -> dict[str, int]:
    return {
        "clips": len(rows),
        "recordings": rows["video"].nunique(),
        "animals": rows["animal"].nunique(),
        "cages": rows.loc[rows["cage"] != "", "cage"].nunique(),
    }


def describe_splits(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Counts clips, recordings, animals and cages per split, and per fold of each."""
    parts = [
        {"split": str(split), "fold": int(fold) if fold >= 0 else None, **_count(part)}
        for (split, fold), part in table.groupby(["split", "fold"])
    ]
    return sorted(parts, key=lambda part: (SPLITS.index(part["split"]), part["fold"] or 0))
