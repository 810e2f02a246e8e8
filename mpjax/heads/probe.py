"""The linear probe: heads on cached embeddings, saved and applied without leaking an animal."""

import dataclasses
from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from jaxtyping import Float, Int

from mpjax.config import HeadConfig
from mpjax.data import embeddings
from mpjax.data.splits import FINAL, FIXED, Splits, fit_rows, folds_of, predicting_fold
from mpjax.heads import leakage, logistic
from mpjax.io import files
from mpjax.taxonomy import Taxonomy
from mpjax.training import artifacts

_TRAIN, _VALIDATION = 0, 1
_CHOICE_FOLDS = 5  # among training groups, where there are no validation animals
_COARSE = "coarse_"  # prefix of the heads on coarse classes


def train(
    embedded: embeddings.Embeddings, splits: Splits, config: HeadConfig, out: epath.PathLike
) -> bool:
    """Fits and saves the heads of a study: the final one, and one per fold.

    With `config.coarse`, as many on the coarse classes. Beside them lies what a head like the
    final one predicts under a split by animals and under one by clips (`leak.demonstrate`).

    Args:
        embedded: all views of all clips.
        splits: splits, folds and classes.
        config: candidates and solver.
        out: folder of the checkpoint.

    Returns:
        False where `out` already holds these very heads.

    Raises:
        ValueError: a fine class has no clip to train on, or `config.coarse` asks for classes that
            the cohort does not have.
    """
    stamp = files.fingerprint(embedded.meta["fingerprint"], splits.fingerprint, config)
    if (artifacts.read_metadata(out) or {}).get("fingerprint") == stamp:
        return False
    classes = splits.taxonomy.fine
    rows, predicted, validation = training_rows(embedded, splits)
    if missing := [name for i, name in enumerate(classes) if not (rows.label == i).any()]:
        raise ValueError(f"no clip to train on for class(es) {', '.join(missing)}")
    tasks = {"": (rows, len(classes))}
    if config.coarse:
        tasks[_COARSE] = _coarse_rows(rows, splits.taxonomy)
    variables, chosen, losses = _fit(tasks, config, predicted=predicted, validation=validation)
    demonstration = leakage.demonstrate(embedded, splits, config, l2=chosen[_name(FINAL)])
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


def _fit(
    tasks: dict[str, tuple[logistic.Rows, int]],
    config: HeadConfig,
    *,
    predicted: list[int],
    validation: int | None,
) -> tuple[logistic.Variables, dict[str, float], dict[str, dict[str, float]]]:
    """Returns heads, their l2 and the losses that chose it, by name, of all tasks."""
    variables: logistic.Variables = {}
    chosen: dict[str, float] = {}
    losses: dict[str, dict[str, float]] = {}
    for task, (rows, count) in tasks.items():
        fitted = logistic.fit_folds(rows, count, config, predicted=predicted, validation=validation)
        for fold, head in fitted.heads.items():
            name = _name(fold, task)
            variables[name], chosen[name] = head, fitted.l2[fold]
            losses[name] = {str(l2): loss for l2, loss in fitted.losses[fold].items()}
    return variables, chosen, losses


def _coarse_rows(rows: logistic.Rows, taxonomy: Taxonomy) -> tuple[logistic.Rows, int]:
    """Returns the rows labelled by their coarse classes, and how many of these there are."""
    if not taxonomy.coarse:
        raise ValueError(
            "config.head.coarse asks for a head on coarse classes, and this cohort has none; set "
            "it to false, or give the classes in a taxonomy.toml"
        )
    label = np.asarray(taxonomy.fine_to_coarse)[rows.label]
    return dataclasses.replace(rows, label=label), len(taxonomy.coarse)


def _name(fold: int, task: str = "") -> str:
    return task + ("final" if fold == FINAL else f"fold_{fold}")


def training_rows(
    embedded: embeddings.Embeddings, splits: Splits
) -> tuple[logistic.Rows, list[int], int | None]:
    """Returns the training rows, the folds to be predicted and the validation fold, if any."""
    table = splits.add_folds(embedded.table)
    used = fit_rows(table, splits.scheme, with_validation=True)
    predicted = folds_of(table, splits.scheme)
    fold, validation = table["fold"].to_numpy(), None
    if splits.scheme == FIXED and (table["split"] == "val").any():
        fold, validation = np.where(table["split"] == "val", _VALIDATION, _TRAIN), _VALIDATION
    elif splits.scheme == FIXED:
        fold = pd.factorize(table[splits.group], sort=True)[0] % _CHOICE_FOLDS
    clip = pd.factorize(table["clip_id"])[0]
    rows = logistic.Rows(
        embedding=embedded.embedding[used],
        label=table["label"].to_numpy()[used],
        fold=fold[used],
        clip=clip[used],
    )
    return rows, predicted, validation


