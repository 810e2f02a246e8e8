"""A locally trained action space: a small Video Swin trained on behaviours of synthetic mice.

The cohort has labels of 7 behaviours: 24 rendered animals without pain, which are in no other
synthetic cohort, each showing each behaviour in 4 recordings of 4 s, 1344 clips of 2 s.

Run:      python -m mpjax.study --config=synthetic_behaviours \
              --workdir=out/synthetic_behaviours
          The network is then a projector like any other. configs/synthetic_probe.py trains a
          linear head on it, frozen, for the pain classes of animals like the demo's.
Takes:    minutes on 2 CPU cores.
Expect:   behaviours of held-out animals far above chance (1/7), and pain classes of the
          demo's animals above what the same network gives with random weights.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "synthetic behaviours: an action space learned"
    config.synthetic.run = True
    config.synthetic.task = "behaviours"
    config.synthetic.animals = 24
    config.synthetic.clips_per_behaviour = 4
    config.synthetic.seconds = 4.0
    config.synthetic.nuisance = 0.4  # as in the demo
    config.video.frames = 16
    config.video.fps = 8.0
    config.video.short_side = 64
    config.projector.kind = "swin"
    config.projector.weights = "random"
    config.projector.size = 64
    config.projector.crops = 1
    config.projector.batch_size = 16
    # Coarse patches: 16 frames of 64 px are 8 x 8 x 8 tokens, one window over the whole time.
    config.projector.architecture.embed_dim = 64
    config.projector.architecture.depths = (2, 2)
    config.projector.architecture.num_heads = (4, 8)
    config.projector.architecture.patch = (2, 8, 8)
    config.projector.architecture.window = (8, 4, 4)
    config.split.scheme = "fixed"  # one model
    config.train.what = "all"
    config.train.epochs = 30.0
    config.train.batch_size = 16
    config.train.eval_every = 98  # steps: two epochs
    config.train.save_every = 98
    config.train.dropout = 0.0  # a network this small does not learn with dropout
    config.train.drop_path = 0.0
    # The animals differ enough; crops and flips only slow down learning.
    config.train.augment.scale = (1.0, 1.0)
    config.train.augment.flip = False
    config.train.optim.learning_rate = 2e-3
    config.train.optim.projector_scale = 1.0  # it starts from random weights
    config.train.optim.warmup_epochs = 1.0
    return config
