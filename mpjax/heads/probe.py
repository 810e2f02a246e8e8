"""The linear probe: heads on cached embeddings, never applied to an animal they were trained on."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from jaxtyping import Float, Int

from mpjax.config import HeadConfig
from mpjax.data import embeddings
from mpjax.data.splits import (
    FINAL,
    FIXED,
    Splits,
    calibration_rows,
    fit_rows,
    folds_of,
    predicting_fold,
)
from mpjax.heads import leakage, logistic
from mpjax.io import files
from mpjax.taxonomy import Taxonomy
from mpjax.training import artifacts

_TRAIN, _VALIDATION = 0, 1
_CHOICE_FOLDS = 5  # among training groups, if there are no validation animals
COARSE = "coarse_"  # prefix of the heads on coarse classes


def train(
    embedded: embeddings.Embeddings, splits: Splits, config: HeadConfig, out: epath.PathLike
) -> bool:
    """Fits and saves the heads of a study: the final one, and one per fold.

    With `config.coarse`, the same on the coarse classes. Next to them it writes what a head like
    the final one predicts under a split of animals and under one of clips (`leakage.demonstrate`).
    Returns False if the folder `out` already holds exactly these heads.

    Raises:
        ValueError: a fine class has no clip to train on, or `config.coarse` is set for a cohort
            without coarse classes.
    """
    stamp = files.fingerprint(embedded.meta["fingerprint"], splits.fingerprint, config)
    if (artifacts.read_metadata(out) or {}).get("fingerprint") == stamp:
        return False
    classes = splits.taxonomy.fine
    rows, predicted, validation = training_rows(embedded, splits)
    if missing := [name for i, name in enumerate(classes) if not (rows.label == i).any()]:
        raise ValueError(f"no clip to train on for class(es) {', '.join(missing)}")
    tasks = {"": (rows, len(classes))}
    check_coarse(config, splits.taxonomy)
    if config.coarse:
        tasks[COARSE] = _coarse_rows(rows, splits.taxonomy)
    variables: logistic.Variables = {}
    chosen: dict[str, float] = {}
    losses: dict[str, dict[str, float]] = {}
    for task, (own, count) in tasks.items():
        fitted = logistic.fit_folds(own, count, config, predicted=predicted, validation=validation)
        for fold, head in fitted.heads.items():
            name = head_name(fold, task)
            variables[name], chosen[name] = head, fitted.l2[fold]
            losses[name] = {str(l2): loss for l2, loss in fitted.losses[fold].items()}
    demonstration = leakage.demonstrate(embedded, splits, config, l2=chosen[head_name(FINAL)])
    leakage.write(out, demonstration, stamp)
    metadata = {
        "fingerprint": stamp,
        "embeddings": embedded.meta,
        "division": splits.fingerprint,
        "fine": list(classes),
        "training": {"what": "probe", "l2": chosen},
        "choice_losses": losses,
    }
    artifacts.save(out, variables, metadata)
    return True


def _coarse_rows(
    rows: logistic.TrainingRows, taxonomy: Taxonomy
) -> tuple[logistic.TrainingRows, int]:
    """Returns the rows labelled by their coarse classes, and how many of these there are."""
    label = np.asarray(taxonomy.fine_to_coarse)[rows.label]
    return dataclasses.replace(rows, label=label), len(taxonomy.coarse)


def check_coarse(config: HeadConfig, taxonomy: Taxonomy) -> None:
    """Raises ValueError where a head on coarse classes is wanted and there are none."""
    if config.coarse and not taxonomy.coarse:
        raise ValueError(
            "config.head.coarse trains a head on coarse classes, and this cohort has none; set it "
            "to false, or define the classes in a taxonomy.toml"
        )


def head_name(fold: int, task: str = "") -> str:
    """Returns the name in the checkpoint of the head of a fold; `task` is "" or `COARSE`."""
    return task + ("final" if fold == FINAL else f"fold_{fold}")


def training_rows(
    embedded: embeddings.Embeddings, splits: Splits
) -> tuple[logistic.TrainingRows, list[int], int | None]:
    """Returns the training rows, the folds to predict and the validation fold, if any."""
    table = splits.add_folds(embedded.table)
    used = fit_rows(table, splits.scheme, with_validation=True)
    predicted = folds_of(table, splits.scheme)
    fold, validation = table["fold"].to_numpy(), None
    if splits.scheme == FIXED and (chooses := calibration_rows(table, FIXED)).any():
        fold, validation = np.where(chooses, _VALIDATION, _TRAIN), _VALIDATION
    elif splits.scheme == FIXED:
        fold = pd.factorize(table[splits.group], sort=True)[0] % _CHOICE_FOLDS
    clip = pd.factorize(table["clip_id"])[0]
    rows = logistic.TrainingRows(embedded.embedding, table["label"].to_numpy(), fold, clip)
    return rows.take(used), predicted, validation


def predict(
    embedded: embeddings.Embeddings, splits: Splits, directory: epath.PathLike
) -> pd.DataFrame:
    """Predicts every held-out clip by a head that was trained without its animal.

    Under a fixed split the final head predicts all clips; under folds the head of a clip's own fold
    predicts it, and the final one clips of the split `drug`. Probabilities are averaged over the
    views of a clip, as published.

    Returns:
        A row per clip: its metadata, split, fold, start_s, p [fine] and logits (log p); and
        p_coarse [coarse] if heads were trained on the coarse classes. Embedding and pixel
        statistics are means over the views.

    Raises:
        ValueError: the heads were trained on other embeddings or other animals.
    """
    variables = artifacts.restore(directory)
    _check_same(artifacts.read_metadata(directory), embedded, splits, where=directory)
    table = splits.add_folds(embedded.table)
    fold = predicting_fold(table, splits.scheme)
    clip = pd.factorize(table["clip_id"])[0]
    log_p = logistic.average_views(_apply(variables, embedded.embedding, fold), clip)
    clips = table.assign(fold=fold)[~table["clip_id"].duplicated()].drop(columns="view")
    clips = clips.reset_index(drop=True)
    views = np.bincount(clip)
    for name in embeddings.STATISTICS:
        clips[name] = np.bincount(clip, weights=table[name]) / views
    first = np.flatnonzero(np.diff(clip, prepend=-1))  # views of a clip are adjacent
    totals = np.add.reduceat(embedded.embedding, first)
    clips["embedding"] = list(totals / views[:, None].astype(np.float32))
    clips["start_s"] = clips["start_frame"] / clips["fps"]
    clips = clips.assign(logits=list(log_p), p=list(_probabilities(log_p)))
    if head_name(FINAL, COARSE) in variables:
        coarse = _apply(variables, embedded.embedding, fold, task=COARSE)
        clips["p_coarse"] = list(_probabilities(logistic.average_views(coarse, clip)))
    return clips


def predict_by_every_head(
    variables: dict[str, Any], embedding: Float[np.ndarray, "n d"], clip: Int[np.ndarray, " n"]
) -> tuple[tuple[str, ...], Float[np.ndarray, "heads clips fine"]]:
    """Predicts clips by all heads of a study, for recordings that none was trained on.

    `clip` is the clip of every view, ascending. Returns the names of the heads (`fold_0`, …,
    `final` last), and the log of each head's probabilities, averaged over the views of a clip.
    """
    names = fine_heads(variables)
    log_p = [logistic.average_views(logistic.predict(variables[n], embedding), clip) for n in names]
    return tuple(names), np.stack(log_p)


def fine_heads(names: Iterable[str]) -> list[str]:
    """Returns which of a checkpoint's heads are for the fine classes, `final` last."""
    folds = (int(name.removeprefix("fold_")) for name in names if name.startswith("fold_"))
    return [*map(head_name, sorted(folds)), head_name(FINAL)]


