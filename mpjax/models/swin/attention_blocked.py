"""A Swin block cut to the caches of a CPU: window by window, then rows by rows.

The numbers are those of `network.SwinBlock`. Written as whole-array operations, its logits (of 128
windows x 3 heads x 392 x 392 in the first stage of a 32-frame clip) and its hidden layer pass
through memory several times; here what belongs to a window stays in cache, in the backward pass
too. float32 only.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array, Float, Int

from mpjax.models.swin import windows as geometry
from mpjax.models.swin.windows import Size

# Tokens of a step of the MLP: its hidden layer (0.3 MB per 100 tokens and 768 units) stays in the
# second and third level caches, and its matrix products reach their full speed.
ROWS = 784

# Products of so many inputs are kept for the backward pass: to store and read them takes less time
# than to compute them again. Narrower ones, and the attention weights (32 inputs), do not pay.
KEPT_WIDTH = 192


class Windows(NamedTuple):
    """How a grid of tokens is cut into windows, see `mpjax.models.swin.windows`."""

    size: Size  # of the grid
    padded: Size  # the grid, up to whole windows
    window: Size
    shift: Size


def plan_windows(size: Size, window: Size, shift: Size) -> Windows:
    """Fits the window and the shift to a grid of `size` (t, h, w)."""
    window, shift = geometry.fit_window(size, window, shift)
    return Windows(size, geometry.padded_size(size, window), window, shift)


def attend(
    x: Float[Array, "b t h w c"],
    norm: Any,
    weights: Any,
    bias: Float[Array, "heads n n"],
    windows: Windows,
    branch_scale: Float[Array, "b"],
) -> Float[Array, "b t h w c"]:
    """Adds window attention to its input: `x + branch_scale * attention(norm(x))`.

    Args:
        norm: parameters of the LayerNorm, as everywhere here laid out as `network` declares them.
        weights: parameters of the attention, `qkv` and `proj`.
        bias: relative position bias, (head, query, key).
        windows: of `plan_windows`.
        branch_scale: per clip; 1 but for dropped paths.
    """
    batch, width = x.shape[0], x.shape[-1]
    tokens = _cut(x, windows)
    count, n = tokens.shape[1:3]
    kinds, kind, real = _labels(windows)
    per_window = (
        tokens.reshape(-1, n, width),
        None if kind is None else jnp.tile(kind, batch),
        None if real is None else jnp.tile(real, (batch, 1)),
        jnp.repeat(branch_scale, count),
    )
    # One mask for each kind of window, as arithmetic on labels would slow down every exponential.
    masks = None
    if kinds is not None:
        masks = jnp.where(kinds[:, :, None] == kinds[:, None], 0.0, geometry.MASKED)

    def one_window(inputs: Any) -> Float[Array, "n c"]:
        tokens, kind, real, scale = inputs
        normed = _layer_norm(tokens, norm)
        if real is not None:
            normed = jnp.where(real[:, None], normed, 0.0)  # padding is put in after the norm
        qkv = checkpoint_name(_dense(normed, weights["qkv"]), "product")
        mixed = _mix(qkv, bias, None if masks is None else masks[kind])
        return tokens + scale * _dense(mixed, weights["proj"])

    one_window = jax.checkpoint(one_window, policy=_keep("mixed", "normaliser", inputs=width))
    mixed = jax.lax.map(one_window, per_window)
    return _join(mixed.reshape(batch, count, n, width), windows)


def feed_forward(
    x: Float[Array, "b t h w c"], norm: Any, fc1: Any, fc2: Any, branch_scale: Float[Array, "b"]
) -> Float[Array, "b t h w c"]:
    """Adds the MLP to its input: `x + branch_scale * fc2(gelu(fc1(norm(x))))`."""

    def some_tokens(tokens: Array, scale: Array) -> Array:
        hidden = checkpoint_name(_dense(_layer_norm(tokens, norm), fc1), "product")
        return tokens + scale * _dense(_gelu(hidden), fc2)

    scale = jnp.broadcast_to(branch_scale.reshape(-1, 1, 1, 1, 1), (*x.shape[:-1], 1))
    return _map_rows(some_tokens, x, scale)


def embed_patches(
    patches: Float[Array, "b t h w pixels"], proj: Any, norm: Any
) -> Float[Array, "b t h w c"]:
    """Embeds patches as tokens: `norm(proj(patches))`."""
    return _map_rows(lambda pixels: _layer_norm(_dense(pixels, proj), norm), patches)


def reduce_merged(
    x: Float[Array, "b t h w four_c"], norm: Any, reduction: Any
) -> Float[Array, "b t h w two_c"]:
    """Reduces merged tokens: `reduction(norm(x))`."""
    return _map_rows(lambda tokens: _dense(_layer_norm(tokens, norm), reduction), x)


def _map_rows(f: Callable[..., Array], *arrays: Float[Array, "b t h w _"]) -> Array:
    """Applies `f` to `ROWS` tokens at a time; it gets arrays [rows, c] and returns one."""
    f = jax.checkpoint(f, policy=_keep(inputs=arrays[0].shape[-1]))
    rows = [x.reshape(-1, x.shape[-1]) for x in arrays]
    whole = len(rows[0]) // ROWS * ROWS
    done = []
    if whole:
        steps = [x[:whole].reshape(-1, ROWS, x.shape[-1]) for x in rows]
        done.append(jax.lax.map(lambda step: f(*step), steps).reshape(whole, -1))
    if whole < len(rows[0]):
        done.append(f(*(x[whole:] for x in rows)))
    return jnp.concatenate(done).reshape(*arrays[0].shape[:-1], -1)


def _keep(*names: str, inputs: int) -> Callable[..., bool]:
    """Returns what to keep for the backward pass: these names, and products of many inputs."""
    products = ("product",) if inputs >= KEPT_WIDTH else ()
    return jax.checkpoint_policies.save_only_these_names(*names, *products)


def _cut(x: Float[Array, "b t h w c"], windows: Windows) -> Float[Array, "b windows n c"]:
    if not any(windows.shift) and windows.padded == windows.size:
        return geometry.partition(x, windows.window)
    return _to_windows(x.reshape(x.shape[0], -1, x.shape[-1]), windows)


def _join(x: Float[Array, "b windows n c"], windows: Windows) -> Float[Array, "b t h w c"]:
    if not any(windows.shift) and windows.padded == windows.size:
        return geometry.reverse(x, windows.window, windows.padded)
    return _from_windows(x, windows).reshape(x.shape[0], *windows.size, x.shape[-1])


# Shifting, padding and cutting in one lookup: as a roll they are a pass over the memory per axis.
# What stands in padding is any token, which nothing reads (see `attend`). Each is the other's
# gradient, where JAX's own would be a scatter.
@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _to_windows(tokens: Float[Array, "b all c"], windows: Windows) -> Float[Array, "b windows n c"]:
    return _look_up(tokens, np.maximum(_lookups(windows)[0], 0))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _from_windows(x: Float[Array, "b windows n c"], windows: Windows) -> Float[Array, "b all c"]:
    return _look_up(x.reshape(x.shape[0], -1, x.shape[-1]), _lookups(windows)[1])


def _to_windows_backward(windows: Windows, saved: None, bar: Array) -> tuple[Array]:
    return (_from_windows(bar, windows),)


def _from_windows_backward(windows: Windows, saved: None, bar: Array) -> tuple[Array]:
    real = _lookups(windows)[0] >= 0
    x_bar = _to_windows(bar, windows)
    return (x_bar if real.all() else jnp.where(real[..., None], x_bar, 0.0),)


_to_windows.defvjp(lambda x, windows: (_to_windows(x, windows), None), _to_windows_backward)
_from_windows.defvjp(lambda x, windows: (_from_windows(x, windows), None), _from_windows_backward)


def _look_up(x: Float[Array, "b all c"], index: Int[np.ndarray, "..."]) -> Float[Array, "b ... c"]:
    return x.at[:, index].get(mode="promise_in_bounds")


@functools.cache
def _lookups(windows: Windows) -> tuple[Int[np.ndarray, "windows n"], Int[np.ndarray, " all"]]:
    """Says which token of the grid stands where in the windows (-1: padding), and the inverse."""
    grid = np.full(windows.padded, -1, np.int32)
    inside = tuple(slice(s) for s in windows.size)
    grid[inside] = np.arange(math.prod(windows.size)).reshape(windows.size)
    grid = np.roll(grid, [-s for s in windows.shift], axis=(0, 1, 2))
    to = geometry.partition(grid[None, ..., None], windows.window)[0, :, :, 0]
    return to, np.argsort(to, axis=None)[-math.prod(windows.size) :].astype(np.int32)


@functools.cache
def _labels(windows: Windows) -> tuple[np.ndarray | None, np.ndarray | None, np.ndarray | None]:
    """Returns the kinds of windows by their tokens' regions, each window's kind, and what is real.

    The first two are None without a shift. The last is False for padding, [windows, n], and None if
    there is none.
    """
    kinds = kind = real = None
    if any(windows.shift):
        regions = geometry.shift_regions(windows.padded, windows.window, windows.shift)
        kinds, kind = np.unique(regions, axis=0, return_inverse=True)
    if windows.padded != windows.size:
        real = _lookups(windows)[0] >= 0
    return kinds, kind, real


@jax.custom_vjp
def _mix(
    qkv: Float[Array, "n three_c"],
    bias: Float[Array, "heads n n"],
    mask: Float[Array, "n n"] | None,
) -> Float[Array, "n c"]:
    """Attends within one window; its gradient is written out, as JAX's own copies much more."""
    return _mix_forward(qkv, bias, mask)[0]


