"""Hyperparameters of a whole study: its sections."""

import dataclasses

from mpjax.config import analysis, data, model, rules, training


@dataclasses.dataclass(frozen=True)
class StudyConfig(rules.Section):
    """One study: a cohort in, a report out (`mpjax.study`)."""

    name: str = "study"
    cohort: str = ""  # path of cohort.csv; it goes before the synthetic cohort below
    exclude: tuple[str, ...] = ()  # fine classes to leave out, e.g. one confounded with the session
    synthetic: data.SyntheticConfig = data.SyntheticConfig()
    video: data.VideoConfig = data.VideoConfig()
    split: data.SplitConfig = data.SplitConfig()
    build: data.BuildConfig = data.BuildConfig()
    projector: model.ProjectorConfig = model.ProjectorConfig()
    head: training.HeadConfig = training.HeadConfig()
    train: training.TrainConfig = training.TrainConfig()
    sweep: training.SweepConfig = training.SweepConfig()
    mesh: training.MeshConfig = training.MeshConfig()
    profile: rules.Natural = 0  # steps of training to trace with JAX's profiler; 0: none
    eval: analysis.EvalConfig = analysis.EvalConfig()
    baselines: analysis.BaselineConfig = analysis.BaselineConfig()
    bsoid: analysis.BsoidConfig = analysis.BsoidConfig()
    saliency: analysis.SaliencyConfig = analysis.SaliencyConfig()
    confounds: analysis.ConfoundConfig = analysis.ConfoundConfig()
    motifs: analysis.MotifConfig = analysis.MotifConfig()
    # Conditions on the scores for exit status 0, e.g. "fine.accuracy>=0.2,leak.animals==0"
    require: str = ""
