"""Hyperparameters of the Video Swin Transformer."""

import dataclasses
from typing import Any

import jax
import numpy as np

ATTENTION_IMPLS = ("auto", "xla", "blocked", "pallas")


@dataclasses.dataclass(frozen=True)
class SwinConfig:
    """Hyperparameters of `VideoSwin`; the defaults are Swin-T's."""

    embed_dim: int = 96  # width of the first stage; doubles with every stage
    depths: tuple[int, ...] = (2, 2, 6, 2)  # blocks per stage
    num_heads: tuple[int, ...] = (3, 6, 12, 24)  # per stage
    patch: tuple[int, ...] = (2, 4, 4)  # pixels of a token along t, h, w
    window: tuple[int, ...] = (8, 7, 7)  # tokens of a window along t, h, w
    mlp_ratio: float = 4.0  # width of the MLP's hidden layer / width of its input
    drop_path_rate: float = 0.1  # of the last block, in training; grows linearly from 0
    num_classes: int | None = 400  # of the native head; None: no head
    remat: bool = False  # recompute each block in the backward pass instead of storing it
    dtype: str = "float32"  # compute type, float32 | bfloat16; params are float32 either way
    # How the blocks are computed; the results are the same. xla: as written | blocked: tiled for
    # the caches of a CPU | pallas: attention as one TPU kernel | auto: as suits the machine.
    attention_impl: str = "auto"
    # Run a stage of 4 blocks or more as a loop, see `scan.py`; None: on TPUs, whose compiler
    # takes minutes for the blocks of Swin-B.
    scan: bool | None = None

    def __post_init__(self) -> None:
        """Refuses hyperparameters that contradict each other."""
        if len(self.depths) != len(self.num_heads):
            raise ValueError(
                f"depths {self.depths} and num_heads {self.num_heads} differ in length"
            )
        for name in ("patch", "window"):
            if len(getattr(self, name)) != 3:
                raise ValueError(f"{name} {getattr(self, name)} needs 3 numbers: t, h, w")
        for name in ("embed_dim", "depths", "num_heads", "patch", "window"):
            if min(np.ravel(getattr(self, name)), default=0) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: every number must be 1 or more")
        for stage, heads in enumerate(self.num_heads):
            if self.width(stage) % heads:
                raise ValueError(f"width {self.width(stage)} of stage {stage}: not {heads} heads")
        if self.dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype {self.dtype!r}: choose float32 or bfloat16")
        if self.attention_impl not in ATTENTION_IMPLS:
            raise ValueError(
                f"attention_impl {self.attention_impl!r}: choose {', '.join(ATTENTION_IMPLS)}"
            )
        if self.attention_impl == "blocked" and self.dtype != "float32":
            raise ValueError(f"attention_impl 'blocked' computes in float32, not in {self.dtype}")

    @classmethod
    def tiny(cls, **changes: Any) -> "SwinConfig":
        """Returns Swin-T, with `changes` to single fields."""
        return cls(**changes)

    @classmethod
    def small(cls, **changes: Any) -> "SwinConfig":
        """Returns Swin-S, with `changes` to single fields."""
        return dataclasses.replace(cls(depths=(2, 2, 18, 2)), **changes)

    @classmethod
    def base(cls, **changes: Any) -> "SwinConfig":
        """Returns Swin-B, with `changes` to single fields."""
        base = cls(embed_dim=128, depths=(2, 2, 18, 2), num_heads=(4, 8, 16, 32))
        return dataclasses.replace(base, **changes)

    def width(self, stage: int) -> int:
        """Returns the width of the tokens in a stage (from 0)."""
        return self.embed_dim * 2**stage

    @property
    def embedding_dim(self) -> int:
        """Length of an embedding."""
        return self.width(len(self.depths) - 1)

    def chosen_attention(self) -> str:
        """Returns `attention_impl`, or for "auto" what suits JAX; refuses pallas on a GPU."""
        backend = jax.default_backend()
        if self.attention_impl == "pallas" and backend == "gpu":
            raise ValueError(
                "projector.attention_impl 'pallas' is a kernel for TPUs; on a GPU choose "
                "auto or xla"
            )
        if self.attention_impl != "auto":
            return self.attention_impl
        one_cpu = backend == "cpu" and jax.device_count() == 1
        return "blocked" if one_cpu and self.dtype == "float32" else "xla"

    def scans(self, stage: int) -> bool:
        """Whether a stage (from 0) is run as a loop."""
        wanted = jax.default_backend() == "tpu" if self.scan is None else self.scan
        return wanted and self.depths[stage] >= 4  # 2 are no loop

    @property
    def precision(self) -> jax.lax.Precision | None:
        """Of every matrix product: float32 means float32, also on a TPU."""
        return jax.lax.Precision.HIGHEST if self.dtype == "float32" else None
