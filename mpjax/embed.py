"""Embeds a dataset: `python -m mpjax.embed --config=demo --workdir=out/demo`.

Reads `WORKDIR/dataset` and, where the projector was trained, `WORKDIR/projector`; writes
`WORKDIR/embeddings.parquet`. A killed run continues where it stopped; unchanged embeddings are
not computed again.
"""

from absl import flags

from mpjax import cli
from mpjax.config import StudyConfig
from mpjax.studies import stages


def main(config: StudyConfig) -> None:
    """Joins the other hosts, if any, and embeds."""
    from mpjax.training import partitioning

    print(partitioning.start_hosts(config.mesh), flush=True)
    stages.embed(config, flags.FLAGS.workdir)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(main)
