"""A finished dataset made in a moment, without Beam or videos."""

import pickle
from pathlib import Path

import numpy as np
import simplejpeg

from mpjax.data import records
from mpjax.data.dataset import DatasetWriter
from mpjax.data.records import encode_example

FRAMES, HEIGHT, WIDTH = 6, 32, 48


def metadata(i: int) -> dict:
    values = dict.fromkeys(records.BYTES_FEATURES, "") | dict.fromkeys(records.INT_FEATURES, 0)
    values |= dict.fromkeys(records.FLOAT_FEATURES, 0.0)
    return values | {
        "clip_id": f"v{i // 4}.mp4#{i:08d}",
        "video": f"v{i // 4}.mp4",
        "animal": f"a{i // 4}",
        "label": i % 3,
        "fps": 10.0,
    }


def frames(i: int, *, height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """Frames whose mean brightness grows with `i` and with time: batches can be recognised."""
    base = np.zeros((FRAMES, height, width, 3), np.uint8)
    return base + np.uint8(5 * i) + np.arange(FRAMES, dtype=np.uint8)[:, None, None, None] * 20


def encode_frames(clip: np.ndarray) -> list[bytes]:
    return [simplejpeg.encode_jpeg(frame, quality=95) for frame in clip]


def encode_small(i: int) -> list[bytes]:
    return encode_frames(frames(i))


def small_shape(i: int) -> dict[str, int]:
    return {"frames": FRAMES, "height": HEIGHT, "width": WIDTH}


def write(
    directory: Path,
    n: int = 11,
    *,
    shard_count: int = 2,
    encode=encode_small,
    shape=small_shape,
    split=lambda i: "test",
) -> Path:
    writer = DatasetWriter(directory)
    for k in range(shard_count):
        clips = (
            ({"split": split(i)} | shape(i) | metadata(i), encode_example(metadata(i), encode(i)))
            for i in range(k, n, shard_count)
        )
        writer.write_shard(f"clips-test.tfrecord-{k:05d}-of-{shard_count:05d}", clips)
    writer.finish("small")
    return directory


def read_pickled(pickled: bytes) -> list[bytes]:
    """Reads three records of a pickled source; here, because a spawned process can import it."""
    source = pickle.loads(pickled)
    return [bytes(source[i]) for i in (0, 50, 150)]
