"""An action space from labelled videos of people: a whole Video Swin-T trained on Kinetics-400.

It starts from a Swin-T trained on the images of ImageNet, inflated to 3D
(swin_tiny_patch4_window7_224.pth of https://github.com/microsoft/Swin-Transformer, or torchvision's
swin_t). The cohort has a row per video: video, animal (the file again: each video is its own
animal), label, split (train; the published validation videos are test). Other studies then use
WORKDIR/projector as their `config.projector.weights`. For Swin-B:
swin_base_patch4_window7_224_22k.pth, drop_path 0.3, weight_decay 0.05 and remat.

Run:      python -m data_prep.build --config=pretrain_kinetics --cohort=COHORT_CSV \
              --out=gs://BUCKET/k400/dataset
          then mpjax.train, mpjax.embed and mpjax.eval with --workdir=gs://BUCKET/k400 and, for the
          first, --config.projector.weights=CHECKPOINT, on each of the 4 hosts of a TPU v5e-16
          (docs/scaling.md). On one machine mpjax.study does all of it; there
          --config.train.optim.accumulate=N splits a batch. The records: 31 million frames, 0.3 TB
          at 10 kB each, 1 TB at 33 kB.
Takes:    not measured. 7.2 million clips x 0.53 TFLOP: 50 minutes at 40 % of the 16 chips' peak.
Expect:   top-1 78.8 % by recording, 4 x 3 views (arXiv 2106.13230, Swin-T; Swin-B 82.7 %).
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "Kinetics-400: Video Swin-T"
    config.split.scheme = "fixed"
    # Every second frame of 10 s at 30 Hz: four clips per video. The published code draws one at
    # random per epoch, so a quarter of its 30 epochs shows each video as often.
    config.video.fps = 15.0
    config.video.frames = 32
    config.video.stride = 38
    config.video.short_side = 256
    config.projector.kind = "swin"
    config.projector.weights = "swin_tiny_patch4_window7_224.pth"
    config.projector.dtype = "bfloat16"
    config.projector.batch_size = 64
    config.train.what = "all"
    config.train.epochs = 7.5
    config.train.batch_size = 64
    config.train.drop_path = 0.1
    config.train.save_every = 1000
    config.train.eval_every = 5000
    config.train.processes = 32  # a host of 4 chips has 112 cores
    config.train.optim.learning_rate = 3e-4
    config.train.optim.projector_scale = 0.1
    config.train.optim.weight_decay = 0.02
    config.train.optim.warmup_epochs = 0.625  # 2.5 of the published epochs, which are longer
    return config
