"""Hyperparameters of the analysis: intervals, baselines, saliency, motifs, confounds."""

import dataclasses
from typing import Annotated

from mpjax.config import rules

MotifNumbers = Annotated[tuple[int, ...], rules.each(rules.at_least(2))]


@dataclasses.dataclass(frozen=True)
class EvalConfig(rules.Section):
    """Scores and their uncertainty (`mpjax.analysis`)."""

    bootstrap: rules.Count = 2000  # resamples of animals (cages) for a confidence interval
    permutations: rules.Count = 2000  # of labels over animals: the null of mean-class accuracy
    seed: rules.Seed = 0
    # The drug part's score. pain: probability of any pain | own_type: of the animal's own pain type
    outcome: Annotated[str, rules.one_of("pain", "own_type")] = "pain"
    progression: bool = True  # whether to estimate onset, peak and course of pain over days
    against: str = ""  # another method's predictions.parquet of the same clips, to compare with


@dataclasses.dataclass(frozen=True)
class BaselineConfig(rules.Section):
    """Other methods on the same clips (`mpjax.analysis.classification`)."""

    run: bool = True  # majority, pixels and locomotion; takes seconds
    random: bool = True  # a projector of random weights; takes as long as the embedding
    seed: rules.Seed = 0  # of the random weights
    bsoid: bool = False  # B-SOiD, from the cohort's column pose; its parameters: section bsoid


@dataclasses.dataclass(frozen=True)
class BsoidConfig(rules.Section):
    """B-SOiD's parameters (`mpjax.analysis.bsoid.predict`); those of its app are fixed there."""

    # Of 100 ms, drawn from the training recordings to find motifs in. UMAP takes 500 epochs for up
    # to 10,000 points and 200 for more, so that fewer than these would take longer
    max_bins: Annotated[int, rules.at_least(100)] = 12_000
    # What a clip is classified by. clip: its own motifs | recording: those of its recording too
    context: Annotated[str, rules.one_of("clip", "recording")] = "recording"
    components: rules.Count = 32  # principal components of the recordings' usage, at most
    # Inverse strengths of the classifier's L2 penalty; candidates, chosen by grouped CV
    inverse_penalties: rules.Positives = (0.01, 0.1, 1.0, 10.0, 100.0)
    max_clips: Annotated[int, rules.at_least(100)] = 5000  # to train on, spread over recordings
    seed: rules.Seed = 42


@dataclasses.dataclass(frozen=True)
class SaliencyConfig(rules.Section):
    """Which parts of single clips decided their predictions (`mpjax.interpret`)."""

    run: bool = True
    correct_per_class: rules.Natural = 1  # clips shown: the most confident correct ones
    incorrect_per_class: rules.Natural = 1  # and the most confident incorrect ones
    random_clips: rules.Natural = 4  # further clips, drawn at random, only to check the maps
    max_clips: rules.Count = 12  # in all; each takes as long as embedding a few hundred
    # Cells over time, height and width that are erased
    grid: Annotated[tuple[int, ...], rules.each(rules.at_least(1), 3)] = (2, 5, 5)
    steps: rules.Count = 8  # of the path that gradients are integrated along
    levels: Annotated[int, rules.at_least(2)] = 5  # steps of a deletion or insertion curve
    random: rules.Count = 5  # random orders that a map is compared with
    batch_size: rules.Count = 8  # altered clips per step; a quarter of it where gradients are taken
    seed: rules.Seed = 0


@dataclasses.dataclass(frozen=True)
class MotifConfig(rules.Section):
    """Label-free motifs and how their use differs with pain (`mpjax.analysis.motifs`)."""

    run: bool = True
    # Numbers of motifs; one is chosen by its stability over halves of the animals
    candidates: MotifNumbers = (4, 6, 8, 10, 12, 16, 20, 24, 32, 48)
    components: rules.Count = 32  # principal components at most
    variance: rules.Share = 0.9  # within animals, enough to explain with fewer components
    # Of the components' variances towards their mean, before whitening
    shrinkage: Annotated[float, rules.between(0, 1)] = 0.5
    max_windows: int = 100_000  # that a codebook is fitted on, evenly over the animals
    stability_draws: rules.Count = 8  # of two halves of the animals
    max_windows_per_half: int = 5_000
    gate: rules.Share = 0.99  # share of the training windows that count as familiar
    # Of the pain score (L1); candidates, chosen by grouped CV; 1 is the least that keeps no motif
    penalties: rules.Shares = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03)
    permutations: rules.Count = 9999  # for every p-value
    exemplars: rules.Natural = 4  # animations per motif, of different animals
    seed: rules.Seed = 0

    def __post_init__(self) -> None:
        """Refuses fewer windows than motifs, too."""
        super().__post_init__()
        most = max(self.candidates)
        for name in ("max_windows", "max_windows_per_half"):
            if getattr(self, name) <= most:
                raise ValueError(
                    f"config.motifs.{name} must exceed the {most} of config.motifs.candidates, "
                    f"got {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True)
class ConfoundConfig(rules.Section):
    """The audit of confounds (`mpjax.data.scene.measure`, `mpjax.analysis.confounds.audit`)."""

    run: bool = True
    frames: Annotated[int, rules.at_least(8)] = 48  # measured per recording, spread over it
    clips: rules.Count = 8  # measured frame by frame, per recording
    single_frames: rules.Count = 1500  # embedded at most
    # Of the classes, over animals (cages); each trains the classifier again
    permutations: Annotated[int, rules.at_least(99)] = 2000
    seed: rules.Seed = 0
