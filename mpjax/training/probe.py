"""The linear probe: heads on cached embeddings, saved and applied without leaking an animal."""

from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from scipy.special import log_softmax, logsumexp

from mpjax import files
from mpjax.config import HeadConfig
from mpjax.data import embeddings
from mpjax.data.division import Division
from mpjax.training import checkpoint, heads

_TRAIN, _VALIDATION = 0, 1
_CHOICE_FOLDS = 5  # among training groups, where there are no validation animals


def train(
    embedded: embeddings.Embeddings, division: Division, config: HeadConfig, out: epath.PathLike
) -> bool:
    """Fits and saves the heads of a study: the final one, and one per fold.

    Args:
        embedded: all views of all clips.
        division: splits, folds and classes.
        config: candidates and solver.
        out: folder of the checkpoint.

    Returns:
        False where `out` already holds these very heads.

    Raises:
        ValueError: a fine class has no clip to train on.
    """
    stamp = files.fingerprint(embedded.meta["fingerprint"], division.fingerprint, config)
    if (checkpoint.read_metadata(out) or {}).get("fingerprint") == stamp:
        return False
    classes = division.taxonomy.fine
    rows, predicted, validation = training_rows(embedded, division)
    missing = [name for i, name in enumerate(classes) if not (rows.label == i).any()]
    if missing:
        raise ValueError(f"no clip to train on for class(es) {', '.join(missing)}")
    fitted = heads.fit_folds(rows, len(classes), config, predicted=predicted, validation=validation)
    metadata = {
        "fingerprint": stamp,
        "embeddings": embedded.meta,
        "division": division.fingerprint,
        "fine": list(classes),
        "training": {
            "what": "probe",
            "l2": {_name(fold): l2 for fold, l2 in fitted.l2.items()},
        },
        "choice_losses": {
            _name(fold): {str(l2): loss for l2, loss in losses.items()}
            for fold, losses in fitted.losses.items()
        },
    }
    variables = {_name(fold): variables for fold, variables in fitted.heads.items()}
    checkpoint.save(out, variables, metadata)
    return True


def _name(fold: int) -> str:
    return "final" if fold == heads.FINAL else f"fold_{fold}"


def training_rows(
    embedded: embeddings.Embeddings, division: Division
) -> tuple[heads.Rows, list[int], int | None]:
    """Returns the training rows, the folds to be predicted and the validation fold, if any."""
    table = embedded.table
    if division.scheme == "fixed":
        used = table["split"].isin(["train", "val"]).to_numpy()
        fold = np.where(table["split"] == "val", _VALIDATION, _TRAIN)
        has_validation = bool((table["split"] == "val").any())
        if not has_validation:
            fold = pd.factorize(table[division.group], sort=True)[0] % _CHOICE_FOLDS
        predicted: list[int] = []
        validation = _VALIDATION if has_validation else None
    else:
        used = (table["split"] == "test").to_numpy()
        fold = table["video"].map(division.folds).to_numpy()
        predicted = sorted({int(k) for k in fold[used]})
        validation = None
    used = used & (table["label"] >= 0).to_numpy()
    clip = pd.factorize(table["clip_id"])[0]
    rows = heads.Rows(
        embedding=embedded.embedding[used],
        label=table["label"].to_numpy()[used],
        fold=fold[used],
        clip=clip[used],
    )
    return rows, predicted, validation


def predict(
    embedded: embeddings.Embeddings, division: Division, directory: epath.PathLike
) -> pd.DataFrame:
    """Predicts every clip by a head that was trained without its animal, where it is held out.

    Under a fixed split the final head predicts all; under folds each clip is predicted by the head
    of its own fold, and clips of the split `drug` by the final one. Probabilities are averaged over
    the views of a clip, as published.

    Args:
        embedded: all views of all clips.
        division: as in training.
        directory: folder of the checkpoint.

    Returns:
        A row per clip: its metadata, split, fold, start_s, p [fine] and logits (log p).

    Raises:
        ValueError: the heads were trained on other embeddings, or on other animals.
    """
    variables = checkpoint.restore(directory)
    metadata = checkpoint.read_metadata(directory)
    if metadata["embeddings"]["fingerprint"] != embedded.meta["fingerprint"]:
        raise ValueError(
            f"{directory}: heads of other embeddings ({metadata['embeddings']['fingerprint']}, "
            f"here {embedded.meta['fingerprint']}); run `python -m mpjax.train`"
        )
    if metadata["division"] != division.fingerprint:
        raise ValueError(
            f"{directory}: heads of another division into folds, which may have trained on the "
            "animals to be tested; run `python -m mpjax.train`"
        )
    table = embedded.table
    fold = np.full(len(table), heads.FINAL)
    if division.scheme != "fixed":
        tested = (table["split"] == "test").to_numpy()
        fold = np.where(tested, table["video"].map(division.folds), heads.FINAL)
    log_p = np.zeros((len(table), len(division.taxonomy.fine)), np.float32)
    for k in np.unique(fold):
        head: Any = variables[_name(int(k))]
        mine = fold == k
        log_p[mine] = log_softmax(heads.predict(head, embedded.embedding[mine]), axis=-1)
    return _average_views(table.assign(fold=fold), log_p)


def _average_views(table: pd.DataFrame, log_p: np.ndarray) -> pd.DataFrame:
    """Averages probabilities over the views of a clip, in the log domain against underflow."""
    clip, _ = pd.factorize(table["clip_id"])
    first = np.unique(clip, return_index=True)[1]
    views = np.bincount(clip)
    starts = first  # views of a clip are adjacent
    averaged = np.stack(
        [
            logsumexp(log_p[start : start + n], axis=0) - np.log(n)
            for start, n in zip(starts, views, strict=True)
        ]
    ).astype(np.float32)
    clips = table.iloc[first].drop(columns="view").reset_index(drop=True)
    clips["start_s"] = clips["start_frame"] / clips["fps"]
    probabilities = np.exp(averaged)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return clips.assign(logits=list(averaged), p=list(probabilities))
