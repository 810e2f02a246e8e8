"""Parquet tables that record, in the file's metadata, what they were made of."""

import contextlib
from collections.abc import Callable

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from etils import epath

from mpjax.io import files

_KEY = b"mpjax"


def write(path: epath.PathLike, table: pa.Table | pd.DataFrame, made_of: str) -> None:
    """Writes a table, as `files.write_aside` does, and what it was made of."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    with files.write_aside(path) as aside, aside.open("wb") as out:
        pq.write_table(table.replace_schema_metadata({_KEY: made_of}), out)


def read_made_of(path: epath.PathLike) -> str:
    """Returns what a table was made of; '' if its file does not say; ValueError: not Parquet."""
    with epath.Path(path).open("rb") as source:
        return (pq.read_schema(source).metadata or {}).get(_KEY, b"").decode()


def read(path: epath.PathLike) -> pa.Table:
    """Reads a table; raises ValueError if the file is not Parquet."""
    with epath.Path(path).open("rb") as source:
        return pq.read_table(source)


def read_or_make(
    path: epath.PathLike, made_of: str, make: Callable[[], pd.DataFrame]
) -> pd.DataFrame:
    """Reads the table at `path`, if it was made of the same; else makes and writes it."""
    with contextlib.suppress(FileNotFoundError, pa.ArrowInvalid):  # missing or damaged: made again
        if read_made_of(path) == made_of:
            return read(path).to_pandas()
    table = make()
    write(path, table, made_of)
    return table
