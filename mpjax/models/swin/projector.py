"""Video Swin as a projector: from random weights, a PyTorch checkpoint or one of our own."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mpjax.config import ArchitectureConfig
from mpjax.models import kinetics
from mpjax.models.projector import Outputs, Projector, fingerprint_params
from mpjax.models.swin import checkpoint
from mpjax.models.swin.config import SwinConfig
from mpjax.models.swin.network import VideoSwin, init_params
from mpjax.models.weights import public, torch_port

# ImageNet statistics on the 0-255 scale, as in the published pipelines.
MEAN = (123.675, 116.28, 103.53)
STD = (58.395, 57.12, 57.375)


def config_of(architecture: ArchitectureConfig, **changes: Any) -> SwinConfig:
    """Returns hyperparameters of `architecture`, with `changes` to single fields."""
    return SwinConfig(**(dataclasses.asdict(architecture) | changes))


def load(
    weights: str,
    *,
    seed: int,
    dtype: str,
    attention_impl: str = "auto",
    architecture: ArchitectureConfig | None = None,
) -> Projector:
    """Loads Video Swin as a projector; see `mpjax.models.projector.load_projector`.

    Args:
        weights: path of a PyTorch checkpoint (torchvision's, Video Swin's or UAS's), path of a
            directory written by `checkpoint.save`, name of public weights that are downloaded, or
            "random".
        architecture: of random weights, None: Swin-T's; all others bring their own.

    Raises:
        FileNotFoundError: there is nothing at that path, or of that name.
        ValueError: what is there is not a Video Swin, or `architecture` is given for it.
    """
    if weights != "random" and architecture is not None:
        raise ValueError(f"{architecture} is for random weights; {weights} has its own")

    classes = None
    if weights == "random":
        config = config_of(architecture or ArchitectureConfig(), num_classes=None)
        params = jax.jit(init_params, static_argnums=0)(config, jax.random.key(seed))
    elif (path := public.locate(weights)).is_dir():
        config, params, classes = checkpoint.restore(path)
    else:
        converted = torch_port.load_checkpoint(path)
        config, params = converted.config, converted.params
    classes = classes or kinetics.names_of(config.num_classes)
    return make_projector(
        dataclasses.replace(config, dtype=dtype, attention_impl=attention_impl), params, classes
    )


def plain_form(projector: Projector, **changes: Any) -> Projector:
    """Returns a Video Swin in its plain XLA form, with `changes` to its config; others unchanged.

    Every platform lowers that form. The form that is blocked for a CPU's caches crashes XLA's
    kernels (jaxlib 0.10.2) in the gradient with respect to the pixels of several clips.
    """
    if not isinstance(projector.config, SwinConfig):
        return projector
    config = dataclasses.replace(projector.config, attention_impl="xla", **changes)
    return dataclasses.replace(projector, config=config, apply=_apply(config))


@functools.cache  # so that projectors of one kind share their compiled programs
def _apply(config: SwinConfig) -> Callable[[Any, Array], Outputs]:
    model = VideoSwin(config)

    def apply(params: Any, clips: Float[Array, "b t h w 3"]) -> Outputs:
        outputs = model.apply({"params": params}, clips)
        return outputs.embedding, outputs.logits

    return apply


def make_projector(
    config: SwinConfig, params: Any, classes: tuple[str, ...] | None = None
) -> Projector:
    """Wraps `VideoSwin(config)`, its parameters and its classes' names as a projector."""
    # What acts in training alone does not decide the embeddings, nor does the attention's form.
    decisive = dataclasses.asdict(
        dataclasses.replace(
            config, drop_path_rate=0.0, remat=False, attention_impl="auto", scan=None
        )
    )
    decisive["form"] = decisive.pop("attention_impl")  # its name in older fingerprints
    return Projector(
        name="swin",
        fingerprint=fingerprint_params(params, "swin", decisive, MEAN, STD),
        embedding_dim=config.embedding_dim,
        num_classes=config.num_classes,
        params=jax.tree.map(jnp.asarray, params),
        apply=_apply(config),
        mean=MEAN,
        std=STD,
        classes=classes,
        config=config,
    )
