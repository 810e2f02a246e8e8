"""The linear probe as published: the frozen projector runs in every epoch, on augmented clips.

As in the published code, stochastic depth stays active in the "frozen" projector while the head
trains, and there is dropout before the head. One model: animals are divided once.

Run:      python -m mpjax.weights get uas_k400
          python -m mpjax.study --config=linear_probe_published \
              --config.cohort=COHORT_CSV --workdir=out/linear_probe_published
Takes:    one GPU of 24 GB. Published: 8 hours for MammalNet, 4 for ChimpBehave (RTX 3090). On the
          same clips, configs/linear_probe.py takes less than a hundredth after its first pass.
Expect:   top-1 / mean over classes 56.6 / 43.2 % on MammalNet, 93.7 / 65.8 % on ChimpBehave
          (arXiv 2602.09518).
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "linear probe as published"
    config.split.scheme = "fixed"
    config.video.fps = 15.0  # every second frame at 30 Hz
    config.video.frames = 32
    config.video.stride = 32
    config.video.short_side = 256
    config.projector.weights = "uas_k400"
    config.train.what = "head"
    config.train.epochs = 30.0
    config.train.batch_size = 16
    config.train.dropout = 0.5
    config.train.drop_path = 0.3  # of Swin-B
    config.train.augment.scale = (0.08, 1.0)
    config.train.augment.flip = True
    config.train.optim.learning_rate = 3e-4
    config.train.optim.warmup_epochs = 2.5
    config.train.optim.weight_decay = 0.05
    return config
