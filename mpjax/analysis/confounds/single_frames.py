"""Is it motion? The same classifier on embeddings of clips and of still frames."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis.confounds import classifier, design, summary
from mpjax.analysis.confounds.feature_tests import Settings, components
from mpjax.analysis.confounds.features import Family
from mpjax.analysis.stats.bootstrap import (
    count_by_group,
    draw_weights,
    percentile_interval,
    resample_scores,
)
from mpjax.analysis.stats.estimates import absent
from mpjax.taxonomy import Taxonomy


def compare_stills(
    recordings: pd.DataFrame,
    taxonomy: Taxonomy,
    settings: Settings,
    *,
    clip: tuple[Int[np.ndarray, " clips"], Float[np.ndarray, "clips d"]],
    still: tuple[Int[np.ndarray, " stills"], Float[np.ndarray, "stills d"]],
) -> dict[str, Any]:
    """Asks whether it is motion: the same classifier on embeddings of clips and of still frames.

    Embeddings are averaged within recordings and brought to their principal components; both sides
    leave out the same animals (cages).

    Args:
        recordings: as for `audit`.
        taxonomy: of its column `label`.
        settings: group, resamples, permutations.
        clip: the row of `recordings` that each clip belongs to, and the clips' embeddings.
        still: the same of still frames (or of median backgrounds).

    Returns:
        Per task {"clip", "still": {"value", "n"}, "difference": {"value", "ci95", "n"},
        "chance", "sentence"}, or {"value": None, "why"}.
    """
    kept = ((recordings["split"] != "drug") & (recordings["label"] >= 0)).to_numpy()
    for row, _ in (clip, still):
        kept = kept & np.isin(np.arange(len(recordings)), row)
    used = recordings[kept].reset_index(drop=True)
    if used.empty:
        return {"fine": absent("no recording has embeddings both of clips and of stills")}
    sides = [_recording_means(each, kept) for each in (clip, still)]
    tasks, whys = design.plan_tasks(used, taxonomy, settings.group)
    told: dict[str, Any] = {name: absent(why) for name, why in whys.items()}
    for name, task in tasks.items():
        told[name] = _compare(used, task, sides, settings)
    return told


def _recording_means(
    embedded: tuple[Int[np.ndarray, " m"], Float[np.ndarray, "m d"]], kept: np.ndarray
) -> Float[np.ndarray, "n d"]:
    row, embedding = embedded
    count = np.bincount(row, minlength=len(kept))
    total = np.zeros((len(kept), embedding.shape[1]))
    np.add.at(total, row, embedding)
    return total[kept] / count[kept, None]


def _compare(
    used: pd.DataFrame,
    task: design.Task,
    sides: list[Float[np.ndarray, "n d"]],
    settings: Settings,
) -> dict[str, Any]:
    group = pd.factorize(used[settings.group][task.rows])[0]
    classes, groups = len(task.classes), int(group.max()) + 1
    weights = draw_weights(groups, resamples=settings.bootstrap, seed=settings.seed)
    values, draws = [], []
    for side in sides:
        family = Family("", "", "", side, [])
        whitened = components(family, used, task, group=settings.group)
        if not whitened.shape[1]:
            return absent("the embeddings do not vary")
        named = classifier.predict(whitened, task.label[None], group, classes=classes)
        values.append(float(classifier.mean_recall(task.label[None], named, classes=classes)[0]))
        counts = count_by_group(task.label, named[0], group, classes=classes)
        draws.append(resample_scores(counts, weights).mean_class_accuracy)
    n = int(task.rows.sum())
    told = {
        "clip": {"value": values[0], "n": n},
        "still": {"value": values[1], "n": n},
        "difference": {
            "value": values[0] - values[1],
            **percentile_interval(draws[0] - draws[1], groups=groups, unit=settings.group),
            "n": n,
        },
        "chance": 1 / classes,
    }
    return told | {"sentence": summary.describe_stills(told)}
