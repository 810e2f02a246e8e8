"""Writes a dataset's folder (`mpjax.data.records`): shards, index and, last, the manifest."""

import hashlib
from collections.abc import Iterable
from typing import Any

import pandas as pd
from etils import epath

from mpjax.data import records
from mpjax.data.tfrecord import frame_record
from mpjax.io import files

Encoded = tuple[dict[str, Any], bytes | memoryview]  # a clip's index row, and its Example


def write_shard(path: epath.PathLike, clips: Iterable[Encoded]) -> list[dict[str, Any]]:
    """Writes clips as one TFRecord file, which gets its name once it is complete.

    Each of `clips` is a row of the index (`records.SHAPE`, `records.METADATA`) and its serialised
    Example. Returns the rows, with `shard` (the file's name), `offset` and `length` (bytes).
    """
    name = epath.Path(path).name
    rows: list[dict[str, Any]] = []
    offset = 0
    with files.write_aside(path) as aside, aside.open("wb") as out:
        for about, payload in clips:
            framed = frame_record(payload)
            out.write(framed)
            rows.append({"shard": name, "offset": offset, "length": len(framed)} | about)
            offset += len(framed)
    return rows


class DatasetWriter:
    """Writes a dataset; until `finish` has ended, no reader accepts its folder."""

    def __init__(self, directory: epath.PathLike):
        """Makes the folder; an older dataset in it loses its manifest."""
        self._directory = files.make_folder(directory)
        (self._directory / records.MANIFEST_FILE).unlink(missing_ok=True)
        self._rows: list[dict[str, Any]] = []
        self._shards: dict[str, int] = {}

    def write_shard(self, shard: str, clips: Iterable[Encoded]) -> None:
        """Writes a shard as the function `write_shard` does; clips also need their `split`."""
        self.add_shard(shard, write_shard(self._directory / shard, clips))

    def add_shard(self, shard: str, rows: list[dict[str, Any]]) -> None:
        """Adds a shard that is in the folder already, by the rows of its clips."""
        self._shards[shard] = len(rows)
        self._rows += rows

    def write_index(self) -> str:
        """Writes the index of the shards so far, in the order added, and returns its sha256."""
        columns = ["split", "shard", "offset", "length", *records.SHAPE, *records.METADATA]
        integers = ["offset", "length", *records.SHAPE, *records.INT_FEATURES]
        types = dict.fromkeys(integers, "int64") | dict.fromkeys(records.FLOAT_FEATURES, "float64")
        index = pd.DataFrame(self._rows, columns=columns).astype(types)
        content = records.index_bytes(index)
        (self._directory / records.INDEX_FILE).write_bytes(content)
        return hashlib.sha256(content).hexdigest()

    def finish(self, fingerprint: str, **about: Any) -> dict[str, Any]:
        """Writes the index and then the manifest, which makes the dataset valid; returns it.

        `fingerprint` is of all that determines the dataset's content; `about` are further entries.
        """
        manifest = {
            "format": records.FORMAT,
            "fingerprint": fingerprint,
            "index_sha256": self.write_index(),
            "shards": self._shards,
            **about,
        }
        manifest.setdefault("failures", [])
        files.write_json(self._directory / records.MANIFEST_FILE, manifest)
        return files.read_json(self._directory / records.MANIFEST_FILE)
