"""The evaluation of a study: metrics.json, put together in one place, and the report that shows it.

A part that was switched off, or whose stage has not been run, says so.
"""

import dataclasses
import importlib.metadata
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from etils import epath

from mpjax.analysis import confounds, predictions
from mpjax.analysis.classification import (
    baselines,
    calibration,
    comparison,
    evaluate,
    method_table,
    neighbours,
)
from mpjax.analysis.drug.trial import analyse_drugs
from mpjax.analysis.motifs import analyse, codebook
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.progression import describe_progression
from mpjax.analysis.raters import score as raters
from mpjax.analysis.stats.estimates import absent
from mpjax.config import StudyConfig
from mpjax.data import embeddings, splits
from mpjax.data.scene import measure, pixels
from mpjax.formatting import signed
from mpjax.heads import leakage, probe
from mpjax.interpret import motif_exemplars
from mpjax.io import files, stores
from mpjax.io.files import sha256
from mpjax.report import page
from mpjax.report.panels import Pictures
from mpjax.studies import provenance, requirements
from mpjax.studies.predictions import predict
from mpjax.studies.windows import FINAL, read_motifs
from mpjax.studies.workdir import Workdir

SCHEMA = "mpjax.metrics/2"
LOCOMOTION = ("mouse_speed", "mouse_size", "motion")  # of a scene: what a tracking program measures
_NOT_MADE = "`python -m mpjax.explain` has not been run in this folder"


def run(config: StudyConfig, workdir: epath.PathLike) -> int:
    """Writes predictions, figures and the report of a study; returns the exit status.

    Raises:
        ValueError: bad input; or `config.require` is no list of requirements.
    """
    required = requirements.parse(config.require)
    workdir = Workdir(workdir)
    differing = provenance.differing(workdir, config)  # read before anything is written
    path = workdir.predictions
    has_heads = workdir.heads.exists() or not path.exists()
    if has_heads:
        table, meta = predict(workdir)
        identity = _identify(config, meta, workdir)
    else:
        print(f"predictions {path}: evaluated as they are, since the study has no heads")
        identity = _identify(config, sha256(path), workdir)
    made = (path, workdir.metrics, workdir.report, workdir.report_stamp)
    if all(each.exists() for each in made) and files.read_json(workdir.report_stamp) == identity:
        print(f"report {workdir.report}: unchanged, not written again")
        return _check(required, files.read_json(workdir.metrics))
    if has_heads:
        predictions.write_predictions(path, table, meta)
        del table  # its embeddings, which are read back below, are large
    read = predictions.read_predictions(path, embedding=True)
    demonstration = leakage.read(workdir.heads)
    metrics = put_together(config, read, workdir=workdir, demonstration=demonstration)
    files.write_json(workdir.metrics, metrics)
    shown = motif_exemplars.read(workdir.gallery) if config.motifs.run else None
    images = Pictures(shown, workdir.saliency_images)
    page.write_report(workdir.report, metrics, read, title=config.name, pictures=images)
    files.write_json(workdir.report_stamp, identity)
    for line in _answers(metrics):
        print(line)
    for line in differing:
        print(
            f"note: differs from the study: {line}; its own settings: --config=FILE or --config.…"
        )
    print(f"figures {workdir.metrics}")
    print(f"report {workdir.report}")
    return _check(required, metrics)


