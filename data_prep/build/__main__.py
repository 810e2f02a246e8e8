"""Builds TFRecord shards from a cohort: `python -m data_prep.build --cohort=cohort.csv --out=DIR`.

Any Beam runner serves (`--beam=--runner=DataflowRunner --beam=--project=…`); without options the
local runner uses all cores. An unchanged cohort is not built again; a killed build resumes.
"""

import dataclasses

from absl import flags

from data_prep.build.dataset import build, report_failures
from data_prep.cohort import read_cohort
from mpjax import cli
from mpjax.config import StudyConfig


def _define_flags() -> None:
    flags.DEFINE_string("cohort", None, "Path of cohort.csv.", required=True)
    flags.DEFINE_string("out", None, "Folder of the dataset.", required=True)
    flags.DEFINE_bool("allow_failures", False, "Exit 0 although some videos could not be read.")
    flags.DEFINE_multi_string("beam", [], "A Beam option, e.g. --beam=--runner=FlinkRunner.")


def main(config: StudyConfig) -> int:
    """Builds the dataset that the flags name; returns the exit status."""
    allowed = flags.FLAGS.allow_failures or config.build.allow_failures
    cohort = read_cohort(flags.FLAGS.cohort, split=config.split, exclude=config.exclude)
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
    _define_flags()
    cli.start(main)
