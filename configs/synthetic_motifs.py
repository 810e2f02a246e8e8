"""Do motifs found without labels agree with what the synthetic mice really did?

Windows of 0.64 s, each about one bout of behaviour. The camera is below the floor, so each window
is embedded in all four rotations. Without rotations, clusters reflect headings as much as
behaviours (adjusted mutual information 0.31 to 0.36).

Run:      python -m mpjax.study --config=synthetic_motifs --workdir=out/motifs
          python tests/benchmarks/bench_motif_truth.py --workdir=out/motifs
Takes:    half an hour on 2 CPU cores, half of it for the baseline with random weights.
Expect:   adjusted mutual information of motifs and true behaviours of 0.4 or more, far above random
          weights; licking, guarding and flinching among the motifs that pain makes more frequent.
"""

from mpjax.config import StudyConfig, to_config_dict


def get_config():
    config = to_config_dict(StudyConfig())
    config.name = "synthetic cohort, motifs"
    config.synthetic.run = True
    config.synthetic.animals_per_condition = 6
    config.synthetic.animals_per_arm = 0
    config.synthetic.seconds = 12.0
    config.synthetic.severity = 1.5  # as in the demo
    config.synthetic.nuisance = 0.4
    config.video.frames = 16
    config.video.stride = 16
    config.video.short_side = 112
    config.projector.size = 112
    config.projector.crops = 1
    config.projector.rotations = 4
    config.saliency.incorrect_per_class = 0
    config.saliency.random_clips = 6
    config.saliency.grid = (2, 4, 4)
    config.saliency.levels = 4
    config.confounds.single_frames = 180
    config.split.scheme = "kfold"
    config.split.group = "animal"  # they are independent; three cages would be too few for any test
    return config
