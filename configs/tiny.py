"""A study of a few short, small videos, which the notebooks use as an example.

The projector is a narrow Video Swin of random weights, which compiles quickly.

Run:      python -m mpjax.study --config=tiny --workdir=out/tiny
Takes:    half a minute of one CPU core.
Expect:   every stage except saliency to finish; the scores mean nothing at this size.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "tiny: a few synthetic videos"
    config.synthetic.run = True
    config.synthetic.animals_per_condition = 2
    config.synthetic.animals_per_arm = 1
    config.synthetic.days = (3, 14)
    config.synthetic.doses_mg_per_kg = (100.0,)
    config.synthetic.seconds = 2.6
    config.synthetic.fps = 12.5
    config.synthetic.size = 64
    config.video.fps = 12.5
    config.video.short_side = 64
    config.split.group = "animal"
    config.split.scheme = "kfold"
    config.split.folds = 2
    config.build.workers = 1
    config.projector.kind = "swin"
    config.projector.weights = "random"
    config.projector.attention_impl = "xla"  # compiles faster
    config.projector.architecture.embed_dim = 8
    config.projector.architecture.depths = (2,)
    config.projector.architecture.num_heads = (2,)
    config.projector.architecture.window = (4, 4, 4)
    config.projector.architecture.patch = (2, 8, 8)
    config.projector.size = 64
    config.projector.crops = 1
    config.projector.batch_size = 8
    config.head.l2 = (0.1,)
    config.eval.bootstrap = 200
    config.eval.permutations = 199
    config.eval.progression = False
    config.saliency.run = False
    config.confounds.frames = 8
    config.confounds.clips = 2
    config.confounds.single_frames = 32
    config.confounds.permutations = 99
    config.baselines.random = False
    config.motifs.candidates = (4,)
    config.motifs.stability_draws = 2
    config.motifs.permutations = 99
    config.motifs.exemplars = 1
    return config
