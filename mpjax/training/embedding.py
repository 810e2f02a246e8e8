"""Embeds a dataset with a frozen projector, once per dataset, projector and choice of views."""

import time
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tqdm
from etils import epath

from mpjax import files
from mpjax.config import ProjectorConfig
from mpjax.data import embeddings, pipeline, records
from mpjax.models.projector import Projector

# A killed run loses at most this many seconds of work.
_SECONDS_PER_PART = 20.0


def describe(dataset_fingerprint: str, projector: Projector, config: ProjectorConfig) -> dict:
    """Returns what decides the embeddings, and the fingerprint of it."""
    views = {
        "size": config.size,
        "frames": config.frames,
        "views": config.views,
        "crops": config.crops,
    }
    meta = {
        "dataset": dataset_fingerprint,
        "projector": {"name": projector.name, "fingerprint": projector.fingerprint},
        "views": views,
    }
    return meta | {"fingerprint": files.fingerprint(meta)}


def embed(
    dataset: epath.PathLike,
    out: epath.PathLike,
    projector: Projector,
    config: ProjectorConfig,
    *,
    workers: pipeline.Workers = pipeline.Workers(),
) -> bool:
    """Writes the embeddings of every record of `dataset` to `out`.

    Finished parts are kept beside `out`: a killed run goes on where it stopped.

    Args:
        dataset: folder of the records.
        out: path of embeddings.parquet.
        projector: the frozen projector.
        config: views and batch size.
        workers: threads and processes that decode.

    Returns:
        False where `out` already holds these very embeddings.
    """
    out = epath.Path(out)
    meta = describe(records.read_manifest(dataset)["fingerprint"], projector, config)
    if (embeddings.read_meta(out) or {}).get("fingerprint") == meta["fingerprint"]:
        return False
    parts = out.parent / f".{out.name}.{meta['fingerprint']}.part"
    for stale in out.parent.glob(f".{out.name}.*.part"):
        if stale != parts and stale.is_dir():
            stale.rmtree()
    parts.mkdir(parents=True, exist_ok=True)
    source = records.RecordSource(dataset)
    done = _records_done(parts)
    batches = pipeline.eval_batches(
        source,
        batch_size=config.batch_size,
        size=config.size,
        frames=config.frames,
        views=config.views,
        crops=config.crops,
        start=done,
        workers=workers,
    )
    with tqdm.tqdm(total=len(source), initial=done, desc="embedding", unit="clip") as bar:
        _run(batches, projector, source, parts, done, bar)
    embeddings.write(out, pa.concat_tables(_read_parts(parts)), meta)
    parts.rmtree()
    return True


def _records_done(parts: epath.Path) -> int:
    """Returns the number of records that earlier runs finished: parts are named by their end."""
    return max((int(part.stem) for part in parts.glob("*.parquet")), default=0)


def _read_parts(parts: epath.Path) -> list[pa.Table]:
    tables = []
    for part in sorted(parts.glob("*.parquet"), key=lambda part: part.name):
        with part.open("rb") as source:
            tables.append(pq.read_table(source))
    return tables


def _run(
    batches: Any,
    projector: Projector,
    source: records.RecordSource,
    parts: epath.Path,
    done: int,
    bar: tqdm.tqdm,
) -> None:
    rows = _Rows(source, parts, done)
    last_written = time.monotonic()
    previous = None
    for batch in batches:
        # The device works on this batch while the one before is fetched.
        current = (batch, projector(batch["clips"]))
        if previous is not None:
            rows.add(*previous)
        previous = current
        if time.monotonic() - last_written > _SECONDS_PER_PART:
            rows.write(rows.complete())
            last_written = time.monotonic()
        bar.update(rows.complete() - bar.n)
    if previous is not None:
        rows.add(*previous)
    rows.write(len(source))
    bar.update(len(source) - bar.n)


class _Rows:
    """Embedded views that are not yet written, in record order."""

    def __init__(self, source: records.RecordSource, parts: epath.Path, done: int):
        self._source = source
        self._done = done
        self._parts = parts
        self._position = np.zeros(0, np.int64)
        self._view = np.zeros(0, np.int64)
        self._embedding: np.ndarray | None = None

    def add(self, batch: dict[str, np.ndarray], embedding: Any) -> None:
        mask = batch["mask"]
        new = np.asarray(embedding)[mask]
        self._position = np.concatenate([self._position, batch["position"][mask]])
        self._view = np.concatenate([self._view, batch["view"][mask]])
        before = new[:0] if self._embedding is None else self._embedding
        self._embedding = np.concatenate([before, new])

    def complete(self) -> int:
        """Returns the number of records of which no view is still to come."""
        return int(self._position[-1]) if len(self._position) else self._done

    def write(self, end: int) -> None:
        """Writes and forgets the views of all records before `end`."""
        ready = self._position < end
        if not ready.any() or self._embedding is None:
            return
        index = self._source.index.iloc[self._position[ready]]
        table = embeddings.to_arrow(index, self._view[ready], self._embedding[ready])
        embeddings.write(self._parts / f"{end:012d}.parquet", table, {})
        self._position, self._view = self._position[~ready], self._view[~ready]
        self._embedding = self._embedding[~ready]
        self._done = end
