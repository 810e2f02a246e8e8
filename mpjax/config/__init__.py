"""Hyperparameters of every stage, each default written once.

A config file in `configs/` is Python with `get_config()`; it starts from
`to_config_dict(StudyConfig())` and overrides what it needs. Flags override single fields
(`--config.head.seed=3`), and `from_config_dict` turns the result back into frozen, checked
dataclasses.
"""

import dataclasses
import math
import typing
from typing import Any, TypeVar

from mpjax.config import rules

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class SyntheticConfig:
    """The synthetic cohort (`data_prep.synthetic`); effects are multiples of the default ones."""

    # What is filmed. pain: conditions, days and a drug | behaviours: labelled clips of other,
    # painless animals, one behaviour each
    task: str = "pain"
    animals: int = 24  # of task behaviours, two to a cage
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
    # A condition that is filmed in brighter light: a fault for the audit to find
    confound: str = ""


@dataclasses.dataclass(frozen=True)
class VideoConfig:
    """Geometry of clips in time and space (`mpjax.data.video.clips`)."""

    frames: int = 16  # frames per clip
    fps: float = 0.0  # target frame rate in Hz, resampled in time; 0 keeps each recording's own
    stride: int = 16  # frames, at the target rate, from one clip's start to the next one's
    short_side: int = 256  # px after resizing (antialiased); 0 keeps the recording's size
    jpeg_quality: int = 95
    # Boxes x:y:w:h in px of the displayed original that are blackened in all recordings
    mask: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class SplitConfig:
    """How animals are divided (`data_prep.cohort`)."""

    scheme: str = "auto"  # fixed | kfold | leave_one_group_out; auto: fixed when large enough
    group: str = "auto"  # animal | cage; auto: cage where every recording names one
    val_fraction: float = 0.2
    test_fraction: float = 0.25
    folds: int = 5
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class BuildConfig:
    """Records on disk (`data_prep.build`)."""

    name: str = "clips"
    clips_per_shard: int = 512  # aimed at; the number of shards follows from the videos' length
    workers: int = 0  # processes of the local runner; 0: all cores
    allow_failures: bool = False  # True: exit 0 although some videos could not be read


@dataclasses.dataclass(frozen=True)
class ArchitectureConfig:
    """A Video Swin that starts from random or from 2D weights; the defaults are Swin-T's."""

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    patch: tuple[int, ...] = (2, 4, 4)
    window: tuple[int, ...] = (8, 7, 7)