def put_together(
    config: StudyConfig,
    read: Predictions,
    *,
    workdir: Workdir | None = None,
    demonstration: pd.DataFrame | None = None,
) -> dict[str, Any]:
    """Computes all of metrics.json; accuracy is that on the held-out clips of trained classes.

    What cannot be estimated is {"value": None, "why": …}.

    Args:
        config: of the study.
        read: its predictions, with embeddings where there are any.
        workdir: None: only the parts that follow from predictions.
        demonstration: of leakage, see `evaluate.describe_demonstration`.

    Raises:
        ValueError: a file of an earlier stage belongs to another study.
    """
    draws = {"bootstrap": config.eval.bootstrap, "seed": config.eval.seed}
    permuted = draws | {"permutations": config.eval.permutations}
    calibrated = calibration.calibrate(read)
    metrics: dict[str, Any] = {
        "schema": SCHEMA,
        **{key: read.meta.get(key) for key in ("fingerprint", "scheme", "group", "exclude")},
        "bootstrap": {
            "unit": read.group,
            "groups": read.table[read.group][read.evaluated].nunique(),
            "resamples": config.eval.bootstrap,
            "seed": config.eval.seed,
        },
        "n": evaluate.count_evaluated(read),
        "splits": evaluate.describe_splits(read.table),
        "leak": {
            "animals": predictions.count_leaks(read.table, "animal"),
            "groups": predictions.count_leaks(read.table, read.group),
            "demonstration": evaluate.describe_demonstration(demonstration, read, **draws),
        },
        **evaluate.describe_tasks(read, calibrated, **permuted),
        "progression": describe_progression(read, calibrated.p, **permuted)
        if config.eval.progression
        else absent("switched off by config.eval.progression=false"),
        "drug": analyse_drugs(read, calibrated, outcome=config.eval.outcome, seed=config.eval.seed),
    }
    if other := read_against(config):
        compared = comparison.compare(read, other, **draws)
        metrics["comparison"] = compared | {"against": config.eval.against}
    if workdir is None:
        return metrics
    scenes = None
    if config.confounds.run and workdir.scenes.exists():
        scenes = measure.read_or_measure(workdir.dataset, workdir.scenes, config.confounds)
    table = read.meta["provenance"].get("cohort", "")
    metrics["synthetic"] = provenance.is_synthetic(workdir, table)
    metrics["motifs"] = _motifs(config, workdir, read)
    metrics["saliency"] = _missing(
        config, "saliency", workdir.saliency
    ) or neighbours.add_neighbours(files.read_json(workdir.saliency), read)
    metrics["confounds"] = _confounds(config, workdir, read, scenes)
    metrics["methods"] = _methods(config, workdir, read, scenes)
    rated = raters.read(workdir.raters, read)
    return metrics if rated is None else metrics | {"raters": rated}


def _missing(config: StudyConfig, part: str, path: epath.Path) -> dict[str, Any] | None:
    """Says why a part of `mpjax.explain` cannot be evaluated; None where it can."""
    if not getattr(config, part).run:
        return absent(f"switched off by config.{part}.run=false")
    return None if path.exists() else absent(_NOT_MADE)


def _motifs(config: StudyConfig, workdir: Workdir, read: Predictions) -> dict[str, Any]:
    if missing := _missing(config, "motifs", workdir.windows):
        return missing
    table, found = read_motifs(workdir)
    folds = {int(name.removeprefix("fold_")): a for name, a in found.items() if name != FINAL}
    return analyse.analyse(
        table,
        found[FINAL],
        codebook=codebook.load(workdir.codebook(FINAL)),
        taxonomy=read.taxonomy,
        group=read.group,
        config=config.motifs,
        folds=folds or {splits.FINAL: found[FINAL]},
        bootstrap=config.eval.bootstrap,
        seed=config.eval.seed,
    )


def _confounds(
    config: StudyConfig, workdir: Workdir, read: Predictions, scenes: pd.DataFrame | None
) -> dict[str, Any]:
    if scenes is None:
        return _missing(config, "confounds", workdir.scenes) or absent(_NOT_MADE)
    settings = confounds.Settings(
        group=read.group,
        bootstrap=config.eval.bootstrap,
        permutations=config.confounds.permutations,
        seed=config.confounds.seed,
    )
    found = confounds.audit_confounds(scenes, read.taxonomy, settings)
    stills = {}
    for kind in ("frame", "background"):
        path = workdir.still_embeddings(kind)
        if read.embedding is None or not path.exists():
            stills[kind] = absent("no embeddings of clips or of single frames")
            continue
        still = embeddings.read(path)
        place = pd.Index(scenes["video"])
        mine = read.table["video"].isin(place).to_numpy()
        stills[kind] = confounds.compare_single_frames(
            scenes,
            read.taxonomy,
            settings,
            clip=(place.get_indexer(read.table["video"][mine]), read.embedding[mine]),
            still=(place.get_indexer(still.table["video"]), still.embedding),
        )
    return found | {"stills": stills}


