"""What every projector offers: uint8 clips in, action-space embeddings out.

A module of a projector defines `load(weights, *, seed, dtype) -> Projector`; `load_projector` finds
it by its name, so that a further projector needs one new file and no change here.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Shaped, UInt8

from mpjax.config import ArchitectureConfig
from mpjax.io.files import fingerprint

# Embedding [b, d] and, where the network has a native head, logits [b, classes].
Outputs: TypeAlias = tuple[Array, Array | None]

# Clips scaled to [-1, 1], or by ImageNet's mean and std, stay below 3; raw pixels go up to 255.
MAX_NORMALISED = 20.0


@dataclasses.dataclass(frozen=True, eq=False)
class Projector:
    """A frozen network that maps clips to embeddings, with its weights and input normalisation."""

    name: str  # of the network, e.g. "i3d"
    fingerprint: str  # hash of all that decides the embeddings, see `fingerprint_params`
    embedding_dim: int
    num_classes: int | None  # of the native head; None without one
    params: Any  # one plain pytree
    # Pure `(params, clips float32 normalised [b, t, h, w, 3]) -> Outputs`, in float32.
    apply: Callable[[Any, Array], Outputs]
    mean: tuple[float, float, float]  # per channel, subtracted from uint8 clips (range 0-255)
    std: tuple[float, float, float]  # per channel, divides what is left
    classes: tuple[str, ...] | None = None  # of the native head, in its order; None where unknown
    config: Any = None  # hyperparameters, where the network can be trained further

    def __call__(self, clips: Shaped[Array | np.ndarray, "..."]) -> Float[Array, "b d"]:
        """Embeds clips, in float32; compiled once per shape.

        Args:
            clips: [b, t, h, w, 3], RGB; uint8 in 0-255, or floating point already normalised.

        Raises:
            ValueError: clips of another shape or type, not finite, or plainly not normalised.
        """
        return self._embed_jitted(self.params, _checked(clips))

    def logits(self, clips: Shaped[Array | np.ndarray, "..."]) -> Float[Array, "b classes"]:
        """Classifies clips, as for `__call__`, by the network's native head.

        Raises:
            ValueError: the weights carry no head, or the clips are faulty.
        """
        if self.num_classes is None:
            raise ValueError(f"the weights of projector {self.name!r} carry no classification head")
        return self._logits_jitted(self.params, _checked(clips))

    def embed(
        self, params: Any, clips: UInt8[Array, "b t h w 3"] | Float[Array, "b t h w 3"]
    ) -> Float[Array, "b d"]:
        """Embeds clips as a pure, unchecked function of the weights, for use inside `jax.jit`."""
        return self.apply(params, self.normalise(clips))[0]

    def normalise(
        self, clips: UInt8[Array, "b t h w 3"] | Float[Array, "b t h w 3"]
    ) -> Float[Array, "b t h w 3"]:
        """Brings uint8 clips to the range that `apply` reads; takes others as they are."""
        return normalise(clips, self.mean, self.std)

    @functools.cached_property
    def _embed_jitted(self) -> Callable[[Any, Any], Array]:
        return jax.jit(self.embed)

    @functools.cached_property
    def _logits_jitted(self) -> Callable[[Any, Any], Array]:
        return jax.jit(lambda params, clips: self.apply(params, self.normalise(clips))[1])


def normalise(
    clips: UInt8[Array, "b t h w 3"] | Float[Array, "b t h w 3"],
    mean: tuple[float, ...],
    std: tuple[float, ...],
) -> Float[Array, "b t h w 3"]:
    """Returns uint8 clips less `mean`, over `std` (of each channel); others as they are."""
    pixels = clips.astype(jnp.float32)
    if clips.dtype != jnp.uint8:
        return pixels
    return (pixels - jnp.asarray(mean, jnp.float32)) / jnp.asarray(std, jnp.float32)


def load_projector(
    weights: str = "kinetics400",
    *,
    kind: str = "",
    seed: int = 0,
    dtype: str = "float32",
    attention_impl: str = "auto",
    architecture: ArchitectureConfig | None = None,
) -> Projector:
    """Loads a frozen projector.

    Args:
        weights: "kinetics400" (the packaged I3D weights), "random", the path of a checkpoint (a
            `.pth`, a `.safetensors`, or a directory that `python -m mpjax.convert` wrote), or the
            name of public weights that `python -m mpjax.weights get` has downloaded.
        kind: a module of `mpjax.models` ("i3d", "swin"), or, with a dot in it, the import path of
            any module that defines `load(weights, *, seed, dtype)`. Empty: "i3d" for
            "kinetics400" and "random", else "swin".
        seed: of random weights.
        dtype: compute type, "float32" or "bfloat16"; embeddings are float32 either way.
        attention_impl: one of the module's `ATTENTION_IMPLS`; "auto": as suits the machine.
        architecture: of random weights of a kind whose `load` takes it.

    Raises:
        ValueError: a kind, weights, dtype or attention that does not exist, named with the choices;
            or an architecture where it can have no effect.
    """
    if dtype not in ("float32", "bfloat16"):
        raise ValueError(f"dtype {dtype!r}: choose float32 or bfloat16")
    if not kind:
        kind = "i3d" if weights in ("kinetics400", "random") else "swin"
    path = kind if "." in kind else f"mpjax.models.{kind}"
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        if error.name is None or not (path == error.name or path.startswith(f"{error.name}.")):
            raise  # the module exists; something that it imports does not
        raise ValueError(
            f"projector kind {kind!r}: there is no module {path}; "
            "choose i3d, swin, or the dotted import path of a module of your own"
        ) from error
    if not hasattr(module, "load"):
        raise ValueError(
            f"projector kind {kind!r}: module {path} defines no load(weights, *, seed, dtype)"
        )
    options = _chosen_options(kind, module, attention_impl, architecture)
    return module.load(str(weights), seed=seed, dtype=dtype, **options)


def _chosen_options(
    kind: str, module: ModuleType, attention_impl: str, architecture: ArchitectureConfig | None
) -> dict[str, Any]:
    """Returns the arguments of a module's `load` that are not left at their defaults."""
    options: dict[str, Any] = {}
    if attention_impl != "auto":
        choices = getattr(module, "ATTENTION_IMPLS", ("auto",))
        if attention_impl not in choices:
            raise ValueError(
                f"projector kind {kind!r} has no attention_impl {attention_impl!r}; "
                f"choose {', '.join(choices)}"
            )
        options["attention_impl"] = attention_impl
    if architecture not in (None, ArchitectureConfig()):
        if "architecture" not in inspect.signature(module.load).parameters:
            raise ValueError(
                f"projector kind {kind!r} has one architecture, got {architecture}; leave it at "
                "its default, or choose kind swin"
            )
        options["architecture"] = architecture
    return options


