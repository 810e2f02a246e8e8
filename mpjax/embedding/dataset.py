"""Embeds a dataset with a frozen projector, once per dataset, projector and choice of views.

On several devices and hosts every batch is cut over the mesh; only the first process writes.
"""

import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pyarrow as pa
from etils import epath
from jax.experimental import multihost_utils
from jaxtyping import Array, Float, UInt8

from mpjax.config import MeshConfig, ProjectorConfig
from mpjax.data import embeddings, pipeline, records
from mpjax.data.clips import Views
from mpjax.io import files, parquet, progress
from mpjax.models.projector import Outputs, Projector, normalise
from mpjax.training import partitioning

_SECONDS_PER_PART = 20.0  # of work: what a killed run loses at most
_UNCHANGED = -1  # instead of the number of finished batches


def describe(dataset_fingerprint: str, projector: Projector, config: ProjectorConfig) -> dict:
    """Returns what determines the embeddings, and its fingerprint."""
    chosen = dataclasses.asdict(config)
    views = {name: chosen[name] for name in ("size", "frames", "views", "crops")}
    if config.rotations != 1:  # older embeddings, under this name, keep their fingerprint
        views["turns"] = config.rotations
    meta = {
        "dataset": dataset_fingerprint,
        "projector": {"name": projector.name, "fingerprint": projector.fingerprint},
        "views": views,
        "statistics": list(embeddings.STATISTICS),
    }
    return meta | {"fingerprint": files.fingerprint(meta)}


def embed(
    dataset: epath.PathLike,
    out: epath.PathLike,
    projector: Projector,
    config: ProjectorConfig,
    *,
    mesh: jax.sharding.Mesh | None = None,
    shown: int = 1,
    label: str = "embedding",
) -> bool:
    """Writes the embeddings of every record of the folder `dataset` to the Parquet file `out`.

    Finished parts are kept next to `out`: a killed run resumes from them, on any mesh. With several
    processes, all must call this; it returns in all of them once `out` is written. Returns False
    if `out` already holds exactly these embeddings.

    Args:
        mesh: devices, of `partitioning.make_mesh`; None: the first device of this process.
        shown: how often each frame is repeated for the projector; if more than once, the caller
            changes the projector's fingerprint accordingly.
        label: of the progress bar.
    """
    mesh = mesh or partitioning.make_mesh(MeshConfig(), devices=jax.local_devices()[:1])
    config = dataclasses.replace(config, batch_size=round_up(config.batch_size, mesh))
    out = epath.Path(out)
    meta = describe(records.read_manifest(dataset)["fingerprint"], projector, config)
    folder = out.parent / f".{out.name}.{meta['fingerprint']}-{config.batch_size}.part"
    is_writer = partitioning.is_writer()
    done = _batches_done(out, folder, meta) if is_writer else 0
    done = int(multihost_utils.broadcast_one_to_all(np.int32(done)))  # the writer's, in all
    if done == _UNCHANGED:
        return False
    source = records.RecordSource(dataset)
    parts = _Parts(folder, source, config, done)
    batches = pipeline.eval_batches(
        source,
        batch_size=config.batch_size,
        views=parts.views,
        start=done,
        part=partitioning.local_part(mesh),
    )
    clips = (batch["clips"] for batch in batches)
    if shown > 1:
        clips = (np.repeat(frames, shown, axis=1) for frames in clips)
    embedded = embed_batches(clips, embed_step(projector, mesh))
    desc = f"{label}, {len(source)} clips"
    bar = progress.after_first(
        embedded, desc=desc, unit="batch", total=parts.total, initial=done, disable=not is_writer
    )
    for embedding, statistics in bar:
        if is_writer:
            parts.add(embedding, statistics)
    if is_writer:
        embeddings.write(out, parts.join(), meta)
        folder.rmtree()
    partitioning.wait_for_all(f"{out} is written")
    return True