def _methods(
    config: StudyConfig, workdir: Workdir, read: Predictions, scenes: pd.DataFrame | None
) -> dict[str, Any]:
    """Compares the model with baselines, B-SOiD and another method's predictions."""
    found = dict(_run_baselines(config, workdir, read, scenes))
    if config.baselines.bsoid and workdir.bsoid_predictions.exists():
        found["B-SOiD"] = predictions.read_predictions(workdir.bsoid_predictions)
    if other := read_against(config):
        found[config.eval.against] = other
    others = {name: each for name, each in found.items() if each is not None}
    if not others:
        return absent("no other method was run")
    compared = method_table.compare_methods(
        read, others, bootstrap=config.eval.bootstrap, seed=config.eval.seed
    )
    itself = files.read_json(workdir.bsoid)["itself"] if "B-SOiD" in others else None
    missing = {name: _NOT_MADE for name, each in found.items() if each is None}
    return compared | {"missing": missing, "bsoid": itself}


def _run_baselines(
    config: StudyConfig, workdir: Workdir, read: Predictions, scenes: pd.DataFrame | None
) -> Iterator[tuple[str, Predictions | None]]:
    """Yields the predictions of each baseline; None where `mpjax.explain` has not been run."""
    if config.baselines.run:
        yield "majority", baselines.predict_majority(read)
        pixel = None
        if workdir.pixels.exists():
            table = pixels.read_or_measure(workdir.dataset, workdir.pixels)
            cells = pd.DataFrame(np.stack(table["pixels"]), index=table["clip_id"])
            features = baselines.align(read.table, cells, "clip_id")
            pixel = baselines.predict_centroid(read, features)
        yield "nearest centroid of pixels", pixel
        motion = None
        if scenes is not None:
            features = scenes.set_index("video")[list(LOCOMOTION)]
            motion = baselines.predict_linear(read, baselines.align(read.table, features, "video"))
        yield "locomotion", motion
    if config.baselines.random:
        random = None
        if workdir.random_heads.exists():
            embedded = embeddings.read(workdir.random_embeddings)
            own = splits.read_splits(workdir.dataset)
            table = probe.predict(embedded, own, workdir.random_heads)
            p = np.stack(table["p"]).astype(np.float64)
            random = dataclasses.replace(read, table=table, p=p, p_coarse=None, embedding=None)
        yield "random weights", random


def read_against(config: StudyConfig) -> Predictions | None:
    """Reads another method's predictions, with which a study is compared; None: there are none.

    Raises:
        FileNotFoundError, ValueError: no such file, or not predictions.
    """
    return predictions.read_predictions(_find_against(config)) if config.eval.against else None


def _find_against(config: StudyConfig) -> epath.Path:
    path = stores.ready(config.eval.against)
    if not path.is_file():
        raise FileNotFoundError(f"config.eval.against: {path}: no such file")
    return path


def _identify(config: StudyConfig, made_of: Any, workdir: Workdir) -> str:
    """Hashes all that the report depends on; `made_of` identifies the predictions."""
    against = config.eval.against and _find_against(config)
    read = [
        *(workdir.windows, workdir.gallery / motif_exemplars.FILE, workdir.saliency),
        *(workdir.scenes, *map(workdir.still_embeddings, ("frame", "background"))),
        *(workdir.pixels, workdir.random_embeddings),
        *(workdir.bsoid_predictions, workdir.bsoid, workdir.raters),
    ]
    digests = {path.name: sha256(path) for path in read if path.exists()}
    settings = (config.eval, config.motifs, config.saliency, config.confounds, config.baselines)
    code = (SCHEMA, importlib.metadata.version("mpjax"))
    other = sha256(against) if against else ""
    return files.fingerprint(made_of, settings, config.name, other, code, digests)


def _check(required: list[requirements.Requirement], metrics: dict[str, Any]) -> int:
    """Prints the requirements that fail; returns the exit status."""
    failures = [failure for each in required if (failure := each.failure(metrics))]
    for failure in failures:
        print(f"requirement not met: {failure}")
    return 1 if failures else 0


def _answers(metrics: dict[str, Any]) -> Iterator[str]:
    """Yields what a user wants to read first: drug, difference to another method, confounds."""
    yield from metrics["drug"].get("summary", [])[:1]
    compared = metrics.get("comparison", {})
    for task in ("fine", "coarse"):
        found = compared.get(task, {}).get("recording", {}).get("accuracy", {})
        if found.get("ci95"):
            value, low, high = (signed(100 * x, 1) for x in (found["value"], *found["ci95"]))
            yield (
                f"{task}, recordings: {value} points of accuracy compared with "
                f"{compared['against']} (95 % CI {low} to {high})"
            )
    audited = metrics.get("confounds", {})
    if "status" in audited:
        first = audited["sentences"][0].rstrip(":")
        yield f"confounds: {audited['status']}; {first}"
