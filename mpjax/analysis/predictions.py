"""predictions.parquet: one row per clip, checked when written and when read."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from etils import epath
from jaxtyping import Float

from mpjax.data.splits import FIXED, SCHEMES, SPLITS, evaluated_rows
from mpjax.io.files import write_aside
from mpjax.taxonomy import Taxonomy, parse_fine_name

GROUPS = ("animal", "cage")

_TEXT = ("clip_id", "video", "animal", "cage", "sex", "condition", "drug", "route", "split")
_WHOLE = ("day", "label", "start_frame", "padded_frames", "fold")
_MAY_BE_NAN = ("dose_mg_per_kg", "minutes_post_dose")
_OPTIONAL_REAL = ("motion", "brightness")
_REAL = ("start_s", "fps", *_MAY_BE_NAN, *_OPTIONAL_REAL)
_OPTIONAL_VECTORS = ("p_coarse", "embedding")
_VECTORS = ("logits", "p", *_OPTIONAL_VECTORS)
_OPTIONAL = (*_OPTIONAL_REAL, *_OPTIONAL_VECTORS)
_TYPES = (
    dict.fromkeys(_TEXT, pa.string())
    | dict.fromkeys(_WHOLE, pa.int64())
    | dict.fromkeys(_REAL, pa.float64())
    | dict.fromkeys(_VECTORS, pa.list_(pa.float32()))
)
_META_KEY = b"mpjax"
_SUM_TOLERANCE = 1e-4  # of p in float32, over up to some hundred classes
_FEATURES = "features, as in row 0"
_ROW_GROUP = 8192  # clips; their embeddings of 1024 values are 32 MiB


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Checked predictions.

    `table` has a row per clip with every scalar column of predictions.parquet; `motion` (mean
    absolute change between frames) and `brightness` (mean), both of grey on the scale 0 to 1, where
    they were measured. `meta` holds group, scheme, fingerprint, exclude, provenance.
    """

    table: pd.DataFrame
    taxonomy: Taxonomy  # the fine classes that `p` and the column `label` index
    p: Float[np.ndarray, "n fine"]  # predicted, rows as in `table`; each row sums to 1
    meta: dict[str, Any]
    p_coarse: Float[np.ndarray, "n coarse"] | None = None  # by a head trained on coarse classes
    embedding: Float[np.ndarray, "n d"] | None = None  # mean over a clip's views, where read

    @property
    def group(self) -> str:
        """The column whose values are never split over two sides: animal or cage."""
        return str(self.meta["group"])

    @property
    def evaluated(self) -> np.ndarray:
        """Mask of the clips that count towards accuracy: held out, and of a trained class."""
        return evaluated_rows(self.table)


def write_predictions(path: epath.PathLike, table: pd.DataFrame, meta: Mapping[str, Any]) -> None:
    """Checks `table` and writes it as Parquet, aside then renamed.

    Args:
        path: the file to write.
        table: a row per clip; `logits` and `p` (and, optional, `p_coarse` and `embedding`) hold
            one 1-D array of floats per row; `motion` and `brightness` are optional. Unknown columns
            are refused.
        meta: {"taxonomy": Taxonomy.to_dict(), "group", "scheme", "fingerprint", "exclude",
            "provenance"}, JSON-serialisable.

    Raises:
        ValueError: every fault found, with column, row and value.
    """
    where, vectors = str(path), [name for name in _VECTORS if name in table and len(table)]
    columns = pa.Table.from_pandas(table.drop(columns=vectors), preserve_index=False)
    for name in vectors:
        columns = columns.append_column(name, _list_column(table[name], where=where))
    columns = _cast(columns, where=where)
    _check(columns, dict(meta), where=where)
    encoded = json.dumps(dict(meta), sort_keys=True, allow_nan=False).encode()
    with write_aside(path) as aside, aside.open("wb") as file:
        columns = columns.replace_schema_metadata({_META_KEY: encoded})
        pq.write_table(columns, file, row_group_size=_ROW_GROUP)


def read_predictions(path: epath.PathLike, *, embedding: bool = False) -> Predictions:
    """Reads and checks predictions.parquet; unknown columns are ignored.

    Embeddings, by far the largest column, are read only with `embedding`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a predictions file, or its content breaks a rule; all faults at once.
    """
    path = epath.Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file; `python -m mpjax.eval`, the last stage of a study, writes it"
        )
    try:
        with path.open("rb") as file:
            parquet = pq.ParquetFile(file)
            schema = parquet.schema_arrow
            table = parquet.read([n for n in schema.names if n in _TYPES and n != "embedding"])
            wanted = embedding and "embedding" in schema.names
            embedded = _read_embedding(parquet, where=str(path)) if wanted else None
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error})") from error
    encoded = (schema.metadata or {}).get(_META_KEY)
    if encoded is None:
        raise ValueError(f"{path}: no 'mpjax' entry in the Parquet metadata; not from mpjax.eval")
    columns = _cast(table, where=str(path))
    return _check(columns, json.loads(encoded), where=str(path), embedding=embedded)


