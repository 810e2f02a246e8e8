"""`embeddings.parquet`: one row per view of a clip, computed once and reused by every head."""

import dataclasses
import json
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from jaxtyping import Float, Int

from mpjax.data import records
from mpjax.data.clips import Views
from mpjax.io import files

# Of the pixels of each view; see `mpjax.embedding.dataset.pixel_statistics`.
STATISTICS = ("motion", "brightness")

_META_KEY = b"mpjax"


class EmbeddingsError(ValueError):
    """An embeddings file that is missing or cannot be used."""


@dataclasses.dataclass(frozen=True)
class Embeddings:
    """Embeddings in record order, views of a clip in order.

    Attributes:
        table: a row per view: `split`, `view`, every name of `records.METADATA` and of
            `STATISTICS`.
        embedding: float32 [n, d].
        meta: what made them: `fingerprint`, `dataset`, `projector`, `views`, `statistics`.
    """

    table: pd.DataFrame
    embedding: Float[np.ndarray, "n d"]
    meta: dict[str, Any]

    @property
    def views(self) -> Views:
        """The views of each clip that were embedded."""
        return views_of(self.meta["views"])


def views_of(meta: dict[str, Any]) -> Views:
    """Returns the views that the entry `views` of embeddings' meta tells of."""
    rotations = meta.get("turns", 1)
    return Views(meta["size"], meta["frames"], meta["views"], meta["crops"], rotations)


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
    return table.append_column(
        "embedding", pa.FixedSizeListArray.from_arrays(flat, embedding.shape[1])
    )


def write(path: epath.PathLike, table: pa.Table, meta: dict[str, Any]) -> None:
    """Writes a table of `to_arrow` with `meta`, aside then renamed."""
    with files.write_aside(path) as aside, aside.open("wb") as out:
        pq.write_table(table.replace_schema_metadata({_META_KEY: json.dumps(meta)}), out)


def read_meta(path: epath.PathLike) -> dict[str, Any] | None:
    """Returns what made the embeddings in `path`; None where there is no such file."""
    path = epath.Path(path)
    if not path.exists():
        return None
    try:
        with path.open("rb") as source:
            return json.loads(pq.read_schema(source).metadata[_META_KEY])
    except (pa.ArrowInvalid, KeyError, TypeError) as error:
        raise EmbeddingsError(f"{path}: not an embeddings file ({error}); delete it") from error


def read(path: epath.PathLike, *, dataset: str | None = None) -> Embeddings:
    """Reads embeddings.

    Args:
        path: of the file.
        dataset: fingerprint of the dataset that they must be of; None: any.

    Raises:
        EmbeddingsError: no such file, not written by `write`, of another dataset, or an embedding
            is not finite.
    """
    meta = read_meta(path)
    if meta is None:
        raise EmbeddingsError(f"{path}: no embeddings here; run `python -m mpjax.embed`")
    if dataset is not None and meta["dataset"] != dataset:
        raise EmbeddingsError(
            f"{path}: of dataset {meta['dataset']}, here is {dataset}; run `python -m mpjax.embed`"
        )
    with epath.Path(path).open("rb") as source:
        table = pq.read_table(source)
    column = table.column("embedding").combine_chunks()
    embedding = column.flatten().to_numpy().reshape(len(table), -1)
    if not np.isfinite(embedding).all():
        row = int(np.argwhere(~np.isfinite(embedding).all(axis=1))[0, 0])
        raise EmbeddingsError(
            f"{path}: the embedding of clip {table['clip_id'][row]} is not finite; "
            "check the projector's weights, delete the file and embed again"
        )
    return Embeddings(table.drop_columns("embedding").to_pandas(), embedding, meta)
