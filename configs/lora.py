"""Low-rank adapters of a frozen Video Swin-B, on queries and values of every block, with a head.

WORKDIR/projector is the network with the adapters merged in.

Run:      python -m mpjax.weights get uas_k400
          python -m mpjax.study --config=lora --config.cohort=COHORT_CSV \
              --workdir=out/lora
Takes:    a TPU v5e-8, two clips to a chip, or one GPU of 40 GB with
          --config.train.optim.accumulate=2. Published: 1.6 times the probe's time (RTX 3090).
Expect:   slightly more than the linear probe: published 88.6 % versus 87.9 %, top-1 over the
          classes of Kinetics-700 that are not in Kinetics-600
          (https://github.com/franktpmvu/Universal-Action-Space).
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "LoRA"
    config.split.scheme = "fixed"
    config.video.fps = 15.0  # every second frame at 30 Hz
    config.video.frames = 32
    config.video.stride = 32
    config.video.short_side = 256
    config.projector.weights = "uas_k400"
    config.projector.dtype = "bfloat16"
    config.projector.batch_size = 16
    config.train.what = "lora"
    config.train.epochs = 30.0
    config.train.batch_size = 16
    config.train.drop_path = 0.3  # of Swin-B
    config.train.remat = True
    config.train.lora.targets = "qv"
    config.train.lora.rank = 32
    config.train.lora.alpha = 32.0
    return config
