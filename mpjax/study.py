"""Runs a whole study: `python -m mpjax.study COHORT.csv --workdir=out/mine`.

Stages: cohort (drawn, where the config names none), dataset, embeddings, heads, a look at what they
saw (`mpjax.explain`), report; what is trained on clips (`config.train.what`) is trained before they
are embedded. A stage whose inputs are unchanged is skipped and says so; a killed study goes on from
where it stopped.

What a lab may want to say besides:
  --config.name='SNI pilot'           the report's title
  --config.video.stride=64            every fourth clip of long recordings; 16: all
  --config.projector.rotations=4      filmed from above or below: headings mean nothing
  --config.video.mask='x:y:w:h'       blacken a burned-in clock
  --config.baselines.random=false     no random weights beside: half the time of embedding
  --config.saliency.run=false         no maps of what decided: half a minute per clip on two cores
  --config.baselines.bsoid=true       B-SOiD as a baseline, from the cohort's column pose
"""

import dataclasses
import time

from absl import app, flags
from etils import epath

from mpjax import cli, embed, explain, train
from mpjax import eval as evaluation
from mpjax.config import StudyConfig
from mpjax.io import files, stores
from mpjax.studies import provenance

_DOWNLOAD = {"gs://": "gcloud storage cp", "s3://": "aws s3 cp"}


def run(config: StudyConfig, workdir: epath.PathLike) -> int:
    """Runs all stages of `config` in `workdir`; returns the exit status.

    Raises:
        ValueError: bad input, or videos that could not be read and are not allowed to fail.
    """
    started = time.monotonic()
    workdir = stores.ready(workdir)
    _check_early(config, workdir)
    provenance.claim(workdir, config)
    _announce(1, "cohort")
    cohort_path = _cohort(config, workdir)
    _announce(2, "dataset")
    failed = _dataset(config, cohort_path, workdir)
    if failed and not config.build.allow_failures:
        print("stopped: mend or remove them, or go on without: --config.build.allow_failures=true")
        return 1
    if config.train.what in train.ON_CLIPS:
        _announce(3, "training")
        if not train.run(config, workdir):
            return 0  # stopped on request
        _announce(4, "embeddings")
        embed.run(config, workdir)
    else:
        _announce(3, "embeddings")
        embed.run(config, workdir)
        _announce(4, "heads")
        train.run(config, workdir)
    _announce(5, "what it saw")
    explain.run(config, workdir)
    _announce(6, "report")
    status = evaluation.run(config, workdir)
    print(f"\ndone in {time.monotonic() - started:.0f} s; open the report with")
    report = files.absolute(workdir / "report.html")
    if stores.is_remote(report):
        print(f"  {_DOWNLOAD[str(report)[:5]]} {report} .  # then open report.html in a browser")
    else:
        print(f"  python3 -m webbrowser -t file://{report}")
    return status


def _check_early(config: StudyConfig, workdir: epath.Path) -> None:
    """Raises at once what a stage would raise after hours of those before it."""
    from mpjax.data import clips
    from mpjax.models.weights import public
    from mpjax.studies import requirements

    requirements.parse(config.require)
    train.check_what(config)
    train.check_place(config, workdir)
    chosen = config.projector
    clips.Views(chosen.size, chosen.frames, chosen.views, chosen.crops, chosen.rotations)
    if chosen.weights not in ("kinetics400", "random") and "." not in chosen.kind:
        public.locate(chosen.weights)


def _announce(number: int, stage: str) -> None:
    print(f"[{number}/6] {stage}", flush=True)


def _cohort(config: StudyConfig, workdir: epath.Path) -> epath.Path:
    if config.cohort:
        return stores.ready(config.cohort)
    from data_prep import synthetic

    return synthetic.generate(workdir / "cohort", config.synthetic)


def _dataset(config: StudyConfig, cohort_path: epath.Path, workdir: epath.Path) -> int:
    """Builds the dataset; returns the number of videos that could not be read."""
    from data_prep import build
    from data_prep import cohort as cohorts

    cohort = cohorts.read_cohort(cohort_path, split=config.split, exclude=config.exclude)
    manifest = build.build(
        cohort, workdir / "dataset", clip_config=config.video, config=config.build
    )
    return build.report_failures(manifest, workdir / "dataset")


def main(config: StudyConfig, *words: str) -> int:
    """Runs the study of `config`, or of the cohort that the command line names as a word."""
    if len(words) > 1 or (words and config.cohort):
        raise app.UsageError(f"one cohort, please, not {' and '.join((*words, config.cohort))}")
    if words:
        config = dataclasses.replace(config, cohort=words[0])
    return run(config, flags.FLAGS.workdir)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(main, words=True)