def predict(
    embedded: embeddings.Embeddings, splits: Splits, directory: epath.PathLike
) -> pd.DataFrame:
    """Predicts every clip by a head that was trained without its animal, where it is held out.

    Under a fixed split the final head predicts all; under folds each clip is predicted by the head
    of its own fold, and clips of the split `drug` by the final one. Probabilities are averaged over
    the views of a clip, as published.

    Args:
        embedded: all views of all clips.
        splits: as in training.
        directory: folder of the checkpoint.

    Returns:
        A row per clip: its metadata, split, fold, start_s, p [fine] and logits (log p); and
        p_coarse [coarse] where heads were trained on the coarse classes. Embedding and pixel
        statistics are means over the views.

    Raises:
        ValueError: the heads were trained on other embeddings, or on other animals.
    """
    variables = artifacts.restore(directory)
    metadata = artifacts.read_metadata(directory)
    _check_same(metadata, embedded, splits, where=directory)
    table = splits.add_folds(embedded.table)
    fold = predicting_fold(table, splits.scheme)
    clip = pd.factorize(table["clip_id"])[0]
    log_p = logistic.average_views(_apply(variables, embedded.embedding, fold), clip)
    clips = table.assign(fold=fold)[~table["clip_id"].duplicated()].drop(columns="view")
    clips = clips.reset_index(drop=True)
    views = np.bincount(clip)
    for name in embeddings.STATISTICS:
        clips[name] = np.bincount(clip, weights=table[name]) / views
    clips["embedding"] = list(_average(embedded.embedding, clip))
    clips["start_s"] = clips["start_frame"] / clips["fps"]
    clips = clips.assign(logits=list(log_p), p=list(_probabilities(log_p)))
    if _name(FINAL, _COARSE) in variables:
        coarse = _apply(variables, embedded.embedding, fold, task=_COARSE)
        clips["p_coarse"] = list(_probabilities(logistic.average_views(coarse, clip)))
    return clips


def predict_by_every_head(
    variables: dict[str, Any], embedding: Float[np.ndarray, "n d"], clip: Int[np.ndarray, " n"]
) -> tuple[tuple[str, ...], Float[np.ndarray, "heads clips fine"]]:
    """Predicts clips by all heads of a study, for recordings that none was trained on.

    Args:
        variables: of the checkpoint of a study's heads.
        embedding: of all views.
        clip: the clip of every view, ascending; the views of a clip lie together.

    Returns:
        Names of the heads (`fold_0`, …, `final` last), and the log of each one's probabilities,
        averaged over the views of a clip.
    """
    names = fine_heads(variables)
    log_p = [logistic.average_views(logistic.predict(variables[n], embedding), clip) for n in names]
    return tuple(names), np.stack(log_p)


def fine_heads(names: Iterable[str]) -> list[str]:
    """Returns which of a checkpoint's heads are of the fine classes, `final` last."""
    folds = sorted((name for name in names if name.startswith("fold_")), key=_fold_of)
    return [*folds, _name(FINAL)]


def _fold_of(name: str) -> int:
    return int(name.removeprefix("fold_"))


def _check_same(
    metadata: dict[str, Any],
    embedded: embeddings.Embeddings,
    splits: Splits,
    *,
    where: epath.PathLike,
) -> None:
    if metadata["embeddings"]["fingerprint"] != embedded.meta["fingerprint"]:
        raise ValueError(
            f"{where}: heads of other embeddings ({metadata['embeddings']['fingerprint']}, "
            f"here {embedded.meta['fingerprint']}); run `python -m mpjax.train`"
        )
    if metadata["division"] != splits.fingerprint:
        raise ValueError(
            f"{where}: heads of another division into folds, which may have trained on the "
            "animals to be tested; run `python -m mpjax.train`"
        )


def _average(
    values: Float[np.ndarray, "n d"], clip: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "clips d"]:
    """Averages the views of each clip; they lie together."""
    first = np.flatnonzero(np.diff(clip, prepend=-1))
    return np.add.reduceat(values, first) / np.bincount(clip)[:, None].astype(np.float32)


def _apply(
    variables: dict[str, Any],
    embedding: Float[np.ndarray, "n d"],
    fold: Int[np.ndarray, "n"],
    *,
    task: str = "",
) -> Float[np.ndarray, "n classes"]:
    """Returns the logits of every view by the head of its fold."""
    width = variables[_name(FINAL, task)]["params"]["linear"]["bias"].shape[-1]
    logits = np.zeros((len(embedding), width), np.float32)
    for k in np.unique(fold):
        logits[fold == k] = logistic.predict(variables[_name(int(k), task)], embedding[fold == k])
    return logits


def _probabilities(log_p: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    p = np.exp(log_p)
    return p / p.sum(axis=1, keepdims=True)