def _mix_forward(qkv: Array, bias: Array, mask: Array | None) -> tuple[Array, Any]:
    q, k, v = _split_heads(qkv, len(bias))
    logits = _logits(q, k, bias, mask)
    largest = logits.max(axis=-1, keepdims=True)
    weights = jnp.exp(logits - largest)
    total = weights.sum(axis=-1, keepdims=True)
    mixed = _product("hnm,hmk->hnk", weights, v) / total
    mixed = checkpoint_name(rearrange(mixed, "h n k -> n (h k)"), "mixed")
    normaliser = checkpoint_name(largest + jnp.log(total), "normaliser")
    return mixed, (qkv, bias, mask, mixed, normaliser)


def _mix_backward(saved: Any, mixed_bar: Array) -> tuple[Array, Array, None]:
    """Computes the weights again, as exp(logits - normaliser).

    Source: Dao et al. 2022, https://arxiv.org/abs/2205.14135, appendix B.2.
    """
    qkv, bias, mask, mixed, normaliser = saved
    q, k, v = _split_heads(qkv, len(bias))
    weights = jnp.exp(_logits(q, k, bias, mask) - normaliser)
    # The sum of weights * weights_bar along the keys, by way of the smaller arrays.
    along_keys = rearrange(mixed * mixed_bar, "n (h k) -> h n k", h=len(bias)).sum(-1)
    mixed_bar = rearrange(mixed_bar, "n (h k) -> h n k", h=len(bias))
    weights_bar = _product("hnk,hmk->hnm", mixed_bar, v)
    logits_bar = weights * (weights_bar - along_keys[..., None])
    # Sums over queries come out transposed, as XLA takes longer to transpose the weights.
    q_bar = _product("hnm,hmk->hnk", logits_bar, k) * q.shape[-1] ** -0.5
    k_bar = _product("hnk,hnm->hkm", q * q.shape[-1] ** -0.5, logits_bar)
    v_bar = _product("hnk,hnm->hkm", mixed_bar, weights)
    qkv_bar = [rearrange(q_bar, "h n k -> n (h k)")]
    qkv_bar += [rearrange(bar, "h k m -> m (h k)") for bar in (k_bar, v_bar)]
    return jnp.concatenate(qkv_bar, axis=-1), logits_bar, None


