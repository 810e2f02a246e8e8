"""Grain pipelines from records to batches: the same batches for any number of workers and hosts.

An element of the `MapDataset` is a batch, so threads and worker processes cannot change it, and an
iterator's state is a position. In a run on several hosts, each process reads its own rows of every
batch; together they are the batch of a run on one host.
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

_AHEAD = 2  # batches decoded ahead of those that threads work on, per process


@dataclasses.dataclass(frozen=True)
class Workers:
    """Who reads and decodes; this changes the speed, never the batches."""

    threads: int = 0  # per process; 0: one per core. Decoding releases the GIL
    processes: int = 0  # workers; 0: this process alone, as Colab needs


@dataclasses.dataclass(frozen=True)
class Part:
    """Which rows of every batch one process reads; the default is all of them.

    A batch is cut into equal blocks. Processes may have the same blocks, if only the model is
    sharded over them.
    """

    # This process's, ascending from 0; not always adjacent, as a host's devices need not be
    # adjacent in the mesh.
    blocks: tuple[int, ...] = (0,)
    of: int = 1  # blocks of a batch

    def __post_init__(self) -> None:
        valid = tuple(block for block in range(self.of) if block in self.blocks)
        if not valid or valid != self.blocks:
            raise ValueError(
                f"blocks {self.blocks} of {self.of}; give ascending numbers from 0 to {self.of - 1}"
            )

    def rows(self, batch_size: int) -> Int[np.ndarray, "b"]:
        """Returns this process's rows of a batch of all processes, ascending."""
        if batch_size % self.of:
            raise ValueError(
                f"a batch of {batch_size} cannot be cut into {self.of} equal blocks; "
                f"choose a multiple of {self.of}"
            )
        return np.arange(batch_size).reshape(self.of, -1)[list(self.blocks)].reshape(-1)


