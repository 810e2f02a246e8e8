"""Evaluates a study: `python -m mpjax.eval --config=configs/demo.py --workdir=out/demo`.

Makes `WORKDIR/predictions.parquet` from the heads and embeddings, then `metrics.json` and
`report.html` from the predictions alone.
"""

import importlib.metadata
import platform
from typing import Any

import pandas as pd
from absl import flags
from etils import epath

from mpjax import cli, files
from mpjax.config import StudyConfig

_REPORTED_VERSIONS = ("mpjax", "jax", "flax", "optax", "grain", "numpy", "scipy")


def run(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Writes predictions, figures and the report of `workdir`."""
    from mpjax.analysis import comparison, metrics, predictions
    from mpjax.report import html

    workdir = epath.Path(workdir)
    made = [workdir / name for name in ("predictions.parquet", "metrics.json", "report.html")]
    table, meta = _predict(workdir)
    stamp = workdir / ".report.json"
    identity = files.fingerprint(meta, config.eval, config.name)
    if all(path.exists() for path in [*made, stamp]) and files.read_json(stamp) == identity:
        print(f"report {made[2]}: unchanged, not written again")
        return
    predictions.write_predictions(made[0], table, meta)
    read = predictions.read_predictions(made[0])
    figures = metrics.evaluate(read, bootstrap=config.eval.bootstrap, seed=config.eval.seed)
    if config.eval.against:
        other = predictions.read_predictions(config.eval.against)
        figures["comparison"] = comparison.compare(
            read, other, bootstrap=config.eval.bootstrap, seed=config.eval.seed
        ) | {"against": config.eval.against}
        _tell(figures["comparison"])
    files.write_json(made[1], figures)
    html.write_report(made[2], figures, read, title=config.name)
    files.write_json(stamp, identity)
    print(f"figures {made[1]}")
    print(f"report {made[2]}")


def _tell(compared: dict[str, Any]) -> None:
    """Prints how much better the animals' recordings are classified than by the other method."""
    for task in ("fine", "coarse"):
        found = compared.get(task, {}).get("recording", {}).get("accuracy", {})
        if found.get("ci95"):
            low, high = (100 * bound for bound in found["ci95"])
            print(
                f"{task}, recordings: {100 * found['value']:+.1f} points of accuracy against "
                f"{compared['against']} (95 % CI {low:+.1f} to {high:+.1f})"
            )


def _predict(workdir: epath.Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the predictions of the heads of `workdir`, and what made them."""
    from mpjax.data import division, embeddings, records
    from mpjax.training import checkpoint, probe

    dataset = records.read_manifest(workdir / "dataset")["fingerprint"]
    embedded = embeddings.read(workdir / "embeddings.parquet", dataset=dataset)
    divided = division.read(workdir / "dataset")
    table = probe.predict(embedded, divided, workdir / "heads")
    heads = checkpoint.read_metadata(workdir / "heads")
    versions = {name: importlib.metadata.version(name) for name in _REPORTED_VERSIONS}
    provenance = {
        "cohort": divided.cohort,
        "dataset": dataset,
        "projector": embedded.meta["projector"],
        "views": embedded.meta["views"],
        "training": heads["training"],
        "split seed": divided.seed,
        "versions": versions | {"python": platform.python_version()},
    }
    meta = {
        "taxonomy": divided.taxonomy.to_dict(),
        "group": divided.group,
        "scheme": divided.scheme,
        "fingerprint": heads["fingerprint"],
        "exclude": divided.exclude,
        "provenance": provenance,
    }
    return table, meta


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(lambda config: run(config, flags.FLAGS.workdir))