def fingerprint_params(params: Any, *config: Any) -> str:
    """Hashes weights (paths, shapes, types and bytes) to 16 hex digits.

    `config` is whatever else decides the embeddings, e.g. hyperparameters; JSON-serialisable.
    """
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        array = np.ascontiguousarray(leaf)
        digest.update(f"{jax.tree_util.keystr(path)} {array.shape} {array.dtype}\n".encode())
        digest.update(array.view(np.uint8).data)
    return fingerprint(digest.hexdigest(), *config)


def _checked(clips: Any) -> Any:
    """Returns `clips`, or refuses what no projector can read; runs outside jit, on real values."""
    shape, dtype = tuple(clips.shape), clips.dtype
    if len(shape) != 5 or shape[-1] != 3 or 0 in shape:
        raise ValueError(
            f"clips have shape {shape}; expected [b, t, h, w, 3]: a batch of RGB clips, none empty "
            "(repeat a gray channel three times, drop an alpha channel)"
        )
    if dtype == np.uint8:
        return clips
    if not jnp.issubdtype(dtype, jnp.floating):
        raise ValueError(f"clips are {dtype}; expected uint8 in 0-255, or normalised float32")
    peak = float(abs(clips).max())
    if not np.isfinite(peak):
        raise ValueError(f"clips [{', '.join(map(str, shape))}] contain NaN or infinite values")
    if peak > MAX_NORMALISED:
        raise ValueError(
            f"float clips reach {peak:.4g}, beyond ±{MAX_NORMALISED:g}: they are not normalised; "
            "pass 0-255 pixels as uint8"
        )
    return clips
