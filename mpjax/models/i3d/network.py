"""Inception-v1 I3D (Carreira & Zisserman 2017, https://arxiv.org/abs/1705.07750), inference only.

Batch normalisation is folded into the convolutions when weights are loaded.
"""

import functools
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from mpjax.models.i3d.conv3d import ConvForm, Triple, convolve, max_pool

EMBEDDING_DIM = 1024
NUM_CLASSES = 400

# Widths of each Inception module: 1x1x1; 1x1x1 then 3x3x3; 1x1x1 then 3x3x3; pool then 1x1x1.
# https://github.com/google-deepmind/kinetics-i3d/blob/master/i3d.py
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Max pooling before a module, as (window, strides) over t, h, w.
POOL_BEFORE: dict[str, tuple[Triple, Triple]] = {
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": ((3, 3, 3), (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


class Unit3D(nn.Module):
    """A 3-D convolution with bias and ReLU; "SAME" padding as TensorFlow's."""

    features: int
    kernel_size: Triple = (1, 1, 1)
    strides: Triple = (1, 1, 1)
    conv: ConvForm = "direct"
    dtype: Any = jnp.float32  # compute type

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t2 h2 w2 d"]:
        """Convolves clips or feature maps."""
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", nn.initializers.he_normal(), shape).astype(self.dtype)
        bias = self.param("bias", nn.initializers.zeros, (self.features,)).astype(self.dtype)
        return nn.relu(convolve(x, kernel, strides=self.strides, form=self.conv) + bias)


class InceptionModule(nn.Module):
    """Four branches side by side; their 1x1x1 reductions of the input are one product."""

    widths: tuple[int, int, int, int, int, int]  # output channels, in the order of `MIXED`
    conv: ConvForm = "direct"
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w d"]:
        """Concatenates the branches' outputs on channels."""
        w0, w1a, w1b, w2a, w2b, w3 = self.widths
        unit = functools.partial(Unit3D, conv=self.conv, dtype=self.dtype)
        reduced = unit(w0 + w1a + w2a, name="reduce")(x)
        branch_0, branch_1, branch_2 = jnp.split(reduced, (w0, w0 + w1a), axis=-1)
        branch_1 = unit(w1b, (3, 3, 3), name="branch_1")(branch_1)
        branch_2 = unit(w2b, (3, 3, 3), name="branch_2")(branch_2)
        pooled = max_pool(x, window=(3, 3, 3), strides=(1, 1, 1), form=self.conv)
        branch_3 = unit(w3, name="branch_3")(pooled)
        return jnp.concatenate([branch_0, branch_1, branch_2, branch_3], axis=-1)


class I3D(nn.Module):
    """The network, from normalised clips to a pooled embedding and Kinetics logits.

    Endpoints are the submodules' outputs: `apply(..., capture_intermediates=True)`.
    """

    conv: ConvForm = "direct"  # suits accelerators, "by_frame" CPUs; equal up to rounding
    dtype: Any = jnp.float32  # compute type; pooling and the head are float32 either way

    @nn.compact
    def __call__(
        self, clips: Float[Array, "b t h w 3"]
    ) -> tuple[Float[Array, "b 1024"], Float[Array, "b 400"]]:
        """Embeds and classifies clips.

        Args:
            clips: RGB in [-1, 1]; any t, h, w (trained on 64 frames of 224x224).

        Returns:
            The mean over t, h, w of Mixed_5c, and the logits; unused, either costs nothing in jit.
        """
        unit = functools.partial(Unit3D, conv=self.conv, dtype=self.dtype)
        x = clips.astype(self.dtype)
        x = unit(64, (7, 7, 7), (2, 2, 2), name="Conv3d_1a_7x7")(x)
        x = max_pool(x, window=(1, 3, 3), strides=(1, 2, 2), form=self.conv)
        x = unit(64, name="Conv3d_2b_1x1")(x)
        x = unit(192, (3, 3, 3), name="Conv3d_2c_3x3")(x)
        for name, widths in MIXED.items():
            if name in POOL_BEFORE:
                window, strides = POOL_BEFORE[name]
                x = max_pool(x, window=window, strides=strides, form=self.conv)
            x = InceptionModule(widths, conv=self.conv, dtype=self.dtype, name=name)(x)
        x = x.astype(jnp.float32)
        pooled = _pool_for_head(x)
        logits = nn.Dense(
            NUM_CLASSES, kernel_init=nn.initializers.he_normal(), precision="highest", name="Logits"
        )(pooled)
        return x.mean(axis=(1, 2, 3)), logits


def _pool_for_head(x: Float[Array, "b t h w c"]) -> Float[Array, "b c"]:
    """Averages over t, h, w as the published head does.

    The head averages windows of (2, 7, 7), stride 1, classifies each, and averages the logits; all
    of it is linear, so that one weighted mean of the features gives the same logits. Where the map
    is smaller than the window, the window shrinks to it.
    """
    t, h, w = (
        _window_weights(size, min(size, window))
        for size, window in zip(x.shape[1:4], (2, 7, 7), strict=True)
    )
    return jnp.einsum("bthwc,t,h,w->bc", x, t, h, w, precision="highest")


def _window_weights(size: int, window: int) -> Float[np.ndarray, " size"]:
    """Returns each position's share in the mean of all means over windows of stride 1."""
    count = size - window + 1
    return (np.convolve(np.ones(count), np.ones(window)) / (count * window)).astype(np.float32)
