"""The stages of a study: each reads what the earlier ones left in its folder, and adds its own.

A stage whose inputs are unchanged is skipped and says so. The binaries call these functions.
"""

import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from etils import epath

from mpjax.config import StudyConfig
from mpjax.io import files, stores
from mpjax.studies.workdir import Workdir

if TYPE_CHECKING:
    from data_prep.cohort import Cohort
    from mpjax.models.projector import Projector

ON_CLIPS = ("head", "lora", "all")  # of config.train.what; the others train on embeddings
_DOWNLOAD = {"gs://": "gcloud storage cp", "s3://": "aws s3 cp"}


def run(config: StudyConfig, workdir: epath.PathLike) -> int:
    """Runs all stages of `config` in `workdir`; returns the exit status.

    Raises:
        ValueError: bad input, or videos that could not be read and are not allowed to fail.
    """
    from mpjax.studies import evaluation, provenance

    started = time.monotonic()
    workdir = Workdir(workdir)
    cohort = _check_early(config, workdir)
    provenance.claim(workdir, config)
    _announce(1, "cohort", started)
    if config.cohort and config.synthetic.run:
        print(f"cohort {config.cohort}: nothing is drawn, although config.synthetic.run is true")
    elif config.synthetic.run:
        from data_prep import synthetic

        synthetic.generate(workdir.synthetic_cohort, config.synthetic)
    _announce(2, "dataset", started)
    unreadable = _build(cohort or read_cohort(config, workdir), config, workdir)
    if unreadable and not config.build.allow_failures:
        print(
            "stopped: fix these videos or remove their rows; to go on without them: "
            "--config.build.allow_failures=true"
        )
        return 1
    order: list[tuple[str, Callable]] = [("embeddings", embed), ("heads", train)]
    if config.train.what in ON_CLIPS:
        order = [("training", train), ("embeddings", embed)]
    for number, (name, stage) in enumerate(order, start=3):
        _announce(number, name, started)
        if stage(config, workdir) is False:
            return 0  # stopped by a signal
    _announce(5, "explanations", started)
    explain(config, workdir)
    _announce(6, "report", started)
    status = evaluation.run(config, workdir)
    print(f"\ndone in {time.monotonic() - started:.0f} s; open the report with")
    report = files.absolute(workdir.report)
    if stores.is_remote(report):
        print(f"  {_DOWNLOAD[str(report)[:5]]} {report} .  # then open report.html in a browser")
    else:
        print(f"  python3 -m webbrowser -t file://{report}")
    return status


def _check_early(config: StudyConfig, workdir: Workdir) -> "Cohort | None":
    """Raises at once what a stage would raise after hours of those before it.

    All of it follows from the config, its files, the table and this machine; each rule is that of
    the stage. Returns the cohort, None where it is yet to be drawn.
    """
    import data_prep.build  # noqa: F401 - its packages may not be installed
    from mpjax.analysis.classification import comparison
    from mpjax.data import boxes, clips, pose
    from mpjax.heads import probe
    from mpjax.interpret import attribution
    from mpjax.studies import evaluation, projector, requirements

    drawn = not config.cohort and config.synthetic.run
    cohort = _preview(config, workdir) if drawn else read_cohort(config, workdir)
    requirements.parse(config.require)
    boxes.parse_mask(config.video.mask)
    chosen = config.projector
    clips.Views(chosen.size, chosen.frames, chosen.views, chosen.crops, chosen.rotations)
    clips.check_frames(config.video.frames, chosen.frames)
    _check_scheme(config, cohort.scheme)
    if config.train.what == "probe":
        probe.check_coarse(config.head, cohort.taxonomy)
    if config.saliency.run:
        shape = (chosen.frames or config.video.frames, chosen.size, chosen.size)
        attribution.check_grid(shape, config.saliency.grid)
    if config.baselines.bsoid:
        from mpjax.analysis.bsoid import clustering

        clustering.versions_of_packages()
        if not drawn:
            pose.check_poses(cohort.table)
    if other := evaluation.read_against(config):
        comparison.check_classes(cohort.taxonomy, other.taxonomy)
    _check_training(config, workdir)
    _check_networks(config, projector.projector_of(config))
    return None if drawn else cohort


