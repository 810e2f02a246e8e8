"""A finished dataset made in a moment, without Beam or videos."""

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
import simplejpeg

from mpjax.data import records
from mpjax.io import files

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
    directory.mkdir(parents=True)
    names = [f"clips-test.tfrecord-{k:05d}-of-{shard_count:05d}" for k in range(shard_count)]
    rows = []
    for k, name in enumerate(names):
        offset = 0
        with (directory / name).open("wb") as out:
            for i in range(k, n, shard_count):
                framed = records.frame_record(records.encode_example(metadata(i), encode(i)))
                out.write(framed)
                place = {"split": split(i), "shard": name, "offset": offset, "length": len(framed)}
                rows.append(place | shape(i) | metadata(i))
                offset += len(framed)
    content = records.index_bytes(pd.DataFrame(rows))
    (directory / records.INDEX_FILE).write_bytes(content)
    manifest = {
        "format": records.FORMAT,
        "fingerprint": "small",
        "index_sha256": hashlib.sha256(content).hexdigest(),
        "shards": dict.fromkeys(names, 0),
        "failures": [],
    }
    files.write_json(directory / records.MANIFEST_FILE, manifest)
    return directory
