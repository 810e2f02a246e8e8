"""Embeds a dataset: `python -m mpjax.embed --config=configs/demo.py --workdir=out/demo`.

Reads `WORKDIR/dataset` and, where the projector was trained, `WORKDIR/projector`; writes
`WORKDIR/embeddings.parquet`. A killed run goes on where it stopped; unchanged embeddings are left
alone.
"""

from absl import flags
from etils import epath

from mpjax import cli, stores
from mpjax.config import StudyConfig


def run(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Embeds the dataset of `workdir` by the projector that `config` names, or that was trained."""
    from mpjax.training import embedding, export, partitioning

    workdir = stores.ready(workdir)
    projector = export.projector_of(config, workdir, trained=True)
    out = workdir / "embeddings.parquet"
    mesh = partitioning.make_mesh(config.mesh)
    if partitioning.is_writer():
        export.remember_projector(config, workdir)
    changed = embedding.embed(workdir / "dataset", out, projector, config.projector, mesh=mesh)
    print(f"embeddings {out}: {'written' if changed else 'unchanged, not computed again'}")


def main(config: StudyConfig) -> None:
    """Joins the other hosts, if any, and embeds."""
    from mpjax.training import partitioning

    print(partitioning.start_hosts(config.mesh), flush=True)
    run(config, flags.FLAGS.workdir)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(main)