def count_leaks(table: pd.DataFrame, column: str) -> int:
    """Counts the values of `column` found on more than one side of the split.

    A side is a split, or a fold of the test split. Treated cage-mates are no leak: the split
    `drug` counts for animals only.
    """
    return int(_sides(table, column)[column].value_counts().gt(1).sum())


def _sides(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Returns which values of `column` are on which sides of the split, once each."""
    rows = table if column == "animal" else table[table["split"] != "drug"]
    return rows[[column, "split", "fold"]].drop_duplicates()


def _list_column(cells: pd.Series, *, where: str) -> pa.ListArray:
    """Joins one array per row; several times faster than letting pyarrow infer the type."""
    for row, cell in enumerate(cells):
        if np.ndim(cell) != 1:
            raise ValueError(
                f"{where}: column {cells.name}, row {row}: {cell!r} is not a 1-D array"
            )
    offsets = np.cumsum([0, *map(len, cells)], dtype=np.int32)
    flat = np.concatenate(cells.to_list()).astype(np.float32, copy=False)
    return pa.ListArray.from_arrays(offsets, flat)


def _read_embedding(parquet: pq.ParquetFile, *, where: str) -> np.ndarray:
    """Reads the embeddings block by block: the whole column at once takes twice its size."""
    start, embedding = 0, np.empty((parquet.metadata.num_rows, 0), np.float32)
    for batch in parquet.iter_batches(_ROW_GROUP, columns=["embedding"]):
        column = _cast_column(pa.chunked_array([batch["embedding"]]), "embedding")
        if isinstance(column, str):
            _raise([column], where)
        of = (embedding.shape[1] if start else None, _FEATURES)
        block = _matrix(column, "embedding", width=of, where=where, first_row=start)
        if not start:
            embedding = np.empty((len(embedding), block.shape[1]), np.float32)
        embedding[start : start + len(block)] = block
        start += len(block)
    return embedding


def _cast_column(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray | str:
    """Returns the column in the type of the format, or what is wrong with it."""
    try:
        cast = column.cast(_TYPES[name])
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        found = str(column.type).removeprefix("large_")
        return f"column {name}: expected {_TYPES[name]}, got {found}"
    if name not in _REAL and column.null_count:  # of reals null means NaN
        return f"column {name}: {column.null_count} empty cell(s)"
    return cast


def _cast(table: pa.Table, *, where: str) -> pa.Table:
    """Brings the columns into the order and types of the format, or lists all that do not fit."""
    names = table.column_names
    faults = [f"column {name}: missing" for name in _TYPES if name not in (*_OPTIONAL, *names)]
    faults += [f"column {name}: unknown" for name in names if name not in _TYPES]
    columns = {name: _cast_column(table[name], name) for name in _TYPES if name in names}
    faults += [column for column in columns.values() if isinstance(column, str)]
    _raise(faults, where)
    return pa.table(columns)


def _check(
    columns: pa.Table, meta: dict[str, Any], *, where: str, embedding: np.ndarray | None = None
) -> Predictions:
    """Checks columns of the right types; `embedding` where it was read separately."""
    for key, allowed in (("group", GROUPS), ("scheme", SCHEMES)):
        if meta.get(key) not in allowed:
            raise ValueError(f"{where}: meta.{key} is {meta.get(key)!r}, not of {allowed}")
    if "taxonomy" not in meta:
        raise ValueError(f"{where}: meta has no 'taxonomy'")
    taxonomy = Taxonomy.from_dict(meta["taxonomy"])
    names = columns.column_names
    table = columns.select([name for name in names if name not in _VECTORS]).to_pandas()
    if table.empty:
        raise ValueError(f"{where}: no rows")
    widths: dict[str, tuple[int | None, str]] = {
        **dict.fromkeys(("logits", "p"), (len(taxonomy.fine), "classes")),
        "p_coarse": (len(taxonomy.coarse), "coarse classes"),
        "embedding": (None, _FEATURES),
    }
    vectors = {
        name: _matrix(columns[name], name, width=width, where=where)
        for name, width in widths.items()
        if name in names
    }
    if embedding is not None:
        vectors["embedding"] = embedding
    faults = [
        *_value_faults(table, vectors, classes=len(taxonomy.fine)),
        *_identity_faults(table, group=meta["group"], scheme=meta["scheme"]),
        *_class_faults(table, taxonomy),
    ]
    _raise(faults, where)
    optional = {name: vectors.get(name) for name in _OPTIONAL_VECTORS}
    return Predictions(table, taxonomy, vectors["p"], meta, **optional)


def _matrix(
    column: pa.ChunkedArray,
    name: str,
    *,
    width: tuple[int | None, str],
    where: str,
    first_row: int = 0,
) -> np.ndarray:
    """Stacks a column of lists, all of one length; float64, but float32 for embeddings."""
    lengths = pc.list_value_length(column).to_numpy()
    needed, of = width[0] if width[0] is not None else int(lengths[0]), width[1]
    if len(bad := np.flatnonzero(lengths != needed)):
        cell = f"column {name}, row {first_row + bad[0]}"
        raise ValueError(f"{where}: {cell}: {lengths[bad[0]]} values for {needed} {of}")
    flat = pc.list_flatten(column).to_numpy()
    kept = np.float32 if name == "embedding" else np.float64
    return flat.astype(kept, copy=False).reshape(-1, needed)


def _value_faults(
    table: pd.DataFrame, vectors: dict[str, np.ndarray], *, classes: int
) -> list[str]:
    faults = []

    def fault(rule: str, broken: np.ndarray, values: np.ndarray) -> None:
        if broken.any():
            row = int(np.argmax(broken))
            faults.append(
                f"column {rule}: {int(broken.sum())} row(s), first row {row} "
                f"(clip {table['clip_id'].iloc[row]!r}, {values[row]})"
            )

    for name, value in vectors.items():
        finite = np.isfinite(value).all(1)
        fault(f"{name}: must be finite", ~finite, value)
        if name in ("p", "p_coarse"):
            total = value.sum(1)
            fault(f"{name}: must not be negative", finite & (value < 0).any(1), value)
            fault(f"{name}: must sum to 1", finite & (np.abs(total - 1) > _SUM_TOLERANCE), total)
    label = table["label"].to_numpy()
    fault(f"label: must lie in -1..{classes - 1}", (label < -1) | (label >= classes), label)
    for name in [name for name in _REAL if name in table]:
        value = table[name].to_numpy()
        broken = np.isinf(value) if name in _MAY_BE_NAN else ~np.isfinite(value)
        fault(f"{name}: must be finite", broken, value)
    split, clip = table["split"].to_numpy(), table["clip_id"]
    fault(f"split: must be one of {', '.join(SPLITS)}", ~np.isin(split, SPLITS), split)
    fault("clip_id: must be unique", clip.duplicated().to_numpy(), clip.to_numpy())
    return faults


def _identity_faults(table: pd.DataFrame, *, group: str, scheme: str) -> list[str]:
    """Lists what would let one animal (or cage) be trained and tested on, or counted twice."""
    faults = []
    for name in ("video", *dict.fromkeys(("animal", group))):
        if empty := (table[name] == "").sum():
            faults.append(f"column {name}: empty in {empty} row(s)")
    for name in dict.fromkeys(("animal", group)):
        if count := count_leaks(table, name):
            sides = _sides(table, name)
            first = sides[name][sides[name].duplicated()].iloc[0]
            where = " and ".join(
                f"{side.split} (fold {side.fold})" if side.fold >= 0 else str(side.split)
                for side in sides[sides[name] == first].itertuples()
            )
            faults.append(f"{count} {name}(s) on two sides, first {first!r}: {where}")
    owners = table[["video", "animal", "day"]].drop_duplicates()["video"]
    if owners.duplicated().any():
        first = owners[owners.duplicated()].iloc[0]
        faults.append(f"column video: {first!r} belongs to more than one animal or day")
    unfolded = int(((table["split"] == "test") & (table["fold"] < 0)).sum())
    if scheme != FIXED and unfolded:
        faults.append(f"column fold: scheme {scheme} needs a fold in {unfolded} test row(s)")
    return faults


def _class_faults(table: pd.DataFrame, taxonomy: Taxonomy) -> list[str]:
    """Lists rows whose condition and day are not those of their class `<condition>@d<day>`."""
    parsed = dict(enumerate(map(parse_fine_name, taxonomy.fine)))
    if not all(parsed.values()):
        return []
    classed = table["label"].between(0, len(parsed) - 1) & (table["condition"] != "")
    rows = table.loc[classed, ["condition", "day", "label"]]
    own = pd.Series(list(zip(rows["condition"], rows["day"], strict=True)), rows.index, object)
    wrong = rows[own != rows["label"].map(parsed)]
    if wrong.empty:
        return []
    first = wrong.iloc[0]
    return [
        f"columns condition and day: {len(wrong)} row(s) contradict their label, first row "
        f"{wrong.index[0]}: {first['condition']!r} on day {first['day']}, but label "
        f"{first['label']} ({taxonomy.fine[first['label']]})"
    ]


def _raise(faults: list[str], where: str) -> None:
    if faults:
        raise ValueError(f"{where}: " + "; ".join(faults))
