"""Window attention over space and time, with relative position bias and shifted windows.

Video Swin Transformer, arXiv 2106.13230, section 3.2; the arithmetic is that of its public code.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from mpjax.models.swin import attention_pallas
from mpjax.models.swin.windows import (
    KERNEL_ARRAYS,
    MASKED,
    Size,
    fit_window,
    pad_to,
    padded_size,
    partition,
    relative_position_bias,
    reverse,
    shift_regions,
)


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
        q, k, v: queries (not yet scaled), keys and values.
        bias: relative position bias, (head, query, key), float32.
        regions: of `shift_regions`; None where the windows are not shifted.
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
    """

    num_heads: int
    window: Size  # tokens along t, h, w; axes of the input no longer than it shrink it
    shift: Size  # cyclic, in tokens
    dtype: Any
    precision: jax.lax.Precision | None
    fused: bool = False  # attend by the kernel of `attention_pallas`

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
        heads = (self.num_heads, x.shape[-1] // self.num_heads)
        kernel, kernel_bias = LinearParams((x.shape[-1],), (3, *heads), self.dtype, name="qkv")()
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
        kernel, kernel_bias = LinearParams(heads, (x.shape[-1],), self.dtype, name="proj")()
        kernel = jax.lax.optimization_barrier(kernel.reshape(x.shape[-1], -1))
        return jnp.matmul(mixed, kernel, precision=self.precision) + kernel_bias

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
    """The kernel [*inputs, *features] and bias [*features] that a `DenseGeneral` would declare."""

    inputs: Size
    features: Size
    dtype: Any

    @nn.compact
    def __call__(self) -> tuple[Array, Array]:
        """Returns them in the compute type."""
        shape = (*self.inputs, *self.features)
        kernel = self.param("kernel", nn.initializers.normal(0.02), shape)
        bias = self.param("bias", nn.initializers.zeros, self.features)
        return jnp.asarray(kernel, self.dtype), jnp.asarray(bias, self.dtype)
