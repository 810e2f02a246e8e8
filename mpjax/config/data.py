"""Hyperparameters of cohorts, clips and datasets."""

import dataclasses
from typing import Annotated

from mpjax.config import rules


@dataclasses.dataclass(frozen=True)
class SyntheticConfig(rules.Section):
    """The synthetic cohort (`data_prep.synthetic`); effects are multiples of the default ones."""

    # pain: conditions, days and a drug | behaviours: labelled clips of healthy animals, one
    # behaviour per animal and clip
    task: str = "pain"
    animals: int = 24  # of task behaviours, two per cage
    clips_per_behaviour: int = 4  # of task behaviours, per animal
    seed: int = 0
    null: bool = False  # True: no effect of condition, day or drug
    animals_per_condition: int = 6  # of the classification part; each on every day
    animals_per_arm: int = 4  # of the drug part, per condition and arm
    days: tuple[int, ...] = (1, 3, 7, 14, 21)
    drug_day: int = 14  # day of the drug part's pre and post sessions
    doses_mg_per_kg: tuple[float, ...] = (30.0, 100.0)
    seconds: float = 10.0  # length of a recording
    fps: float = 25.0
    size: int = 128  # px, square chamber
    severity: float = 1.0  # size of the condition x day effect
    drug_neuropathic: float = 0.8  # share of the pain effect that the top dose removes
    drug_inflammatory: float = 0.25
    sedation: float = 0.1  # share of locomotion that the top dose removes, in every animal
    animal_sd: float = 0.25  # sd of the per-animal random effect, on the log-rate scale
    nuisance: float = 1.0  # scale of lighting, size, coat, noise and jitter differences
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

    scheme: str = "auto"  # fixed | kfold | leave_one_group_out; auto: fixed when large enough
    group: str = "auto"  # animal | cage; auto: cage where every recording names one
    val_fraction: float = 0.2
    test_fraction: float = 0.25
    folds: int = 5
    seed: rules.Seed = 0


@dataclasses.dataclass(frozen=True)
class BuildConfig(rules.Section):
    """Records on disk (`data_prep.build`)."""

    name: Annotated[str, rules.DATASET_NAME] = "clips"
    clips_per_shard: rules.Count = 512  # target; the number of shards follows from the videos
    workers: rules.Natural = 0  # processes of the local runner; 0: all cores
    allow_failures: bool = False  # True: exit status 0 although some videos could not be read
