"""Swin-B, all weights trained, with the shapes of Kinetics: for the table of docs/scaling.md.

The weights are random and need no download, because a compiled program does not depend on them.
Eight clips per chip; set the batch of the slice, e.g. 2048 for 256 chips.

Run:      python -m mpjax.aot --config=swin_b --topology=v5e:16x16 \
              --config.train.batch_size=2048 --config.projector.batch_size=2048
Takes:    about 10 minutes per program, one core; it needs no TPU (pip install 'mpjax[aot]').
Expect:   docs/scaling.md.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "Swin-B, ahead of time"
    config.split.scheme = "fixed"
    config.video.frames = 32
    config.projector.kind = "swin"
    config.projector.weights = "random"
    config.projector.dtype = "bfloat16"
    config.projector.batch_size = 32
    config.projector.attention_impl = "pallas"
    config.projector.architecture.embed_dim = 128
    config.projector.architecture.depths = (2, 2, 18, 2)
    config.projector.architecture.num_heads = (4, 8, 16, 32)
    config.train.what = "all"
    config.train.batch_size = 32
    config.train.drop_path = 0.3
    config.train.remat = True
    return config
