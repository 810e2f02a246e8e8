"""Hyperparameters of the projector."""

import dataclasses
from typing import Annotated

from mpjax.config import rules


@dataclasses.dataclass(frozen=True)
class ArchitectureConfig(rules.Section):
    """A Video Swin that starts from random or from 2D weights; the defaults are Swin-T's."""

    embed_dim: int = 96
    depths: tuple[int, ...] = (2, 2, 6, 2)
    num_heads: tuple[int, ...] = (3, 6, 12, 24)
    patch: tuple[int, ...] = (2, 4, 4)
    window: tuple[int, ...] = (8, 7, 7)


@dataclasses.dataclass(frozen=True)
class ProjectorConfig(rules.Section):
    """The frozen projector (`mpjax.models`)."""

    kind: str = ""  # i3d | swin | import path of a module like them; empty: as the weights need
    # kinetics400, the packaged I3D | random | a checkpoint's path | the name of public weights
    weights: str = "kinetics400"
    seed: rules.Seed = 0  # of random weights
    size: rules.Count = 224  # px, side of the square crop that the projector takes
    frames: rules.Natural = 0  # frames per view; 0 takes the whole clip
    views: rules.Count = 1  # views in time, evenly spaced over the clip
    crops: rules.Count = 3  # views in space, along the longer side
    # Copies of each view: 1 as filmed, 2 also rotated by 180 degrees, 4 by every right angle. For a
    # camera above or below the animals, so that their heading does not matter
    rotations: int = 1
    batch_size: rules.Count = 4  # views per step
    dtype: str = "float32"  # compute type: float32 | bfloat16
    attention_impl: str = "auto"  # attention of a Video Swin: auto | xla | blocked | pallas
    architecture: ArchitectureConfig = ArchitectureConfig()  # of random weights of kind swin


@dataclasses.dataclass(frozen=True)
class LoraConfig(rules.Section):
    """Low-rank adapters of a frozen Video Swin (`mpjax.models.lora`); published defaults."""

    # The layers of a block that are adapted
    targets: Annotated[str, rules.one_of("qv", "qkv", "qkvo", "mlp", "all")] = "qv"
    rank: rules.Count = 32
    alpha: rules.Positive = 32.0  # the update is scaled by alpha / rank; published: alpha = rank
    stages: Annotated[str, rules.one_of("all", "first", "last")] = "all"  # of the network
