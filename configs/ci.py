"""The smallest study that still has 15 classes, cages and a drug part: for CI and tests.

Run:      python -m mpjax.study --config=ci --workdir=out/ci
Takes:    under 2 minutes on 2 CPU cores.
Expect:   every stage to finish; the scores mean little at this size.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "ci: smallest synthetic cohort"
    config.synthetic.run = True
    config.synthetic.animals_per_condition = 3
    config.synthetic.animals_per_arm = 1
    config.synthetic.seconds = 3.0
    config.synthetic.size = 64
    config.video.fps = 12.5
    config.video.short_side = 64
    config.split.group = "animal"
    config.split.scheme = "kfold"
    config.projector.size = 64
    config.projector.crops = 1
    config.projector.batch_size = 8
    config.head.l2 = (0.01, 0.1)
    config.motifs.candidates = (4, 6)
    config.motifs.stability_draws = 4
    config.motifs.permutations = 199
    config.motifs.exemplars = 2
    config.saliency.incorrect_per_class = 0
    config.saliency.random_clips = 1
    config.saliency.max_clips = 3
    config.saliency.grid = (2, 3, 3)
    config.saliency.steps = 4
    config.saliency.levels = 3
    config.saliency.random = 3
    config.confounds.frames = 16
    config.confounds.permutations = 199
    return config
