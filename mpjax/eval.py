"""Evaluates a study: `python -m mpjax.eval --config=configs/demo.py --workdir=out/demo`.

Makes `WORKDIR/predictions.parquet` from the heads and embeddings, then `metrics.json` and
`report.html` from the predictions (and what the heads left of a demonstration of leaks). Exits with
status 1 where a figure breaks `--config.require`, e.g. `fine.accuracy>=0.2,leak.animals==0`.
"""

import hashlib
import importlib.metadata
import platform
from typing import TYPE_CHECKING, Any

import pandas as pd
from absl import flags
from etils import epath

from mpjax import cli, files
from mpjax.config import StudyConfig

if TYPE_CHECKING:
    from mpjax.analysis import predictions, requirements

_REPORTED_VERSIONS = ("mpjax", "jax", "flax", "optax", "grain", "numpy", "scipy")


def run(config: StudyConfig, workdir: epath.PathLike) -> int:
    """Writes predictions, figures and the report of `workdir`; returns the exit status.

    Raises:
        ValueError: bad input; or `config.require` is no list of requirements.
    """
    from mpjax.analysis import predictions, requirements
    from mpjax.report import html

    required = requirements.parse(config.require)
    workdir = epath.Path(workdir)
    made = [workdir / name for name in ("predictions.parquet", "metrics.json", "report.html")]
    stamp = workdir / ".report.json"
    made_here = (workdir / "heads").exists() or not made[0].exists()
    if made_here:
        table, meta = _predict(workdir)
        identity = _identify(config, meta)
    else:
        print(f"predictions {made[0]}: taken as they are, for there are no heads to predict by")
        identity = _identify(config, _digest(made[0]))
    if all(path.exists() for path in [*made, stamp]) and files.read_json(stamp) == identity:
        print(f"report {made[2]}: unchanged, not written again")
        return _check(required, files.read_json(made[1]))
    if made_here:
        predictions.write_predictions(made[0], table, meta)
        del table  # its embeddings, which are read back below, are large
    read = predictions.read_predictions(made[0], embedding=True)
    figures = _evaluate(config, read, workdir)
    files.write_json(made[1], figures)
    html.write_report(made[2], figures, read, title=config.name)
    files.write_json(stamp, identity)
    print(f"figures {made[1]}")
    print(f"report {made[2]}")
    return _check(required, figures)


def _identify(config: StudyConfig, made_of: Any) -> str:
    """Hashes all that the report depends on: inputs, settings and the code's version.

    Args:
        config: of the study.
        made_of: what tells the predictions from others, JSON-serialisable.

    Raises:
        FileNotFoundError: there is no file `config.eval.against`.
    """
    from mpjax.analysis import metrics

    against = epath.Path(config.eval.against) if config.eval.against else None
    if against and not against.exists():
        raise FileNotFoundError(f"config.eval.against: {against}: no such file")
    other = _digest(against) if against else ""
    code = (metrics.SCHEMA, importlib.metadata.version("mpjax"))
    return files.fingerprint(made_of, config.eval, config.name, other, code)


def _digest(path: epath.Path) -> str:
    """Returns the sha256 of a file's content, as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _evaluate(
    config: StudyConfig, read: "predictions.Predictions", workdir: epath.Path
) -> dict[str, Any]:
    """Computes metrics.json, and tells its answers."""
    from mpjax.analysis import comparison, metrics, predictions
    from mpjax.training import leak

    figures = metrics.evaluate(
        read,
        bootstrap=config.eval.bootstrap,
        permutations=config.eval.permutations,
        seed=config.eval.seed,
        outcome=config.eval.outcome,
        demonstration=leak.read(workdir / "heads"),
    )
    for sentence in figures["drug"].get("summary", [])[:1]:
        print(sentence)
    if config.eval.against:
        other = predictions.read_predictions(config.eval.against)
        figures["comparison"] = comparison.compare(
            read, other, bootstrap=config.eval.bootstrap, seed=config.eval.seed
        ) | {"against": config.eval.against}
        _tell(figures["comparison"])
    return figures


def _check(required: list["requirements.Requirement"], figures: dict[str, Any]) -> int:
    """Prints the requirements that fail; returns the exit status."""
    failures = [failure for each in required if (failure := each.failure(figures))]
    for failure in failures:
        print(f"required, and not so: {failure}")
    return 1 if failures else 0


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
