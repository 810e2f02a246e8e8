"""The Beam pipeline from recordings to TFRecord shards.

Recordings are decoded one by one into spill files beside the dataset; only references to clips go
through Beam's shuffle, so that no runner holds the frames of a cohort in memory. A clip's shard
follows from the hash of its id, and a shard is sorted by clip id: the bytes are the same for any
runner and any number of workers. A spill that is whole is reused by a restarted build.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import Any

import pandas as pd
from etils import epath

from data_prep.build._beam import beam
from mpjax.config import VideoConfig
from mpjax.data import records
from mpjax.data.video import clips as video
from mpjax.data.video.encode import Recording, encode_clips
from mpjax.io import files, stores

SPILL = "spill"  # subfolder of the unfinished dataset
_FETCHED_AT_ONCE = 16  # records from a store, whose answers take longer to begin than to come


def shard_of(clip_id: str, shards: tuple[str, ...]) -> str:
    """Returns the shard for a clip: its id's sha256 modulo the number of shards."""
    digest = hashlib.sha256(clip_id.encode()).digest()
    return shards[int.from_bytes(digest[:8], "big") % len(shards)]


class DecodeRecording(beam.DoFn):
    """Recording -> (shard, reference to a clip in its spill file); failures go to a file each."""

    def __init__(self, directory: str, config: VideoConfig):
        self.directory = directory
        self.config = config

    def process(self, recording: Recording) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yields a reference per clip; nothing when the recording cannot be read."""
        folder = stores.ready(self.directory) / SPILL
        listing = folder / f"{recording.stem}.json"
        if not listing.exists():
            try:
                references = self._spill(recording, folder)
            except video.VideoError as error:
                failure = {"video": recording.metadata["video"], "reason": str(error)}
                files.write_json(folder / f"{recording.stem}.failure", failure)
                return
            _write_rows(listing, references)
        for reference in json.loads(listing.read_text()):
            yield shard_of(reference["metadata"]["clip_id"], recording.shards), reference

    def _spill(self, recording: Recording, folder: epath.Path) -> list[dict[str, Any]]:
        references = []
        name = f"{recording.stem}.tfrecord"
        with files.write_aside(folder / name) as aside, aside.open("wb") as out:
            offset = 0
            for metadata, payload in encode_clips(recording, self.config):
                framed = records.frame_record(payload)
                out.write(framed)
                references.append(
                    {"spill": name, "offset": offset, "length": len(framed), "metadata": metadata}
                )
                offset += len(framed)
        return references


class WriteShard(beam.DoFn):
    """(shard, references) -> the shard file, and its part of the index."""

    def __init__(self, directory: str):
        self.directory = directory

    def process(self, element: tuple[str, Iterable[dict[str, Any] | None]]) -> Iterator[str]:
        """Writes one shard, records sorted by clip id; yields its file name."""
        shard, references = element
        chosen = [reference for reference in references if reference is not None]
        chosen.sort(key=lambda reference: reference["metadata"]["clip_id"])
        directory = stores.ready(self.directory)
        rows, offset = [], 0
        with files.write_aside(directory / shard) as aside, aside.open("wb") as out:
            for reference, framed in self._read(chosen):
                out.write(framed)
                length = reference["length"]
                place = {"shard": shard, "offset": offset, "length": length}
                rows.append(place | reference["metadata"])
                offset += length
        _write_rows(directory / SPILL / f"{shard}.rows", rows)
        yield shard

    def _read(self, references: list[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], bytes]]:
        """Yields references with the framed records they are of."""
        folder = epath.Path(self.directory) / SPILL
        at_once = _FETCHED_AT_ONCE if stores.is_remote(folder) else 1
        for first in range(0, len(references), at_once):
            some = references[first : first + at_once]
            wanted = [(folder / each["spill"], each["offset"], each["length"]) for each in some]
            found = stores.read_ranges(wanted) if at_once > 1 else [_read_local(*wanted[0])]
            for reference, framed in zip(some, found, strict=True):
                records.unframe_record(framed, where=reference["spill"])
                yield reference, framed


def _read_local(path: epath.Path, offset: int, length: int) -> bytes:
    with path.open("rb") as spill:
        spill.seek(offset)
        return spill.read(length)


def _write_rows(path: epath.Path, rows: list[dict[str, Any]]) -> None:
    # Between our own stages only: NaN marks what a cohort does not state.
    with files.write_aside(path) as aside:
        aside.write_text(json.dumps(rows))


def run(
    recordings: list[Recording],
    directory: epath.Path,
    config: VideoConfig,
    pipeline: Any,
) -> None:
    """Runs the pipeline: shards and their index parts appear in `directory`.

    Args:
        recordings: the cohort's rows.
        directory: folder of the unfinished dataset, reachable by every worker.
        config: clip geometry.
        pipeline: an empty Beam pipeline on the runner of choice.
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


def collect_index(directory: epath.Path, shards: dict[str, str]) -> pd.DataFrame:
    """Joins the index parts that `run` left.

    Args:
        directory: folder of the unfinished dataset.
        shards: split of each shard file name.
    """
    rows = []
    for shard, split in shards.items():
        part = files.read_json(directory / SPILL / f"{shard}.rows")
        rows += [{"split": split} | row for row in part]
    columns = ["split", "shard", "offset", "length", *records.SHAPE, *records.METADATA]
    index = pd.DataFrame(rows, columns=columns)
    integers = ["offset", "length", *records.SHAPE, *records.INT_FEATURES]
    types = dict.fromkeys(integers, "int64") | dict.fromkeys(records.FLOAT_FEATURES, "float64")
    return index.astype(types)


def collect_failures(directory: epath.Path) -> list[dict[str, str]]:
    """Returns `video` and `reason` of each recording that failed, in cohort order."""
    paths = sorted((directory / SPILL).glob("*.failure"), key=lambda path: path.name)
    return [files.read_json(path) for path in paths]
