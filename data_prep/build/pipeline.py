"""The Beam pipeline from recordings to TFRecord shards.

Recordings are decoded one by one into spill files next to the shards. Only references to clips go
through Beam's shuffle, so no runner holds the frames of a cohort in memory. The hash of a clip's id
gives its shard, and a shard is sorted by clip id: the bytes are the same for any runner and any
number of workers. A restarted build uses the spill files that are complete.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

from etils import epath

from data_prep.build._beam import beam
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


class DecodeRecording(beam.DoFn):
    """Recording -> (shard, row of a clip in its spill file); each failure is written to a file."""

    def __init__(self, directory: str, config: VideoConfig):
        self.directory = directory
        self.config = config

    def process(self, recording: Recording) -> Iterator[tuple[str, Row]]:
        """Yields the row of each clip; nothing if the recording cannot be read."""
        folder = stores.ready(self.directory) / SPILL
        listing = folder / f"{recording.stem}.rows.json"
        if not listing.exists():
            try:
                clips = encode_clips(recording, self.config)
                rows = write_shard(folder / f"{recording.stem}.tfrecord", clips)
            except VideoError as error:
                failure = {"video": recording.metadata["video"], "reason": str(error)}
                files.write_json(folder / f"{recording.stem}.failure", failure)
                return
            _write_rows(listing, rows)
        for row in json.loads(listing.read_text()):
            yield shard_of(row["clip_id"], recording.shards), row


class WriteShard(beam.DoFn):
    """(shard, rows of clips in spill files) -> the shard file, and its part of the index."""

    def __init__(self, directory: str):
        self.directory = directory

    def process(self, element: tuple[str, Iterable[Row | None]]) -> Iterator[str]:
        """Writes one shard, records sorted by clip id; yields its file name."""
        shard, rows = element
        chosen = sorted(filter(None, rows), key=lambda row: row["clip_id"])
        directory = stores.ready(self.directory)
        written = write_shard(directory / shard, self._read(directory / SPILL, chosen))
        _write_rows(directory / SPILL / f"{shard}.rows", written)
        yield shard

    @staticmethod
    def _read(folder: epath.Path, rows: list[Row]) -> Iterator[tuple[Row, memoryview]]:
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
    recordings: list[Recording], directory: epath.Path, config: VideoConfig, pipeline: Any
) -> None:
    """Runs the pipeline, an empty one on the chosen runner.

    Shards and their index parts appear in `directory`, the folder of the unfinished dataset, which
    every worker can reach.
    """
    shards = sorted({shard for recording in recordings for shard in recording.shards})
    with pipeline:
        clips = (
            pipeline
            | "Recordings" >> beam.Create(recordings)
            | "Spread" >> beam.Reshuffle()
            | "Decode" >> beam.ParDo(DecodeRecording(str(directory), config))
        )
        # A shard without clips is written too: TFRecord readers expect all N of N.
        seeds = pipeline | "Shards" >> beam.Create([(shard, None) for shard in shards])
        written = (clips, seeds) | beam.Flatten() | beam.GroupByKey()
        _ = written | "Write" >> beam.ParDo(WriteShard(str(directory)))


def read_rows(directory: epath.Path, shard: str) -> list[Row]:
    """Returns the rows of the index that `run` left for a shard."""
    return files.read_json(directory / SPILL / f"{shard}.rows")


def read_failures(directory: epath.Path) -> list[dict[str, str]]:
    """Returns `video` and `reason` of each recording that failed, in cohort order."""
    paths = sorted((directory / SPILL).glob("*.failure"), key=lambda path: path.name)
    return [files.read_json(path) for path in paths]