@dataclasses.dataclass(frozen=True)
class ProjectorConfig:
    """The frozen projector (`mpjax.models`)."""

    kind: str = ""  # i3d | swin | the import path of a module like them; empty: by the weights
    # kinetics400, the packaged I3D | random | a checkpoint's path | the name of public weights
    weights: str = "kinetics400"
    seed: int = 0  # of random weights
    size: int = 224  # px, side of the square crop fed to the projector
    frames: int = 0  # frames per view; 0 takes the whole clip
    views: int = 1  # views in time, evenly spaced over the clip
    crops: int = 3  # views in space, along the longer side
    # Views turned by 180 degrees (2) or every right angle (4), for a camera above or below the
    # animals, to which their heading means nothing; 1: as filmed
    turns: int = 1
    batch_size: int = 4  # views per step
    dtype: str = "float32"  # compute type: float32 | bfloat16
    form: str = "auto"  # how a Video Swin is computed: auto | xla | blocked | pallas
    architecture: ArchitectureConfig = ArchitectureConfig()  # of random weights of kind swin


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """The classifier head trained on cached embeddings (`mpjax.training`)."""

    l2: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0)  # chosen among, by grouped CV
    class_balanced: bool = True  # weigh classes equally in the loss
    max_iterations: int = 200  # of L-BFGS
    tolerance: float = 1e-4  # on the gradient's largest component
    coarse: bool = False  # a second head, on the coarse classes themselves

    def __post_init__(self) -> None:
        if not self.l2 or min(self.l2) <= 0:
            raise ValueError(f"head.l2 must be one or more positive numbers, got {self.l2}")


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters of a frozen Video Swin (`mpjax.models.lora`); published defaults."""

    targets: str = "qv"  # qv | qkv | qkvo | mlp | all: the layers of a block that are adapted
    rank: int = 32
    alpha: float = 32.0  # the update is scaled by alpha / rank; published: alpha = rank
    stages: str = "all"  # of the network: all | first | last

    def __post_init__(self) -> None:
        if self.rank < 1:
            raise ValueError(f"lora.rank must be 1 or more, got {self.rank}")
        if not 0 < self.alpha < math.inf:
            raise ValueError(f"lora.alpha must be positive and finite, got {self.alpha}")


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """Random changes to training clips (`mpjax.data.pipeline`); the defaults are published."""

    scale: tuple[float, ...] = (0.08, 1.0)  # range of the random crop's share of the picture
    flip: bool = True  # mirror half of the clips; a left-right flip swaps the paws


@dataclasses.dataclass(frozen=True)
class OptimConfig:
    """AdamW and its schedule (`mpjax.training.optim`); the defaults are the published ones."""

    learning_rate: float = 3e-4  # its peak
    projector_scale: float = 0.1  # of the learning rate, for a projector that is trained too
    betas: tuple[float, ...] = (0.9, 0.999)
    weight_decay: float = 0.05  # none on norms and bias tables
    warmup_epochs: float = 2.5  # linear, from 0
    clip_norm: float = 0.0  # bound of the gradient's global norm; 0: none
    accumulate: int = 1  # parts that a batch is cut into, one after the other, to save memory
    ema: float = 0.0  # decay of an average of the weights, which is then evaluated; 0: none


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """How devices are used (`mpjax.training.partitioning`)."""

    data: int = 0  # ways the batch is cut; 0: all devices that `model` leaves
    model: int = 1  # ways the weights' heads and hidden units are cut
    fully_sharded: bool = False  # cut parameters and optimiser state over `data` too
    # Several hosts: found out by themselves on TPU pods, Slurm and Open MPI; else of all processes:
    coordinator: str = ""  # HOST:PORT of the first process
    processes: int = 0
    process: int = 0  # this one's number
    timeout: int = 30  # s after which a process that has died ends the others


@dataclasses.dataclass(frozen=True)
class SweepConfig:
    """Heads of every learning rate x weight decay x seed at once (`mpjax.heads.sweep`)."""

    learning_rates: tuple[float, ...] = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # peaks of the schedule
    weight_decays: tuple[float, ...] = (0.0, 0.05, 0.5, 5.0)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)  # of a head's first weights and its batches
    epochs: float = 30.0
    batch_size: int = 16  # views per step
    class_balanced: bool = True  # weigh classes equally in the loss
    at_once: int = 32  # trials trained side by side; bounds the memory

    def __post_init__(self) -> None:
        """Refuses a sweep over nothing."""
        for name in ("learning_rates", "weight_decays", "seeds"):
            if not getattr(self, name):
                raise ValueError(f"sweep.{name} is empty: give one value or more")


@dataclasses.dataclass(frozen=True)
class TrainConfig:
    """Training by gradient descent on clips (`mpjax.training.loop`)."""

    # What is trained. probe: heads alone, on cached embeddings | head: alone, the projector run in
    # every epoch, as published | lora: head and adapters | all: head and projector
    what: str = "probe"
    epochs: float = 30.0
    batch_size: int = 16  # clips per step, over all devices
    dropout: float = 0.5  # of the embedding, before the head
    drop_path: float = 0.1  # of the projector's last block; grows linearly from 0
    label_smoothing: float = 0.0
    balance: str = "none"  # of classes: none | weights, of the loss | sampling, of clips
    remat: bool = False  # compute each block again in the backward pass: less memory
    seed: int = 0
    save_every: int = 500  # steps between checkpoints
    eval_every: int = 500  # steps between evaluations on the split `val`
    keep: int = 3  # checkpoints: the best one on `val`, and the latest
    log_every: int = 10  # steps
    processes: int = 0  # that read and decode clips; 0: threads of this one
    augment: AugmentConfig = AugmentConfig()
    optim: OptimConfig = OptimConfig()
    lora: LoraConfig = LoraConfig()


@dataclasses.dataclass(frozen=True)
class EvalConfig:
    """Figures and their uncertainty (`mpjax.analysis`)."""

    bootstrap: int = 2000  # resamples of animals (cages) for a confidence interval
    permutations: int = 2000  # of the labels, over animals, for the null of mean-class accuracy
    seed: int = 0
    # The drug part's score: pain, the probability of any | own_type, that of the animal's own type
    outcome: str = "pain"
    progression: bool = True  # whether onset, peak and course of pain over days are estimated
    against: str = ""  # another method's predictions.parquet of the same clips, to compare with

    def __post_init__(self) -> None:
        """Refuses to resample or permute less than once."""
        for name in ("bootstrap", "permutations"):
            if getattr(self, name) < 1:
                raise ValueError(f"eval.{name} must be 1 or more, got {getattr(self, name)}")


@dataclasses.dataclass(frozen=True)
class BaselineConfig:
    """Simple baselines on the same clips (`mpjax.analysis.classification.baselines`)."""

    run: bool = True  # majority, pixels and locomotion: seconds
    random: bool = True  # a projector of random weights: as long as the embedding takes
    seed: int = 0  # of its weights


@dataclasses.dataclass(frozen=True)
class BsoidConfig:
    """B-SOiD (`mpjax.analysis.bsoid.predict`); the parameters of its app stand there."""

    # Of 100 ms, drawn from the training recordings to find motifs in. UMAP takes 500 epochs for up
    # to 10,000 points and 200 for more, so that fewer than these would take longer
    max_bins: int = 12_000
    # What a clip is classified by. clip: its own motifs | recording: those of its recording too
    context: str = "recording"
    components: int = 32  # principal components of the recordings' usage, at most
    # Inverse strengths of the classifier's L2 penalty, chosen among by grouped CV
    inverse_penalties: tuple[float, ...] = (0.01, 0.1, 1.0, 10.0, 100.0)
    max_clips: int = 5000  # that a classifier is trained on, spread over the recordings
    seed: int = 42

    def __post_init__(self) -> None:
        """Refuses what nothing can be learnt with."""
        if self.context not in ("clip", "recording"):
            raise ValueError(f"bsoid.context must be clip or recording, got {self.context!r}")
        for name, least in (("max_bins", 100), ("components", 1), ("max_clips", 100)):
            if getattr(self, name) < least:
                raise ValueError(f"bsoid.{name} must be {least} or more, got {getattr(self, name)}")
        if not self.inverse_penalties or min(self.inverse_penalties) <= 0:
            raise ValueError(
                "bsoid.inverse_penalties must be one or more positive numbers, got "
                f"{self.inverse_penalties}"
            )


@dataclasses.dataclass(frozen=True)
class SaliencyConfig:
    """What decided the predictions of single clips (`mpjax.interpret.explain_clips`)."""

    run: bool = True  # whether clips are explained
    right: int = 1  # clips per class that are shown: the surest correct ones
    wrong: int = 1  # and the surest wrong ones
    drawn: int = 4  # further clips drawn at random, for the check of the maps alone
    most: int = 12  # clips in all; each takes as long as embedding some hundred
    grid: tuple[int, ...] = (2, 5, 5)  # cells over time, height and width that are erased
    steps: int = 8  # of the path that gradients are integrated along
    levels: int = 5  # steps of a deletion or insertion curve
    random: int = 5  # random orders that a map is compared with
    batch_size: int = 8  # altered clips per step; a quarter of them where gradients are taken
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what leaves nothing to erase or to compare with."""
        for name in ("steps", "random", "batch_size", "most"):
            if getattr(self, name) < 1:
                raise ValueError(f"saliency.{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("right", "wrong", "drawn"):
            if getattr(self, name) < 0:
                raise ValueError(f"saliency.{name} must be 0 or more, got {getattr(self, name)}")
        if self.levels < 2:
            raise ValueError(f"saliency.levels must be 2 or more, got {self.levels}")
        if len(self.grid) != 3 or min(self.grid) < 1:
            raise ValueError(
                f"saliency.grid must be three numbers of cells, t y x, each 1 or more, "
                f"got {self.grid}"
            )


@dataclasses.dataclass(frozen=True)
class MotifConfig:
    """Label-free motifs and how their use differs with pain (`mpjax.analysis.motifs`)."""

    run: bool = True
    # Numbers of motifs, among which stability over halves of the animals chooses; one is taken
    candidates: tuple[int, ...] = (4, 6, 8, 10, 12, 16, 20, 24, 32, 48)
    components: int = 32  # principal components at most
    variance: float = 0.9  # share of the variance that they must explain, else all of them
    shrinkage: float = 0.5  # of the components' variances towards their mean, before whitening
    sample: int = 100_000  # windows that a codebook is fitted on at most, evenly over the animals
    halves: int = 8  # draws of two halves of the animals, for the stability
    half_sample: int = 5_000  # windows of a half at most
    gate: float = 0.99  # share of the training windows that count as like something seen
    # Of the pain score (L1), chosen among by grouped CV; 1 is the least that keeps no motif
    penalties: tuple[float, ...] = (1.0, 0.5, 0.25, 0.12, 0.06, 0.03)
    permutations: int = 9999  # behind every p-value
    gallery: int = 4  # pictures per motif, of different animals
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses what nothing can be clustered, cut or penalised with."""
        if not self.candidates or min(self.candidates) < 2:
            raise ValueError(f"motifs.candidates must be numbers from 2 on, got {self.candidates}")
        for name in ("components", "halves", "permutations"):
            if getattr(self, name) < 1:
                raise ValueError(f"motifs.{name} must be 1 or more, got {getattr(self, name)}")
        for name in ("sample", "half_sample"):
            if getattr(self, name) <= max(self.candidates):
                raise ValueError(
                    f"motifs.{name} must exceed the {max(self.candidates)} of motifs.candidates, "
                    f"got {getattr(self, name)}"
                )
        for name in ("variance", "gate"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"motifs.{name} must lie in (0, 1], got {getattr(self, name)}")
        if not 0 <= self.shrinkage <= 1:
            raise ValueError(f"motifs.shrinkage must lie in [0, 1], got {self.shrinkage}")
        if not self.penalties or not all(0 < penalty <= 1 for penalty in self.penalties):
            raise ValueError(
                f"motifs.penalties must be one or more numbers in (0, 1], got {self.penalties}"
            )


@dataclasses.dataclass(frozen=True)
class ConfoundConfig:
    """The audit of confounds (`mpjax.data.scene.measure`, `mpjax.analysis.confounds.audit`)."""

    run: bool = True  # whether it is made
    frames: int = 48  # of each recording, spread over it, that are looked at
    runs: int = 8  # clips of each recording that are looked at frame by frame
    stills: int = 1500  # single frames that are embedded, at most
    # Of the classes, over animals (cages); each trains the classifier anew
    permutations: int = 2000
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuses to look at too little to tell anything."""
        for name, least in (("frames", 8), ("runs", 1), ("stills", 1), ("permutations", 99)):
            if getattr(self, name) < least:
                raise ValueError(
                    f"confounds.{name} must be {least} or more, got {getattr(self, name)}"
                )


@dataclasses.dataclass(frozen=True)
class StudyConfig:
    """One study: a cohort in, a report out (`mpjax.study`)."""

    name: str = "study"
    cohort: str = ""  # path of cohort.csv; empty: the synthetic cohort below
    exclude: tuple[str, ...] = ()  # fine classes left out, e.g. one confounded with the session
    synthetic: SyntheticConfig = SyntheticConfig()
    video: VideoConfig = VideoConfig()
    split: SplitConfig = SplitConfig()
    build: BuildConfig = BuildConfig()
    projector: ProjectorConfig = ProjectorConfig()
    head: HeadConfig = HeadConfig()
    train: TrainConfig = TrainConfig()
    sweep: SweepConfig = SweepConfig()
    mesh: MeshConfig = MeshConfig()
    profile: int = 0  # steps of training to trace with JAX's profiler; 0: none
    eval: EvalConfig = EvalConfig()
    baseline: str = ""  # a published method run on the same clips: bsoid, from the column pose
    baselines: BaselineConfig = BaselineConfig()
    bsoid: BsoidConfig = BsoidConfig()
    saliency: SaliencyConfig = SaliencyConfig()
    confounds: ConfoundConfig = ConfoundConfig()
    motifs: MotifConfig = MotifConfig()
    # Figures that must hold for exit status 0, e.g. "fine.accuracy>=0.2,leak.animals==0"
    require: str = ""

    def __post_init__(self) -> None:
        """Refuses a baseline that there is not."""
        if self.baseline not in ("", "bsoid"):
            raise ValueError(f"config.baseline must be bsoid or empty, got {self.baseline!r}")


def to_config_dict(config: Any) -> Any:
    """Turns a config dataclass into an `ml_collections.ConfigDict` of the same shape."""
    import ml_collections

    return ml_collections.ConfigDict(dataclasses.asdict(config))


def get_config() -> Any:
    """Returns what a binary without `--config` runs with: settings for a lab's own cohort.

    Half of a camera's usual 25 Hz, so that a clip of 16 frames shows 1.28 s of behaviour, and
    frames as large as the projector's input. The rest are the defaults.
    """
    config = to_config_dict(StudyConfig())
    config.video.fps = 12.5
    config.video.short_side = 224
    return config


def from_config_dict(values: Any, cls: type[T] = StudyConfig, *, path: str = "config") -> T:  # type: ignore[assignment]
    """Builds `cls` from a ConfigDict or mapping, checking names, types and values.

    Args:
        values: mapping with a subset of the fields of `cls`.
        cls: the dataclass to build.
        path: how to name `values` in errors.

    Raises:
        ValueError: an unknown field, a value of the wrong type or, of a StudyConfig, one that no
            rule of `mpjax.config.rules` allows, named with its path; all at once. Or what a
            dataclass itself refuses.
    """
    if not hasattr(values, "keys"):
        raise ValueError(f"{path}: fields and values are expected, not {values!r}")
    faults = rules.find_faults(values, path) if cls is StudyConfig else []
    result = _build(dict(values), cls, path, faults)
    if faults:
        raise ValueError("; ".join(faults))
    return result


def _build(values: dict[str, Any], cls: Any, path: str, faults: list[str]) -> Any:
    hints = typing.get_type_hints(cls)
    known = ", ".join(sorted(hints))
    for name in sorted(values.keys() - hints.keys()):
        faults.append(f"{path}.{name}: no such field; {cls.__name__} has {known}")
    built = {}
    for name, value in values.items():
        hint = hints.get(name)
        if hint is None:
            continue
        where = f"{path}.{name}"
        if dataclasses.is_dataclass(hint):
            built[name] = _build(dict(value), hint, where, faults)
        elif typing.get_origin(hint) is tuple:
            of = typing.get_args(hint)[0]
            items = value if isinstance(value, list | tuple) else (value,)
            built[name] = tuple(_scalar(item, of, where, faults) for item in items)
        else:
            built[name] = _scalar(value, hint, where, faults)
    return None if faults else cls(**built)  # a wrong type would fail in the class's own checks


def _scalar(value: Any, hint: Any, where: str, faults: list[str]) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        faults.append(f"{where}: expected {hint.__name__}, got {value!r}")
    return value