def _check_networks(config: StudyConfig, loaded: "Projector") -> None:
    """Raises ValueError where devices or projector do not allow what is to be trained."""
    from mpjax.models import swin
    from mpjax.training import loop, partitioning, steps

    if isinstance(loaded.config, swin.SwinConfig):
        loaded.config.chosen_attention()
    mesh = partitioning.make_mesh(config.mesh)
    if config.train.what in ON_CLIPS:
        loop.check_batch(config.train, mesh)
        steps.make_network(loaded, config.train)


def _preview(config: StudyConfig, workdir: Workdir) -> "Cohort":
    """Reads the table of a synthetic cohort that is not drawn yet."""
    from data_prep import cohort, synthetic

    with tempfile.TemporaryDirectory() as folder:
        try:
            table = synthetic.preview(folder, config.synthetic)
            return cohort.read_cohort(
                table, split=config.split, exclude=config.exclude, check_files=False
            )
        except cohort.CohortError as error:
            text = str(error).replace(folder, str(workdir.synthetic_cohort))
            raise ValueError(text) from error


def _announce(number: int, stage: str, started: float) -> None:
    print(f"[stage {number} of 6, after {time.monotonic() - started:.0f} s] {stage}", flush=True)


def cohort_table(config: StudyConfig, workdir: Workdir) -> epath.Path:
    """Returns the path of a study's table: the one that its config names, else the drawn one.

    Raises:
        ValueError: no table is named, and none is to be drawn.
    """
    if config.cohort:
        return stores.ready(config.cohort)
    if not (config.synthetic.run or workdir.synthetic_table.exists()):
        raise ValueError(
            "no cohort: name its table (`python -m mpjax.study COHORT.csv --workdir=…`), or draw "
            "synthetic mice with --synthetic or --config=demo"
        )
    return workdir.synthetic_table


def read_cohort(config: StudyConfig, workdir: Workdir) -> "Cohort":
    """Reads the cohort of a study, its own or the synthetic one; all faults are raised together."""
    from data_prep import cohort

    path = cohort_table(config, workdir)
    return cohort.read_cohort(path, split=config.split, exclude=config.exclude)


def read_recordings(path: epath.PathLike) -> list[dict[str, Any]]:
    """Reads a table of recordings to be scored; see `data_prep.cohort.read_recordings`."""
    from data_prep import cohort

    return cohort.read_recordings(path).to_dict("records")


def build(config: StudyConfig, workdir: epath.PathLike) -> int:
    """Builds the dataset; returns the number of videos that could not be read."""
    workdir = Workdir(workdir)
    return _build(read_cohort(config, workdir), config, workdir)


def _build(cohort: "Cohort", config: StudyConfig, workdir: Workdir) -> int:
    from data_prep import build as building

    manifest = building.build(
        cohort,
        workdir.dataset,
        clip_config=config.video,
        config=config.build,
    )
    return building.report_failures(manifest, workdir.dataset)


