"""What stands beside accuracy and drug test: motifs, saliency, confounds, other methods, raters.

Joins what `mpjax.explain` left in a study's folder with the predictions; each part is the content
of one key of metrics.json. A part that was switched off, or not made, says so.
"""

import dataclasses
import importlib.metadata
import platform
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.estimates import absent
from mpjax.config import StudyConfig
from mpjax.report.panels import Pictures

FOLDER = "explain"  # of a study: what `mpjax.explain` writes
WINDOWS, SALIENCY = "windows.parquet", "saliency.json"
FINAL = "final"  # the codebook of all animals that may be trained on
BASELINE, BSOID = "bsoid.parquet", "bsoid.json"  # predictions of B-SOiD; how it judges itself
RATERS = "raters.json"  # of a study: what `mpjax.rate score` writes
_REPORTED_VERSIONS = ("mpjax", "jax", "flax", "optax", "grain", "numpy", "scipy")
_NOT_MADE = "`python -m mpjax.explain` has not been run in this folder"
_OFF = "switched off by config.{}.run=false"


def collect(
    config: StudyConfig, workdir: epath.PathLike, read: Predictions
) -> tuple[dict[str, Any], Pictures]:
    """Returns the parts of metrics.json, and the pictures that belong to them.

    Args:
        config: of the study.
        workdir: its folder.
        read: its predictions, with embeddings.

    Raises:
        ValueError: a file of an earlier stage belongs to another study.
    """
    from mpjax.analysis.raters import score
    from mpjax.interpret import motif_exemplars

    workdir = epath.Path(workdir)
    out = workdir / FOLDER
    scenes = _scenes(config, workdir) if config.confounds.run else None
    parts = {
        "motifs": _motifs(config, out, read),
        "saliency": _saliency(config, out, read),
        "confounds": _confounds(config, out, read, scenes),
        "methods": _methods(config, workdir, read, scenes),
    }
    rated = score.read(workdir / RATERS, read)
    if rated is not None:
        parts["raters"] = rated
    shown = motif_exemplars.read(out / "gallery") if config.motifs.run else None
    return parts, Pictures(shown, out / "saliency")


def predict(workdir: epath.PathLike) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the predictions of the heads of `workdir`, and what made them."""
    from mpjax.data import embeddings, records
    from mpjax.data.splits import read_splits
    from mpjax.heads import probe
    from mpjax.training import artifacts

    workdir = epath.Path(workdir)
    dataset = records.read_manifest(workdir / "dataset")["fingerprint"]
    embedded = embeddings.read(workdir / "embeddings.parquet", dataset=dataset)
    splits = read_splits(workdir / "dataset")
    table = probe.predict(embedded, splits, workdir / "heads")
    heads = artifacts.read_metadata(workdir / "heads")
    versions = {name: importlib.metadata.version(name) for name in _REPORTED_VERSIONS}
    provenance = {
        "cohort": splits.cohort,
        "dataset": dataset,
        "projector": embedded.meta["projector"],
        "views": embedded.meta["views"],
        "training": heads["training"],
        "split seed": splits.seed,
        "versions": versions | {"python": platform.python_version()},
    }
    meta = {
        "taxonomy": splits.taxonomy.to_dict(),
        "group": splits.group,
        "scheme": splits.scheme,
        "fingerprint": heads["fingerprint"],
        "exclude": splits.exclude,
        "provenance": provenance,
    }
    return table, meta


def read_windows(workdir: epath.PathLike) -> tuple[pd.DataFrame, Any, Any, Any]:
    """Returns the windows of a study, their embedding, all embeddings and the division."""
    from mpjax.data import embeddings, records, windows
    from mpjax.data.splits import read_splits

    workdir = epath.Path(workdir)
    dataset = workdir / "dataset"
    embedded = embeddings.read(
        workdir / "embeddings.parquet", dataset=records.read_manifest(dataset)["fingerprint"]
    )
    splits = read_splits(dataset)
    index = records.read_index(dataset)
    table, embedding = windows.cut(embedded, index, splits)
    names = np.array([*splits.taxonomy.fine, ""])  # a label of -1 has no name
    table["class"] = names[table["label"].to_numpy()]
    return table, embedding, embedded, splits


def files_read(workdir: epath.PathLike) -> list[epath.Path]:
    """Lists the files of a study that `collect` reads, as far as they are there."""
    out = epath.Path(workdir) / FOLDER
    names = [
        WINDOWS,
        SALIENCY,
        BASELINE,
        BSOID,
        "gallery/gallery.json",
        "random/embeddings.parquet",
    ]
    names += ["scenes.parquet", "pixels.parquet", "still-frame.parquet", "still-background.parquet"]
    paths = [out / name for name in names] + [epath.Path(workdir) / RATERS]
    return [path for path in paths if path.exists()]


def _motifs(config: StudyConfig, out: epath.Path, read: Predictions) -> dict[str, Any]:
    from mpjax.analysis.motifs import analyse, codebook
    from mpjax.data import splits

    if not config.motifs.run:
        return absent(_OFF.format("motifs"))
    if not (out / WINDOWS).exists():
        return absent(_NOT_MADE)
    table, found = read_motifs(out)
    folds = {int(name.removeprefix("fold_")): a for name, a in found.items() if name != FINAL}
    return analyse.analyse(
        table,
        found[FINAL],
        codebook=codebook.load(out / f"codebook-{FINAL}.npz"),
        taxonomy=read.taxonomy,
        group=read.group,
        config=config.motifs,
        folds=folds or {splits.FINAL: found[FINAL]},
        bootstrap=config.eval.bootstrap,
        seed=config.eval.seed,
    )


def read_motifs(out: epath.Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the windows of a study, and what each codebook says of them (`codebook.Assigned`).

    Args:
        out: the folder `explain` of the study.
    """
    from mpjax.analysis.motifs import codebook

    table = pd.read_parquet(out / WINDOWS)
    found = {
        name: codebook.Assigned(*(table[f"{field}[{name}]"].to_numpy() for field in _FIELDS))
        for name in _codebooks(table)
    }
    return table, found


