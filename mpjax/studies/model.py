"""A finished study as a model: all that later recordings are scored with, read off its folder."""

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from etils import epath

from mpjax.config import VideoConfig, from_config_dict
from mpjax.io import files, stores
from mpjax.studies import evaluation
from mpjax.taxonomy import Taxonomy

if TYPE_CHECKING:
    from mpjax.analysis.motifs.codebook import Codebook
    from mpjax.data.clips import Views
    from mpjax.models.projector import Projector


_COMPARED = 64  # windows by which a codebook is recognised


@dataclasses.dataclass(frozen=True, eq=False)
class Trained:
    """What a study has learned, and how it looked at its videos.

    Attributes:
        workdir: its folder.
        taxonomy: its classes.
        video: geometry of its clips.
        views: of each clip.
        views_meta: the same as JSON.
        projector: what embeds them.
        batch_size: views that it takes at once.
        heads: variables of its heads, by name.
        temperature: {"value", …} of its calibration, or {"value": None, "why"}.
        codebook: the final motifs, with their gates; None: there are none.
        no_codebook: why not.
        known: sha256 of the videos of the study itself.
        cut: whether every recording of the study was cut to a region of interest.
        fingerprints: of dataset, heads, projector and codebook (None: without).
    """

    workdir: epath.Path
    taxonomy: Taxonomy
    video: VideoConfig
    views: "Views"
    views_meta: dict[str, Any]
    projector: "Projector"
    batch_size: int
    heads: dict[str, Any]
    temperature: dict[str, Any]
    codebook: "Codebook | None"
    no_codebook: str
    known: frozenset[str]
    cut: bool
    fingerprints: dict[str, str | None]


def load(workdir: epath.PathLike, *, weights: str = "") -> Trained:
    """Reads the study in `workdir`.

    Args:
        workdir: its folder.
        weights: of its projector, where they have moved since.

    Raises:
        FileNotFoundError, ValueError: there is no finished study, or its parts do not belong
            together; the message names the stage to run.
    """
    from mpjax.analysis import predictions
    from mpjax.analysis.classification import calibration
    from mpjax.data import embeddings, records
    from mpjax.data.splits import read_splits
    from mpjax.training import artifacts, finetune

    workdir = stores.ready(workdir)
    if not workdir.is_dir():
        raise FileNotFoundError(f"{workdir}: no such folder; name that of a finished study")
    manifest = records.read_manifest(workdir / "dataset")
    heads = artifacts.restore(workdir / "heads")
    told = artifacts.read_metadata(workdir / "heads")
    read = predictions.read_predictions(workdir / "predictions.parquet")
    if read.meta["fingerprint"] != told["fingerprint"]:
        raise ValueError(
            f"{workdir}: predictions.parquet is of other heads, so the temperature cannot be "
            "fitted; run `python -m mpjax.eval`"
        )
    made_by = told["embeddings"]
    projector, batch_size = finetune.recall_projector(
        workdir, made_by["projector"]["fingerprint"], weights=weights
    )
    codebook, no_codebook = _codebook(workdir)
    hashes = workdir / ".video_hashes.json"
    return Trained(
        workdir=workdir,
        taxonomy=read_splits(workdir / "dataset").taxonomy,
        video=from_config_dict(manifest["video"], VideoConfig, path="dataset.json: video"),
        views=embeddings.views_of(made_by["views"]),
        views_meta=made_by["views"],
        projector=projector,
        batch_size=batch_size,
        heads=heads,
        temperature=calibration.calibrate(read).meta,
        codebook=codebook,
        no_codebook=no_codebook,
        known=frozenset(files.read_json(hashes).values() if hashes.exists() else ()),
        cut=_was_cut(workdir / "dataset"),
        fingerprints={
            "dataset": manifest["fingerprint"],
            "heads": told["fingerprint"],
            "projector": projector.fingerprint,
            "codebook": codebook.fingerprint if codebook else None,
        },
    )


def _codebook(workdir: epath.Path) -> "tuple[Codebook | None, str]":
    """Returns the final codebook, or why there is none; one of older embeddings does not serve."""
    from mpjax.analysis.motifs import codebook

    path = workdir / evaluation.FOLDER / f"codebook-{evaluation.FINAL}.npz"
    if not path.exists():
        return None, "the study has no motifs (config.motifs.run=true, `python -m mpjax.explain`)"
    book = codebook.load(path)
    if not _is_of(book, workdir):
        return None, "its motifs are of other embeddings; run `python -m mpjax.explain` again"
    return book, ""


def _is_of(book: "Codebook", workdir: epath.Path) -> bool:
    """Says whether the codebook gives the study's embeddings the distances that were noted."""
    noted = workdir / evaluation.FOLDER / evaluation.WINDOWS
    if not noted.exists() or not (workdir / "embeddings.parquet").exists():
        return False
    column = f"distance[{evaluation.FINAL}]"
    then = pd.read_parquet(noted, columns=["clip_id", column])
    table, embedding, _, _ = evaluation.read_windows(workdir)
    if then["clip_id"].tolist() != table["clip_id"].tolist():
        return False
    try:
        now = book.assign(embedding[:_COMPARED]).distance
    except ValueError:  # embeddings of another width
        return False
    return bool(np.allclose(now, then[column].to_numpy()[:_COMPARED], rtol=1e-4))


def _was_cut(dataset: epath.Path) -> bool:
    from mpjax.data import video_metadata

    table = video_metadata.read(dataset)
    return table is not None and bool((table["roi"] != "").all())
