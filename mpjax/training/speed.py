"""How fast this machine reads, decodes and projects; every rate is a median of repeated timings."""

import contextlib
import dataclasses
import hashlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import simplejpeg
import tqdm
from etils import epath
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from mpjax.config import MeshConfig, StudyConfig, VideoConfig
from mpjax.data import pipeline, records
from mpjax.data.clips import Views
from mpjax.embedding import dataset as embedding
from mpjax.io import files
from mpjax.models.projector import Projector
from mpjax.profiling import aot
from mpjax.training import compiled_steps, finetune, partitioning

DTYPES = ("float32", "bfloat16")

_SECONDS, _LEAST = 2.0, 3  # of timing per rate, and timings at least
_CLIPS = 128  # that the loader is timed on at a time
_SIDE = 2048  # of the square matrices whose product is the machine's peak
_PEAK_SECONDS = 0.1  # of products at a time: dispatching them must not count
_RANDOM_CLIPS, _DIFFERENT, _CLASSES = 64, 8, 15  # of a random dataset: records, at least


@dataclasses.dataclass(frozen=True)
class ProgramSpeed:
    """A compiled program, called with batches that lie ready on the devices.

    Attributes:
        batch_size: clips per call, over all devices.
        clips_per_s: over all devices.
        flops_per_clip: see `count_flops`.
        share_of_peak: `clips_per_s` x `flops_per_clip` over what the same devices reach in matrix
            products of the projector's compute type.
        bytes_per_device: of arguments, results and temporary arrays, as XLA plans them.
    """

    batch_size: int
    clips_per_s: float
    flops_per_clip: float
    share_of_peak: float
    bytes_per_device: int


@dataclasses.dataclass(frozen=True)
class Speed:
    """What `measure` found.

    Attributes:
        devices: how many, and of which kind.
        dtype: compute type of the projector.
        trained: what a step of training trains; see `TrainConfig.what`.
        records_per_s: read and checked at random places, not decoded.
        decoded_per_s: clips (views of records) as embedding reads them.
        augmented_per_s: clips as training reads them.
        forward: the projector, as embedding runs it.
        train: a step of training.
        forward_headroom: `decoded_per_s` over the forward program's clips per second; below 1,
            the devices wait for the loader.
        train_headroom: `augmented_per_s` over the train program's clips per second.
        peak_flops: FLOP/s of matrix products, over all devices, by type.
    """

    devices: str
    dtype: str
    trained: str
    records_per_s: float
    decoded_per_s: float
    augmented_per_s: float
    forward: ProgramSpeed
    train: ProgramSpeed
    forward_headroom: float
    train_headroom: float
    peak_flops: dict[str, float]


@dataclasses.dataclass(frozen=True)
class _Program:
    call: Callable[[], int]  # returns the clips of a batch once it is done
    bytes_per_device: int


def measure(dataset: epath.PathLike, config: StudyConfig) -> Speed:
    """Measures reading, decoding and projecting as a study would do them. Shows progress.

    Where the study trains on cached embeddings, the step of training is that of `head`.

    Args:
        dataset: folder of the records.
        config: of the study; `projector`, `train` and `mesh` are read.

    Raises:
        ValueError: the dataset has no labelled record, or too few for a batch; or the mesh does not
            divide a batch.
    """
    source = records.RecordSource(dataset, labelled=True)
    if not len(source):
        raise ValueError(f"{dataset}: no labelled record to measure with")
    frames = config.projector.frames or int(source.index["frames"].iloc[0])
    config = _with(config, frames=frames)
    projector = finetune.projector_of(config, epath.Path(dataset).parent, trained=False)
    mesh = partitioning.make_mesh(config.mesh)
    with tqdm.tqdm(total=6, bar_format="{desc} ({n}/{total} done, {elapsed})") as bar:
        with _stage(bar, "reading records"):
            records_per_s = _rate(_reader(source))
        with _stage(bar, "decoding clips"):
            decoded_per_s = _rate(_decoder(dataset, config))
        with _stage(bar, "augmenting clips"):
            augmented_per_s = _rate(_augmenter(source, config))
        with _stage(bar, "multiplying matrices"):
            peak = {dtype: matrix_peak(dtype, mesh) for dtype in DTYPES}
        at_peak = peak[config.projector.dtype]
        with jax.set_mesh(mesh):
            with _stage(bar, "projecting"):
                program = _forward(projector, mesh, config)
                forward = _measured(program, count_flops("embed", config), at_peak)
            with _stage(bar, f"training ({config.train.what})"):
                program = _train_step(projector, mesh, config)
                train = _measured(program, count_flops("train", config), at_peak)
    return Speed(
        devices=f"{mesh.size} x {mesh.devices.flat[0].device_kind}",
        dtype=config.projector.dtype,
        trained=config.train.what,
        records_per_s=records_per_s,
        decoded_per_s=decoded_per_s,
        augmented_per_s=augmented_per_s,
        forward=forward,
        train=train,
        forward_headroom=decoded_per_s / forward.clips_per_s,
        train_headroom=augmented_per_s / train.clips_per_s,
        peak_flops=peak,
    )


