"""`embeddings.parquet`: one row per view of a clip, computed once and reused by every head."""

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from etils import epath
from jaxtyping import Float, Int

from mpjax.data import records
from mpjax.data.clips import Views
from mpjax.io import parquet

# Of the pixels of each view; see `mpjax.embedding.dataset.pixel_statistics`.
STATISTICS = ("motion", "brightness")


class EmbeddingsError(ValueError):
    """An embeddings file that is missing or cannot be used."""


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Embeddings in record order, views of a clip in order."""

    # A row per view: `split`, `view`, all names of `records.METADATA` and `STATISTICS`.
    table: pd.DataFrame
    embedding: Float[np.ndarray, "n d"]  # float32
    meta: dict[str, Any]  # `fingerprint`, `dataset`, `projector`, `views` and `statistics`

    @property
    def views(self) -> Views:
        """The views of each clip that were embedded."""
        return views_of(self.meta["views"])


def views_of(meta: dict[str, Any]) -> Views:
    """Returns the views that the entry `views` of embeddings' meta describes."""
    return Views(meta["size"], meta["frames"], meta["views"], meta["crops"], meta.get("turns", 1))


def to_arrow(
    index: pd.DataFrame,
    view: Int[np.ndarray, " n"],
    embedding: Float[np.ndarray, "n d"],
    *,
    statistics: Float[np.ndarray, "n 2"],
) -> pa.Table:
    """Joins metadata rows, view numbers, embeddings and pixel statistics to one table."""
    columns = index[["split", *records.METADATA]].assign(view=view)
    columns[list(STATISTICS)] = np.asarray(statistics, np.float64)
    table = pa.Table.from_pandas(columns, preserve_index=False)
    flat = pa.array(np.ascontiguousarray(embedding, np.float32).reshape(-1))
    lists = pa.FixedSizeListArray.from_arrays(flat, embedding.shape[1])
    return table.append_column("embedding", lists)


def write(path: epath.PathLike, table: pa.Table, meta: dict[str, Any]) -> None:
    """Writes a table of `to_arrow` with `meta`; the file appears once it is complete."""
    parquet.write(path, table, json.dumps(meta))


def read_meta(path: epath.PathLike) -> dict[str, Any] | None:
    """Returns what made the embeddings in `path`; None if there is no such file."""
    path = epath.Path(path)
    if not path.exists():
        return None
    try:
        return json.loads(parquet.read_made_of(path))
    except ValueError as error:  # also pyarrow's and JSON's
        raise EmbeddingsError(f"{path}: not an embeddings file ({error}); delete it") from error


def read(path: epath.PathLike, *, dataset: str | None = None) -> Embeddings:
    """Reads embeddings, of the dataset with the fingerprint `dataset` if it is given.

    Raises:
        EmbeddingsError: no such file, not from `write`, of another dataset, or not finite.
    """
    meta = read_meta(path)
    if meta is None:
        raise EmbeddingsError(f"{path}: no embeddings here; run `python -m mpjax.embed`")
    if dataset is not None and meta["dataset"] != dataset:
        raise EmbeddingsError(
            f"{path}: of dataset {meta['dataset']}, here is {dataset}; run `python -m mpjax.embed`"
        )
    table = parquet.read(path)
    column = table.column("embedding").combine_chunks()
    embedding = column.flatten().to_numpy().reshape(len(table), -1)
    infinite = np.flatnonzero(~np.isfinite(embedding).all(axis=1))
    if len(infinite):
        raise EmbeddingsError(
            f"{path}: the embedding of clip {table['clip_id'][infinite[0]]} is not finite; "
            "check the projector's weights, delete the file and embed again"
        )
    return Embeddings(table.drop_columns("embedding").to_pandas(), embedding, meta)
