"""Reading and decoding records: grain pipeline against tf.data with AUTOTUNE, in one process.

Run:   python tests/benchmarks/bench_loader.py      (the peer needs: pip install tensorflow-cpu)
Task:  256 clips of 32 x 256 x 256 as JPEG (quality 95, 4:2:0) from the same TFRecord shards into
       uint8 batches of 8. Interleaved rounds; medians. Also libjpeg-turbo alone on one core.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import small_dataset

from mpjax.data import pipeline, records

FRAMES, SIZE, BATCH = 32, 256, 8


def textured_clip(seed: int) -> np.ndarray:
    """A moving blurred texture: compresses like a fur-and-bedding picture, not like noise."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(128, 40, (SIZE * 2, SIZE * 2, 3)).astype(np.float32)
    texture = cv2.GaussianBlur(noise, (0, 0), 2.0)
    texture = np.clip((texture - 128) * 6 + 128, 0, 255).astype(np.uint8)
    steps = [(4 * t, 3 * t) for t in range(FRAMES)]
    return np.stack([texture[y : y + SIZE, x : x + SIZE] for y, x in steps])


def write_dataset(directory: Path, clips: int) -> Path:
    unique = [
        [simplejpeg.encode_jpeg(f, quality=95, colorsubsampling="420") for f in textured_clip(s)]
        for s in range(16)
    ]
    small_dataset.write(directory, clips, shard_count=4, encode=lambda i: unique[i % len(unique)])
    return directory


def ours(directory: Path) -> int:
    source = records.RecordSource(directory)
    batches = pipeline.eval_batches(source, batch_size=BATCH, size=SIZE, frames=0, views=1, crops=1)
    return sum(int(batch["mask"].sum()) for batch in batches)


def tf_data(directory: Path) -> int:
    import tensorflow as tf

    def parse(record):  # type: ignore[no-untyped-def]
        spec = {"frames": tf.io.FixedLenFeature([FRAMES], tf.string)}
        frames = tf.io.parse_single_example(record, spec)["frames"]
        return tf.map_fn(
            lambda jpeg: tf.io.decode_jpeg(jpeg, channels=3), frames, fn_output_signature=tf.uint8
        )

    shards = sorted(str(path) for path in directory.glob("*.tfrecord-*"))
    dataset = tf.data.TFRecordDataset(shards, num_parallel_reads=tf.data.AUTOTUNE)
    dataset = dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return sum(len(batch) for batch in dataset.as_numpy_iterator())


def decode_alone(directory: Path) -> int:
    source = records.RecordSource(directory)
    buffer = np.empty((SIZE, SIZE, 3), np.uint8)
    count = min(32, len(source))
    for i in range(count):
        for jpeg in records.decode_example(source[i])["frames"]:
            simplejpeg.decode_jpeg(jpeg, buffer=buffer)
    return count


def rate(run: Callable[[Path], int], directory: Path) -> float:
    start = time.perf_counter()
    clips = run(directory)
    return clips / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    runs: dict[str, Callable[[Path], int]] = {"mpjax (grain)": ours}
    try:
        import tensorflow as tf

        runs[f"tf.data {tf.__version__}"] = tf_data
    except ImportError:
        print("TensorFlow is not installed: pip install tensorflow-cpu for the comparison")
    runs["libjpeg-turbo alone, one core"] = decode_alone
    with tempfile.TemporaryDirectory() as folder:
        directory = write_dataset(Path(folder) / "dataset", arguments.clips)
        size = sum(path.stat().st_size for path in directory.glob("*.tfrecord-*"))
        print(f"{arguments.clips} clips, {size / arguments.clips / 1e3:.0f} kB each, ", end="")
        print(f"{os.cpu_count()} cores, {arguments.rounds} interleaved rounds after a warm-up")
        for run in runs.values():
            run(directory)
        rates: dict[str, list[float]] = {name: [] for name in runs}
        for _ in range(arguments.rounds):
            for name, run in runs.items():
                rates[name].append(rate(run, directory))
    for name, values in rates.items():
        spread = f"{min(values):.1f} .. {max(values):.1f}"
        print(f"{name:32s} {statistics.median(values):7.1f} clips/s  ({spread})")
    names = list(runs)
    if len(names) == 3:
        ratios = [a / b for a, b in zip(rates[names[0]], rates[names[1]], strict=True)]
        print(f"ratio to tf.data, median of pairs: {statistics.median(ratios):.2f}")


if __name__ == "__main__":
    main()
