"""How fast this machine reads records, decodes clips, projects them and trains on them.

Run:   python tests/benchmarks/bench_machine.py --config=demo [--workdir=out/demo]
Task:  the config's projector, views and batches, on WORKDIR/dataset or, without `--workdir`, on
       random clips as large as the config's. `--json=FILE` writes the figures too.
How:   every rate is the median of repeated timings after a warm-up. FLOPs are those of the model as
       XLA counts them (`aot.model_flops`); the peak is that of large matrix products on the same
       devices. A headroom below 1 means that the devices wait for the loader.
"""

import contextlib
import dataclasses
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import simplejpeg
import tqdm
from absl import flags
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mpjax import cli
from mpjax.config import StudyConfig, VideoConfig
from mpjax.data import pipeline, records
from mpjax.data.clips import Views, frame_size
from mpjax.embedding import dataset as embedding
from mpjax.io import files
from mpjax.models.projector import Projector, load_projector
from mpjax.profiling import aot
from mpjax.training import compiled_steps, partitioning

sys.path.insert(0, str(Path(__file__).parents[1] / "helpers"))
import small_dataset

DTYPES = ("float32", "bfloat16")

SECONDS, LEAST = 2.0, 3  # of timing per rate, and timings at least
CLIPS = 128  # that the loader is timed on at a time
SIDE = 2048  # of the square matrices whose product is the machine's peak
PEAK_SECONDS = 0.1  # of products at a time: dispatching them must not count
RANDOM_CLIPS, DIFFERENT, CLASSES = 64, 8, 15  # of a random dataset: records, at least


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled program on batches that lie ready on the devices; bytes as XLA plans them."""

    batch_size: int
    clips_per_s: float
    flops_per_clip: float
    share_of_peak: float  # of the matrix products in the projector's compute type
    bytes_per_device: int


def measure(dataset: epath.PathLike, config: StudyConfig) -> dict[str, Any]:
    """Measures reading, decoding, projecting and training as a study would do them.

    A study that trains on cached embeddings is measured with the step of `train.what=head`.
    """
    source = records.RecordSource(dataset, labelled=True)
    if not len(source):
        raise ValueError(f"{dataset}: no labelled record to measure with")
    chosen = config.projector
    what = config.train.what if config.train.what in ("head", "lora", "all") else "head"
    frames = chosen.frames or int(source.index["frames"].iloc[0])
    config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, what=what),
        projector=dataclasses.replace(chosen, frames=frames),
    )
    projector = load_projector(
        chosen.weights,
        kind=chosen.kind,
        seed=chosen.seed,
        dtype=chosen.dtype,
        attention_impl=chosen.attention_impl,
        architecture=(
            chosen.architecture if (chosen.weights, chosen.kind) == ("random", "swin") else None
        ),
    )
    mesh = partitioning.make_mesh(config.mesh)
    with tqdm.tqdm(total=6, bar_format="{desc} ({n}/{total} done, {elapsed})") as bar:
        with stage(bar, "reading records"):
            records_per_s = rate(reader(source))
        with stage(bar, "decoding clips"):
            decoded_per_s = rate(decoder(dataset, config))
        with stage(bar, "augmenting clips"):
            augmented_per_s = rate(augmenter(source, config))
        with stage(bar, "multiplying matrices"):
            peak = {dtype: matrix_peak(dtype, mesh) for dtype in DTYPES}
        with jax.set_mesh(mesh):
            with stage(bar, "projecting"):
                forward = timed("embed", *forward_call(projector, mesh, config), config, peak)
            with stage(bar, f"training ({what})"):
                train = timed("train", *train_call(projector, mesh, config), config, peak)
    return {
        "devices": f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
        "dtype": chosen.dtype,
        "trained": what,
        "records_per_s": records_per_s,
        "decoded_per_s": decoded_per_s,
        "augmented_per_s": augmented_per_s,
        "forward": dataclasses.asdict(forward),
        "train": dataclasses.asdict(train),
        "forward_headroom": decoded_per_s / forward.clips_per_s,
        "train_headroom": augmented_per_s / train.clips_per_s,
        "peak_flops": peak,
    }


@contextlib.contextmanager
def stage(bar: tqdm.tqdm, name: str) -> Iterator[None]:
    bar.set_description_str(name)
    yield
    bar.update()


def rate(work: Callable[[], int]) -> float:
    """Returns the median of what `work` gets done per second, after a first call to warm up."""
    work()
    rates: list[float] = []
    started = time.perf_counter()
    while len(rates) < LEAST or time.perf_counter() - started < SECONDS:
        begun = time.perf_counter()
        done = work()
        rates.append(done / (time.perf_counter() - begun))
    return statistics.median(rates)


def reader(source: records.RecordSource) -> Callable[[], int]:
    order = np.random.default_rng(0).permutation(len(source))[:CLIPS].tolist()
    return lambda: len([source[position] for position in order])


def decoder(dataset: epath.PathLike, config: StudyConfig) -> Callable[[], int]:
    source = records.RecordSource(dataset, labelled=True)
    first = np.arange(min(len(source), CLIPS))
    source = records.RecordSource(dataset, labelled=True, rows=first)
    chosen = config.projector
    views = Views(chosen.size, chosen.frames, chosen.views, chosen.crops, chosen.rotations)

    def decode() -> int:
        batches = pipeline.eval_batches(source, batch_size=chosen.batch_size, views=views)
        return sum(int(batch["mask"].sum()) for batch in batches)

    return decode


def augmenter(source: records.RecordSource, config: StudyConfig) -> Callable[[], int]:
    chosen = config.train
    lowest, highest = chosen.augment.scale
    batches = iter(
        pipeline.train_batches(
            source,
            batch_size=chosen.batch_size,
            size=config.projector.size,
            frames=config.projector.frames,
            seed=chosen.seed,
            scale=(lowest, highest),
            flip=chosen.augment.flip,
            balanced=chosen.balance == "sampling",
            workers=pipeline.Workers(processes=chosen.processes),
        )
    )
    # Many at a time: the threads deliver theirs in bursts.
    count = -(-CLIPS // chosen.batch_size)
    return lambda: sum(len(next(batches)["label"]) for _ in range(count))


def matrix_peak(dtype: str, mesh: Mesh) -> float:
    """Returns the FLOP/s of square matrix products, one per device, on all devices.

    Products are at JAX's default precision, which on TPUs rounds float32 factors to bfloat16.
    """
    place = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    values = np.random.default_rng(0).standard_normal((SIDE, SIDE), np.float32) / SIDE**0.5
    stacked = np.broadcast_to(values, (mesh.size, SIDE, SIDE))
    factor = jax.device_put(jnp.asarray(stacked, dtype), place)

    @jax.jit
    def multiply(x: Any, times: Any) -> Any:
        return jax.lax.fori_loop(0, times, lambda _, y: jnp.matmul(x, y), x)

    def products(times: int) -> int:
        jax.block_until_ready(multiply(factor, times))
        return 2 * SIDE**3 * mesh.size * times

    products(1)
    begun = time.perf_counter()
    products(1)
    times = max(1, round(PEAK_SECONDS / (time.perf_counter() - begun)))
    return rate(lambda: products(times))


def timed(
    name: str,
    call: Callable[[], int],
    compiled: jax.stages.Compiled,
    config: StudyConfig,
    peak: dict[str, float],
) -> Program:
    """Times `call`, which runs `compiled` on a batch and returns its number of clips."""
    clips_per_s = rate(call)
    flops_per_clip = aot.model_flops(name, config)
    plan: Any = compiled.memory_analysis()
    planned = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
    return Program(
        batch_size=call(),
        clips_per_s=clips_per_s,
        flops_per_clip=flops_per_clip,
        share_of_peak=clips_per_s * flops_per_clip / peak[config.projector.dtype],
        bytes_per_device=int(planned - plan.alias_size_in_bytes),
    )


def random_batch(size: int, config: StudyConfig) -> Any:
    chosen = config.projector
    shape = (size, chosen.frames, chosen.size, chosen.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def forward_call(projector: Projector, mesh: Mesh, config: StudyConfig) -> tuple[Any, Any]:
    size = embedding.round_up(config.projector.batch_size, mesh)
    clips = partitioning.to_global(mesh, random_batch(size, config))
    params = jax.device_put(projector.params, partitioning.replicated(mesh))
    compiled = embedding.embed_program(projector, mesh).lower(params, clips).compile()

    def project() -> int:
        jax.block_until_ready(compiled(params, clips))
        return size

    return project, compiled


def train_call(projector: Projector, mesh: Mesh, config: StudyConfig) -> tuple[Any, Any]:
    size = config.train.batch_size
    task = compiled_steps.make_task(
        config.train,
        projector,
        class_weight=np.ones(CLASSES, np.float32),
        total_steps=1000,  # like the classes, of no effect on the speed
        steps_per_epoch=100,
    )
    weights = jax.device_get(compiled_steps.trainable(projector.params))
    sharded = config.mesh.fully_sharded
    abstract, abstract_frozen = compiled_steps.layout(task, mesh, weights, fully_sharded=sharded)
    frozen = compiled_steps.place_frozen(task, abstract_frozen, weights)
    state = compiled_steps.make_state(task, abstract, weights)
    label = np.arange(size, dtype=np.int32) % CLASSES
    batch = partitioning.to_global(mesh, {"clips": random_batch(size, config), "label": label})
    key = jax.random.key(config.train.seed)
    program = compiled_steps.train_program(task, mesh, abstract, abstract_frozen)
    compiled = program.lower(state, frozen, batch, key).compile()

    def step() -> int:
        nonlocal state
        state, metrics = compiled(state, frozen, batch, key)
        jax.block_until_ready(metrics)
        return size

    return step, compiled


def write_random_dataset(directory: Path, config: StudyConfig) -> Path:
    """Writes a dataset of moving textures, with the geometry of the study's clips."""
    count = max(RANDOM_CLIPS, config.train.batch_size, config.projector.batch_size)
    clips = [random_jpegs(seed, config.video) for seed in range(DIFFERENT)]
    height, width = frame_size(clips[0][0])
    shape = {"frames": config.video.frames, "height": height, "width": width}
    return small_dataset.write(
        directory,
        count,
        shard_count=1,
        encode=lambda i: clips[i % DIFFERENT],
        shape=lambda i: shape,
        split=lambda i: "train",
    )


