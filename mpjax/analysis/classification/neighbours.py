"""The training clips that a predicted clip resembles most: evidence that a reader can check."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.preprocessing import StandardScaler, normalize

from mpjax.analysis.predictions import Predictions
from mpjax.data.splits import fit_rows

_BLOCK = 8192  # training clips compared at once; their embeddings of 1024 values are 64 MiB


def find_neighbours(
    predictions: Predictions, clip_ids: Sequence[str], *, count: int = 5
) -> dict[str, list[dict[str, Any]]]:
    """Finds the clips nearest to each of some clips, among those that its head was trained on.

    Distances are cosine distances of embeddings standardised by the training clips. Clips of the
    same animal are never among the neighbours.

    Returns:
        Per clip, nearest first: {"clip_id", "animal", "video", "start_s", "class", "distance"},
        the distance from 0 (same direction) over 1 (unrelated) to 2.

    Raises:
        ValueError: the predictions have no embeddings, or no such clip.
    """
    if predictions.embedding is None:
        raise ValueError("the predictions have no embeddings; read them with embedding=True")
    table = predictions.table
    rows = pd.Index(table["clip_id"]).get_indexer(list(clip_ids))
    if len(unknown := np.flatnonzero(rows < 0)):
        first = f"the first is {clip_ids[unknown[0]]!r}"
        raise ValueError(f"{len(unknown)} clip(s) are not among the predictions, {first}")
    folds, animal = table["fold"].to_numpy(), table["animal"].to_numpy()
    found: dict[str, list[dict[str, Any]]] = {clip_id: [] for clip_id in clip_ids}
    for fold in np.unique(folds[rows]):
        own = rows[folds[rows] == fold]
        trained = np.flatnonzero(fit_rows(table, predictions.meta["scheme"], int(fold)))
        if not len(trained):
            continue
        similarity = _cosine(predictions.embedding, own, trained)
        for row, similar in zip(own, similarity, strict=True):
            other = animal[trained] != animal[row]
            candidates, similar = trained[other], similar[other]
            nearest = np.argsort(-similar, kind="stable")[:count]
            found[table["clip_id"].iloc[row]] = [
                {
                    **table.iloc[candidates[k]][["clip_id", "animal", "video"]],
                    "start_s": float(table["start_s"].iloc[candidates[k]]),
                    "class": predictions.taxonomy.fine[table["label"].iloc[candidates[k]]],
                    "distance": 1 - float(similar[k]),
                }
                for k in nearest
            ]
    return found


def add_neighbours(
    saliency: Mapping[str, Any], predictions: Predictions, *, count: int = 5
) -> dict[str, Any]:
    """Returns the part `saliency` of metrics.json, each of its clips with its `neighbours`.

    Without clips or embeddings it stays as it is.
    """
    clips = saliency.get("clips", [])
    if not clips or predictions.embedding is None:
        return dict(saliency)
    found = find_neighbours(predictions, [clip["clip_id"] for clip in clips], count=count)
    return {**saliency, "clips": [clip | {"neighbours": found[clip["clip_id"]]} for clip in clips]}


def _cosine(
    embedding: Float[np.ndarray, "n d"],
    rows: Int[np.ndarray, " rows"],
    trained: Int[np.ndarray, " trained"],
) -> Float[np.ndarray, "rows trained"]:
    """Returns the cosine of standardised embeddings, a block of training clips at a time."""
    blocks = [trained[start : start + _BLOCK] for start in range(0, len(trained), _BLOCK)]
    scaler = StandardScaler()
    for block in blocks:
        scaler.partial_fit(embedding[block].astype(np.float64))
    scaler.scale_ = np.where(scaler.var_ > 1e-12, np.sqrt(scaler.var_), 1.0)  # as the heads do

    def directions(rows: np.ndarray) -> np.ndarray:
        return normalize(scaler.transform(embedding[rows].astype(np.float64)))

    own = directions(rows)
    return np.concatenate([own @ directions(block).T for block in blocks], axis=1)
