"""TFRecord shards with random access: framing, the offset index and `RecordSource`.

A dataset is a folder:

- `<name>-<split>.tfrecord-00000-of-00016`: TFRecord files of `tf.train.Example`
  (https://www.tensorflow.org/tutorials/load_data/tfrecord), open to any TFRecord reader;
- `index.parquet`: one row per record, in split, shard and offset order: where it lies, its clip's
  shape, and every feature of it except the frames;
- `dataset_info.json`, `features.json`: TFDS metadata;
- `dataset.json`: written last; its presence means that the build ended. Holds the fingerprint.
"""

import collections
import hashlib
import io
import json
import struct
import threading
from collections.abc import Sequence
from typing import Any, SupportsIndex

import google_crc32c
import numpy as np
import pandas as pd
from etils import epath
from tensorflow_datasets.proto import tf_example_generated_pb2 as tf_example

from mpjax.data import example
from mpjax.data.buffers import BufferPool
from mpjax.io import files, stores

INDEX_FILE = "index.parquet"
MANIFEST_FILE = "dataset.json"
FORMAT = "mpjax.dataset/1"

BYTES_FEATURES = ("clip_id", "video", "animal", "cage", "sex", "condition", "drug", "route")
INT_FEATURES = ("day", "label", "start_frame", "padded_frames")
FLOAT_FEATURES = ("fps", "dose_mg_per_kg", "minutes_post_dose")
SHAPE = ("frames", "height", "width")  # of a record's clip; in the index alone
METADATA = BYTES_FEATURES + INT_FEATURES + FLOAT_FEATURES
UNKNOWN_DAY = -(2**31)  # a label cohort need not have days

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
HEADER_BYTES = _HEADER.size
_POOLED_BYTES = 1 << 28  # kept for reading; a record of one clip takes about a million
_HANDLES_PER_THREAD = 4
FRAME_BYTES = _HEADER.size + _CRC.size  # what framing adds to a payload


class RecordError(ValueError):
    """A dataset, shard or record that cannot be trusted."""


def _masked_crc(data: bytes | memoryview) -> int:
    """Returns TFRecord's masked CRC-32C (tensorflow/core/lib/hash/crc32c.h: rotate by 15, add)."""
    # The extension takes arrays, but no memoryviews.
    crc = google_crc32c.value(np.frombuffer(data, np.uint8))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def frame_record(payload: bytes) -> bytes:
    """Frames `payload` as a TFRecord: length, its CRC, payload, its CRC."""
    length = len(payload).to_bytes(8, "little")
    header = _HEADER.pack(len(payload), _masked_crc(length))
    return header + payload + _CRC.pack(_masked_crc(payload))


def unframe_record(framed: bytes | memoryview, *, where: str) -> memoryview:
    """Checks both CRCs of a framed record and returns a view of its payload.

    Raises:
        RecordError: `where` holds no record of this length, or its bytes have changed.
    """
    if len(framed) < FRAME_BYTES:
        raise RecordError(f"{where}: ends within a record; run `python -m data_prep.build` again")
    length, length_crc = _HEADER.unpack_from(framed)
    if _masked_crc(framed[:8]) != length_crc or length != len(framed) - FRAME_BYTES:
        raise RecordError(
            f"{where}: no record of {len(framed) - FRAME_BYTES} bytes begins here; "
            f"{INDEX_FILE} does not match the shard: delete the dataset's folder and run the same "
            "command again"
        )
    payload = memoryview(framed)[HEADER_BYTES : HEADER_BYTES + length]
    if _masked_crc(payload) != _CRC.unpack_from(framed, HEADER_BYTES + length)[0]:
        raise RecordError(
            f"{where}: checksum differs, the file is damaged; restore it, or delete the dataset's "
            "folder and run the same command again"
        )
    return payload


def encode_example(metadata: dict[str, Any], frames: Sequence[bytes]) -> bytes:
    """Serialises one clip as a `tf.train.Example`; the same input gives the same bytes.

    Args:
        metadata: a value for each name in `METADATA`.
        frames: one JPEG per frame, length t.
    """
    message = tf_example.Example()
    feature = message.features.feature
    for name in BYTES_FEATURES:
        feature[name].bytes_list.value.append(metadata[name].encode())
    for name in INT_FEATURES:
        feature[name].int64_list.value.append(int(metadata[name]))
    for name in FLOAT_FEATURES:
        feature[name].float_list.value.append(float(metadata[name]))
    feature["frames"].bytes_list.value.extend(frames)
    return message.SerializeToString(deterministic=True)


def decode_example(payload: bytes | memoryview) -> dict[str, Any]:
    """Parses an Example of `encode_example`: its metadata, and views of its JPEG `frames`.

    Raises:
        RecordError: the payload is no Example, or lacks a feature (all named).
    """
    try:
        feature = example.parse(payload)
    except example.ExampleError as error:
        raise RecordError(f"a record is {error}") from error
    missing = [name for name in (*METADATA, "frames") if not feature.get(name)]
    if missing:
        raise RecordError(f"a record lacks the feature(s) {', '.join(missing)}")
    clip: dict[str, Any] = {name: bytes(feature[name][0]).decode() for name in BYTES_FEATURES}
    clip |= {name: feature[name][0] for name in INT_FEATURES + FLOAT_FEATURES}
    clip["frames"] = feature["frames"]
    return clip


