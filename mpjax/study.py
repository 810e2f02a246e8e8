"""Runs a whole study: `python -m mpjax.study COHORT.csv --workdir=out/mine`.

Stages: cohort, dataset, embeddings, heads, explanations (`mpjax.explain`), report; what is trained
on clips (`config.train.what`) is trained before they are embedded. A stage whose inputs are
unchanged is skipped and says so; a killed study continues where it stopped.

Without a table, `mpjax study --config=demo --workdir=out/demo` draws synthetic mice, as does
--synthetic with other settings. A table that is named goes before those that a config draws.

Settings that a lab may want to change:
  --config.name='SNI pilot'           the report's title
  --config.video.stride=64            every fourth clip of long recordings; 16: all
  --config.projector.rotations=4      filmed from above or below: headings mean nothing
  --config.video.mask='x:y:w:h'       blacken a burned-in clock
  --config.baselines.random=false     no random weights as a baseline: half the time of embedding
  --config.saliency.run=false         no saliency maps: saves half a minute per clip on two cores
  --config.baselines.bsoid=true       B-SOiD as a baseline, from the cohort's column pose
"""

import dataclasses

from absl import app, flags

from mpjax import cli
from mpjax.config import StudyConfig
from mpjax.studies import stages


def main(config: StudyConfig, *words: str) -> int:
    """Runs the study of `config`, or of the cohort that the command line names as a word."""
    if len(words) > 1 or (words and config.cohort):
        got = " and ".join((*words, config.cohort)).removesuffix(" and ")
        raise app.UsageError(f"give one cohort; got {got}")
    if words:
        config = dataclasses.replace(config, cohort=words[0])
    if flags.FLAGS.synthetic:
        if config.cohort:
            raise app.UsageError(f"give a cohort or --synthetic; got both, {config.cohort}")
        drawn = dataclasses.replace(config.synthetic, run=True)
        config = dataclasses.replace(config, synthetic=drawn)
    return stages.run(config, flags.FLAGS.workdir)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    flags.DEFINE_bool("synthetic", False, "Draw synthetic mice, in place of a cohort of yours.")
    cli.start(main, words=True)
