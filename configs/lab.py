"""A lab's own cohort, on a workstation or Colab.

Run:      python -m mpjax.study --config=lab --config.cohort=COHORT_CSV --workdir=out/lab
Takes:    about 1.6 s per 16-frame clip at 3 views on 2 CPU cores; far less on a GPU. Raise
          config.video.stride to process fewer clips of long recordings.
Expect:   scores with their uncertainty and possible confounds: out/lab/report.html.
"""

from mpjax.config import get_config

__all__ = ["get_config"]  # the settings of binaries without --config
