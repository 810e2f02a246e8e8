"""Hyperparameters of cohorts, clips and datasets."""

import dataclasses
from typing import Annotated

from mpjax.config import rules

Fraction = Annotated[float, rules.between(0, 1)]
UpToTwo = Annotated[float, rules.between(0, 2)]
SYNTHETIC_MARK = ".synthetic.json"  # file beside the table of a cohort that was drawn


@dataclasses.dataclass(frozen=True)
class SyntheticConfig(rules.Section):
    """The synthetic cohort (`data_prep.synthetic`); effects are multiples of the default ones."""

    run: bool = False  # True: draw it where the study names no cohort
    # pain: conditions, days and a drug | behaviours: labelled clips of healthy animals, one
    # behaviour per animal and clip
    task: Annotated[str, rules.one_of("pain", "behaviours")] = "pain"
    animals: rules.Count = 24  # of task behaviours, two per cage
    clips_per_behaviour: rules.Count = 4  # of task behaviours, per animal
    seed: rules.Natural = 0
    null: bool = False  # True: no effect of condition, day or drug
    animals_per_condition: rules.Count = 6  # of the classification part; each on every day
    animals_per_arm: rules.Natural = 4  # of the drug part, per condition and arm; 0: no drug part
    days: Annotated[tuple[int, ...], rules.distinct(rules.at_least(0), 1)] = (1, 3, 7, 14, 21)
    drug_day: rules.Natural = 14  # day of the drug part's pre and post sessions
    doses_mg_per_kg: Annotated[tuple[float, ...], rules.distinct(rules.POSITIVE)] = (30.0, 100.0)
    seconds: rules.Positive = 10.0  # length of a recording
    fps: Annotated[float, rules.between(5, 1000)] = 25.0  # lower: motion would not be resolved
    size: Annotated[int, rules.FRAME_SIDE] = 128  # px, square chamber
    severity: Annotated[float, rules.between(0, 3)] = 1.0  # size of the condition x day effect
    drug_neuropathic: Fraction = 0.8  # share of the pain effect that the top dose removes
    drug_inflammatory: Fraction = 0.25
    sedation: Fraction = 0.1  # share of locomotion that the top dose removes, in every animal
    animal_sd: UpToTwo = 0.25  # sd of the per-animal random effect, on the log-rate scale
    nuisance: UpToTwo = 1.0  # scale of lighting, size, coat, noise and jitter differences
    # A condition that is filmed in brighter light: a confound for the audit to find
    confound: str = ""


@dataclasses.dataclass(frozen=True)
class VideoConfig(rules.Section):
    """Geometry of clips in time and space (`mpjax.data.video.clips`)."""

    frames: rules.Count = 16  # frames per clip
    fps: rules.NonNegative = 0.0  # target rate in Hz, by resampling; 0: each keeps its own
    stride: rules.Count = 16  # frames, at the target rate, from one clip's start to the next one's
    short_side: rules.Natural = 256  # px after resizing (antialiased); 0: as recorded
    jpeg_quality: Annotated[int, rules.between(1, 100)] = 95
    # Boxes x:y:w:h, in px of the displayed original, that are blackened in all recordings
    mask: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SplitConfig(rules.Section):
    """How animals are divided (`data_prep.cohort`)."""

    # auto: fixed when large enough
    scheme: Annotated[str, rules.one_of("auto", "fixed", "kfold", "leave_one_group_out")] = "auto"
    # auto: cage where every recording names one
    group: Annotated[str, rules.one_of("auto", "animal", "cage")] = "auto"
    val_fraction: rules.Chance = 0.2
    test_fraction: rules.Share = 0.25
    folds: Annotated[int, rules.at_least(2)] = 5
    seed: rules.Seed = 0

    def __post_init__(self) -> None:
        """Refuses fractions that leave nothing to train on, too."""
        super().__post_init__()
        if self.val_fraction + self.test_fraction >= 1:
            raise ValueError(
                f"config.split.val_fraction {self.val_fraction} and test_fraction "
                f"{self.test_fraction} must have a sum below 1"
            )


@dataclasses.dataclass(frozen=True)
class BuildConfig(rules.Section):
    """Records on disk (`data_prep.build`)."""

    name: Annotated[str, rules.DATASET_NAME] = "clips"
    clips_per_shard: rules.Count = 512  # target; the number of shards follows from the videos
    workers: rules.Natural = 0  # processes; 0: one per core; 1: no others
    allow_failures: bool = False  # True: exit status 0 although some videos could not be read
