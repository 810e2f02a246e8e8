"""Evaluates a study: `python -m mpjax.eval --config=configs/demo.py --workdir=out/demo`.

Makes `WORKDIR/predictions.parquet` from the heads and embeddings, then `metrics.json` and
`report.html` from the predictions and from what heads, `mpjax.explain` and `mpjax.rate` have left
there: a demonstration of leaks, motifs, saliency, scenes, other methods, raters. Exits with 1
where a figure breaks `--config.require`, e.g. `fine.accuracy>=0.2,leak.animals==0`.
"""

import hashlib
import importlib.metadata
import os
from typing import TYPE_CHECKING, Any

from absl import flags
from etils import epath

from mpjax import cli
from mpjax.config import StudyConfig
from mpjax.io import files, stores
from mpjax.studies import evaluation, provenance

if TYPE_CHECKING:
    from mpjax.analysis import predictions
    from mpjax.studies import requirements


def run(config: StudyConfig, workdir: epath.PathLike) -> int:
    """Writes predictions, figures and the report of `workdir`; returns the exit status.

    Raises:
        ValueError: bad input; or `config.require` is no list of requirements.
    """
    from mpjax.analysis import predictions
    from mpjax.report import page
    from mpjax.studies import requirements

    required = requirements.parse(config.require)
    workdir = stores.ready(workdir)
    made = [workdir / name for name in ("predictions.parquet", "metrics.json", "report.html")]
    stamp = workdir / ".report.json"
    made_here = (workdir / "heads").exists() or not made[0].exists()
    if made_here:
        table, meta = evaluation.predict(workdir)
        identity = _identify(config, meta, workdir)
    else:
        print(f"predictions {made[0]}: taken as they are, for there are no heads to predict by")
        identity = _identify(config, _digest(made[0]), workdir)
    if all(path.exists() for path in [*made, stamp]) and files.read_json(stamp) == identity:
        print(f"report {made[2]}: unchanged, not written again")
        return _check(required, files.read_json(made[1]))
    if made_here:
        predictions.write_predictions(made[0], table, meta)
        del table  # its embeddings, which are read back below, are large
    read = predictions.read_predictions(made[0], embedding=True)
    figures, pictures = _evaluate(config, read, workdir)
    files.write_json(made[1], figures)
    page.write_report(made[2], figures, read, title=config.name, pictures=pictures)
    files.write_json(stamp, identity)
    for line in provenance.differing(workdir, config):
        print(f"note: not as in the study: {line}; its own settings: --config=FILE or --config.…")
    print(f"figures {made[1]}")
    print(f"report {made[2]}")
    return _check(required, figures)


def _identify(config: StudyConfig, made_of: Any, workdir: epath.Path) -> str:
    """Hashes all that the report depends on: inputs, settings and the code's version.

    Args:
        config: of the study.
        made_of: what tells the predictions from others, JSON-serialisable.
        workdir: of the study, for what else lies there.

    Raises:
        FileNotFoundError: there is no file `config.eval.against`.
    """
    from mpjax.analysis.classification import evaluate

    against = stores.ready(config.eval.against) if config.eval.against else None
    if against and not against.exists():
        raise FileNotFoundError(f"config.eval.against: {against}: no such file")
    other = _digest(against) if against else ""
    code = (evaluate.SCHEMA, importlib.metadata.version("mpjax"))
    settings = (config.eval, config.motifs, config.saliency, config.confounds, config.baselines)
    beside = {
        str(path.relative_to(workdir)): _digest(path) for path in evaluation.files_read(workdir)
    }
    return files.fingerprint(made_of, settings, config.name, other, code, beside)


def _digest(path: epath.Path) -> str:
    """Returns the sha256 of a file's content, as hex digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


def _evaluate(
    config: StudyConfig, read: "predictions.Predictions", workdir: epath.Path
) -> tuple[dict[str, Any], evaluation.Pictures]:
    """Computes metrics.json, and tells its answers; returns it and the report's pictures."""
    from mpjax.analysis import predictions
    from mpjax.analysis.classification import comparison, evaluate
    from mpjax.heads import leakage

    figures = evaluate.evaluate(
        read,
        bootstrap=config.eval.bootstrap,
        permutations=config.eval.permutations,
        seed=config.eval.seed,
        outcome=config.eval.outcome,
        progression=config.eval.progression,
        demonstration=leakage.read(workdir / "heads"),
    )
    for sentence in figures["drug"].get("summary", [])[:1]:
        print(sentence)
    if config.eval.against:
        other = predictions.read_predictions(config.eval.against)
        figures["comparison"] = comparison.compare(
            read, other, bootstrap=config.eval.bootstrap, seed=config.eval.seed
        ) | {"against": config.eval.against}
        _tell(figures["comparison"])
    parts, pictures = evaluation.collect(config, workdir, read)
    if "status" in parts["confounds"]:
        first = parts["confounds"]["sentences"][0].rstrip(":")
        print(f"confounds: {parts['confounds']['status']}; {first}")
    return figures | parts, pictures


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


def main(config: StudyConfig) -> int:
    """Evaluates on the CPU: heads are small, and a pod's chips would wait for the other hosts."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # read when JAX is imported
    return run(config, flags.FLAGS.workdir)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(main)
