"""Embeds a dataset: `python -m mpjax.embed --config=configs/demo.py --workdir=out/demo`.

Reads `WORKDIR/dataset` and, where the projector was trained, `WORKDIR/projector`; writes
`WORKDIR/embeddings.parquet`. A killed run goes on where it stopped; unchanged embeddings are left
alone.
"""

from absl import flags
from etils import epath

from mpjax import cli
from mpjax.config import StudyConfig
from mpjax.io import stores


def run(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Embeds the dataset of `workdir` by the projector that `config` names, or that was trained."""
    from mpjax.embedding import dataset
    from mpjax.training import finetune, partitioning

    workdir = stores.ready(workdir)
    projector = finetune.projector_of(config, workdir, trained=True)
    out = workdir / "embeddings.parquet"
    mesh = partitioning.make_mesh(config.mesh)
    if partitioning.is_writer():
        finetune.remember_projector(config, workdir)
    changed = dataset.embed(workdir / "dataset", out, projector, config.projector, mesh=mesh)
    print(f"embeddings {out}: {'written' if changed else 'unchanged, not computed again'}")


def main(config: StudyConfig) -> None:
    """Joins the other hosts, if any, and embeds."""
    from mpjax.training import partitioning

    print(partitioning.start_hosts(config.mesh), flush=True)
    run(config, flags.FLAGS.workdir)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(main)
