"""Evaluates a study: `python -m mpjax.eval --config=configs/demo.py --workdir=out/demo`.

Makes `WORKDIR/predictions.parquet` from the heads and embeddings, then `metrics.json` and
`report.html` from the predictions alone.
"""

import importlib.metadata
import platform

from absl import flags
from etils import epath

from mpjax import cli, files
from mpjax.config import StudyConfig

_REPORTED_VERSIONS = ("mpjax", "jax", "flax", "optax", "numpy", "scikit-learn")


def run(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Writes predictions, figures and the report of `workdir`."""
    from mpjax.analysis import metrics, predictions
    from mpjax.report import html

    workdir = epath.Path(workdir)
    predict(config, workdir)
    read = predictions.read_predictions(workdir / "predictions.parquet")
    figures = metrics.evaluate(read, bootstrap=config.eval.bootstrap, seed=config.eval.seed)
    files.write_json(workdir / "metrics.json", figures)
    html.write_report(workdir / "report.html", figures, read, title=config.name)
    print(f"figures {workdir / 'metrics.json'}")
    print(f"report {workdir / 'report.html'}")


def predict(config: StudyConfig, workdir: epath.Path) -> None:
    """Writes `predictions.parquet` from the heads and embeddings of `workdir`."""
    from mpjax.analysis import predictions
    from mpjax.data import division, embeddings
    from mpjax.training import checkpoint, probe

    embedded = embeddings.read(workdir / "embeddings.parquet")
    divided = division.read(workdir / "dataset")
    table = probe.predict(embedded, divided, workdir / "heads")
    heads = checkpoint.read_metadata(workdir / "heads")
    versions = {name: importlib.metadata.version(name) for name in _REPORTED_VERSIONS}
    provenance = {
        "cohort": divided.cohort,
        "dataset": embedded.meta["dataset"],
        "projector": embedded.meta["projector"],
        "views": embedded.meta["views"],
        "l2": heads["l2"],
        "split seed": config.split.seed,
        "versions": versions | {"python": platform.python_version()},
    }
    meta = {
        "taxonomy": divided.taxonomy.to_dict(),
        "group": divided.group,
        "scheme": divided.scheme,
        "fingerprint": heads["fingerprint"],
        "exclude": list(config.exclude),
        "provenance": provenance,
    }
    predictions.write_predictions(workdir / "predictions.parquet", table, meta)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(lambda config: run(config, flags.FLAGS.workdir))
