"""What a random split of clips would have claimed: one head under two splits of the same clips.

Clips of one animal resemble each other. If a split puts some of them on each side, a head can
recognise the animal, whose class is in the training data. The difference in accuracy is that leak.
"""

import numpy as np
import pandas as pd
from etils import epath
from jaxtyping import Int

from mpjax.config import HeadConfig
from mpjax.data import embeddings
from mpjax.data.splits import Splits, classification_rows
from mpjax.heads import logistic
from mpjax.io import files, parquet
from mpjax.training import artifacts

FILE = "leak.parquet"
_FOLDS = 5
_SEED = 0


def demonstrate(
    embedded: embeddings.Embeddings, splits: Splits, config: HeadConfig, *, l2: float
) -> pd.DataFrame | None:
    """Cross-validates one head twice: with folds of whole animals (or cages), and of clips.

    Both use the same number of folds and all clips outside the split `drug`; all views of a clip
    are in one fold. Groups are dealt to the folds by class, so that each class is on both sides if
    it has enough groups.

    Returns:
        A row per clip: `clip_id`, `animal`, `cage`, `label` and the fine classes predicted by the
        head trained without its fold, `predicted_by_animal_split` and `predicted_by_clip_split`;
        None if there are fewer than 2 groups.
    """
    table = embedded.table
    used = classification_rows(table)
    views = table[used]
    group, names = pd.factorize(views[splits.group], sort=True)
    clip = pd.factorize(views["clip_id"])[0]
    folds = min(_FOLDS, len(names))
    if folds < 2:
        return None
    label = views["label"].to_numpy()
    generator = np.random.default_rng(_SEED)
    fold = {
        "animal": _deal_groups(group, label, folds, generator)[group],
        "clip": (generator.permutation(clip.max() + 1) % folds)[clip],
    }
    kept = ["clip_id", "animal", "cage", "label"]
    clips = views.loc[~views["clip_id"].duplicated(), kept].reset_index(drop=True)
    for split, of_view in fold.items():
        rows = logistic.TrainingRows(embedded.embedding[used], label, of_view, clip)
        clips[f"predicted_by_{split}_split"] = _cross_predict(
            rows, len(splits.taxonomy.fine), config, l2=l2
        )
    return clips


def _deal_groups(
    group: Int[np.ndarray, "n"],
    label: Int[np.ndarray, "n"],
    folds: int,
    generator: np.random.Generator,
) -> Int[np.ndarray, "groups"]:
    """Returns the fold of each group: shuffled, sorted by their most frequent class, dealt out."""
    main_class = pd.crosstab(group, label).to_numpy().argmax(axis=1)
    order = generator.permutation(len(main_class))
    order = order[np.argsort(main_class[order], kind="stable")]
    fold = np.empty(len(order), int)
    fold[order] = np.arange(len(order)) % folds
    return fold


def _cross_predict(
    rows: logistic.TrainingRows, num_classes: int, config: HeadConfig, *, l2: float
) -> Int[np.ndarray, "clips"]:
    """Returns the class of each clip as predicted by the head trained without its fold."""
    problems = [(frozenset([int(k)]), l2) for k in np.unique(rows.fold)]
    fitted = logistic.fit_all(rows, problems, num_classes, config)
    logits = np.zeros((len(rows.label), num_classes), np.float32)
    for (left_out, _), head in fitted.items():
        held = np.isin(rows.fold, list(left_out))
        logits[held] = logistic.predict(head, rows.embedding[held])
    return logistic.average_views(logits, rows.clip).argmax(axis=1)


def write(directory: epath.PathLike, demonstration: pd.DataFrame | None, fingerprint: str) -> None:
    """Writes the demonstration next to the heads of `fingerprint`, or removes an old one."""
    path = files.absolute(directory) / FILE
    if demonstration is None:
        path.unlink(missing_ok=True)
    else:
        parquet.write(path, demonstration, fingerprint)


def read(directory: epath.PathLike) -> pd.DataFrame | None:
    """Returns the demonstration that belongs to the heads in `directory`; None if there is none."""
    path = files.absolute(directory) / FILE
    heads_of = artifacts.read_metadata(directory)
    if heads_of is None or not path.exists():
        return None
    if parquet.read_made_of(path) != heads_of["fingerprint"]:
        return None
    return parquet.read(path).to_pandas()
