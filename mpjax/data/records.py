"""Records of clips: their features, the index of a dataset, and random access (`RecordSource`).

A dataset is a folder (`mpjax.data.dataset` writes it):

- `<name>-<split>.tfrecord-00000-of-00016`: TFRecord files of `tf.train.Example`, one per clip, for
  any TFRecord reader;
- `index.parquet`: a row per record, in split, shard and offset order: its place, the shape of its
  clip, and every feature except the frames;
- `dataset_info.json`, `features.json`: TFDS metadata;
- `dataset.json`: the manifest, written last: a folder with it is complete. Holds the fingerprint.
"""

import hashlib
import io
import json
from collections.abc import Sequence
from typing import Any, SupportsIndex

import numpy as np
import pandas as pd
from etils import epath
from google.protobuf.message import DecodeError

from mpjax.data import tf_example
from mpjax.data.tfrecord import RecordError, unframe_record
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
_KINDS = (
    dict.fromkeys((*BYTES_FEATURES, "frames"), "bytes_list")
    | dict.fromkeys(INT_FEATURES, "int64_list")
    | dict.fromkeys(FLOAT_FEATURES, "float_list")
)


def encode_example(metadata: dict[str, Any], frames: Sequence[bytes]) -> bytes:
    """Serialises one clip as a `tf.train.Example`; the same input gives the same bytes.

    `metadata` holds a value for each name in `METADATA`, `frames` one JPEG per frame.
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
    """Parses an Example of `encode_example`: its metadata, and its JPEG `frames`."""
    try:
        feature = tf_example.Example.FromString(payload).features.feature
    except DecodeError as error:
        raise RecordError(f"a record is not a tf.train.Example ({error})") from error
    values: dict[str, Any] = {
        name: getattr(feature[name], kind).value if name in feature else ()
        for name, kind in _KINDS.items()
    }
    missing = [name for name in (*METADATA, "frames") if not values[name]]
    if missing:
        raise RecordError(f"a record lacks the feature(s) {', '.join(missing)}")
    clip = {name: values[name][0] for name in METADATA}
    clip |= {name: clip[name].decode() for name in BYTES_FEATURES}
    return clip | {"frames": list(values["frames"])}


def read_manifest(directory: epath.PathLike) -> dict[str, Any]:
    """Reads `dataset.json`; RecordError: the folder holds no finished dataset of this format."""
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
            "build the dataset again"
        )
    return manifest


def index_bytes(index: pd.DataFrame) -> bytes:
    """Serialises an index as Parquet; `dataset.json` names the hash of these bytes."""
    return index.to_parquet(index=False)


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
            "another dataset); build the dataset again"
        )
    index = pd.read_parquet(io.BytesIO(content))
    ends = (index["offset"] + index["length"]).groupby(index["shard"]).max()
    found = stores.sizes(directory)
    for shard in manifest["shards"]:
        path, expected = directory / shard, int(ends.get(shard, 0))
        if shard not in found:
            raise RecordError(f"{path}: shard is missing; restore it or build the dataset again")
        if found[shard] != expected:
            raise RecordError(
                f"{path}: {found[shard]} bytes, but {INDEX_FILE} ends at {expected}; "
                "they do not belong together: build the dataset again"
            )
    return index


class RecordSource:
    """Random access to the records of a dataset, for `grain.MapDataset.source`.

    Reads byte ranges by the index, from any path that `etils.epath` opens (from a store: the range
    of the record and nothing else), and checks both CRCs of every record. Threads may share one.
    Its `index` is `read_index` restricted to the chosen rows, in record order.
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
            splits: splits to keep; None: all.
            labelled: keep only records of a class (a label of 0 or more).
            rows: positions to keep, among those kept so far, in this order; None: all.

        Raises:
            RecordError: as `read_index`, or a split that the dataset does not have.
        """
        self.directory = epath.Path(directory)
        index = read_index(directory)
        if splits is not None:
            if unknown := sorted(set(splits) - set(index["split"])):
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
        places = self.index[["shard", "offset", "length"]]
        self._places = list(places.itertuples(index=False, name=None))

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, position: SupportsIndex) -> memoryview:
        """Returns the payload of the record at `position`; raises RecordError when damaged."""
        shard, offset, length = self._places[position]
        framed = stores.read_range(self.directory / shard, offset, length)
        return unframe_record(framed, where=f"{self.directory / shard} at byte {offset}")

    def __repr__(self) -> str:
        # grain fingerprints the source by its repr when it restores an iterator.
        first = [shard for shard, *_ in self._places[:1]]
        return f"RecordSource({json.dumps([str(self.directory), len(self), first])})"