def _with(config: StudyConfig, *, frames: int) -> StudyConfig:
    """Returns `config` with what is trained on clips, and with the records' own frames."""
    what = config.train.what if config.train.what in ("head", "lora", "all") else "head"
    return dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, what=what),
        projector=dataclasses.replace(config.projector, frames=frames),
    )


@contextlib.contextmanager
def _stage(bar: tqdm.tqdm, name: str) -> Iterator[None]:
    bar.set_description_str(name)
    yield
    bar.update()


def _rate(work: Callable[[], int]) -> float:
    """Returns the median of what `work` gets done per second, after a first call to warm up."""
    work()
    rates: list[float] = []
    started = time.perf_counter()
    while len(rates) < _LEAST or time.perf_counter() - started < _SECONDS:
        begun = time.perf_counter()
        done = work()
        rates.append(done / (time.perf_counter() - begun))
    return statistics.median(rates)


def _reader(source: records.RecordSource) -> Callable[[], int]:
    order = np.random.default_rng(0).permutation(len(source))[:_CLIPS].tolist()

    def read() -> int:
        for position in order:
            source[position]
        return len(order)

    return read


def _decoder(dataset: epath.PathLike, config: StudyConfig) -> Callable[[], int]:
    source = records.RecordSource(dataset, labelled=True)
    first = np.arange(min(len(source), _CLIPS))
    source = records.RecordSource(dataset, labelled=True, rows=first)
    chosen = config.projector
    views = Views(chosen.size, chosen.frames, chosen.views, chosen.crops, chosen.rotations)

    def decode() -> int:
        batches = pipeline.eval_batches(source, batch_size=chosen.batch_size, views=views)
        return sum(int(batch["mask"].sum()) for batch in batches)

    return decode


