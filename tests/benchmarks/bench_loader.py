"""Reading and decoding records: grain pipeline against tf.data with AUTOTUNE.

Run:   python tests/benchmarks/bench_loader.py      (the peer needs: pip install tensorflow-cpu)
Task:  clips of 32 x 256 x 256 as JPEG (quality 95, 4:2:0) from the same TFRecord shards into
       uint8 batches of 8. Two contents: like lab video (9.6 kB a frame; real infrared clips of
       rodents gave 8.6 kB for this area), and noisy (33 kB a frame: decoding is all there is).
How:   each system in a process of its own, asked in turn for a pass over the shards; the median of
       the rates, and of the ratios of neighbouring passes. Also libjpeg-turbo alone on one core.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FRAMES, SIZE, BATCH = 32, 256, 8
CONTENTS = {"like lab video": (5.0, 1.0), "noisy": (2.0, 6.0)}  # blur in px, contrast


def write_dataset(directory: Path, clips: int, *, blur: float, contrast: float) -> None:
    """Writes moving textures; 16 different clips, repeated."""
    import cv2
    import numpy as np
    import simplejpeg

    sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
    import small_dataset

    def encode(seed: int) -> list[bytes]:
        rng = np.random.default_rng(seed)
        noise = rng.normal(0, 40, (SIZE * 2, SIZE * 2, 1)).astype(np.float32)
        texture = cv2.GaussianBlur(noise, (0, 0), blur)[..., None] * contrast * blur
        texture = np.clip(texture + 128, 0, 255).astype(np.uint8).repeat(3, axis=-1)
        steps = [(4 * t, 3 * t) for t in range(FRAMES)]
        frames = [np.ascontiguousarray(texture[y : y + SIZE, x : x + SIZE]) for y, x in steps]
        return [simplejpeg.encode_jpeg(f, quality=95, colorsubsampling="420") for f in frames]

    unique = [encode(seed) for seed in range(16)]
    shape = {"frames": FRAMES, "height": SIZE, "width": SIZE}
    small_dataset.write(
        directory, clips, shard_count=4, encode=lambda i: unique[i % 16], shape=lambda i: shape
    )


def pass_ours(directory: Path) -> int:
    from mpjax.data import pipeline, records
    from mpjax.data.clips import Views

    source = records.RecordSource(directory)
    batches = pipeline.eval_batches(source, batch_size=BATCH, views=Views(SIZE))
    return sum(int(batch["mask"].sum()) for batch in batches)


def pass_tf_data(directory: Path) -> int:
    import tensorflow as tf

    def parse(record):  # type: ignore[no-untyped-def]
        spec = {"frames": tf.io.FixedLenFeature([FRAMES], tf.string)}
        frames = tf.io.parse_single_example(record, spec)["frames"]
        return tf.map_fn(
            lambda jpeg: tf.io.decode_jpeg(jpeg, channels=3), frames, fn_output_signature=tf.uint8
        )

    shards = sorted(str(path) for path in directory.glob("*.tfrecord-*"))
    dataset = tf.data.TFRecordDataset(shards, num_parallel_reads=tf.data.AUTOTUNE)
    dataset = dataset.map(parse, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(BATCH).prefetch(tf.data.AUTOTUNE)
    return sum(len(batch) for batch in dataset.as_numpy_iterator())


def pass_decode_alone(directory: Path) -> int:
    import numpy as np
    import simplejpeg

    from mpjax.data import records

    source = records.RecordSource(directory)
    buffer = np.empty((SIZE, SIZE, 3), np.uint8)
    count = min(64, len(source))
    for i in range(count):
        for jpeg in records.decode_example(source[i])["frames"]:
            simplejpeg.decode_jpeg(jpeg, buffer=buffer, fastupsample=True)
    return count


PASSES = {
    "mpjax (grain)": pass_ours,
    "tf.data": pass_tf_data,
    "libjpeg-turbo alone, one core": pass_decode_alone,
}


def serve(name: str, directory: Path) -> None:
    """Makes a pass for every line on standard input; prints its rate in clips/s."""
    PASSES[name](directory)
    print("ready", flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        clips = PASSES[name](directory)
        print(clips / (time.perf_counter() - start), flush=True)


def compare(directory: Path, rounds: int, names: list[str]) -> dict[str, list[float]]:
    servers = {}
    for name in names:
        servers[name] = subprocess.Popen(
            [sys.executable, __file__, f"--serve={name}", f"--directory={directory}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert servers[name].stdout.readline().strip() == "ready", f"{name} did not start"
    rates: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name, server in servers.items():
            server.stdin.write("go\n")
            server.stdin.flush()
            rates[name].append(float(server.stdout.readline()))
    for server in servers.values():
        server.stdin.close()
        server.wait()
    return rates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve")
    parser.add_argument("--directory", type=Path)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.serve, arguments.directory)
    names = list(PASSES)
    try:
        import tensorflow  # noqa: F401
    except ImportError:
        print("TensorFlow is not installed: `pip install tensorflow-cpu` for the comparison")
        names.remove("tf.data")
    print(f"{os.cpu_count()} cores, {arguments.rounds} interleaved rounds after a warm-up")
    for content, (blur, contrast) in CONTENTS.items():
        with tempfile.TemporaryDirectory() as folder:
            directory = Path(folder) / "dataset"
            write_dataset(directory, arguments.clips, blur=blur, contrast=contrast)
            size = sum(path.stat().st_size for path in directory.glob("*.tfrecord-*"))
            kilobytes = size / arguments.clips / FRAMES / 1e3
            print(f"\n{content}: {arguments.clips} clips, {kilobytes:.1f} kB a frame")
            rates = compare(directory, arguments.rounds, names)
        for name, values in rates.items():
            spread = f"{min(values):.1f} .. {max(values):.1f}"
            print(f"  {name:32s} {statistics.median(values):7.1f} clips/s  ({spread})")
        if "tf.data" in rates:
            pairs = zip(rates["mpjax (grain)"], rates["tf.data"], strict=True)
            print(f"  ratio to tf.data: {statistics.median(a / b for a, b in pairs):.2f}")


if __name__ == "__main__":
    main()
