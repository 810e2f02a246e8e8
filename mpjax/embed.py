"""Embeds a dataset: `python -m mpjax.embed --config=configs/demo.py --workdir=out/demo`.

Reads `WORKDIR/dataset`, writes `WORKDIR/embeddings.parquet`. A killed run goes on where it
stopped; unchanged embeddings are left alone.
"""

from absl import flags
from etils import epath

from mpjax import cli
from mpjax.config import StudyConfig


def run(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Embeds the dataset of `workdir` by the projector that `config` names."""
    from mpjax.models.projector import load_projector
    from mpjax.training import embedding

    workdir = epath.Path(workdir)
    chosen = config.projector
    projector = load_projector(
        chosen.weights,
        kind=chosen.kind,
        seed=chosen.seed,
        dtype=chosen.dtype,
        form=chosen.form,
    )
    out = workdir / "embeddings.parquet"
    changed = embedding.embed(workdir / "dataset", out, projector, chosen)
    print(f"embeddings {out}: {'written' if changed else 'unchanged, not computed again'}")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(lambda config: run(config, flags.FLAGS.workdir))
