"""A linear probe on cached embeddings of a public action space: the default method.

The frozen projector processes every clip once. Heads then train on its embeddings in seconds,
without dropout or augmentation. Their regularisation is chosen on held-out animals.

Run:      python -m mpjax.weights get uas_k400
          python -m mpjax.study --config=linear_probe --config.cohort=COHORT_CSV \
              --workdir=out/linear_probe
Takes:    the first pass; then seconds. Swin-B needs 0.56 TFLOP per view of 32 frames, three views
          to a clip. This machine's clips per second:
          python tests/benchmarks/bench_machine.py --config=linear_probe
Expect:   like the published probe (configs/linear_probe_published.py): top-1 / mean over classes
          56.6 / 43.2 % on MammalNet and 93.7 / 65.8 % on ChimpBehave (arXiv 2602.09518), with
          configs/mammalnet.py and configs/chimpbehave.py.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "linear probe on cached embeddings"
    config.video.fps = 15.0  # every second frame at 30 Hz
    config.video.frames = 32
    config.video.stride = 32
    config.video.short_side = 256
    config.projector.weights = "uas_k400"
    return config