def read_manifest(directory: epath.PathLike) -> dict[str, Any]:
    """Reads `dataset.json`, whose presence means that the dataset is whole.

    Raises:
        RecordError: the folder holds no finished dataset of this format.
    """
    path = stores.ready(directory) / MANIFEST_FILE
    if not path.exists():
        raise RecordError(
            f"{directory}: no finished dataset here ({MANIFEST_FILE} is missing); "
            "run `python -m data_prep.build`"
        )
    try:
        manifest = files.read_json(path)
    except ValueError as error:  # whose way out, to delete it, would leave a folder of other files
        raise RecordError(
            f"{path}: damaged, not JSON; run `python -m data_prep.build` or the study again"
        ) from error
    if manifest.get("format") != FORMAT:
        raise RecordError(
            f"{path}: format {manifest.get('format')!r}, this version reads {FORMAT!r}; "
            "build the dataset anew"
        )
    return manifest


def index_bytes(index: pd.DataFrame) -> bytes:
    """Serialises an index as Parquet; `dataset.json` names the hash of these bytes."""
    buffer = io.BytesIO()
    index.to_parquet(buffer, index=False)
    return buffer.getvalue()


def read_index(directory: epath.PathLike) -> pd.DataFrame:
    """Reads the index of a finished dataset and checks it against the shards' sizes.

    Returns:
        A row per record: split, shard (file name), offset and length (bytes, of the framed
        record), the clip's frames, height and width (px), and every name of `METADATA`.

    Raises:
        RecordError: the dataset is unfinished, or a shard is missing or of another length.
    """
    directory = epath.Path(directory)
    manifest = read_manifest(directory)
    path = directory / INDEX_FILE
    content = path.read_bytes() if path.exists() else b""
    if hashlib.sha256(content).hexdigest() != manifest["index_sha256"]:
        raise RecordError(
            f"{path}: not the index that {MANIFEST_FILE} describes (missing, damaged or of "
            "another dataset); build the dataset anew"
        )
    index = pd.read_parquet(io.BytesIO(content))
    ends = (index["offset"] + index["length"]).groupby(index["shard"]).max()
    listed = stores.sizes(directory) if stores.is_remote(directory) else None
    for shard in manifest["shards"]:
        path = directory / shard
        found = listed.get(shard) if listed is not None else _size(path)
        _check_size(path, found, expected=int(ends.get(shard, 0)))
    return index


def _size(path: epath.Path) -> int | None:
    return path.stat().length if path.exists() else None


def _check_size(path: epath.Path, found: int | None, *, expected: int) -> None:
    if found is None:
        raise RecordError(f"{path}: shard is missing; restore it or build the dataset anew")
    if found != expected:
        raise RecordError(
            f"{path}: {found} bytes, but {INDEX_FILE} ends at {expected}; "
            "they do not belong together: build the dataset anew"
        )


class RecordSource:
    """Random access to the records of a dataset, for `grain.MapDataset.source`.

    Reads byte ranges by the index, from any path that `etils.epath` opens (from a store: the range
    of the record and nothing else); checks both CRCs of every record. Threads share an instance;
    each has file handles of its own.

    Attributes:
        index: `read_index` restricted to the chosen rows, in record order.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        *,
        splits: Sequence[str] | None = None,
        labelled: bool = False,
        rows: np.ndarray | None = None,
    ):
        """Opens a dataset.

        Args:
            directory: folder of the dataset.
            splits: splits to keep; None keeps all.
            labelled: keep only records of a class (a label of 0 or more).
            rows: positions within what is kept so far to keep, in this order; None keeps all.

        Raises:
            RecordError: as `read_index`, or a split that the dataset does not have.
        """
        self.directory = epath.Path(directory)
        index = read_index(directory)
        if splits is not None:
            unknown = sorted(set(splits) - set(index["split"]))
            if unknown:
                raise RecordError(
                    f"{directory}: no split {', '.join(unknown)}; "
                    f"it has {', '.join(sorted(set(index['split'])))}"
                )
            index = index[index["split"].isin(splits)]
        if labelled:
            index = index[index["label"] >= 0]
        if rows is not None:
            index = index.iloc[rows]
        self.index = index.reset_index(drop=True)
        self._shards = self.index["shard"].tolist()
        self._offsets = self.index["offset"].tolist()
        self._lengths = self.index["length"].tolist()
        self._remote = stores.is_remote(self.directory)
        self._pool = BufferPool(limit=_POOLED_BYTES)
        self._local = threading.local()

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, position: SupportsIndex) -> memoryview:
        """Returns the payload of the record at `position`; raises RecordError when damaged."""
        i = range(len(self))[position]
        shard, offset, length = self._shards[i], self._offsets[i], self._lengths[i]
        if self._remote:
            framed: bytes | memoryview = stores.read_range(self.directory / shard, offset, length)
        else:
            framed = self._read_local(shard, offset, length)
        return unframe_record(framed, where=f"{self.directory / shard} at byte {offset}")

    def _read_local(self, shard: str, offset: int, length: int) -> memoryview:
        file = self._open(shard)
        file.seek(offset)
        framed = memoryview(self._pool.empty((length,)).data)
        return framed[: file.readinto(framed)].toreadonly()

    def _open(self, shard: str) -> Any:
        if not hasattr(self._local, "handles"):
            self._local.handles = collections.OrderedDict()
        handles: collections.OrderedDict[str, Any] = self._local.handles
        if shard not in handles:
            if len(handles) >= _HANDLES_PER_THREAD:
                handles.popitem(last=False)[1].close()
            handles[shard] = (self.directory / shard).open("rb")
        handles.move_to_end(shard)
        return handles[shard]

    def __getstate__(self) -> dict[str, Any]:
        state = self.__dict__.copy()
        del state["_local"]
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._local = threading.local()

    def __repr__(self) -> str:
        # grain fingerprints the source by its repr when it restores an iterator.
        manifest = json.dumps([str(self.directory), len(self), self._shards[:1]])
        return f"RecordSource({manifest})"
