"""Window attention over space and time, with relative position bias and shifted windows.

Video Swin Transformer, arXiv 2106.13230, section 3.2; the arithmetic is that of its public code.
"""

import functools
import math
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int, Shaped

Size: TypeAlias = tuple[int, ...]  # three numbers: t, h, w

# Added to the logits of token pairs that only the cyclic shift made neighbours. The published
# value: it is finite, so such pairs keep a weight of about e^-100.
MASKED = -100.0

# Name of what the fused kernel reads and writes, for policies of `jax.checkpoint`.
KERNEL_ARRAYS = "attention_kernel"

LAYER_NORM_EPSILON = 1e-5  # of every LayerNorm of the network


def fit_window(size: Size, window: Size, shift: Size) -> tuple[Size, Size]:
    """Shrinks the window to axes that are no longer than it, and sets their shift to 0.

    Args:
        size: tokens along t, h, w, before padding.
        window: tokens of a window along t, h, w.
        shift: cyclic shift along t, h, w, in tokens.

    Returns:
        The window and the shift to use.
    """
    fits = [s <= w for s, w in zip(size, window, strict=True)]
    return (
        tuple(s if fit else w for s, w, fit in zip(size, window, fits, strict=True)),
        tuple(0 if fit else p for p, fit in zip(shift, fits, strict=True)),
    )


def padded_size(size: Size, window: Size) -> Size:
    """Rounds each axis of `size` up to a multiple of `window`."""
    return tuple(math.ceil(s / w) * w for s, w in zip(size, window, strict=True))


def pad_to(x: Float[Array, "b t h w c"], size: Size) -> Float[Array, "b t2 h2 w2 c"]:
    """Pads t, h, w with zeros at their end, up to `size`."""
    ends = [(0, new - old) for new, old in zip(size, x.shape[1:4], strict=True)]
    return jnp.pad(x, [(0, 0), *ends, (0, 0)])


def partition(x: Shaped[Any, "b t h w c"], window: Size) -> Shaped[Any, "b windows n c"]:
    """Cuts a grid of tokens into windows.

    Args:
        x: tokens, numpy or JAX; t, h and w are multiples of the window's axes.
        window: tokens of a window along t, h, w; n is their product.
    """
    i, j, k = window
    return rearrange(x, "b (t i) (h j) (w k) c -> b (t h w) (i j k) c", i=i, j=j, k=k)


