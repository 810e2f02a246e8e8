"""A finished study as a model: everything that new recordings are scored with."""

import dataclasses
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from mpjax.analysis import predictions
from mpjax.analysis.classification import calibration
from mpjax.analysis.motifs import codebook as codebooks
from mpjax.analysis.motifs.codebook import Codebook
from mpjax.config import VideoConfig, from_config_dict
from mpjax.data import embeddings, records, video_metadata
from mpjax.data.clips import Views
from mpjax.data.splits import read_splits
from mpjax.io import files
from mpjax.models.projector import Projector
from mpjax.studies.projector import recall_projector
from mpjax.studies.windows import FINAL, read_windows
from mpjax.studies.workdir import Workdir
from mpjax.taxonomy import Taxonomy
from mpjax.training import artifacts

_COMPARED = 64  # windows by which a codebook is recognised


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedStudy:
    """What a study has learned, and how it cut its videos into clips."""

    workdir: Workdir
    taxonomy: Taxonomy
    video: VideoConfig
    views: Views  # of each clip
    views_meta: dict[str, Any]  # the same as JSON
    projector: Projector
    batch_size: int  # views that the projector embeds at once
    heads: dict[str, Any]  # their variables, by name
    temperature: dict[str, Any]  # {"value", …} of the calibration, or {"value": None, "why"}
    codebook: Codebook | None  # the final motifs, with their gates
    no_codebook: str  # why there is none
    video_hashes: frozenset[str]  # sha256 of the study's own videos
    all_cropped: bool  # whether every recording was cropped to a region of interest
    fingerprints: dict[str, str | None]  # of dataset, heads, projector, codebook (None: without)


def load(workdir: epath.PathLike, *, weights: str = "") -> TrainedStudy:
    """Reads the study in `workdir`; `weights` are its projector's, where they have moved.

    Raises:
        FileNotFoundError, ValueError: there is no finished study, or its parts do not belong
            together; the message names the stage to run.
    """
    workdir = Workdir(workdir)
    if not workdir.root.is_dir():
        raise FileNotFoundError(f"{workdir}: no such folder; give that of a finished study")
    manifest = records.read_manifest(workdir.dataset)
    heads = artifacts.restore(workdir.heads)
    trained = artifacts.read_metadata(workdir.heads)
    read = predictions.read_predictions(workdir.predictions)
    if read.meta["fingerprint"] != trained["fingerprint"]:
        raise ValueError(
            f"{workdir}: predictions.parquet is of other heads, so the temperature cannot be "
            "fitted; run `python -m mpjax.eval`"
        )
    made_by = trained["embeddings"]
    projector, batch_size = recall_projector(
        workdir, made_by["projector"]["fingerprint"], weights=weights
    )
    codebook, no_codebook = _read_codebook(workdir)
    hashes = files.read_json(workdir.video_hashes) if workdir.video_hashes.exists() else {}
    videos = video_metadata.read(workdir.dataset)
    return TrainedStudy(
        workdir=workdir,
        taxonomy=read_splits(workdir.dataset).taxonomy,
        video=from_config_dict(manifest["video"], VideoConfig, path="dataset.json: video"),
        views=embeddings.views_of(made_by["views"]),
        views_meta=made_by["views"],
        projector=projector,
        batch_size=batch_size,
        heads=heads,
        temperature=calibration.calibrate(read).meta,
        codebook=codebook,
        no_codebook=no_codebook,
        video_hashes=frozenset(hashes.values()),
        all_cropped=videos is not None and bool((videos["roi"] != "").all()),
        fingerprints={
            "dataset": manifest["fingerprint"],
            "heads": trained["fingerprint"],
            "projector": projector.fingerprint,
            "codebook": codebook.fingerprint if codebook else None,
        },
    )


def _read_codebook(workdir: Workdir) -> tuple[Codebook | None, str]:
    """Returns the final codebook, or why there is none; one of older embeddings does not serve."""
    path = workdir.codebook(FINAL)
    if not path.exists():
        return None, "the study has no motifs (config.motifs.run=true, `python -m mpjax.explain`)"
    book = codebooks.load(path)
    other = "its motifs are of other embeddings; run `python -m mpjax.explain` again"
    if not (workdir.windows.exists() and workdir.embeddings.exists()):
        return None, other
    # It fits where it gives the study's embeddings the distances that were noted.
    column = f"distance[{FINAL}]"
    then = pd.read_parquet(workdir.windows, columns=["clip_id", column])
    table, embedding, _, _ = read_windows(workdir)
    if then["clip_id"].tolist() != table["clip_id"].tolist():
        return None, other
    try:
        now = book.assign(embedding[:_COMPARED]).distance
    except ValueError:  # embeddings of another width
        return None, other
    fits = np.allclose(now, then[column].to_numpy()[:_COMPARED], rtol=1e-4)
    return (book, "") if fits else (None, other)
