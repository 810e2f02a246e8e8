"""3-D convolution and max pooling in two equal forms: XLA's own, and one that is fast on CPUs.

XLA:CPU's 3-D convolution reaches a tenth to a half of the matrix-multiply peak, its 2-D
convolution most of it, and Winograd's filtering over time halves the work; a maximum over one axis
at a time beats one over three. On TPUs and GPUs XLA's own forms are right.
"""

import functools
import math
import operator
from collections.abc import Sequence
from typing import Literal, TypeAlias

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax import lax
from jaxtyping import Array, Float

from mpjax.models.i3d.winograd import minimal_filter

Triple: TypeAlias = tuple[int, int, int]
ConvForm: TypeAlias = Literal["direct", "by_frame"]

# Frames that Winograd's filtering gives at once. With 4, three taps cost half the products of plain
# filtering; with 6, 4 ninths, but weights that cost digits.
_FRAMES_AT_ONCE = 4


def convolve(
    x: Float[Array, "b t h w c"],
    kernel: Float[Array, "i j k c d"],
    *,
    strides: Triple,
    form: ConvForm,
) -> Float[Array, "b t2 h2 w2 d"]:
    """Convolves over t, h, w with TensorFlow's "SAME" padding.

    Args:
        kernel: "by_frame" takes up to 4 taps over time for each frame of stride.
        strides: over t, h, w.
        form: "direct", XLA's 3-D convolution, or "by_frame", the same by 2-D convolutions, up to
            rounding: about 3e-6 of the output's largest value.
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
    """Filters over time by Winograd's products, each of them a 2-D convolution.

    Its operands are weighted sums of frames, and of the kernel's taps over time. They are float32
    throughout: in bfloat16 the output, a difference of large terms, would keep few digits.
    """
    b, t, *_ = x.shape
    step = strides[0]
    (early, _), *pad_area = lax.padtype_to_pads(x.shape[1:4], kernel.shape[:3], strides, "SAME")
    frames, taps = math.ceil(t / step), math.ceil(kernel.shape[0] / step)
    outputs = min(frames, _FRAMES_AT_ONCE)
    tiles = math.ceil(frames / outputs)
    scheme = minimal_filter(outputs, taps)
    late = (tiles * outputs + taps - 1) * step - t - early
    x = jnp.pad(x, ((0, 0), (early, late), (0, 0), (0, 0), (0, 0)))
    kernel = jnp.pad(kernel, ((0, taps * step - kernel.shape[0]), *[(0, 0)] * 4))
    # With `step` frames side by side on channels, and their taps likewise, the stride is 1.
    groups = rearrange(x.astype(jnp.float32), "b (g s) h w c -> b g h w (s c)", s=step)
    tap_groups = rearrange(kernel.astype(jnp.float32), "(i s) j k c d -> i j k (s c) d", s=step)
    starts = (tiles - 1) * outputs + 1
    inputs = [groups[:, i : i + starts : outputs] for i in range(outputs + taps - 1)]
    products = [
        lax.conv_general_dilated(
            rearrange(_weighted_sum(of_inputs, inputs), "b n h w c -> (b n) h w c"),
            _weighted_sum(of_taps, list(tap_groups)),
            strides[1:],
            pad_area,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
            precision="highest",
        )
        for of_inputs, of_taps in zip(scheme.to_input, scheme.to_kernel, strict=True)
    ]
    y = jnp.stack([_weighted_sum(row, products) for row in scheme.to_output], axis=1)
    return rearrange(y, "(b n) m h w d -> b (n m) h w d", b=b)[:, :frames].astype(x.dtype)


def _weighted_sum(weights: Float[np.ndarray, " n"], terms: Sequence[Array]) -> Array:
    terms = [float(w) * term for w, term in zip(weights, terms, strict=True) if w != 0]
    return functools.reduce(operator.add, terms)


def max_pool(
    x: Float[Array, "b t h w c"], *, window: Triple, strides: Triple, form: ConvForm
) -> Float[Array, "b t2 h2 w2 c"]:
    """Takes maxima over windows of t, h, w with TensorFlow's "SAME" padding.

    `form` is "direct", one windowed reduction, or "by_frame", one along each axis after the other.
    """
    if form == "direct":
        return nn.max_pool(x, window, strides, "SAME")
    for axis in np.eye(3, dtype=bool):
        along, step = (tuple(np.where(axis, sizes, 1).tolist()) for sizes in (window, strides))
        x = nn.max_pool(x, along, step, "SAME")
    return x
