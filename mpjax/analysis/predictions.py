"""predictions.parquet: one row per clip, checked when written and when read."""

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath
from jaxtyping import Float

from mpjax.files import write_aside
from mpjax.taxonomy import Taxonomy

SPLITS = ("train", "val", "test", "drug")
GROUPS = ("animal", "cage")
SCHEMES = ("fixed", "kfold", "leave_one_group_out")

_TEXT = ("clip_id", "video", "animal", "cage", "sex", "condition", "drug", "route", "split")
_WHOLE = ("day", "label", "start_frame", "padded_frames", "fold")
_REAL = ("start_s", "fps", "dose_mg_per_kg", "minutes_post_dose")
_VECTORS = ("logits", "p")
_MAY_BE_NAN = ("dose_mg_per_kg", "minutes_post_dose")
_TYPES = (
    dict.fromkeys(_TEXT, pa.string())
    | dict.fromkeys(_WHOLE, pa.int64())
    | dict.fromkeys(_REAL, pa.float64())
    | dict.fromkeys((*_VECTORS, "embedding"), pa.list_(pa.float32()))
)
_META_KEY = b"mpjax"
_SUM_TOLERANCE = 1e-4  # of p in float32, over up to some hundred classes


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Checked predictions.

    Attributes:
        table: a row per clip with every scalar column of predictions.parquet.
        taxonomy: the fine classes that `p` and the column `label` index, and their coarse groups.
        p: predicted probabilities, rows as in `table`; each row sums to 1.
        meta: group, scheme, fingerprint, exclude, provenance.
    """

    table: pd.DataFrame
    taxonomy: Taxonomy
    p: Float[np.ndarray, "n fine"]
    meta: dict[str, Any]

    @property
    def group(self) -> str:
        """The column whose values are never split over two sides: animal or cage."""
        return str(self.meta["group"])

    @property
    def evaluated(self) -> np.ndarray:
        """Mask of the clips that count towards accuracy: held out, and of a trained class."""
        return ((self.table["split"] == "test") & (self.table["label"] >= 0)).to_numpy()


def write_predictions(path: epath.PathLike, table: pd.DataFrame, meta: Mapping[str, Any]) -> None:
    """Checks `table` and writes it as Parquet, aside then renamed.

    Args:
        path: the file to write.
        table: a row per clip; `logits` and `p` (and `embedding`, optional) hold one 1-D array of
            floats per row. Columns that predictions.parquet does not know are refused.
        meta: {"taxonomy": Taxonomy.to_dict(), "group", "scheme", "fingerprint", "exclude",
            "provenance"}, JSON-serialisable.

    Raises:
        ValueError: every fault found, with column, row and value.
    """
    vectors = {
        name: _list_column(table[name], where=str(path))
        for name in (*_VECTORS, "embedding")
        if name in table and len(table)
    }
    columns = pa.Table.from_pandas(table.drop(columns=list(vectors)), preserve_index=False)
    for name, vector in vectors.items():
        columns = columns.append_column(name, vector)
    columns = _cast(columns, where=str(path))
    _check(columns, dict(meta), where=str(path))
    encoded = json.dumps(dict(meta), sort_keys=True, allow_nan=False).encode()
    with write_aside(path) as aside, aside.open("wb") as file:
        pq.write_table(columns.replace_schema_metadata({_META_KEY: encoded}), file)


def read_predictions(path: epath.PathLike) -> Predictions:
    """Reads and checks predictions.parquet; embeddings and foreign columns are left on disk.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a predictions file, or its content breaks a rule; all faults at once.
    """
    path = epath.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; `python -m mpjax.eval` writes it")
    try:
        with path.open("rb") as file:
            parquet = pq.ParquetFile(file)
            schema = parquet.schema_arrow
            names = [name for name in schema.names if name in _TYPES and name != "embedding"]
            table = parquet.read(columns=names)
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path}: not a readable Parquet file ({error})") from error
    encoded = (schema.metadata or {}).get(_META_KEY)
    if encoded is None:
        raise ValueError(f"{path}: no 'mpjax' entry in the Parquet metadata; not from mpjax.eval")
    return _check(_cast(table, where=str(path)), json.loads(encoded), where=str(path))


def count_leaks(table: pd.DataFrame, column: str) -> int:
    """Counts the values of `column` found on more than one side of the split.

    A side is a split, or a fold of the test split. Treated cage-mates are no leak: the split
    `drug` counts for animals only.
    """
    rows = table if column == "animal" else table[table["split"] != "drug"]
    sides = rows[[column, "split", "fold"]].drop_duplicates()
    return int((sides.groupby(column).size() > 1).sum())


def _list_column(cells: pd.Series, *, where: str) -> pa.ListArray:
    """Joins one array per row; several times faster than letting pyarrow infer the type."""
    for row, cell in enumerate(cells):
        if np.ndim(cell) != 1:
            raise ValueError(f"{where}: column {cells.name}, row {row}: {cell!r} is no 1-D array")
    offsets = np.cumsum([0, *map(len, cells)], dtype=np.int32)
    return pa.ListArray.from_arrays(offsets, np.concatenate(cells.to_list()).astype(np.float32))


def _cast(table: pa.Table, *, where: str) -> pa.Table:
    """Brings the columns into the order and types of the format, or names all that do not fit."""
    required = [name for name in _TYPES if name != "embedding"]
    faults = [f"column {name}: missing" for name in required if name not in table.column_names]
    faults += [f"column {name}: unknown" for name in table.column_names if name not in _TYPES]
    columns = {}
    for name in (name for name in _TYPES if name in table.column_names):
        column = table[name]
        try:
            columns[name] = column.cast(_TYPES[name])
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            found = str(column.type).removeprefix("large_")
            faults.append(f"column {name}: expected {_TYPES[name]}, got {found}")
            continue
        if name not in _REAL and column.null_count:  # in a column of reals null means NaN
            faults.append(f"column {name}: {column.null_count} empty cell(s)")
    _raise(faults, where)
    return pa.table(columns)


def _check(columns: pa.Table, meta: dict[str, Any], *, where: str) -> Predictions:
    for key, allowed in (("group", GROUPS), ("scheme", SCHEMES)):
        if meta.get(key) not in allowed:
            raise ValueError(f"{where}: meta.{key} is {meta.get(key)!r}, not of {allowed}")
    if "taxonomy" not in meta:
        raise ValueError(f"{where}: meta has no 'taxonomy'")
    taxonomy = Taxonomy.from_dict(meta["taxonomy"])
    table = columns.select([*_TEXT, *_WHOLE, *_REAL]).to_pandas()
    if table.empty:
        raise ValueError(f"{where}: no rows")
    vectors = {
        name: _matrix(columns[name], name, width=len(taxonomy.fine), where=where)
        for name in _VECTORS
    }
    faults = [
        *_value_faults(table, vectors, classes=len(taxonomy.fine)),
        *_identity_faults(table, group=meta["group"], scheme=meta["scheme"]),
    ]
    _raise(faults, where)
    return Predictions(table, taxonomy, vectors["p"], meta)


def _matrix(column: pa.ChunkedArray, name: str, *, width: int, where: str) -> np.ndarray:
    rows = column.to_pandas().to_numpy()
    lengths = np.array([len(row) for row in rows])
    if (lengths != width).any():
        bad = int(np.argmax(lengths != width))
        raise ValueError(
            f"{where}: column {name}, row {bad}: {lengths[bad]} values for {width} classes"
        )
    return np.stack(rows).astype(np.float64)


def _value_faults(
    table: pd.DataFrame, vectors: dict[str, np.ndarray], *, classes: int
) -> list[str]:
    faults = []

    def fault(rule: str, broken: np.ndarray, values: np.ndarray) -> None:
        if broken.any():
            row = int(np.argmax(broken))
            faults.append(
                f"{rule}: {int(broken.sum())} row(s), first row {row} "
                f"(clip {table['clip_id'].iloc[row]!r}, {values[row]})"
            )

    finite = {name: np.isfinite(value).all(1) for name, value in vectors.items()}
    for name, value in vectors.items():
        fault(f"column {name}: must be finite", ~finite[name], value)
    p, total = vectors["p"], vectors["p"].sum(1)
    fault("column p: must not be negative", finite["p"] & (p < 0).any(1), p)
    fault("column p: must sum to 1", finite["p"] & (np.abs(total - 1) > _SUM_TOLERANCE), total)
    label = table["label"].to_numpy()
    fault(f"column label: must lie in -1..{classes - 1}", (label < -1) | (label >= classes), label)
    for name in _REAL:
        value = table[name].to_numpy()
        broken = np.isinf(value) if name in _MAY_BE_NAN else ~np.isfinite(value)
        fault(f"column {name}: must be finite", broken, value)
    split = table["split"].to_numpy()
    fault(f"column split: must be one of {', '.join(SPLITS)}", ~np.isin(split, SPLITS), split)
    clip = table["clip_id"].to_numpy()
    fault("column clip_id: must be unique", table["clip_id"].duplicated().to_numpy(), clip)
    return faults


def _identity_faults(table: pd.DataFrame, *, group: str, scheme: str) -> list[str]:
    """Names what would let one animal (or cage) be trained and tested on, or counted twice."""
    faults = []
    for name in ("video", *dict.fromkeys(("animal", group))):
        if (table[name] == "").any():
            faults.append(f"column {name}: empty in {(table[name] == '').sum()} row(s)")
    for name in dict.fromkeys(("animal", group)):
        if count := count_leaks(table, name):
            rows = table if name == "animal" else table[table["split"] != "drug"]
            sides = rows[[name, "split", "fold"]].drop_duplicates()
            first = sides[name][sides[name].duplicated()].iloc[0]
            where = " and ".join(
                f"{side.split} (fold {side.fold})" if side.fold >= 0 else str(side.split)
                for side in sides[sides[name] == first].itertuples()
            )
            faults.append(f"{count} {name}(s) on two sides, first {first!r}: {where}")
    owners = table[["video", "animal", "day"]].drop_duplicates()
    if owners["video"].duplicated().any():
        first = owners["video"][owners["video"].duplicated()].iloc[0]
        faults.append(f"column video: {first!r} belongs to more than one animal or day")
    if scheme != "fixed":
        broken = (table["split"] == "test") & (table["fold"] < 0)
        if broken.any():
            faults.append(
                f"column fold: scheme {scheme} needs a fold in {broken.sum()} test row(s)"
            )
    return faults


def _raise(faults: list[str], where: str) -> None:
    if faults:
        raise ValueError(f"{where}: " + "; ".join(faults))
