"""What a study's model attends to, and what else could explain its answers.

Writes the folder `explain` of a study. Each part is skipped where it is unchanged, and left out by
a switch of the config; `mpjax.studies.evaluation` reads them.
"""

from typing import Any

import pandas as pd
from etils import epath

from mpjax.analysis import predictions
from mpjax.analysis.motifs import codebook
from mpjax.config import StudyConfig
from mpjax.data import records
from mpjax.data.scene import measure, pixels
from mpjax.data.splits import fit_rows, folds_of, read_splits
from mpjax.embedding import single_frames
from mpjax.interpret import explain_clips, motif_exemplars
from mpjax.io import files, stores
from mpjax.studies import random_weights
from mpjax.studies.predictions import predict
from mpjax.studies.projector import projector_of
from mpjax.studies.windows import FINAL, read_embeddings, read_windows
from mpjax.studies.workdir import Workdir
from mpjax.taxonomy import Taxonomy


def run(config: StudyConfig, workdir: epath.PathLike, *, poses: pd.DataFrame | None = None) -> None:
    """Writes all parts that are switched on; B-SOiD where `poses`, the cohort's table, is given.

    Raises:
        ValueError: an earlier stage is missing, or was run for another dataset.
    """
    workdir = Workdir(workdir)
    records.read_manifest(workdir.dataset)  # before anything is written
    files.make_folder(workdir.explain)
    projector = projector_of(config, workdir.projector)
    if config.confounds.run:
        measure.read_or_measure(workdir.dataset, workdir.scenes, config.confounds)
        for kind in single_frames.KINDS:
            single_frames.embed(
                workdir.dataset,
                workdir.still_embeddings(kind),
                projector,
                config.projector,
                kind=kind,
                most=config.confounds.single_frames,
            )
    if config.motifs.run:
        _find_motifs(config, workdir, projector)
    if config.saliency.run:
        figures = explain_clips.explain(
            *read_embeddings(workdir),
            projector,
            config.saliency,
            dataset=workdir.dataset,
            heads=workdir.heads,
            out=workdir.saliency_images,
        )
        files.write_json(workdir.saliency, figures)
    if config.baselines.run:
        pixels.read_or_measure(workdir.dataset, workdir.pixels)
    # Training on clips gives one network, with which a head on random weights cannot compete.
    if config.baselines.random and config.train.what == "probe":
        random_weights.train(workdir, projector, read_splits(workdir.dataset), config)
    if poses is not None:
        _run_bsoid(config, workdir, poses)
    print(f"explain {workdir.explain}: done")


def _run_bsoid(config: StudyConfig, workdir: Workdir, cohort: pd.DataFrame) -> None:
    """Predicts the study's clips by B-SOiD, from the pose files that the cohort names."""
    from mpjax.analysis.bsoid import predict as bsoid
    from mpjax.data import pose

    table, meta = predict(workdir)
    paths = [str(path) for path in cohort["pose"]]
    versions = [_version_of(path) for path in paths]
    stamp = files.fingerprint(meta["provenance"]["dataset"], meta, config.bsoid, paths, versions)
    if workdir.bsoid.exists() and files.read_json(workdir.bsoid).get("fingerprint") == stamp:
        print(f"B-SOiD {workdir.bsoid_predictions}: unchanged, not computed again")
        return
    predicted, itself = bsoid.predict(
        pose.read_poses(cohort),
        table,
        taxonomy=Taxonomy.from_dict(meta["taxonomy"]),
        group=meta["group"],
        scheme=meta["scheme"],
        clip_frames=config.video.frames,
        config=config.bsoid,
        cache=workdir.bsoid_cache,
    )
    meta = meta | {"fingerprint": stamp}
    predictions.write_predictions(workdir.bsoid_predictions, predicted, meta)
    files.write_json(workdir.bsoid, {"fingerprint": stamp, "itself": itself})


def _version_of(path: str) -> Any:
    """Returns what changes when a pose file is written again; 0 for none."""
    if stores.is_remote(path):
        return stores.version(path)
    return epath.Path(path).stat().mtime if path else 0


def _find_motifs(config: StudyConfig, workdir: Workdir, projector: Any) -> None:
    """Fits the codebooks, labels all windows and draws the gallery of the final one."""
    table, embedding, embedded, splits = read_windows(workdir)
    group = table[splits.group].to_numpy()
    labels = pd.DataFrame(index=table.index)
    for name, mask in training_masks(table, splits.scheme).items():
        path = workdir.codebook(name)
        wanted = codebook.identify(embedding, group=group, config=config.motifs, mask=mask)
        book = None
        if path.exists():
            try:
                book = codebook.load(path, fingerprint=wanted)
                print(f"motifs {path}: unchanged, not fitted again")
            except ValueError:
                pass  # of other windows or settings: fitted again
        if book is None:
            print(f"motifs {path}: fitting …", flush=True)
            book = codebook.fit(embedding, group=group, config=config.motifs, mask=mask)
            codebook.save(path, book)
        assigned = book.assign(embedding)
        for field in assigned._fields:
            labels[f"{field}[{name}]"] = getattr(assigned, field)
        if name == FINAL:
            made = motif_exemplars.make(
                table,
                (assigned.motif, assigned.distance, assigned.unlike),
                dataset=workdir.dataset,
                views=embedded.views,
                projector=projector,
                count=config.motifs.exemplars,
                made_of=book.fingerprint,
                out=workdir.gallery,
            )
            print(f"gallery {workdir.gallery}: {'written' if made else 'unchanged'}")
    with files.write_aside(workdir.windows) as aside, aside.open("wb") as file:
        pd.concat([table, labels], axis=1).to_parquet(file, index=False)


def training_masks(windows: pd.DataFrame, scheme: str) -> dict[str, Any]:
    """Returns which windows each codebook is fitted on: never those of the drug part.

    `final`: under a fixed split the training animals, else all that are not of the drug part;
    `fold_<k>`: the animals that fold k does not test.
    """
    folds = {f"fold_{k}": fit_rows(windows, scheme, k) for k in folds_of(windows, scheme)}
    return {FINAL: fit_rows(windows, scheme), **folds}
