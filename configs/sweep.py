"""Learning rates and weight decays of linear heads, compared on the demo's synthetic cohort.

Run:      python -m mpjax.study --config=sweep --workdir=out/demo
          in the demo's folder, its cohort, dataset and embeddings are used again.
Takes:    the demo's time, and about 20 s for 100 heads of 30 epochs, on 2 CPU cores.
Expect:   out/demo/sweep.csv, a row per head, scored on animals that it was not trained on; the
          learning rate and weight decay of the best mean over 5 seeds are printed.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "sweep: heads of the synthetic cohort"
    config.synthetic.run = True
    config.synthetic.animals_per_condition = 10
    config.synthetic.animals_per_arm = 3
    config.synthetic.seconds = 8.0
    config.synthetic.severity = 1.5
    config.synthetic.nuisance = 0.4
    config.video.fps = 8.0
    config.video.short_side = 112
    config.projector.size = 112
    config.projector.crops = 1
    config.projector.batch_size = 4
    config.train.what = "sweep"
    return config
