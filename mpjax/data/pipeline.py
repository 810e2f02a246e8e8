"""Grain pipelines from records to batches: the same batches for any number of workers.

Batches are formed on the `MapDataset`, before `to_iter_dataset`, so that neither threads nor
processes change them, and an iterator's state is a position.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import grain
import numpy as np
from jaxtyping import Int

from mpjax.data import clips, records
from mpjax.data.buffers import BufferPool


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who reads and decodes; changes the speed, never the batches.

    Attributes:
        threads: decoding threads per process; 0: one per core. Decoding releases the GIL.
        processes: worker processes; 0 stays in this one, as Colab needs.
        buffer: batches decoded ahead of those in the threads' hands, per process.
    """

    threads: int = 0
    processes: int = 0
    buffer: int = 2


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
    views: clips.Views,
    start: int = 0,
    workers: Workers = Workers(),
) -> grain.IterDataset:
    """Returns the fixed views of every record, each exactly once, in record order.

    Recordings of different shape have different numbers of distinct views; batches are filled
    across records, so that all have one shape.

    Args:
        source: the records.
        batch_size: views per batch; the last batch is filled by repeating its last view.
        views: which views.
        start: batches to leave out at the beginning (already done).
        workers: threads and processes.

    Returns:
        Batches `clips` uint8 [b, frames, size, size, 3], `position` int64 [b] (into
        `source.index`), `view` int64 [b] (0, 1, … within a record) and `mask` bool [b], False
        where a view only fills the batch.
    """
    position, view = plan_views(source, views)
    make = _EvalBatch(source, views, position, view, batch_size)
    dataset = grain.MapDataset.range(start, -(-len(position) // batch_size)).map(make)
    return _iterate(dataset, workers)


def plan_views(
    source: records.RecordSource, views: clips.Views
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Returns, for every view of every record in order, the record and its view's number."""
    shapes = source.index[list(records.SHAPE)].itertuples(index=False)
    counts = [views.count(*shape) for shape in shapes]
    position = np.repeat(np.arange(len(source)), counts)
    return position, np.arange(len(position)) - np.repeat(np.cumsum(counts) - counts, counts)


# Classes, not closures: worker processes receive them pickled.
@dataclasses.dataclass(frozen=True)
class _Read:
    source: records.RecordSource
    pool: BufferPool = dataclasses.field(default_factory=BufferPool)

    def __call__(self, position: int) -> dict[str, Any]:
        example = records.decode_example(self.source[position])
        jpegs = example["frames"]
        out = self.pool.empty((len(jpegs), *clips.frame_size(jpegs[0]), 3))
        return {
            "clip": clips.decode_frames(jpegs, out),
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
class _EvalBatch:
    source: records.RecordSource
    views: clips.Views
    position: np.ndarray
    view: np.ndarray
    batch_size: int
    pool: BufferPool = dataclasses.field(default_factory=BufferPool)

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        rows = np.arange(number * self.batch_size, (number + 1) * self.batch_size)
        mask = rows < len(self.position)
        rows = np.minimum(rows, len(self.position) - 1)
        position, view = self.position[rows], self.view[rows]
        first = self.source.index.iloc[int(position[0])]
        frames = self.views.frames or int(first["frames"])
        size = self.views.size
        out = self.pool.empty((self.batch_size, frames, size, size, 3))
        for record in np.unique(position):
            self._write(int(record), view, position == record, out)
        return {"clips": out, "position": position, "view": view, "mask": mask}

    def _write(self, record: int, view: np.ndarray, mine: np.ndarray, out: np.ndarray) -> None:
        """Writes the wanted views of a record into their rows of `out`."""
        jpegs = records.decode_example(self.source[record])["frames"]
        shape = (len(jpegs), *clips.frame_size(jpegs[0]), 3)
        rows = np.flatnonzero(mine).tolist()
        if shape == out.shape[1:]:  # the whole clip is the view: decode it where it belongs
            clips.decode_frames(jpegs, out[rows[0]])
            for row in rows[1:]:
                out[row] = out[rows[0]]
            return
        cut = self.views.cut(clips.decode_frames(jpegs, self.pool.empty(shape)))
        for row in rows:
            out[row] = cut[view[row]]


def _iterate(dataset: grain.MapDataset, workers: Workers) -> grain.IterDataset:
    threads = workers.threads or os.cpu_count() or 1
    # An element is a batch; grain's default of 500 ahead would fill the memory.
    ahead = threads + workers.buffer  # so that no thread waits for a slower one's batch
    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=ahead)
    iterator = dataset.to_iter_dataset(options)
    if workers.processes:
        iterator = iterator.mp_prefetch(
            grain.MultiprocessingOptions(
                num_workers=workers.processes, per_worker_buffer_size=workers.buffer
            )
        )
    return iterator