def _check_same(
    metadata: dict[str, Any],
    embedded: embeddings.Embeddings,
    splits: Splits,
    *,
    where: epath.PathLike,
) -> None:
    if metadata["embeddings"]["fingerprint"] != embedded.meta["fingerprint"]:
        raise ValueError(
            f"{where}: heads for other embeddings ({metadata['embeddings']['fingerprint']}, "
            f"here {embedded.meta['fingerprint']}); run `python -m mpjax.train`"
        )
    if metadata["division"] != splits.fingerprint:
        raise ValueError(
            f"{where}: heads for another division into folds, which may have been trained on "
            "animals that are tested now; run `python -m mpjax.train`"
        )


def _apply(
    variables: dict[str, Any],
    embedding: Float[np.ndarray, "n d"],
    fold: Int[np.ndarray, "n"],
    *,
    task: str = "",
) -> Float[np.ndarray, "n classes"]:
    """Returns the logits of every view by the head of its fold."""
    width = variables[head_name(FINAL, task)]["params"]["linear"]["bias"].shape[-1]
    logits = np.zeros((len(embedding), width), np.float32)
    for k in np.unique(fold):
        logits[fold == k] = logistic.predict(
            variables[head_name(int(k), task)], embedding[fold == k]
        )
    return logits


def _probabilities(log_p: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    p = np.exp(log_p)
    return p / p.sum(axis=1, keepdims=True)
