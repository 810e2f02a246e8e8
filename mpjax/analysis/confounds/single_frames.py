"""Does motion matter? The same classifier on embeddings of clips and of single frames."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis.confounds import design, summary
from mpjax.analysis.confounds.feature_tests import Settings, prepare
from mpjax.analysis.stats.bootstrap import percentile_interval
from mpjax.analysis.stats.estimates import absent
from mpjax.data.splits import classification_rows
from mpjax.taxonomy import Taxonomy


def compare_single_frames(
    recordings: pd.DataFrame,
    taxonomy: Taxonomy,
    settings: Settings,
    *,
    clip: tuple[Int[np.ndarray, " clips"], Float[np.ndarray, "clips d"]],
    still: tuple[Int[np.ndarray, " stills"], Float[np.ndarray, "stills d"]],
) -> dict[str, Any]:
    """Compares how well embeddings of clips and of single frames predict the class.

    Embeddings are averaged within recordings and reduced to their principal components. Both sides
    leave out the same animals (cages).

    Args:
        recordings, taxonomy, settings: as for `audit_confounds`.
        clip: the row of `recordings` that each clip belongs to, and the clips' embeddings.
        still: the same for single frames (or for median backgrounds).

    Returns:
        Per task {"clip", "still": {"value", "n"}, "difference": {"value", "ci95", "n"},
        "chance", "sentence"}, or {"value": None, "why"}.
    """
    kept = classification_rows(recordings)
    for row, _ in (clip, still):
        kept = kept & np.isin(np.arange(len(recordings)), row)
    used = recordings[kept].reset_index(drop=True)
    if used.empty:
        return {"fine": absent("no recording has embeddings of both clips and single frames")}
    sides = [
        pd.DataFrame(embedding, dtype=float).groupby(row).mean().loc[kept.nonzero()[0]].to_numpy()
        for row, embedding in (clip, still)
    ]
    tasks = design.plan_tasks(used, taxonomy, settings.group)
    return {name: _compare(used, task, sides, settings) for name, task in tasks.items()}


def _compare(
    used: pd.DataFrame, task: design.Task, sides: list[Float[np.ndarray, "n d"]], settings: Settings
) -> dict[str, Any]:
    if task.why:
        return absent(task.why)
    trials = [prepare(side, used, task, group=settings.group) for side in sides]
    scores = [trial.score(settings) for trial in trials if trial]
    if len(scores) < 2:
        return absent("the embeddings do not vary")
    (clip, clip_draws), (still, still_draws) = scores
    n, groups = int(task.rows.sum()), used[settings.group][task.rows].nunique()
    interval = percentile_interval(clip_draws - still_draws, groups=groups, unit=settings.group)
    found = {
        "clip": {"value": clip, "n": n},
        "still": {"value": still, "n": n},
        "difference": {"value": clip - still, **interval, "n": n},
        "chance": 1 / len(task.classes),
    }
    return found | {"sentence": summary.describe_single_frames(found)}