_FIELDS = ("motif", "distance", "unlike")


def _codebooks(table: pd.DataFrame) -> list[str]:
    return [name[len("motif[") : -1] for name in table.columns if name.startswith("motif[")]


def _saliency(config: StudyConfig, out: epath.Path, read: Predictions) -> dict[str, Any]:
    from mpjax.analysis.classification import neighbours
    from mpjax.io import files

    if not config.saliency.run:
        return absent(_OFF.format("saliency"))
    if not (out / SALIENCY).exists():
        return absent(_NOT_MADE)
    return neighbours.add_neighbours(files.read_json(out / SALIENCY), read)


def _scenes(config: StudyConfig, workdir: epath.Path) -> pd.DataFrame | None:
    """Returns the looks of the recordings; None where nobody has looked."""
    from mpjax.data.scene import measure as scenes

    path = workdir / FOLDER / scenes.FILE
    if not path.exists():
        return None
    return scenes.read_or_measure(workdir / "dataset", path, config.confounds)


def _confounds(
    config: StudyConfig, out: epath.Path, read: Predictions, scenes: pd.DataFrame | None
) -> dict[str, Any]:
    from mpjax.analysis.confounds import audit, single_frames
    from mpjax.analysis.confounds.feature_tests import Settings
    from mpjax.data import embeddings

    if not config.confounds.run:
        return absent(_OFF.format("confounds"))
    if scenes is None:
        return absent(_NOT_MADE)
    settings = Settings(
        group=read.group,
        bootstrap=config.eval.bootstrap,
        permutations=config.confounds.permutations,
        seed=config.confounds.seed,
    )
    found = audit.audit(scenes, read.taxonomy, settings)
    stills = {}
    for kind in ("frame", "background"):
        path = out / f"still-{kind}.parquet"
        if read.embedding is None or not path.exists():
            stills[kind] = absent("no embeddings of clips or stills")
            continue
        still = embeddings.read(path)
        place = pd.Index(scenes["video"])
        mine = read.table["video"].isin(place).to_numpy()
        stills[kind] = single_frames.compare_stills(
            scenes,
            read.taxonomy,
            settings,
            clip=(place.get_indexer(read.table["video"][mine]), read.embedding[mine]),
            still=(place.get_indexer(still.table["video"]), still.embedding),
        )
    return found | {"stills": stills}


def _methods(
    config: StudyConfig, workdir: epath.Path, read: Predictions, scenes: pd.DataFrame | None
) -> dict[str, Any]:
    """Returns the table of methods: simple ones, B-SOiD and any other's."""
    from mpjax.analysis import predictions
    from mpjax.analysis.classification import baselines, method_table
    from mpjax.data.scene import pixels
    from mpjax.io import files

    out = workdir / FOLDER
    others: dict[str, Predictions] = {}
    missing = {}
    if config.baselines.run:
        others["majority"] = baselines.predict_majority(read)
        if (out / pixels.FILE).exists():
            table = pixels.read_or_measure(workdir / "dataset", out / pixels.FILE)
            cells = pd.DataFrame(np.stack(table["pixels"]), index=table["clip_id"])
            features = baselines.align(read.table, cells, "clip_id")
            others["nearest centroid of pixels"] = baselines.predict_centroid(read, features)
        else:
            missing["nearest centroid of pixels"] = _NOT_MADE
        if scenes is not None:
            features = baselines.align(
                read.table, scenes.set_index("video")[list(LOCOMOTION)], "video"
            )
            others["locomotion"] = baselines.predict_linear(read, features)
        else:
            missing["locomotion"] = _NOT_MADE
    if config.baselines.random:
        random = out / "random"
        if (random / "heads").exists():
            others["random weights"] = _random(workdir, random, read)
        else:
            missing["random weights"] = _NOT_MADE
    if (out / BASELINE).exists() and config.baseline == "bsoid":
        others["B-SOiD"] = predictions.read_predictions(out / BASELINE)
    if config.eval.against:
        others[config.eval.against] = predictions.read_predictions(config.eval.against)
    if not others:
        return absent("no other method was asked for")
    found = method_table.compare_methods(
        read, others, bootstrap=config.eval.bootstrap, seed=config.eval.seed
    )
    itself = files.read_json(out / BSOID)["itself"] if "B-SOiD" in others else None
    return found | {"missing": missing, "bsoid": itself}


# Of `mpjax.data.scene.measure.MOUSE`: what a tracking program tells of a mouse.
LOCOMOTION = ("mouse_speed", "mouse_size", "motion")


def _random(workdir: epath.Path, folder: epath.Path, read: Predictions) -> Predictions:
    from mpjax.data import embeddings
    from mpjax.data.splits import read_splits
    from mpjax.heads import probe

    embedded = embeddings.read(folder / "embeddings.parquet")
    table = probe.predict(embedded, read_splits(workdir / "dataset"), folder / "heads")
    p = np.stack(table["p"]).astype(np.float64)
    return dataclasses.replace(read, table=table, p=p, p_coarse=None, embedding=None)