def train_batches(
    source: records.RecordSource,
    *,
    batch_size: int,
    size: int,
    frames: int,
    seed: int,
    scale: tuple[float, float] = (0.08, 1.0),
    flip: bool = True,
    balanced: bool = False,
    epochs: int | None = None,
    start: int = 0,
    part: Part = Part(),
    workers: Workers = Workers(),
) -> grain.IterDataset:
    """Returns shuffled, augmented training batches.

    Every epoch visits every record once, in a new global order; a clip's augmentation depends on
    the seed and its position in that order alone. With `balanced`, an epoch draws every class as
    often as the largest class has records; at the end of an epoch, a class's records have been
    drawn equally often, to within one.

    Args:
        batch_size: records per batch, in all processes together; the last, smaller batch of the
            last epoch is dropped.
        size: px, side of the square crop.
        frames: frames per clip, cut at random from the record's; 0: all.
        seed: of the order and the augmentation.
        scale: range of the crop's share of the frame.
        flip: mirror half of the clips. A left-right flip swaps the paws.
        epochs: passes over the records; None: endless.
        start: batches to skip (already done).
        part: this process's rows.

    Returns:
        Batches `clips` uint8 [b, frames, size, size, 3], `label` int32 [b], `position` int64 [b]
        (into `source.index`), of this process's b rows. `iter(...)` has `get_state` and
        `set_state`; a state fits any `part`.

    Raises:
        ValueError: an epoch does not fill a batch, `part` does not divide it, or a record has no
            class.
    """
    unlabelled = source.index["clip_id"][source.index["label"] < 0]
    if len(unlabelled):
        raise ValueError(
            f"{len(unlabelled)} of {len(source)} records belong to no class, the first is clip "
            f"{unlabelled.iloc[0]}; open the RecordSource with labelled=True to leave them out"
        )
    order = _balanced_order(source, seed) if balanced else _order(len(source), seed)
    if len(order) < batch_size:
        raise ValueError(f"{len(order)} records do not fill a batch of {batch_size}")
    augment = _Augment(size=size, frames=frames, scale=scale, flip=flip)
    items = order.map(_Read(source)).random_map(augment).repeat(epochs)
    make = _TrainBatch(items, part.rows(batch_size), batch_size)
    return _iterate(grain.MapDataset.range(start, len(items) // batch_size).map(make), workers)


def _order(n: int, seed: int) -> grain.MapDataset:
    """Returns the numbers below `n`, shuffled differently in every epoch."""
    return grain.MapDataset.range(n).seed(seed).shuffle()


def _balanced_order(source: records.RecordSource, seed: int) -> grain.MapDataset:
    """Returns positions of records, of every class as many as the largest has."""
    label = source.index["label"].to_numpy()
    members = [np.flatnonzero(label == k) for k in np.unique(label)]
    largest = max((len(positions) for positions in members), default=0)
    draw = _DrawOfClass(members, [_order(len(positions), seed) for positions in members], largest)
    return _order(len(members) * largest, seed).map_with_index(draw)


def eval_batches(
    source: records.RecordSource,
    *,
    batch_size: int,
    views: clips.Views,
    start: int = 0,
    part: Part = Part(),
    workers: Workers = Workers(),
) -> grain.IterDataset:
    """Returns the fixed views of every record, each exactly once, in record order.

    Recordings of different shape have different numbers of views; batches are filled across
    records, so that all have one shape. All processes have equally many batches.

    Args:
        batch_size: views per batch, in all processes together; black fills the last batch.
        start: batches to skip (already done).
        part: this process's rows; ValueError if it does not divide a batch.

    Returns:
        Batches `clips` uint8 [b, frames, size, size, 3], `position` int64 [b] (into
        `source.index`), `view` int64 [b] (0, 1, … within a record) and `mask` bool [b], False for
        rows that only fill the batch (with the last position and view), of this process's b rows.
    """
    position, view = plan_views(source, views)
    make = _EvalBatch(source, views, position, view, part.rows(batch_size), batch_size)
    dataset = grain.MapDataset.range(start, -(-len(position) // batch_size)).map(make)
    return _iterate(dataset, workers)


def plan_views(
    source: records.RecordSource, views: clips.Views
) -> tuple[Int[np.ndarray, "n"], Int[np.ndarray, "n"]]:
    """Returns, for every view of every record in order, the record and its view's number."""
    counts = [
        views.count(*shape) for shape in source.index[list(records.SHAPE)].to_numpy().tolist()
    ]
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
class _DrawOfClass:
    """Maps a place in a balanced epoch to the position of the next record of its class."""

    members: Sequence[np.ndarray]
    orders: Sequence[grain.MapDataset]
    largest: int

    def __call__(self, index: int, place: int) -> int:
        epoch = index // (len(self.members) * self.largest)
        number, draw = divmod(place, self.largest)
        return int(self.members[number][self.orders[number][epoch * self.largest + draw]])


@dataclasses.dataclass(frozen=True)
class _TrainBatch:
    """Reads this process's rows of a batch and no others: `items` are made on access."""

    items: grain.MapDataset
    rows: np.ndarray
    batch_size: int
    pool: BufferPool = dataclasses.field(default_factory=BufferPool)

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        items = [self.items[i] for i in (number * self.batch_size + self.rows).tolist()]
        out = self.pool.empty((len(items), *items[0]["clips"].shape))
        stacked = {name: np.stack([item[name] for item in items]) for name in ("label", "position")}
        return {"clips": np.stack([item["clips"] for item in items], out=out)} | stacked


@dataclasses.dataclass(frozen=True)
class _EvalBatch:
    source: records.RecordSource
    views: clips.Views
    position: np.ndarray
    view: np.ndarray
    rows: np.ndarray
    batch_size: int
    pool: BufferPool = dataclasses.field(default_factory=BufferPool)

    def __call__(self, number: int) -> dict[str, np.ndarray]:
        rows = number * self.batch_size + self.rows
        mask = rows < len(self.position)
        rows = np.minimum(rows, len(self.position) - 1)
        position, view = self.position[rows], self.view[rows]
        frames = self.views.frames or int(self.source.index["frames"].iloc[position[0]])
        out = self.pool.empty((len(rows), frames, self.views.size, self.views.size, 3))
        out[~mask] = 0
        for record in np.unique(position[mask]):
            self._write(int(record), view, mask & (position == record), out)
        return {"clips": out, "position": position, "view": view, "mask": mask}

    def _write(self, record: int, view: np.ndarray, mine: np.ndarray, out: np.ndarray) -> None:
        """Writes the wanted views of a record into their rows of `out`."""
        jpegs = records.decode_example(self.source[record])["frames"]
        shape = (len(jpegs), *clips.frame_size(jpegs[0]), 3)
        rows = np.flatnonzero(mine).tolist()
        # The whole clip is the view: decode it where it belongs.
        if shape == out.shape[1:] and self.views.rotations == 1:
            clips.decode_frames(jpegs, out[rows[0]])
            for row in rows[1:]:
                out[row] = out[rows[0]]
            return
        cut = self.views.cut(clips.decode_frames(jpegs, self.pool.empty(shape)))
        for row in rows:
            out[row] = cut[view[row]]


def _iterate(dataset: grain.MapDataset, workers: Workers) -> grain.IterDataset:
    threads = workers.threads or os.cpu_count() or 1
    # An element is a batch; grain's default of 500 ahead would fill the memory. This many, so that
    # no thread waits for a slower one's batch:
    iterator = dataset.to_iter_dataset(grain.ReadOptions(threads, threads + _AHEAD))
    if workers.processes:
        options = grain.MultiprocessingOptions(workers.processes, _AHEAD)
        iterator = iterator.mp_prefetch(options)
    return iterator