def random_jpegs(seed: int, config: VideoConfig) -> list[bytes]:
    """Returns frames of 4:3 over which a texture moves, about as smooth as a lab's video."""
    height = config.short_side or VideoConfig.short_side
    width = round(height * 4 / 3)
    noise = np.random.default_rng(seed).normal(0, 40, (height + config.frames, width, 3))
    texture = np.clip(cv2.GaussianBlur(noise, (0, 0), 5.0) * 5.0 + 128, 0, 255).astype(np.uint8)
    frames = [np.ascontiguousarray(texture[t : t + height]) for t in range(config.frames)]
    return [simplejpeg.encode_jpeg(frame, quality=config.jpeg_quality) for frame in frames]


def format_table(found: dict[str, Any]) -> str:
    """Returns the figures of `measure` as lines of text."""

    def program(name: str, one: dict[str, Any]) -> tuple[str, str, str]:
        notes = (
            f"batch {one['batch_size']}, {one['flops_per_clip'] / 1e9:.3g} GFLOP per clip, "
            f"{one['share_of_peak']:.0%} of peak, "
            f"{one['bytes_per_device'] / 1e6:,.0f} MB per device"
        )
        return name, f"{one['clips_per_s']:,.1f} clips/s", notes

    rows = [
        (
            "records read",
            f"{found['records_per_s']:,.0f} /s",
            "in random order, checksums verified",
        ),
        ("decoded, to embed", f"{found['decoded_per_s']:,.1f} clips/s", "views as configured"),
        ("decoded, to train", f"{found['augmented_per_s']:,.1f} clips/s", "augmented"),
        program(f"projector, {found['dtype']}", found["forward"]),
        program(f"training step ({found['trained']})", found["train"]),
        ("headroom, embedding", f"{found['forward_headroom']:,.2f} x", "decoded / projected"),
        ("headroom, training", f"{found['train_headroom']:,.2f} x", "below 1 the devices wait"),
    ]
    rows += [
        (f"peak, {dtype}", f"{flops / 1e9:,.1f} GFLOP/s", "products of large matrices")
        for dtype, flops in found["peak_flops"].items()
    ]
    lines = [f"{name:22s} {value:>16s}   {note}" for name, value, note in rows]
    return "\n".join([found["devices"], *lines])


def run(
    config: StudyConfig, workdir: epath.PathLike | None = None, json: epath.PathLike | None = None
) -> None:
    """Measures and prints, and writes the figures to the file `json`."""
    if workdir is not None:
        found = measure(epath.Path(workdir) / "dataset", config)
    else:
        with tempfile.TemporaryDirectory() as folder:
            found = measure(write_random_dataset(Path(folder) / "dataset", config), config)
    print(format_table(found))
    if json is not None:
        files.write_json(json, found)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study; default: random clips.")
    flags.DEFINE_string("json", None, "File to write the figures to.")
    cli.start(lambda config: run(config, flags.FLAGS.workdir, flags.FLAGS.json))