def reverse(
    windows: Float[Array, "b windows n c"], window: Size, size: Size
) -> Float[Array, "b t h w c"]:
    """Puts windows back into a grid of `size` (t, h, w): the inverse of `partition`."""
    (t, h, w), (i, j, k) = (s // x for s, x in zip(size, window, strict=True)), window
    return rearrange(
        windows, "b (t h w) (i j k) c -> b (t i) (h j) (w k) c", t=t, h=h, w=w, i=i, j=j, k=k
    )


@functools.cache
def relative_position_index(window: Size) -> Int[np.ndarray, "n n"]:
    """Numbers the offset between every two tokens of a window.

    Returns:
        The row of the bias table, of prod(2 * window - 1) rows, for (query, key).
    """
    coordinates = np.indices(window).reshape(3, -1)
    offsets = coordinates[:, :, None] - coordinates[:, None, :]
    extent = np.array(window)
    return np.ravel_multi_index(tuple(offsets + (extent - 1)[:, None, None]), tuple(2 * extent - 1))


def relative_position_bias(
    table: Float[Array | np.ndarray, "rows h"], window: Size, fitted: Size
) -> Float[Array, "h n n"]:
    """Looks up the bias of every two tokens of a window.

    Args:
        table: a row per offset, see `relative_position_index`.
        window: tokens of the window that the table is made for.
        fitted: tokens of the window in use, of `fit_window`; n is their product.

    Returns:
        The bias, (head, query, key).
    """
    # Spatial offsets are looked up once for every temporal one, and put together from those: a
    # lookup of all n x n at once moves 25 times the bytes on a TPU.
    t, h, w = window
    by_offset = rearrange(jnp.asarray(table), "(dt dhw) h -> h dt dhw", dt=2 * t - 1)
    by_offset = by_offset[:, :, relative_position_index((1, h, w))]
    rows = [
        jnp.concatenate([by_offset[:, i - j + t - 1] for j in range(t)], axis=2) for i in range(t)
    ]
    # As published, a shrunken window takes the first rows and columns of the full window's
    # bias, although its tokens lie elsewhere in the full window.
    n = math.prod(fitted)
    return jnp.concatenate(rows, axis=1)[:, :n, :n]


@functools.cache
def shift_regions(size: Size, window: Size, shift: Size) -> Int[np.ndarray, "windows n"]:
    """Labels the tokens of each shifted window by the region of the clip that they came from.

    Only tokens of one region were neighbours before the cyclic shift, and may attend to each other.

    Args:
        size: tokens along t, h, w, padded to multiples of the window.
        window: tokens of a window along t, h, w.
        shift: cyclic shift along t, h, w; an axis with shift 0 is one region.
    """
    regions = np.zeros(size, np.int32)
    for axis, (s, w, p) in enumerate(zip(size, window, shift, strict=True)):
        if p:
            bounds = [s - w, s - p]  # before the last window; within it, up to the wrap
            along = np.searchsorted(bounds, np.arange(s), side="right")
            regions = 3 * regions + np.expand_dims(along, [a for a in range(3) if a != axis])
    return partition(regions[None, ..., None], window)[0, :, :, 0]


def window_attention(
    q: Float[Array, "b windows n h k"],
    k: Float[Array, "b windows n h k"],
    v: Float[Array, "b windows n h k"],
    bias: Float[Array, "h n n"],
    regions: Int[np.ndarray, "windows n"] | None,
    *,
    precision: jax.lax.Precision | None,
) -> Float[Array, "b windows n h k"]:
    """Attends within each window, head by head; the softmax is taken in float32.

    Args:
        q: queries, not yet scaled.
        k: keys.
        v: values.
        bias: relative position bias, (head, query, key), float32.
        regions: of `shift_regions`; None where the windows are not shifted.
        precision: of the two matrix products.

    Returns:
        The attended values, in the type of `v`.
    """
    logits = jnp.einsum(
        "bwnhk,bwmhk->bwhnm",
        q * q.shape[-1] ** -0.5,
        k,
        precision=precision,
        preferred_element_type=jnp.float32,
    )
    logits += bias
    if regions is not None:
        label = jnp.asarray(regions)
        apart = label[:, None, :, None] != label[:, None, None, :]
        logits += jnp.where(apart, MASKED, 0.0)
    weights = jax.nn.softmax(logits, axis=-1).astype(v.dtype)
    return jnp.einsum("bwhnm,bwmhk->bwnhk", weights, v, precision=precision)


class WindowAttention(nn.Module):
    """Multi-head self-attention within (shifted) windows of a grid of tokens.

    A grid that is no multiple of the window is padded with zeros at its end and cropped back; the
    padding takes part in the attention, as published.

    Attributes:
        num_heads: attention heads; divides the width of the input.
        window: tokens of a window along t, h, w; axes of the input no longer than it shrink it.
        shift: cyclic shift along t, h, w, in tokens.
        dtype: compute type.
        precision: of the matrix products.
        fused: attend by the kernel of `mpjax.models.swin.attention_pallas`.
    """

    num_heads: int
    window: Size
    shift: Size
    dtype: Any
    precision: jax.lax.Precision | None
    fused: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b t h w c"]) -> Float[Array, "b t h w c"]:
        """Mixes the tokens of each window."""
        size = x.shape[1:4]
        window, shift = fit_window(size, self.window, self.shift)
        padded = padded_size(size, window)
        x = pad_to(x, padded)
        if any(shift):
            x = jnp.roll(x, [-p for p in shift], axis=(1, 2, 3))
        regions = shift_regions(padded, window, shift) if any(shift) else None
        attend = self._attend_fused if self.fused else self._attend
        x = reverse(attend(partition(x, window), window, regions), window, padded)
        if any(shift):
            x = jnp.roll(x, shift, axis=(1, 2, 3))
        return x[:, : size[0], : size[1], : size[2]]

    def _attend(
        self, x: Float[Array, "b windows n c"], window: Size, regions: Any
    ) -> Float[Array, "b windows n c"]:
        width = x.shape[-1]
        features = (3, self.num_heads, width // self.num_heads)
        q, k, v = jnp.unstack(self._dense(features, axis=-1, name="qkv")(x), axis=-3)
        bias = relative_position_bias(self._table(), self.window, window)
        mixed = window_attention(q, k, v, bias, regions, precision=self.precision)
        return self._dense(width, axis=(-2, -1), name="proj")(mixed)

    def _attend_fused(
        self, x: Float[Array, "b windows n c"], window: Size, regions: Any
    ) -> Float[Array, "b windows n c"]:
        from mpjax.models.swin import attention_pallas  # which builds on this module

        heads = (self.num_heads, x.shape[-1] // self.num_heads)
        kernel, kernel_bias = self._linear("qkv", (x.shape[-1],), (3, *heads))
        # The barriers keep XLA from permuting tokens in place of weights: in the backward pass on a
        # TPU, a quarter more bytes went to and from memory without them.
        kernel = jax.lax.optimization_barrier(attention_pallas.group_heads(kernel))
        qkv = jnp.matmul(x, kernel, precision=self.precision)
        qkv = checkpoint_name(qkv + attention_pallas.group_heads(kernel_bias), KERNEL_ARRAYS)
        look_up = functools.partial(relative_position_bias, window=self.window, fitted=window)
        mixed = attention_pallas.fused_window_attention(
            qkv, self._table(), regions, look_up=look_up, precision=self.precision
        )
        mixed = checkpoint_name(mixed, KERNEL_ARRAYS)
        kernel, kernel_bias = self._linear("proj", heads, (x.shape[-1],))
        kernel = jax.lax.optimization_barrier(kernel.reshape(x.shape[-1], -1))
        return jnp.matmul(mixed, kernel, precision=self.precision) + kernel_bias

    def _linear(self, name: str, inputs: Size, features: Size) -> tuple[Array, Array]:
        """Returns the parameters that `_dense` would declare, in the compute type."""
        kernel, bias = LinearParams(inputs, features, name=name)()
        return kernel.astype(self.dtype), bias.astype(self.dtype)

    def _table(self) -> Float[Array, "rows h"]:
        rows = math.prod(2 * w - 1 for w in self.window)
        table = self.param(
            "relative_position_bias_table", nn.initializers.normal(0.02), (rows, self.num_heads)
        )
        return jnp.asarray(table)

    def _dense(self, features: Any, *, axis: Any, name: str) -> nn.DenseGeneral:
        return nn.DenseGeneral(
            features,
            axis=axis,
            dtype=self.dtype,
            kernel_init=nn.initializers.normal(0.02),
            precision=self.precision,
            name=name,
        )


class LinearParams(nn.Module):
    """The kernel [*inputs, *features] and bias [*features] of a linear layer."""

    inputs: Size
    features: Size

    @nn.compact
    def __call__(self) -> tuple[Array, Array]:
        """Declares and returns them."""
        shape = (*self.inputs, *self.features)
        kernel = self.param("kernel", nn.initializers.normal(0.02), shape)
        return jnp.asarray(kernel), jnp.asarray(
            self.param("bias", nn.initializers.zeros, self.features)
        )
