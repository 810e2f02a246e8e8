"""Evaluates a study: `python -m mpjax.eval --config=demo --workdir=out/demo`.

Makes `WORKDIR/predictions.parquet` from the heads and embeddings, then `metrics.json` and
`report.html` from the predictions and from what heads, `mpjax.explain` and `mpjax.rate` have left
there: a demonstration of leakage, motifs, saliency, scenes, other methods, raters. The exit status
is 1 where `--config.require` is not met, e.g. `fine.accuracy>=0.2,leak.animals==0`.
"""

import os

from absl import flags

from mpjax import cli
from mpjax.config import StudyConfig


def main(config: StudyConfig) -> int:
    """Evaluates on the CPU: heads are small, and a pod's chips would wait for the other hosts."""
    os.environ.setdefault("JAX_PLATFORMS", "cpu")  # read when JAX is imported
    from mpjax.studies import evaluation

    return evaluation.run(config, flags.FLAGS.workdir)


if __name__ == "__main__":
    flags.DEFINE_string("workdir", None, "Folder of the study.", required=True)
    cli.start(main)
