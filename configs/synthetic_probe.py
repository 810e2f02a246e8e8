"""Does an action space learned on behaviours of synthetic mice transfer to pain in other mice?

A cohort like the demo's, filmed and cropped like that of configs/synthetic_behaviours.py. Its
network is frozen, with a linear head by grouped cross-validation. Run it with random and with
learned weights; the run with learned weights prints how much better they are (paired bootstrap over
animals).

Run:      python -m mpjax.study --config=synthetic_behaviours --workdir=out/behaviours
          python -m mpjax.study --config=synthetic_probe --workdir=out/random
          python -m mpjax.study --config=synthetic_probe --workdir=out/learned \
              --config.projector.weights=out/behaviours/projector \
              --config.eval.against=out/random/predictions.parquet
Takes:    2 minutes each after the first, on 2 CPU cores.
Expect:   see docs/results.md.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "synthetic cohort, a small Video Swin"
    config.synthetic.run = True
    config.synthetic.animals_per_condition = 20
    config.synthetic.animals_per_arm = 1
    config.synthetic.seconds = 8.0
    config.synthetic.severity = 1.5
    config.synthetic.nuisance = 0.4
    config.split.scheme = "kfold"  # every animal is tested
    config.video.fps = 8.0
    config.video.short_side = 64
    config.projector.kind = "swin"
    config.projector.weights = "random"
    config.projector.size = 64
    config.projector.crops = 1
    config.projector.batch_size = 16
    config.projector.architecture.embed_dim = 64
    config.projector.architecture.depths = (2, 2)
    config.projector.architecture.num_heads = (4, 8)
    config.projector.architecture.patch = (2, 8, 8)
    config.projector.architecture.window = (8, 4, 4)
    return config
