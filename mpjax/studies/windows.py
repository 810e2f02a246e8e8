"""The embedded windows of a study, and the motif of each."""

import numpy as np
import pandas as pd
from etils import epath
from jaxtyping import Float

from mpjax.analysis.motifs.codebook import Assigned
from mpjax.data import embeddings, records, windows
from mpjax.data.embeddings import Embeddings
from mpjax.data.splits import Splits, read_splits
from mpjax.studies.workdir import Workdir

FINAL = "final"  # the codebook of all animals that may be trained on


def read_embeddings(workdir: epath.PathLike) -> tuple[Embeddings, Splits]:
    """Returns the embeddings of a study and its splits.

    Raises:
        ValueError: a stage is missing, or the embeddings are of another dataset.
    """
    workdir = Workdir(workdir)
    fingerprint = records.read_manifest(workdir.dataset)["fingerprint"]
    embedded = embeddings.read(workdir.embeddings, dataset=fingerprint)
    return embedded, read_splits(workdir.dataset)


def read_windows(
    workdir: epath.PathLike,
) -> tuple[pd.DataFrame, Float[np.ndarray, "n d"], Embeddings, Splits]:
    """Returns the windows of a study, their embeddings, all embeddings and the splits."""
    workdir = Workdir(workdir)
    embedded, splits = read_embeddings(workdir)
    table, embedding = windows.cut(embedded, records.read_index(workdir.dataset), splits)
    names = np.array([*splits.taxonomy.fine, ""])  # a label of -1 has no name
    table["class"] = names[table["label"].to_numpy()]
    return table, embedding, embedded, splits


def read_motifs(workdir: epath.PathLike) -> tuple[pd.DataFrame, dict[str, Assigned]]:
    """Returns the windows of a study, and the motif of each in every codebook, by its name."""
    table = pd.read_parquet(Workdir(workdir).windows)
    books = [name[len("motif[") : -1] for name in table if name.startswith("motif[")]
    return table, {
        book: Assigned(*(table[f"{field}[{book}]"].to_numpy() for field in Assigned._fields))
        for book in books
    }
