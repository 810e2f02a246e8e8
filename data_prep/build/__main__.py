"""Builds TFRecord shards from a cohort: `python -m data_prep.build --cohort=cohort.csv --out=DIR`.

An unchanged cohort is not built again, and a build that was killed continues where it stopped.
It runs on all cores of this machine (`--config.build.workers=N`: in N processes), or on a runner
of Apache Beam (`pip install 'mpjax[beam]'`) by Beam's own options, such as
`--beam=--runner=DataflowRunner --beam=--project=…`.
"""

import dataclasses

from absl import flags

from data_prep import cohort as cohorts
from data_prep.build.dataset import build, report_failures
from mpjax import cli
from mpjax.config import StudyConfig


def main(config: StudyConfig) -> int:
    """Builds the dataset that the flags name; returns the exit status."""
    allowed = flags.FLAGS.allow_failures or config.build.allow_failures
    cohort = cohorts.read_cohort(flags.FLAGS.cohort, split=config.split, exclude=config.exclude)
    manifest = build(
        cohort,
        flags.FLAGS.out,
        clip_config=config.video,
        config=dataclasses.replace(config.build, allow_failures=allowed),
        beam_options=flags.FLAGS.beam,
    )
    clips = ", ".join(f"{split} {n}" for split, n in manifest["clips"].items())
    print(f"dataset {flags.FLAGS.out}: clips: {clips}")
    failed = report_failures(manifest, flags.FLAGS.out)
    return int(failed > 0 and not allowed)


if __name__ == "__main__":
    flags.DEFINE_string("cohort", None, "Path of cohort.csv.", required=True)
    flags.DEFINE_string("out", None, "Folder of the dataset.", required=True)
    flags.DEFINE_bool("allow_failures", False, "Exit with 0 even if some videos are unreadable.")
    flags.DEFINE_multi_string("beam", [], "A Beam option, e.g. --beam=--runner=FlinkRunner.")
    cli.start(main)