def round_up(batch_size: int, mesh: jax.sharding.Mesh) -> int:
    """Rounds a batch size up to one that the mesh divides; embeddings do not depend on it."""
    ways = mesh.shape["data"]
    return -(-batch_size // ways) * ways


def _batches_done(out: epath.Path, folder: epath.Path, meta: dict[str, Any]) -> int:
    """Returns how many batches the parts in `folder` hold; removes those of other embeddings."""
    if (embeddings.read_meta(out) or {}).get("fingerprint") == meta["fingerprint"]:
        return _UNCHANGED
    for stale in out.parent.glob(f".{out.name}.*.part"):
        if stale != folder and stale.is_dir():
            stale.rmtree()
    files.make_folder(folder)
    return max((int(part.stem) for part in folder.glob("*.parquet")), default=0)


def embed_program(projector: Projector, mesh: jax.sharding.Mesh) -> jax.stages.Wrapped:
    """Returns `(params, clips) -> (embeddings, pixel statistics)` for a mesh.

    The clips are cut over the mesh; weights and results are whole on every device, so that the
    writer can read them without another exchange. Projectors that differ only in their weights
    share one program, compiled once per shape.
    """
    return _program(projector.apply, projector.mean, projector.std, mesh)


@functools.lru_cache(maxsize=8)
def _program(
    apply: Callable[[Any, Array], Outputs],
    mean: tuple[float, ...],
    std: tuple[float, ...],
    mesh: jax.sharding.Mesh,
) -> jax.stages.Wrapped:
    whole = partitioning.replicated(mesh)

    def embed(
        params: Any, clips: UInt8[Array, "b t h w 3"]
    ) -> tuple[Float[Array, "b d"], Float[Array, "b 2"]]:
        return apply(params, normalise(clips, mean, std))[0], pixel_statistics(clips)

    cut = partitioning.batch_sharding(mesh)
    return jax.jit(embed, in_shardings=(whole, cut), out_shardings=whole)


def pixel_statistics(clips: UInt8[Array, "b t h w 3"]) -> Float[Array, "b 2"]:
    """Returns the `embeddings.STATISTICS` of each clip, on the scale 0 to 1.

    motion: the mean absolute difference between a frame and the next one (0 for a single frame),
    a proxy of locomotion. brightness: the mean of all pixels.
    """
    grey = clips.astype(jnp.float32).mean(axis=-1) / 255
    steps = max(clips.shape[1] - 1, 1)
    motion = jnp.abs(jnp.diff(grey, axis=1)).mean(axis=(2, 3)).sum(axis=1) / steps
    return jnp.stack([motion, grey.mean(axis=(1, 2, 3))], axis=1)


EmbedBatch = Callable[[UInt8[np.ndarray, "b t h w 3"]], tuple[Array, Array]]


def embed_step(projector: Projector, mesh: jax.sharding.Mesh) -> EmbedBatch:
    """Returns `embed_program` as a function of this process's clips of a batch."""
    whole = partitioning.replicated(mesh)
    params = jax.tree.map(
        lambda x: jax.make_array_from_process_local_data(whole, np.asarray(x)), projector.params
    )
    step = embed_program(projector, mesh)

    def embed_batch(clips: UInt8[np.ndarray, "b t h w 3"]) -> tuple[Array, Array]:
        with jax.set_mesh(mesh):
            return step(params, partitioning.to_global(mesh, clips))

    return embed_batch


def embed_batches(
    batches: Iterable[UInt8[np.ndarray, "b t h w 3"]], embed_batch: EmbedBatch
) -> Iterator[tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n 2"]]]:
    """Yields the results of each batch; the device works on one while the last is fetched."""
    started = itertools.chain(map(embed_batch, batches), [()])
    for results, _ in itertools.pairwise(started):
        embedding, statistics = map(np.asarray, results)
        yield embedding, statistics


class _Parts:
    """Collects embeddings in files of `folder`, named by the number of finished batches."""

    def __init__(
        self, folder: epath.Path, source: records.RecordSource, config: ProjectorConfig, done: int
    ):
        self.views = Views(config.size, config.frames, config.views, config.crops, config.rotations)
        self._position, self._view = pipeline.plan_views(source, self.views)
        self.total = -(-len(self._position) // config.batch_size)
        self._folder, self._index = folder, source.index
        self._batch_size, self._done = config.batch_size, done
        self._tables: list[pa.Table] = []
        self._last_written = time.monotonic()

    def add(
        self, embedding: Float[np.ndarray, "n d"], statistics: Float[np.ndarray, "n 2"]
    ) -> None:
        """Adds the next batch; writes a part every `_SECONDS_PER_PART`."""
        rows = slice(self._done * self._batch_size, (self._done + 1) * self._batch_size)
        index, view = self._index.iloc[self._position[rows]], self._view[rows]
        n = len(view)
        table = embeddings.to_arrow(index, view, embedding[:n], statistics=statistics[:n])
        self._tables.append(table)
        self._done += 1
        if time.monotonic() - self._last_written > _SECONDS_PER_PART:
            self._write()

    def join(self) -> pa.Table:
        """Returns everything added in this run and before."""
        if self._tables:
            self._write()
        parts = sorted(self._folder.glob("*.parquet"), key=lambda part: part.name)
        return pa.concat_tables(map(parquet.read, parts))

    def _write(self) -> None:
        path = self._folder / f"{self._done:012d}.parquet"
        embeddings.write(path, pa.concat_tables(self._tables), {})
        self._tables, self._last_written = [], time.monotonic()