def _augmenter(source: records.RecordSource, config: StudyConfig) -> Callable[[], int]:
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
    count = -(-_CLIPS // chosen.batch_size)

    def augment() -> int:
        return sum(len(next(batches)["label"]) for _ in range(count))

    return augment


def matrix_peak(dtype: str, mesh: Mesh) -> float:
    """Returns the FLOP/s of square matrix products of 2048, one per device, on all devices.

    Products are at JAX's default precision, which on TPUs rounds float32 factors to bfloat16.

    Args:
        dtype: of `DTYPES`.
        mesh: the devices.
    """
    place = NamedSharding(mesh, PartitionSpec(mesh.axis_names))
    values = np.random.default_rng(0).standard_normal((_SIDE, _SIDE), np.float32) / _SIDE**0.5
    stacked = np.broadcast_to(values, (mesh.size, _SIDE, _SIDE))
    factor = jax.device_put(jnp.asarray(stacked, dtype), place)

    @jax.jit
    def multiply(x: Any, times: Any) -> Any:
        return jax.lax.fori_loop(0, times, lambda _, y: jnp.matmul(x, y), x)

    def products(times: int) -> int:
        jax.block_until_ready(multiply(factor, times))
        return 2 * _SIDE**3 * mesh.size * times

    products(1)
    begun = time.perf_counter()
    products(1)
    times = max(1, round(_PEAK_SECONDS / (time.perf_counter() - begun)))
    return _rate(lambda: products(times))


def _measured(program: _Program, flops_per_clip: float, peak: float) -> ProgramSpeed:
    clips_per_s = _rate(program.call)
    return ProgramSpeed(
        batch_size=program.call(),
        clips_per_s=clips_per_s,
        flops_per_clip=flops_per_clip,
        share_of_peak=clips_per_s * flops_per_clip / peak,
        bytes_per_device=program.bytes_per_device,
    )


def count_flops(name: str, config: StudyConfig) -> float:
    """Returns the FLOPs that a program needs per clip, by XLA's `HloCostAnalysis`.

    They are counted in the plain form of the network, not in the one that is timed: XLA counts the
    body of a loop once, and what is computed again to save memory is no progress.

    Args:
        name: "embed" or "train", see `ahead.lower`.
        config: of the study, with `train.what` on clips.
    """
    optim = dataclasses.replace(config.train.optim, accumulate=1)
    plain = dataclasses.replace(
        config, train=dataclasses.replace(config.train, remat=False, optim=optim)
    )
    alone = partitioning.make_mesh(MeshConfig(), devices=jax.devices()[:1])
    cost: Any = aot.lower(name, plain, alone, attention_impl="xla").cost_analysis()
    size = config.projector.batch_size if name == "embed" else config.train.batch_size
    return float(cost["flops"]) / size


def _clips(size: int, config: StudyConfig) -> Any:
    chosen = config.projector
    shape = (size, chosen.frames, chosen.size, chosen.size, 3)
    return np.random.default_rng(0).integers(0, 256, shape, np.uint8)


def _forward(projector: Projector, mesh: Mesh, config: StudyConfig) -> _Program:
    size = embedding.round_up(config.projector.batch_size, mesh)
    clips = partitioning.to_global(mesh, _clips(size, config))
    params = jax.device_put(projector.params, partitioning.replicated(mesh))
    compiled = embedding.embed_program(projector, mesh).lower(params, clips).compile()

    def project() -> int:
        jax.block_until_ready(compiled(params, clips))
        return size

    return _Program(project, _planned_bytes(compiled))


def _train_step(projector: Projector, mesh: Mesh, config: StudyConfig) -> _Program:
    size = config.train.batch_size
    task = compiled_steps.make_task(
        config.train,
        projector,
        class_weight=np.ones(_CLASSES, np.float32),
        total_steps=1000,  # like the classes, of no effect on the speed
        steps_per_epoch=100,
    )
    weights = jax.device_get(compiled_steps.trainable(projector.params))
    sharded = config.mesh.fully_sharded
    abstract, abstract_frozen = compiled_steps.layout(task, mesh, weights, fully_sharded=sharded)
    frozen = compiled_steps.place(abstract_frozen, {} if config.train.what == "all" else weights)
    state = compiled_steps.make_state(task, abstract, config.train.seed, weights)
    label = np.arange(size, dtype=np.int32) % _CLASSES
    batch = partitioning.to_global(mesh, {"clips": _clips(size, config), "label": label})
    key = jax.random.key(config.train.seed)
    program = compiled_steps.train_program(task, mesh, abstract, abstract_frozen)
    compiled = program.lower(state, frozen, batch, key).compile()

    def step() -> int:
        nonlocal state
        state, metrics = compiled(state, frozen, batch, key)
        jax.block_until_ready(metrics)
        return size

    return _Program(step, _planned_bytes(compiled))


def _planned_bytes(compiled: jax.stages.Compiled) -> int:
    plan: Any = compiled.memory_analysis()
    total = plan.argument_size_in_bytes + plan.output_size_in_bytes + plan.temp_size_in_bytes
    return int(total - plan.alias_size_in_bytes)


def write_random_dataset(directory: epath.PathLike, config: StudyConfig) -> epath.Path:
    """Writes a small dataset of moving textures, in size and geometry as a study's.

    Args:
        directory: new, or empty.
        config: of the study; `video` and the batch sizes are read.

    Returns:
        `directory`.
    """
    directory = epath.Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    count = max(_RANDOM_CLIPS, config.train.batch_size, config.projector.batch_size)
    clips = [_random_jpegs(seed, config.video) for seed in range(_DIFFERENT)]
    shard = "random-train.tfrecord-00000-of-00001"
    rows: list[dict[str, Any]] = []
    offset = 0
    with (directory / shard).open("wb") as out:
        for number in range(count):
            jpegs, shape = clips[number % _DIFFERENT]
            metadata = _random_metadata(number)
            framed = records.frame_record(records.encode_example(metadata, jpegs))
            out.write(framed)
            place = {"split": "train", "shard": shard, "offset": offset, "length": len(framed)}
            rows.append(place | shape | metadata)
            offset += len(framed)
    content = records.index_bytes(pd.DataFrame(rows))
    (directory / records.INDEX_FILE).write_bytes(content)
    manifest = {
        "format": records.FORMAT,
        "fingerprint": "random",
        "index_sha256": hashlib.sha256(content).hexdigest(),
        "shards": {shard: count},
        "failures": [],
    }
    files.write_json(directory / records.MANIFEST_FILE, manifest)
    return directory


def _random_metadata(number: int) -> dict[str, Any]:
    values: dict[str, Any] = dict.fromkeys(records.BYTES_FEATURES, "")
    values |= dict.fromkeys(records.INT_FEATURES, 0) | dict.fromkeys(records.FLOAT_FEATURES, 0.0)
    name = f"random{number:06d}"
    return values | {"clip_id": name, "video": name, "animal": name, "label": number % _CLASSES}


def _random_jpegs(seed: int, config: VideoConfig) -> tuple[list[bytes], dict[str, int]]:
    """Returns frames of 4:3 over which a texture moves, about as smooth as a lab's video."""
    height = config.short_side or VideoConfig.short_side
    width = round(height * 4 / 3)
    noise = np.random.default_rng(seed).normal(0, 40, (height + config.frames, width, 3))
    texture = np.clip(cv2.GaussianBlur(noise, (0, 0), 5.0) * 5.0 + 128, 0, 255).astype(np.uint8)
    jpegs = [
        simplejpeg.encode_jpeg(
            np.ascontiguousarray(texture[t : t + height]), quality=config.jpeg_quality
        )
        for t in range(config.frames)
    ]
    return jpegs, {"frames": config.frames, "height": height, "width": width}
