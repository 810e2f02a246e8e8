"""Embeds a dataset with a frozen projector, once per dataset, projector and choice of views."""

import itertools
import time
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tqdm
from etils import epath

from mpjax import files
from mpjax.config import ProjectorConfig
from mpjax.data import embeddings, pipeline, records
from mpjax.data.clips import Views
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
    parts = out.parent / f".{out.name}.{meta['fingerprint']}-{config.batch_size}.part"
    for stale in out.parent.glob(f".{out.name}.*.part"):
        if stale != parts and stale.is_dir():
            stale.rmtree()
    parts.mkdir(parents=True, exist_ok=True)
    source = records.RecordSource(dataset)
    views = Views(config.size, config.frames, config.views, config.crops)
    total = -(-len(pipeline.plan_views(source, views)[0]) // config.batch_size)
    # Parts are named by the batches done when they were written.
    done = max((int(part.stem) for part in parts.glob("*.parquet")), default=0)
    batches = pipeline.eval_batches(
        source, batch_size=config.batch_size, views=views, start=done, workers=workers
    )
    with tqdm.tqdm(total=total, initial=done, desc="embedding", unit="batch") as bar:
        _embed_batches(batches, projector, source, parts, bar)
    embeddings.write(out, pa.concat_tables(_read_parts(parts)), meta)
    parts.rmtree()
    return True


def _embed_batches(
    batches: Iterable[dict[str, np.ndarray]],
    projector: Projector,
    source: records.RecordSource,
    parts: epath.Path,
    bar: tqdm.tqdm,
) -> None:
    """Embeds batches and writes a part now and then; `bar.n` counts the batches done."""
    tables: list[pa.Table] = []
    last_written = time.monotonic()
    ahead = None
    # The device works on one batch while the one before is fetched; None fetches the last.
    for batch in itertools.chain(batches, [None]):
        behind = ahead
        ahead = None if batch is None else (batch, projector(batch["clips"]))
        if behind is None:
            continue
        tables.append(_to_table(*behind, source))
        bar.update()
        if batch is None or time.monotonic() - last_written > _SECONDS_PER_PART:
            embeddings.write(parts / f"{bar.n:012d}.parquet", pa.concat_tables(tables), {})
            tables, last_written = [], time.monotonic()


def _to_table(
    batch: dict[str, np.ndarray], embedding: Any, source: records.RecordSource
) -> pa.Table:
    mask = batch["mask"]
    index = source.index.iloc[batch["position"][mask]]
    return embeddings.to_arrow(index, batch["view"][mask], np.asarray(embedding)[mask])


def _read_parts(parts: epath.Path) -> list[pa.Table]:
    tables = []
    for part in sorted(parts.glob("*.parquet"), key=lambda part: part.name):
        with part.open("rb") as source:
            tables.append(pq.read_table(source))
    return tables
