"""The demo: a synthetic cohort with known truth, and a drug that works in one of two pain types.

Run:      python -m mpjax.study --config=demo --workdir=out/demo   (= make demo)
Takes:    under 5 minutes on 2 CPU cores (284 s, with nothing else running).
Expect:   15 and 3 classes on held-out animals clearly above 6.7 % and 33.3 %; gabapentin relieving
          neuropathic pain more than inflammatory pain; see docs/results.md. With
          --config.synthetic.null=true, where nothing has an effect: neither.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "demo: synthetic cohort"
    config.synthetic.run = True
    config.synthetic.animals_per_condition = 8
    config.synthetic.animals_per_arm = 8
    config.synthetic.doses_mg_per_kg = (100.0,)
    config.synthetic.seconds = 24.0
    config.synthetic.fps = 8.0
    config.synthetic.severity = 1.5
    config.synthetic.nuisance = 0.4
    config.video.fps = 4.0
    config.video.short_side = 112
    config.projector.size = 112
    config.projector.crops = 1
    config.projector.batch_size = 4
    # To save time: few clips explained, few single frames, no baseline with random weights.
    config.saliency.incorrect_per_class = 0
    config.saliency.random_clips = 0
    config.saliency.max_clips = 8
    config.saliency.steps = 8
    config.saliency.grid = (2, 4, 4)
    config.saliency.levels = 4
    config.saliency.random = 5
    config.motifs.stability_draws = 4
    config.confounds.single_frames = 120
    config.confounds.frames = 24
    config.baselines.random = False
    return config
