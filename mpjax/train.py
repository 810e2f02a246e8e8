"""Trains heads on embeddings: `python -m mpjax.train --config=configs/demo.py --workdir=out/demo`.

Reads `WORKDIR/embeddings.parquet` and `WORKDIR/dataset/division.json`, writes `WORKDIR/heads`.
"""

from absl import flags
from etils import epath

from mpjax import cli
from mpjax.config import StudyConfig


def run(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Trains the heads of `workdir`."""
    from mpjax.data import division, embeddings, records
    from mpjax.training import probe

    workdir = epath.Path(workdir)
    changed = probe.train(
        embeddings.read(
            workdir / "embeddings.parquet",
            dataset=records.read_manifest(workdir / "dataset")["fingerprint"],
        ),
        division.read(workdir / "dataset"),
        config.head,
        workdir / "heads",
    )
    print(f"heads {workdir / 'heads'}: {'written' if changed else 'unchanged, not trained again'}")


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(lambda config: run(config, flags.FLAGS.workdir))
