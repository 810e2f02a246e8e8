"""Trains a study: `python -m mpjax.train --config=configs/demo.py --workdir=out/demo`.

`config.train.what` says what is trained. `probe`: heads on cached embeddings
(`WORKDIR/embeddings.parquet`); `sweep`: many of them, to compare hyperparameters; `head`, `lora`
and `all`: on the clips of `WORKDIR/dataset`, with checkpoints in `WORKDIR/train`. The result is in
`WORKDIR/heads`, and where the projector is trained too in `WORKDIR/projector`.

On several hosts, the same command runs on each of them; see docs/scaling.md.
"""

from typing import Any

from absl import flags
from etils import epath

from mpjax import cli
from mpjax.config import StudyConfig
from mpjax.io import stores

CACHED, ON_CLIPS = ("probe", "sweep"), ("head", "lora", "all")


def run(config: StudyConfig, workdir: epath.PathLike) -> bool:
    """Trains what `config.train.what` says; returns False where it was asked to stop before."""
    from mpjax.data import records
    from mpjax.data.splits import read_splits
    from mpjax.training import finetune, loop

    what = config.train.what
    check_what(config)
    workdir = stores.ready(workdir)
    check_place(config, workdir)
    records.read_manifest(workdir / "dataset")  # or it is not finished
    splits = read_splits(workdir / "dataset")
    try:
        changed = (
            finetune.train(workdir, splits, config)
            if what in ON_CLIPS
            else _on_embeddings(config, workdir, splits)
        )
    except loop.Stopped as stopped:
        print(stopped)
        return False
    print(f"trained {workdir}: {'written' if changed else 'unchanged, not trained again'}")
    return True


def check_what(config: StudyConfig) -> None:
    """Raises ValueError where `config.train.what` is none of what can be trained."""
    what = config.train.what
    if what not in CACHED + ON_CLIPS:
        raise ValueError(f"config.train.what {what!r}: choose {', '.join(CACHED + ON_CLIPS)}")


def check_place(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Raises ValueError where training would leave checkpoints that `workdir` cannot hold."""
    if config.train.what in ON_CLIPS and stores.is_remote(workdir):
        from mpjax.training import checkpoint_manager

        checkpoint_manager.check_writes_here(workdir)


def _on_embeddings(config: StudyConfig, workdir: epath.Path, splits: Any) -> bool:
    """Trains on cached embeddings, in the first process: it is a matter of seconds."""
    from mpjax.data import embeddings, records
    from mpjax.heads import probe, sweep
    from mpjax.training import partitioning

    changed = True
    if partitioning.is_writer():
        embedded = embeddings.read(
            workdir / "embeddings.parquet",
            dataset=records.read_manifest(workdir / "dataset")["fingerprint"],
        )
        if config.train.what == "sweep":
            rate, decay = sweep.run(embedded, splits, config.sweep, workdir)
            print(f"best: learning rate {rate:g}, weight decay {decay:g}")
        else:
            changed = probe.train(embedded, splits, config.head, workdir / "heads")
    partitioning.wait_for_all("heads are trained")
    return changed


def main(config: StudyConfig) -> int:
    """Joins the other hosts, if any, and trains; returns the exit status."""
    from mpjax.training import partitioning

    values = flags.FLAGS
    print(partitioning.start_hosts(config.mesh), flush=True)
    return 0 if run(config, values.workdir) else values.stopped_status


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    flags.DEFINE_integer(
        "stopped_status",
        0,
        "Exit status of a run that SIGTERM has stopped before its end. Schedulers that take 0 for "
        "done, as Kubernetes does, need another.",
        lower_bound=0,
        upper_bound=255,
    )
    cli.start(main)
