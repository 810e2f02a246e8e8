"""267 real clips of 7 rodent behaviours in three cages; `normal` is confounded with the session.

Run:      python -m mpjax.study --config=rodent_clips --config.cohort=COHORT_CSV \
              --workdir=out/rodent_clips
          add --config.projector.weights=random for features of random weights.
Takes:    see docs/results.md (2 CPU cores).
Expect:   balanced accuracy >= 0.58 over six behaviours, leave-one-cage-out, the head's
          regularisation chosen by nested grouped cross-validation.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "rodent clips: six behaviours, leave one cage out"
    config.exclude = ("normal",)
    config.split.scheme = "leave_one_group_out"
    config.split.group = "cage"
    config.video.short_side = 224
    config.projector.crops = 3
    return config
