"""Window attention as one TPU kernel: the logits never leave the chip's vector memory (VMEM).

The arithmetic is that of `attention.window_attention`, forward and backward, in Pallas: one step of
the grid per (group of heads, window, clip). The backward pass computes the attention weights again
instead of reading them from memory. On any other platform the same kernels are interpreted, which
is slow: for tests.

Two choices follow from the chip:

- q, k and v come as one array [clips, windows, n, 3c], as the projection writes it, with no copy in
  another order. Its features lie as (group, 3, head, head_dim), so that one block holds q, k and v
  of a group of heads: permute the projection's kernel (`group_heads`), not its output. Vectors have
  128 lanes, so a group is the fewest heads that fill whole vectors; or all, where none do.
- A head is picked by zeroing the lanes of the others, not by slicing: the matrix unit pads a head
  of 32 to 128 lanes anyway, and so every product is born in the lanes of its head.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jax.experimental import pallas as pl
from jax.experimental.pallas import tpu as pltpu
from jax.sharding import PartitionSpec
from jaxtyping import Array, Float, Int, Shaped

from mpjax.models.swin.windows import MASKED

LANES, SUBLANES = 128, 8  # of a vector register: a TPU's arrays are padded to multiples of them

# The bias of 4 heads and 392 tokens, its gradient (both double-buffered) and the logits take about
# 20 MB in the backward pass. Without a limit of its own, a kernel has 16 MB of v5e's 128 MB.
VMEM_BYTES = 64 * 2**20

DATA_AXIS = "data"  # of the mesh; clips are spread over it


def fused_window_attention(
    qkv: Float[Array, "b windows n d"],
    table: Float[Array, "rows h"],
    regions: Int[np.ndarray, "windows n"] | None,
    *,
    look_up: Callable[[Array], Array],
    precision: jax.lax.Precision | None,
) -> Float[Array, "b windows n c"]:
    """Attends within each window, head by head, keeping the logits on the chip.

    Under a mesh (`jax.set_mesh`) with an axis "data", each device attends within its own clips;
    what they sum is the gradient of the table, which is 60 times smaller than that of the bias.

    Args:
        qkv: queries (not yet scaled), keys and values, in the order of `group_heads`.
        table: of the relative position bias, float32.
        regions: of `windows.shift_regions`; None where the windows are not shifted.
        look_up: table -> relative position bias [h, n, n]; linear.

    Returns:
        The attended values, the heads one after another along c.
    """
    labels = None if regions is None else jnp.asarray(regions, jnp.int32)[:, None, :]
    return _attend(qkv, table, labels, look_up, precision)


def group_heads(x: Shaped[Array, "*c 3 h k"]) -> Shaped[Array, "*c d"]:
    """Puts q, k and v, or the projection onto them, in the order (group, 3, head in group, k)."""
    heads, head_dim = x.shape[-2:]
    return rearrange(x, "... s (g h) k -> ... (g s h k)", h=_heads_per_group(heads, head_dim))


def _heads_per_group(heads: int, head_dim: int) -> int:
    fewest = math.lcm(head_dim, LANES) // head_dim
    return heads if heads % fewest else fewest


@functools.partial(jax.custom_vjp, nondiff_argnums=(3, 4))
def _attend(qkv: Any, table: Any, labels: Any, look_up: Any, precision: Any) -> Any:
    clips, whole = PartitionSpec(_data_axis(qkv.shape[0])), PartitionSpec()
    each = functools.partial(_forward, precision)
    return _on_each_device(each, (clips, whole, whole), clips)(qkv, look_up(table), labels)


def _attend_backward(
    look_up: Any, precision: Any, residuals: Any, gradient: Any
) -> tuple[Any, Any, None]:
    qkv, table, labels = residuals
    data = _data_axis(qkv.shape[0])
    clips, whole = PartitionSpec(data), PartitionSpec()

    def each(qkv: Any, gradient: Any, table: Any, labels: Any) -> tuple[Any, Any]:
        bias, transpose = jax.vjp(look_up, table)
        qkv_gradient, bias_gradient = _backward(precision, qkv, gradient, bias, labels)
        (table_gradient,) = transpose(bias_gradient)
        return qkv_gradient, jax.lax.psum(table_gradient, data) if data else table_gradient

    over_devices = _on_each_device(each, (clips, clips, whole, whole), (clips, whole))
    return *over_devices(qkv, gradient, table, labels), None


_attend.defvjp(
    lambda *arguments: (_attend(*arguments), arguments[:3]),  # qkv, table, labels
    _attend_backward,
)


def _data_axis(clips: int) -> str | None:
    """Names the mesh axis to spread clips over; None where there is none that divides them."""
    axes = jax.sharding.get_abstract_mesh().shape
    return DATA_AXIS if DATA_AXIS in axes and clips % axes[DATA_AXIS] == 0 else None


def _on_each_device(f: Callable[..., Any], in_specs: Any, out_specs: Any) -> Callable[..., Any]:
    """Maps `f` over the devices of the mesh, if any: XLA cannot split a kernel by itself."""
    if jax.sharding.get_abstract_mesh().empty:
        return f
    return jax.shard_map(f, in_specs=in_specs, out_specs=out_specs, check_vma=False)


@dataclasses.dataclass(frozen=True)
class _Blocks:
    """How one call, on one device, is cut into the steps of its grid."""

    clips: int
    windows: int
    n: int
    width: int
    heads: int

    @property
    def head_dim(self) -> int:
        return self.width // self.heads

    @property
    def group(self) -> int:
        return _heads_per_group(self.heads, self.head_dim)

    @property
    def lanes(self) -> int:
        return self.group * self.head_dim

    def parts(self) -> tuple[slice, ...]:
        """Returns where q, k and v lie in a block."""
        return tuple(slice(part * self.lanes, (part + 1) * self.lanes) for part in range(3))

    @property
    def grid(self) -> tuple[int, int, int]:
        # Clips innermost: labels are fetched once per window, and the bias once per group. Its
        # gradient stays in VMEM while it sums over windows and clips.
        return self.heads // self.group, self.windows, self.clips

    def tokens(self, arrays: int = 1) -> pl.BlockSpec:
        """Cuts one array of the tokens' size, or several side by side."""
        return pl.BlockSpec((None, None, self.n, arrays * self.lanes), lambda g, w, b: (b, w, 0, g))

    def bias(self) -> pl.BlockSpec:
        return pl.BlockSpec((self.group, self.n, self.n), lambda g, w, b: (g, 0, 0))

    def labels(self, labels: Any) -> pl.BlockSpec | None:
        if labels is None:
            return None
        return pl.BlockSpec((None, 1, self.n), lambda g, w, b: (w, 0, 0))

    def cost(self, *, products: int, arrays: int, itemsize: int, biases: int) -> pl.CostEstimate:
        """Counts what a call does; XLA takes these figures as they are.

        Args:
            products: matrix products of n x n per head.
            arrays: arrays of the tokens' size, of `itemsize` bytes an element, that are moved.
            biases: arrays of the bias's size that are moved.
        """
        pairs = self.clips * self.windows * self.n**2
        rows, columns = _round_up(self.n, SUBLANES), _round_up(self.n, LANES)
        groups = self.heads // self.group
        tokens = self.clips * self.windows * rows * groups * _round_up(self.lanes, LANES)
        labels = groups * self.windows * SUBLANES * columns
        return pl.CostEstimate(
            flops=2 * products * pairs * self.width,
            transcendentals=pairs * self.heads,
            bytes_accessed=arrays * itemsize * tokens
            + 4 * (biases * self.heads * rows * columns + labels),
        )


