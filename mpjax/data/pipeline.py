"""Grain pipelines from records to batches: the same batches for any number of workers.

Batches are formed on the `MapDataset`, before `to_iter_dataset`, so that neither threads nor
processes change them, and an iterator's state is a position.
"""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import grain
import numpy as np

from mpjax.data import clips, records
from mpjax.data.buffers import BufferPool


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who reads and decodes; changes the speed, never the batches.

    Attributes:
        threads: decoding threads per process; 0: one per core. Decoding releases the GIL.
        processes: worker processes; 0 stays in this one, as Colab needs.
        buffer: batches (training) or records (evaluation) decoded ahead, per process.
    """

    threads: int = 0
    processes: int = 0
    buffer: int = 4


def train_batches(
    source: records.RecordSource,
    *,
    batch_size: int,
    size: int,
    frames: int,
    seed: int,
    scale: tuple[float, float] = (0.08, 1.0),
    flip: bool = True,
    epochs: int | None = None,
    workers: Workers = Workers(),
) -> grain.IterDataset:
    """Returns shuffled, augmented training batches.

    Every epoch visits every record once, in a new global order; a clip's augmentation depends on
    the seed and its position in that order alone.

    Args:
        source: the training records.
        batch_size: records per batch; the last, smaller batch of the last epoch is dropped.
        size: px, side of the square crop.
        frames: frames per clip, cut at random from the record's; 0 takes them all.
        seed: of the order and the augmentation.
        scale: range of the crop's share of the picture.
        flip: mirror half of the clips. A left-right flip swaps the paws.
        epochs: passes over the records; None goes on for ever.
        workers: threads and processes.

    Returns:
        Batches `clips` uint8 [b, frames, size, size, 3], `label` int32 [b], `position` int64 [b]
        (into `source.index`). `iter(...)` has `get_state` and `set_state`.

    Raises:
        ValueError: fewer records than `batch_size`.
    """
    if len(source) < batch_size:
        raise ValueError(f"{len(source)} records do not fill a batch of {batch_size}")

    dataset = (
        grain.MapDataset.range(len(source))
        .seed(seed)
        .shuffle()
        .map(_Read(source))
        .random_map(_Augment(size=size, frames=frames, scale=scale, flip=flip))
        .repeat(epochs)
        .batch(batch_size, drop_remainder=True, batch_fn=_Stack())
    )
    return _iterate(dataset, workers)


def eval_batches(
    source: records.RecordSource,
    *,
    batch_size: int,
    size: int,
    frames: int,
    views: int,
    crops: int,
    start: int = 0,
    workers: Workers = Workers(),
) -> Iterator[dict[str, np.ndarray]]:
    """Yields the fixed views of every record exactly once, in record order.

    Recordings of different shape give different numbers of distinct views; batches are filled
    across records, so that all have one shape.

    Args:
        source: the records.
        batch_size: views per batch; the last batch is filled by repeating its last view.
        size: px, side of the square crops.
        frames: frames per view; 0 takes them all.
        views: views in time.
        crops: views in space.
        start: records to leave out at the beginning (already done).
        workers: threads and processes.

    Yields:
        `clips` uint8 [b, frames, size, size, 3], `position` int64 [b] (into `source.index`),
        `view` int64 [b] (0, 1, … within a record) and `mask` bool [b], False where a view only
        fills the batch.
    """

    positions = grain.MapDataset.range(start, len(source))
    cut = _Cut(size=size, frames=frames, views=views, crops=crops)
    dataset = _iterate(positions.map(_Read(source)).map(cut), workers)
    pool = BufferPool()
    pending: list[tuple[np.ndarray, int, int]] = []
    for item in dataset:
        position = int(item["position"])
        pending += [(clip, position, view) for view, clip in enumerate(item["clips"])]
        while len(pending) >= batch_size:
            yield _fill(pending[:batch_size], batch_size, pool)
            del pending[:batch_size]
    if pending:
        yield _fill(pending, batch_size, pool)


def _fill(
    rows: list[tuple[np.ndarray, int, int]], batch_size: int, pool: BufferPool
) -> dict[str, np.ndarray]:
    filled = rows + rows[-1:] * (batch_size - len(rows))
    batch, positions, views = zip(*filled, strict=True)
    return {
        "clips": pool.stack(batch),
        "position": np.array(positions, np.int64),
        "view": np.array(views, np.int64),
        "mask": np.arange(batch_size) < len(rows),
    }


# Classes, not closures: worker processes receive them pickled.
@dataclasses.dataclass(frozen=True)
class _Read:
    source: records.RecordSource
    pool: BufferPool = dataclasses.field(default_factory=BufferPool)

    def __call__(self, position: int) -> dict[str, Any]:
        example = records.decode_example(self.source[position])
        return {
            "clip": clips.decode_frames(example["frames"], self.pool),
            "label": np.int32(example["label"]),
            "position": np.int64(position),
        }


@dataclasses.dataclass(frozen=True)
class _Augment:
    size: int
    frames: int
    scale: tuple[float, float]
    flip: bool

    def __call__(self, item: dict[str, Any], rng: np.random.Generator) -> dict[str, Any]:
        clip = item["clip"]
        clip = clips.random_temporal_crop(clip, self.frames or len(clip), rng)
        clip = clips.random_resized_crop(clip, self.size, rng, scale=self.scale)
        clip = clips.random_flip(clip, rng) if self.flip else clip
        return {"clips": clip, "label": item["label"], "position": item["position"]}


@dataclasses.dataclass(frozen=True)
class _Stack:
    pool: BufferPool = dataclasses.field(default_factory=BufferPool)

    def __call__(self, items: Sequence[dict[str, Any]]) -> dict[str, np.ndarray]:
        columns = {name: [item[name] for item in items] for name in items[0]}
        stacked = {name: np.stack(columns[name]) for name in ("label", "position")}
        return {"clips": self.pool.stack(columns["clips"])} | stacked


@dataclasses.dataclass(frozen=True)
class _Cut:
    size: int
    frames: int
    views: int
    crops: int

    def __call__(self, item: dict[str, Any]) -> dict[str, Any]:
        cut = clips.views(
            item["clip"], size=self.size, frames=self.frames, clips=self.views, crops=self.crops
        )
        return {"clips": cut, "position": item["position"]}


def _iterate(dataset: grain.MapDataset, workers: Workers) -> grain.IterDataset:
    threads = workers.threads or os.cpu_count() or 1
    # An element is a clip or a batch of them; grain's default of 500 ahead would fill the memory.
    ahead = max(threads, workers.buffer)
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    iterator = dataset.to_iter_dataset(options)
    if workers.processes:
        iterator = iterator.mp_prefetch(
            grain.MultiprocessingOptions(
                num_workers=workers.processes, per_worker_buffer_size=workers.buffer
            )
        )
    return iterator
