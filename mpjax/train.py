"""Trains a study: `python -m mpjax.train --config=demo --workdir=out/demo`.

`config.train.what` names what is trained. `probe`: heads on cached embeddings
(`WORKDIR/embeddings.parquet`); `sweep`: many of them, to compare hyperparameters; `head`, `lora`
and `all`: on the clips of `WORKDIR/dataset`, with checkpoints in `WORKDIR/train`. The result is in
`WORKDIR/heads`, and where the projector is trained too in `WORKDIR/projector`.

On several hosts, the same command runs on each of them; see docs/scaling.md.
"""

from absl import flags

from mpjax import cli
from mpjax.config import StudyConfig
from mpjax.studies import stages


def main(config: StudyConfig) -> int:
    """Joins the other hosts, if any, and trains; returns the exit status."""
    from mpjax.training import partitioning

    values = flags.FLAGS
    print(partitioning.start_hosts(config.mesh), flush=True)
    return 0 if stages.train(config, values.workdir) else values.stopped_status


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    flags.DEFINE_integer(
        "stopped_status",
        0,
        "Exit status of a run that SIGTERM stopped before its end. Schedulers that read 0 as done, "
        "as Kubernetes does, need another.",
        lower_bound=0,
        upper_bound=255,
    )
    cli.start(main)
