"""Looks at what a study saw: `python -m mpjax.explain --config=configs/demo.py --workdir=out/demo`.

Reads dataset, embeddings and heads; writes `WORKDIR/explain`: the codebooks of motifs and each
window's motif, a gallery of typical windows, what decided single predictions, what the audit of
confounds needs (scenes of the recordings, embeddings of still frames and of empty chambers), and
what other methods need (pixels, a projector of random weights, B-SOiD). Each part is skipped where
it is unchanged, and left out by a switch (`--config.saliency.run=false`). `python -m mpjax.eval`
then tells what they mean.
"""

from typing import Any

import pandas as pd
from absl import flags
from etils import epath

from mpjax import cli
from mpjax.config import StudyConfig
from mpjax.data.splits import fit_rows, folds_of
from mpjax.io import files, stores
from mpjax.studies import evaluation
from mpjax.studies.evaluation import BASELINE, BSOID, FINAL, FOLDER, SALIENCY, WINDOWS, read_windows
from mpjax.taxonomy import Taxonomy


def run(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Writes all parts that `config` asks for.

    Raises:
        ValueError: an earlier stage has not been run, or was run for another one.
    """
    from mpjax.training import finetune

    workdir = stores.ready(workdir)
    out = workdir / FOLDER
    files.make_folder(out)
    projector = finetune.projector_of(config, workdir, trained=True)
    if config.confounds.run:
        _look_at_scenes(config, workdir, projector)
    if config.motifs.run:
        _find_motifs(config, workdir, projector)
    if config.saliency.run:
        from mpjax.interpret import explain_clips

        figures = explain_clips.explain(workdir, projector, config.saliency, out=out / "saliency")
        files.write_json(out / SALIENCY, figures)
    _run_methods(config, workdir, projector)
    print(f"explain {out}: done")


def _run_methods(config: StudyConfig, workdir: epath.Path, projector: Any) -> None:
    """Measures pixels, trains a head on random weights, and runs B-SOiD, as far as asked for."""
    from mpjax.data.scene import pixels
    from mpjax.data.splits import read_splits
    from mpjax.embedding import random_weights

    out = workdir / FOLDER
    splits = read_splits(workdir / "dataset")
    if config.baselines.run:
        pixels.read_or_measure(workdir / "dataset", out / pixels.FILE)
    # What is trained on clips is one network: a head on random weights is no match for it.
    if config.baselines.random and config.train.what == "probe":
        random_weights.train(workdir, out / "random", projector, splits, config)
    if config.baselines.bsoid:
        _run_bsoid(config, workdir)


def _run_bsoid(config: StudyConfig, workdir: epath.Path) -> None:
    """Predicts the study's clips by B-SOiD, from the poses that its cohort names."""
    from data_prep import cohort as cohorts
    from mpjax.analysis import predictions
    from mpjax.analysis.bsoid import predict
    from mpjax.data import pose

    out = workdir / FOLDER
    table, meta = evaluation.predict(workdir)
    csv = config.cohort or workdir / "cohort" / "cohort.csv"
    cohort = cohorts.read_cohort(csv, split=config.split, exclude=config.exclude)
    about = [str(path) for path in cohort.table["pose"]]
    made_on = [_made_on(path) for path in about]
    stamp = files.fingerprint(meta["provenance"]["dataset"], meta, config.bsoid, about, made_on)
    told = out / BSOID
    if told.exists() and files.read_json(told).get("fingerprint") == stamp:
        print(f"B-SOiD {out / BASELINE}: unchanged, not computed again")
        return
    poses: Any = pose.read_poses(cohort.table)  # frozen, where the protocol's may be set
    predicted, itself = predict.predict(
        poses,
        table,
        taxonomy=Taxonomy.from_dict(meta["taxonomy"]),
        group=meta["group"],
        scheme=meta["scheme"],
        clip_frames=config.video.frames,
        config=config.bsoid,
        cache=out / "bsoid",
    )
    predictions.write_predictions(out / BASELINE, predicted, meta | {"fingerprint": stamp})
    files.write_json(told, {"fingerprint": stamp, "itself": itself})


def _made_on(path: str) -> Any:
    """Returns what changes when a pose file is written anew; 0 for none."""
    if stores.is_remote(path):
        return stores.version(path)
    return epath.Path(path).stat().mtime if path else 0


def _look_at_scenes(config: StudyConfig, workdir: epath.Path, projector: Any) -> None:
    """Measures the recordings' looks, and embeds still frames and empty chambers."""
    from mpjax.data.scene import measure
    from mpjax.embedding import single_frames

    dataset, out = workdir / "dataset", workdir / FOLDER
    measure.read_or_measure(dataset, out / measure.FILE, config.confounds)
    for kind in single_frames.KINDS:
        path = out / f"still-{kind}.parquet"
        most = config.confounds.single_frames
        single_frames.embed(dataset, path, projector, config.projector, kind=kind, most=most)


def _find_motifs(config: StudyConfig, workdir: epath.Path, projector: Any) -> None:
    """Fits the codebooks, labels all windows and draws the gallery of the final one."""
    from mpjax.analysis.motifs import codebook
    from mpjax.interpret import motif_exemplars

    out = workdir / FOLDER
    table, embedding, embedded, splits = read_windows(workdir)
    group = table[splits.group].to_numpy()
    labels = pd.DataFrame(index=table.index)
    for name, mask in training_masks(table, splits.scheme).items():
        path = out / f"codebook-{name}.npz"
        wanted = codebook.identify(embedding, group=group, config=config.motifs, mask=mask)
        book = None
        if path.exists():
            try:
                book = codebook.load(path, fingerprint=wanted)
                print(f"motifs {path}: unchanged, not fitted again")
            except ValueError:
                pass  # of other windows or settings: fitted anew
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
                dataset=workdir / "dataset",
                views=embedded.views,
                projector=projector,
                count=config.motifs.exemplars,
                made_of=book.fingerprint,
                out=out / "gallery",
            )
            print(f"gallery {out / 'gallery'}: {'written' if made else 'unchanged'}")
    with files.write_aside(out / WINDOWS) as aside, aside.open("wb") as file:
        pd.concat([table, labels], axis=1).to_parquet(file, index=False)


def training_masks(windows: pd.DataFrame, scheme: str) -> dict[str, Any]:
    """Says which windows each codebook is fitted on: no animal of the drug part, ever.

    Returns:
        `final`: under a fixed split the training animals, else all that are not of the drug part;
        `fold_<k>`: the animals that fold k does not test.
    """
    masks = {f"fold_{k}": fit_rows(windows, scheme, k) for k in folds_of(windows, scheme)}
    return {FINAL: fit_rows(windows, scheme)} | masks


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(lambda config: run(config, flags.FLAGS.workdir))