def _split_heads(qkv: Float[Array, "n three_c"], heads: int) -> Float[Array, "3 h n k"]:
    return rearrange(qkv, "n (three h k) -> three h n k", three=3, h=heads)


def _logits(q: Array, k: Array, bias: Array, mask: Array | None) -> Float[Array, "h n m"]:
    logits = _product("hnk,hmk->hnm", q * q.shape[-1] ** -0.5, k) + bias
    return logits if mask is None else logits + mask


_mix.defvjp(_mix_forward, _mix_backward)


def _layer_norm(x: Float[Array, "... c"], norm: Any) -> Float[Array, "... c"]:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    scaled = centred * jax.lax.rsqrt(variance + geometry.LAYER_NORM_EPSILON)
    return scaled * norm["scale"] + norm["bias"]


def _dense(x: Float[Array, "... i"], layer: Any) -> Float[Array, "... o"]:
    """Applies a layer whose kernel has any number of input and output axes."""
    kernel = jnp.asarray(layer["kernel"]).reshape(x.shape[-1], -1)
    y = _product("...i,io->...o", x, kernel)
    return y + jnp.ravel(layer["bias"]) if "bias" in layer else y


def _gelu(x: Float[Array, "... c"]) -> Float[Array, "... c"]:
    # Exact; by erf, which costs XLA less than the erfc of jax.nn.gelu.
    return 0.5 * x * (1.0 + jax.lax.erf(x * 0.5**0.5))


def _product(formula: str, x: Array, y: Array) -> Array:
    return jnp.einsum(formula, x, y, precision=jax.lax.Precision.HIGHEST)
