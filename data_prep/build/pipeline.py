"""From recordings to TFRecord shards: the two steps, and their run on this machine.

Recordings are decoded one by one into spill files next to the shards. Only references to clips go
from the first step to the second, so the frames of a cohort are never in memory together. The hash
of a clip's id gives its shard, and a shard is sorted by clip id: the bytes are the same for any
number of workers, and for any runner of Apache Beam (`runner.py`). A restarted build uses the
spill files that are complete.
"""

import functools
import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from data_prep import processes
from mpjax.config import VideoConfig
from mpjax.data.dataset import write_shard
from mpjax.data.tfrecord import unframe_record
from mpjax.data.video import Recording, VideoError, encode_clips
from mpjax.io import files, stores

SPILL = "spill"  # subfolder of the unfinished dataset
_FETCHED_AT_ONCE = 16  # records from a store, where the wait for an answer is the longest part

# Of a clip: `shard` (a spill file, then a shard), `offset`, `length` and metadata.
Row = dict[str, Any]


def shard_of(clip_id: str, shards: tuple[str, ...]) -> str:
    """Returns the shard for a clip: its id's sha256 modulo the number of shards."""
    digest = hashlib.sha256(clip_id.encode()).digest()
    return shards[int.from_bytes(digest[:8], "big") % len(shards)]


def decode(recording: Recording, directory: str, config: VideoConfig) -> list[tuple[str, Row]]:
    """Returns shard and row of each clip in the spill file; a failure is written to a file."""
    folder = stores.ready(directory) / SPILL
    listing = folder / f"{recording.stem}.rows.json"
    if not listing.exists():
        try:
            clips = encode_clips(recording, config)
            rows = write_shard(folder / f"{recording.stem}.tfrecord", clips)
        except VideoError as error:
            failure = {"video": recording.metadata["video"], "reason": str(error)}
            files.write_json(folder / f"{recording.stem}.failure", failure)
            return []
        _write_rows(listing, rows)
    rows = json.loads(listing.read_text())
    return [(shard_of(row["clip_id"], recording.shards), row) for row in rows]


def gather(element: tuple[str, Iterable[Row | None]], directory: str) -> None:
    """Writes a shard, records sorted by clip id, and its part of the index."""
    shard, rows = element
    chosen = sorted(filter(None, rows), key=lambda row: row["clip_id"])
    folder = stores.ready(directory)
    written = write_shard(folder / shard, _read_clips(folder / SPILL, chosen))
    _write_rows(folder / SPILL / f"{shard}.rows", written)


def _read_clips(folder: epath.Path, rows: list[Row]) -> Iterator[tuple[Row, memoryview]]:
    """Yields what describes each clip, and its record."""
    at_once = _FETCHED_AT_ONCE if stores.is_remote(folder) else 1
    for first in range(0, len(rows), at_once):
        some = rows[first : first + at_once]
        wanted = [(folder / row["shard"], row["offset"], row["length"]) for row in some]
        for row, framed in zip(some, stores.read_ranges(wanted), strict=True):
            about = {k: v for k, v in row.items() if k not in ("shard", "offset", "length")}
            yield about, unframe_record(framed, where=row["shard"])


def _write_rows(path: epath.Path, rows: list[Row]) -> None:
    # Not files.write_json: NaN stands for what the cohort does not give.
    with files.write_aside(path) as aside:
        aside.write_text(json.dumps(rows))


def run(
    recordings: list[Recording], directory: epath.Path, config: VideoConfig, *, workers: int
) -> None:
    """Runs both steps in `workers` processes of this machine; 0: one per core, 1: this one.

    Shards and their index parts appear in `directory`, the folder of the unfinished dataset.

    Raises:
        OSError: a file cannot be written.
        WorkerError: a worker was killed.
    """
    # A shard without clips is written too: TFRecord readers expect all N of N.
    shards: dict[str, list[Row]] = {name: [] for each in recordings for name in each.shards}
    where = str(directory)
    with processes.share(workers, flag="--config.build.workers") as each:
        for rows in each(functools.partial(decode, directory=where, config=config), recordings):
            for shard, row in rows:
                shards[shard].append(row)
        for _ in each(functools.partial(gather, directory=where), shards.items()):
            pass
