"""3-D convolution and max pooling in two equal forms: XLA's own, and one that is fast on CPUs.

XLA:CPU's 3-D convolution reaches a tenth to a half of the matrix-multiply peak, its 2-D convolution
most of it, and a maximum over one axis at a time beats one over three. On TPUs and GPUs XLA's own
forms are right.
"""

from collections.abc import Sequence
from typing import Literal, TypeAlias

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import lax
from jaxtyping import Array, Float

Triple: TypeAlias = tuple[int, int, int]
ConvForm: TypeAlias = Literal["direct", "by_frame"]


def convolve(
    x: Float[Array, "b t h w c"],
    kernel: Float[Array, "i j k c d"],
    *,
    strides: Triple,
    form: ConvForm,
) -> Float[Array, "b t2 h2 w2 d"]:
    """Convolves over t, h, w with TensorFlow's "SAME" padding.

    Args:
        x: feature maps.
        kernel: taps over t, h, w, then input and output channels.
        strides: over t, h, w.
        form: "direct", XLA's 3-D convolution, or "by_frame", the same by 2-D convolutions.
    """
    # XLA turns a pointwise convolution into one matrix product by itself.
    if form == "by_frame" and kernel.shape[:3] != (1, 1, 1):
        return _convolve_by_frame(x, kernel, strides)
    layout = ("NDHWC", "DHWIO", "NDHWC")
    return lax.conv_general_dilated(
        x, kernel, strides, "SAME", dimension_numbers=layout, precision="highest"
    )


def _convolve_by_frame(
    x: Float[Array, "b t h w c"], kernel: Float[Array, "i j k c d"], strides: Triple
) -> Float[Array, "b t2 h2 w2 d"]:
    """Lays the frames under the temporal taps side by side on channels, then convolves in 2-D."""
    b, t, h, w, _ = x.shape
    taps = kernel.shape[0]
    pad_time, *pad_area = _same_padding((t, h, w), kernel.shape[:3], strides)
    padded = jnp.pad(x, ((0, 0), pad_time, (0, 0), (0, 0), (0, 0)))
    first_frame = np.arange(0, t, strides[0])
    under_taps = padded[:, first_frame[:, None] + np.arange(taps)]
    y = lax.conv_general_dilated(
        rearrange(under_taps, "b t i h w c -> (b t) h w (i c)"),
        rearrange(kernel, "i j k c d -> j k (i c) d"),
        strides[1:],
        pad_area,
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision="highest",
    )
    return rearrange(y, "(b t) h w d -> b t h w d", b=b)


def max_pool(
    x: Float[Array, "b t h w c"], *, window: Triple, strides: Triple, form: ConvForm
) -> Float[Array, "b t2 h2 w2 c"]:
    """Takes maxima over windows of t, h, w with TensorFlow's "SAME" padding.

    Args:
        x: feature maps.
        window: over t, h, w.
        strides: over t, h, w.
        form: "direct", one windowed reduction, or "by_frame", one for each axis in turn.
    """
    if form == "direct":
        return nn.max_pool(x, window, strides, "SAME")
    for axis in range(3):
        along, step = (
            tuple(n if i == axis else 1 for i, n in enumerate(sizes)) for sizes in (window, strides)
        )
        x = nn.max_pool(x, along, step, "SAME")
    return x


def _same_padding(
    sizes: Sequence[int], window: Sequence[int], strides: Sequence[int]
) -> list[tuple[int, int]]:
    return [(low, high) for low, high in lax.padtype_to_pads(sizes, window, strides, "SAME")]