def embed(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Embeds the dataset by the projector that `config` names, or by the one that was trained."""
    from mpjax.data import records
    from mpjax.embedding import dataset
    from mpjax.studies import projector
    from mpjax.training import partitioning

    workdir = Workdir(workdir)
    records.read_manifest(workdir.dataset)  # before anything is written
    loaded = projector.projector_of(config, workdir.projector)
    mesh = partitioning.make_mesh(config.mesh)
    if partitioning.is_writer():
        projector.remember_projector(config, workdir)
    out = workdir.embeddings
    changed = dataset.embed(workdir.dataset, out, loaded, config.projector, mesh=mesh)
    print(f"embeddings {out}: {'written' if changed else 'unchanged, not computed again'}")


def train(config: StudyConfig, workdir: epath.PathLike) -> bool:
    """Trains what `config.train.what` names; returns False where a signal stopped it."""
    from mpjax.training import loop

    workdir = Workdir(workdir)
    _check_training(config, workdir)
    on_clips = config.train.what in ON_CLIPS
    try:
        changed = (_train_on_clips if on_clips else _train_on_embeddings)(config, workdir)
    except loop.Stopped as stopped:
        print(stopped)
        return False
    print(f"trained {workdir}: {'written' if changed else 'unchanged, not trained again'}")
    return True


def _check_training(config: StudyConfig, workdir: Workdir) -> None:
    """Raises ValueError where a run's checkpoints cannot be kept."""
    if config.train.what in ON_CLIPS and stores.is_remote(workdir.root):
        from mpjax.training import checkpoint_manager

        checkpoint_manager.check_writes_here(workdir.root)


def _check_scheme(config: StudyConfig, scheme: str) -> None:
    """Raises ValueError where one model is to be trained and the animals are split into folds."""
    from mpjax.data.splits import FIXED

    if config.train.what in ON_CLIPS and scheme != FIXED:
        raise ValueError(
            f"config.train.what={config.train.what} trains one model, but the split is "
            f"{scheme}: one model per fold; build with config.split.scheme=fixed"
        )


def _train_on_embeddings(config: StudyConfig, workdir: Workdir) -> bool:
    """Trains heads in the first process only: it takes seconds."""
    from mpjax.data import records
    from mpjax.heads import probe, sweep
    from mpjax.studies.windows import read_embeddings
    from mpjax.training import partitioning

    changed = True
    records.read_manifest(workdir.dataset)  # in every process: raises where it is not finished
    if partitioning.is_writer():
        embedded, splits = read_embeddings(workdir)
        if config.train.what == "sweep":
            rate, decay = sweep.run(embedded, splits, config.sweep, workdir.sweep)
            print(f"best: learning rate {rate:g}, weight decay {decay:g}")
        else:
            changed = probe.train(embedded, splits, config.head, workdir.heads)
    partitioning.wait_for_all("heads are trained")
    return changed


def _train_on_clips(config: StudyConfig, workdir: Workdir) -> bool:
    """Trains a projector or its head on clips; returns False where that has been done."""
    from mpjax.data import records
    from mpjax.data.splits import read_splits
    from mpjax.embedding import dataset
    from mpjax.studies.projector import projector_of
    from mpjax.training import artifacts, finetune

    fingerprint = records.read_manifest(workdir.dataset)["fingerprint"]
    splits = read_splits(workdir.dataset)
    _check_scheme(config, splits.scheme)
    start = projector_of(config)
    stamp = files.fingerprint(
        config.train, config.projector, fingerprint, splits.fingerprint, start.fingerprint
    )
    if (artifacts.read_metadata(workdir.heads) or {}).get("fingerprint") == stamp:
        return False
    result = finetune.train(
        workdir.dataset, start, splits, config, run=workdir.training, projector=workdir.projector
    )
    trained = projector_of(config, workdir.projector)  # which all processes read together
    metadata = {
        "fingerprint": stamp,
        "embeddings": dataset.describe(fingerprint, trained, config.projector),
        "division": splits.fingerprint,
        "fine": list(splits.taxonomy.fine),
        "training": {"what": config.train.what, "step": result.step},
    }
    finetune.write_head(workdir.heads, result, metadata)
    return True


def explain(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Writes motifs, saliency, scenes and other methods' predictions: see `mpjax.explain`."""
    from mpjax.studies import explain as explaining

    workdir = Workdir(workdir)
    poses = read_cohort(config, workdir).table if config.baselines.bsoid else None
    explaining.run(config, workdir, poses=poses)
