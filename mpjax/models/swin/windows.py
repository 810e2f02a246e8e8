"""How a grid of tokens is cut into (shifted) windows, and the bias and mask that belong to them.

Video Swin Transformer, arXiv 2106.13230, section 3.2; the arithmetic is that of its public code.
"""

import functools
import math
from typing import Any, TypeAlias

import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, Int, Shaped

Size: TypeAlias = tuple[int, ...]  # three numbers: t, h, w

# Added to the logits of token pairs that only the cyclic shift made neighbours. The published
# value: it is finite, so such pairs keep a weight of about e^-100.
MASKED = -100.0

# Name of what the fused kernel reads and writes, for policies of `jax.checkpoint`.
KERNEL_ARRAYS = "attention_kernel"

LAYER_NORM_EPSILON = 1e-5  # of every LayerNorm of the network


def fit_window(size: Size, window: Size, shift: Size) -> tuple[Size, Size]:
    """Shrinks the window to axes of the unpadded `size` no longer than it; these do not shift."""
    shifts = (p if s > w else 0 for s, w, p in zip(size, window, shift, strict=True))
    return tuple(map(min, size, window)), tuple(shifts)


def padded_size(size: Size, window: Size) -> Size:
    """Rounds each axis of `size` up to a multiple of `window`."""
    return tuple(math.ceil(s / w) * w for s, w in zip(size, window, strict=True))


def pad_to(x: Float[Array, "b t h w c"], size: Size) -> Float[Array, "b t2 h2 w2 c"]:
    """Pads t, h, w with zeros at their end, up to `size`."""
    ends = [(0, new - old) for new, old in zip(size, x.shape[1:4], strict=True)]
    return jnp.pad(x, [(0, 0), *ends, (0, 0)])


def partition(x: Shaped[Any, "b t h w c"], window: Size) -> Shaped[Any, "b windows n c"]:
    """Cuts a grid of tokens, whose t, h and w are multiples of the window's, into windows."""
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
    """Returns the row of the bias table, of prod(2 * window - 1) rows, for each (query, key)."""
    coordinates = np.indices(window).reshape(3, -1)
    offsets = coordinates[:, :, None] - coordinates[:, None, :]
    extent = np.array(window)
    return np.ravel_multi_index(tuple(offsets + (extent - 1)[:, None, None]), tuple(2 * extent - 1))


def relative_position_bias(
    table: Float[Array | np.ndarray, "rows h"], window: Size, fitted: Size
) -> Float[Array, "h n n"]:
    """Looks up the bias of every two tokens of a window, (head, query, key).

    Args:
        table: a row per offset, see `relative_position_index`.
        window: tokens of the window that the table is made for.
        fitted: tokens of the window in use, of `fit_window`; n is their product.
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
    `size` is padded to multiples of the window; an axis with shift 0 is one region.
    """
    regions = np.zeros(size, np.int32)
    for axis, (s, w, p) in enumerate(zip(size, window, shift, strict=True)):
        if p:
            bounds = [s - w, s - p]  # before the last window; within it, up to the wrap
            along = np.searchsorted(bounds, np.arange(s), side="right")
            regions = 3 * regions + np.expand_dims(along, [a for a in range(3) if a != axis])
    return partition(regions[None, ..., None], window)[0, :, :, 0]
