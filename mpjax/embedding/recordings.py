"""Embeds single recordings that are in no dataset, as `mpjax.embedding.dataset` would.

A batch holds views of one recording only and always has the same size, so that a recording's
embeddings are the same to the last bit whatever is embedded before or after it.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
from etils import epath
from jaxtyping import UInt8

from mpjax.config import MeshConfig
from mpjax.data import clips, embeddings, records
from mpjax.embedding import dataset
from mpjax.models.projector import Projector
from mpjax.training import partitioning

Encoded = tuple[dict[str, Any], bytes]  # a clip's metadata and its Example


class Embedder:
    """Embeds recordings one by one, with the frames of a few clips in memory at a time."""

    def __init__(self, projector: Projector, views: clips.Views, batch_size: int):
        """Puts the weights of the frozen projector on a device; `batch_size` counts views."""
        # One device: embeddings must not depend on how many a machine has.
        mesh = partitioning.make_mesh(MeshConfig(), devices=jax.local_devices()[:1])
        self._step = dataset.embed_step(projector, mesh)
        self._views = views
        self._batch_size = batch_size

    def embed(self, encoded: Iterable[Encoded]) -> pa.Table:
        """Returns the embeddings of a recording, a row per view, as `embeddings.to_arrow` does.

        `encoded` are its clips in order of time, each with a value for every name of
        `records.METADATA`.

        Raises:
            ValueError: there is no clip, or the views need more frames than a clip has.
        """
        rows: list[dict[str, Any]] = []
        done = list(dataset.embed_batches(self._batches(encoded, rows), self._step))
        if not rows:
            raise ValueError("a recording without a clip cannot be embedded")
        table = pd.DataFrame(rows).assign(split="")
        whole, statistics = (np.concatenate(each)[: len(rows)] for each in zip(*done, strict=True))
        return embeddings.to_arrow(table, table["view"].to_numpy(), whole, statistics=statistics)

    def _batches(
        self, encoded: Iterable[Encoded], rows: list[dict[str, Any]]
    ) -> Iterator[UInt8[np.ndarray, "b t size size 3"]]:
        """Yields full batches, the last one filled with black; adds each view to `rows`."""
        waiting: list[UInt8[np.ndarray, "t size size 3"]] = []
        for metadata, payload in encoded:
            # As from a dataset: through JPEG, which changes pixels a little.
            frames = clips.decode_frames(records.decode_example(payload)["frames"])
            for number, view in enumerate(self._views.cut(frames)):
                rows.append({name: metadata[name] for name in records.METADATA} | {"view": number})
                waiting.append(view)
                if len(waiting) == self._batch_size:
                    yield np.stack(waiting)
                    waiting = []
        if waiting:
            black = [np.zeros_like(waiting[0])] * (self._batch_size - len(waiting))
            yield np.stack(waiting + black)


def embed_once(
    path: epath.PathLike, encoded: Iterable[Encoded], embedder: Embedder, *, meta: dict[str, Any]
) -> embeddings.Embeddings:
    """Returns the embeddings of a recording from `path`, or embeds it and writes them there.

    `meta` has the `fingerprint` of recording, geometry of clips, projector and views; and the
    `views`. `encoded` is not read if `path` has the embeddings of that fingerprint.
    """
    if (embeddings.read_meta(path) or {}).get("fingerprint") != meta["fingerprint"]:
        embeddings.write(path, embedder.embed(encoded), meta)
    return embeddings.read(path)
