"""A whole Video Swin-B fine-tuned on a cohort. For large cohorts; on small ones it overfits.

The projector has a tenth of the head's learning rate; norms and bias tables have no weight decay.
The checkpoint that is best on the animals of `val` becomes WORKDIR/projector.

Run:      python -m mpjax.weights get uas_k400
          python -m mpjax.study --config=finetune --config.cohort=COHORT_CSV \
              --workdir=out/finetune
Takes:    a TPU v5e-8, two clips to a chip, or one GPU of 80 GB with
          --config.train.optim.accumulate=2. Published: twice the probe's time (RTX 3090).
Expect:   slightly more than LoRA: published 88.8 % compared with 88.6 %, top-1 over the classes of
          Kinetics-700 that are not in Kinetics-600
          (https://github.com/franktpmvu/Universal-Action-Space).
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "fine-tuning"
    config.split.scheme = "fixed"
    config.video.fps = 15.0  # every second frame at 30 Hz
    config.video.frames = 32
    config.video.stride = 32
    config.video.short_side = 256
    config.projector.weights = "uas_k400"
    config.projector.dtype = "bfloat16"
    config.projector.batch_size = 16
    config.train.what = "all"
    config.train.epochs = 30.0
    config.train.batch_size = 16
    config.train.drop_path = 0.3  # of Swin-B
    config.train.remat = True
    config.train.balance = "weights"  # so that rare classes are learned
    config.train.optim.learning_rate = 3e-4
    config.train.optim.projector_scale = 0.1
    config.train.optim.warmup_epochs = 2.5
    config.train.optim.weight_decay = 0.05
    return config