def _round_up(size: int, multiple: int) -> int:
    return math.ceil(size / multiple) * multiple


def _blocks(qkv: Any, bias: Any) -> _Blocks:
    clips, windows, n, features = qkv.shape
    return _Blocks(clips, windows, n, features // 3, bias.shape[0])


def _forward(precision: Any, qkv: Any, bias: Any, labels: Any) -> Any:
    blocks = _blocks(qkv, bias)
    return _call(
        functools.partial(_forward_kernel, blocks, precision),
        (qkv, bias, labels),
        name="window_attention",
        grid=blocks.grid,
        in_specs=[blocks.tokens(3), blocks.bias(), blocks.labels(labels)],
        out_shape=jax.ShapeDtypeStruct((*qkv.shape[:3], blocks.width), qkv.dtype),
        out_specs=blocks.tokens(),
        cost_estimate=blocks.cost(products=2, arrays=4, itemsize=qkv.dtype.itemsize, biases=1),
    )


def _backward(precision: Any, qkv: Any, gradient: Any, bias: Any, labels: Any) -> tuple[Any, Any]:
    blocks = _blocks(qkv, bias)
    return _call(
        functools.partial(_backward_kernel, blocks, precision),
        (qkv, gradient, bias, labels),
        name="window_attention_gradient",
        grid=blocks.grid,
        in_specs=[blocks.tokens(3), blocks.tokens(), blocks.bias(), blocks.labels(labels)],
        out_shape=tuple(jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (qkv, bias)),
        out_specs=(blocks.tokens(3), blocks.bias()),
        cost_estimate=blocks.cost(products=5, arrays=7, itemsize=qkv.dtype.itemsize, biases=2),
    )


def _call(kernel: Callable[..., None], arrays: tuple[Any, ...], **options: Any) -> Any:
    """Calls a kernel compiled where the program is lowered for a TPU, else interpreted."""
    compiled = pl.pallas_call(
        kernel,
        compiler_params=pltpu.CompilerParams(
            dimension_semantics=("parallel", "arbitrary", "arbitrary"),
            vmem_limit_bytes=VMEM_BYTES,
        ),
        **options,
    )
    interpreted = pl.pallas_call(kernel, interpret=True, **options)
    return jax.lax.platform_dependent(*arrays, tpu=compiled, default=interpreted)


def _forward_kernel(
    blocks: _Blocks, precision: Any, qkv_ref: Any, bias_ref: Any, labels_ref: Any, out_ref: Any
) -> None:
    q, k, v = _read(blocks, qkv_ref)
    penalty = _penalty(labels_ref)
    out = jnp.zeros((blocks.n, blocks.lanes), jnp.float32)
    for head in range(blocks.group):
        q_head, v_head = _only(blocks, head, q), _only(blocks, head, v)
        weights, total = _exponentials(q_head, k, bias_ref[head] + penalty, precision)
        out += _product("nm,mc->nc", weights.astype(v.dtype), v_head, precision) / total
    out_ref[...] = out.astype(out_ref.dtype)


def _backward_kernel(
    blocks: _Blocks,
    precision: Any,
    qkv_ref: Any,
    gradient_ref: Any,
    bias_ref: Any,
    labels_ref: Any,
    qkv_gradient_ref: Any,
    bias_gradient_ref: Any,
) -> None:
    @pl.when((pl.program_id(1) == 0) & (pl.program_id(2) == 0))
    def _() -> None:
        bias_gradient_ref[...] = jnp.zeros_like(bias_gradient_ref)

    q, k, v = _read(blocks, qkv_ref)
    penalty = _penalty(labels_ref)
    dq = dk = dv = jnp.zeros((blocks.n, blocks.lanes), jnp.float32)
    for head in range(blocks.group):
        q_head, k_head = _only(blocks, head, q), _only(blocks, head, k)
        gradient = _only(blocks, head, gradient_ref[...])
        weights, total = _exponentials(q_head, k, bias_ref[head] + penalty, precision)
        weights /= total
        dweights = _product("nc,mc->nm", gradient, v, precision)
        dlogits = weights * (dweights - (weights * dweights).sum(axis=1, keepdims=True))
        bias_gradient_ref[head] += dlogits
        dlogits, weights = dlogits.astype(q.dtype), weights.astype(q.dtype)
        dq += _product("nm,mc->nc", dlogits, k_head, precision)
        dk += _product("nm,nc->mc", dlogits, q_head, precision)
        dv += _product("nm,nc->mc", weights, gradient, precision)
    dq *= blocks.head_dim**-0.5
    for part, value in zip(blocks.parts(), (dq, dk, dv), strict=True):
        qkv_gradient_ref[:, part] = value.astype(qkv_gradient_ref.dtype)


def _product(subscripts: str, a: Any, b: Any, precision: Any) -> Any:
    return jnp.einsum(subscripts, a, b, precision=precision, preferred_element_type=jnp.float32)


def _read(blocks: _Blocks, qkv_ref: Any) -> tuple[Any, Any, Any]:
    """Returns q, scaled, and k and v of a block."""
    q, k, v = (qkv_ref[:, part] for part in blocks.parts())
    return (q.astype(jnp.float32) * blocks.head_dim**-0.5).astype(q.dtype), k, v


def _only(blocks: _Blocks, head: int, x: Any) -> Any:
    """Zeroes the lanes of all heads but one."""
    lane = jax.lax.broadcasted_iota(jnp.int32, x.shape, 1)
    first = head * blocks.head_dim
    return jnp.where((lane >= first) & (lane < first + blocks.head_dim), x, 0)


def _penalty(labels_ref: Any) -> Any:
    """Returns what is added to the logits of a window: `MASKED` between different regions."""
    if labels_ref is None:
        return 0.0
    row = labels_ref[...]
    return jnp.where(row == row.T, 0.0, MASKED)


def _exponentials(q: Any, k: Any, offset: Any, precision: Any) -> tuple[Any, Any]:
    """Returns the softmax's numerators [n, n], float32, and their sums over keys [n, 1]."""
    logits = _product("nc,mc->nm", q, k, precision) + offset
    weights = jnp.exp(logits - logits.max(axis=1, keepdims=True))
    return weights, weights.sum(axis=1, keepdims=True)
