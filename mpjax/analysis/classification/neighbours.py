"""The training clips that a predicted clip resembles most: evidence that a reader can look at."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mpjax.analysis.predictions import Predictions
from mpjax.data.splits import fit_rows

_BLOCK = 8192  # training clips compared at once; their embeddings of 1024 values are 64 MiB


def find_neighbours(
    predictions: Predictions, clip_ids: Sequence[str], *, count: int = 5
) -> dict[str, list[dict[str, Any]]]:
    """Finds the clips nearest to each of some clips, among those that its head was trained on.

    Near is a small cosine distance of embeddings standardised by the training clips. Under folds
    the training clips are the tested ones of all other folds, else those of the split `train`;
    none of the same animal is ever among them.

    Args:
        predictions: with embeddings.
        clip_ids: of held-out clips.
        count: neighbours of each.

    Returns:
        Per clip, nearest first: {"clip_id", "animal", "video", "start_s", "class", "distance"},
        the distance from 0 (same direction) over 1 (unrelated) to 2.

    Raises:
        ValueError: the predictions have no embeddings, or no such clip.
    """
    if predictions.embedding is None:
        raise ValueError("the predictions have no embeddings; read them with embedding=True")
    table = predictions.table
    place = {clip_id: row for row, clip_id in enumerate(table["clip_id"])}
    if unknown := [clip_id for clip_id in clip_ids if clip_id not in place]:
        raise ValueError(
            f"{len(unknown)} clip(s) are not among the predictions, the first is {unknown[0]!r}"
        )
    rows = np.array([place[clip_id] for clip_id in clip_ids], int)
    folds = table["fold"].to_numpy()
    found: dict[str, list[dict[str, Any]]] = {clip_id: [] for clip_id in clip_ids}
    for fold in np.unique(folds[rows]):
        asked = rows[folds[rows] == fold]
        trained = _trained_on(predictions, int(fold))
        if not len(trained):
            continue
        similarity = _cosine(predictions.embedding, asked, trained)
        for row, similar in zip(asked, similarity, strict=True):
            other = (table["animal"].iloc[trained] != table["animal"].iloc[row]).to_numpy()
            candidates, similar = trained[other], similar[other]
            nearest = np.argsort(-similar, kind="stable")[:count]
            found[table["clip_id"].iloc[row]] = [
                _describe(predictions, int(candidates[k]), float(similar[k])) for k in nearest
            ]
    return found


def add_neighbours(
    saliency: Mapping[str, Any], predictions: Predictions, *, count: int = 5
) -> dict[str, Any]:
    """Returns what metrics.json holds under `saliency`, each clip with its `neighbours`.

    Args:
        saliency: as the training side returned it; without clips, it stays as it is.
        predictions: of the same study; without embeddings there are no neighbours.
        count: neighbours of each clip.
    """
    clips = saliency.get("clips", [])
    if not clips or predictions.embedding is None:
        return dict(saliency)
    found = find_neighbours(predictions, [clip["clip_id"] for clip in clips], count=count)
    return {**saliency, "clips": [clip | {"neighbours": found[clip["clip_id"]]} for clip in clips]}


def _trained_on(predictions: Predictions, fold: int) -> Int[np.ndarray, " trained"]:
    """Returns the rows of the clips that the head of a fold was trained on."""
    return np.flatnonzero(fit_rows(predictions.table, predictions.meta["scheme"], fold))


def _cosine(
    embedding: Float[np.ndarray, "n d"],
    asked: Int[np.ndarray, " asked"],
    trained: Int[np.ndarray, " trained"],
) -> Float[np.ndarray, "asked trained"]:
    """Returns the cosine of standardised embeddings, a block of training clips at a time."""
    blocks = [trained[start : start + _BLOCK] for start in range(0, len(trained), _BLOCK)]
    mean = sum(embedding[rows].sum(axis=0, dtype=np.float64) for rows in blocks) / len(trained)
    squares = sum(
        np.square(embedding[rows].astype(np.float64) - mean).sum(axis=0) for rows in blocks
    )
    std = np.sqrt(squares / len(trained))
    std = np.where(std > 1e-6, std, 1.0)  # as the heads standardise

    def directions(rows: np.ndarray) -> np.ndarray:
        scaled = (embedding[rows] - mean) / std
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        return scaled / np.maximum(length, np.finfo(np.float64).tiny)

    wanted = directions(asked)
    return np.concatenate([wanted @ directions(rows).T for rows in blocks], axis=1)


def _describe(predictions: Predictions, row: int, similarity: float) -> dict[str, Any]:
    about = predictions.table.iloc[row]
    return {
        "clip_id": about["clip_id"],
        "animal": about["animal"],
        "video": about["video"],
        "start_s": float(about["start_s"]),
        "class": predictions.taxonomy.fine[int(about["label"])],
        "distance": 1 - similarity,
    }
