"""Times the projector I3D on this CPU against a plain Flax I3D, interleaved, in one run.

    python tests/benchmarks/bench_i3d.py

Plain: unmerged branches, `nn.Conv` + `nn.BatchNorm` + ReLU, `nn.max_pool`. Both give the embedding
and the logits of the same weights, float32. The peak is the median of a 2048^3 float32 product.
"""

import functools
import statistics
import time
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from mpjax.models.i3d import network, weights
from mpjax.models.projector import load_projector

SHAPES = ((1, 16, 224, 224), (4, 16, 128, 128), (4, 16, 112, 112))
ROUNDS = 7


class PlainUnit(nn.Module):
    features: int
    kernel_size: tuple[int, int, int] = (1, 1, 1)
    strides: tuple[int, int, int] = (1, 1, 1)

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        x = nn.Conv(self.features, self.kernel_size, self.strides, use_bias=False, name="Conv_0")(x)
        x = nn.BatchNorm(
            use_running_average=True, epsilon=1e-3, use_scale=False, name="BatchNorm_0"
        )(x)
        return nn.relu(x)


class PlainMixed(nn.Module):
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        w0, w1a, w1b, w2a, w2b, w3 = self.widths
        branch_0 = PlainUnit(w0, name="Branch_0/Conv3d_0a_1x1")(x)
        branch_1 = PlainUnit(w1a, name="Branch_1/Conv3d_0a_1x1")(x)
        branch_1 = PlainUnit(w1b, (3, 3, 3), name="Branch_1/Conv3d_0b_3x3")(branch_1)
        branch_2 = PlainUnit(w2a, name="Branch_2/Conv3d_0a_1x1")(x)
        branch_2 = PlainUnit(w2b, (3, 3, 3), name="Branch_2/Conv3d_0b_3x3")(branch_2)
        branch_3 = nn.max_pool(x, (3, 3, 3), (1, 1, 1), "SAME")
        branch_3 = PlainUnit(w3, name="Branch_3/Conv3d_0b_1x1")(branch_3)
        return jnp.concatenate([branch_0, branch_1, branch_2, branch_3], axis=-1)


class PlainI3D(nn.Module):
    """The network as the paper draws it, with the parameter names of the weight file."""

    @nn.compact
    def __call__(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = PlainUnit(64, (7, 7, 7), (2, 2, 2), name="Conv3d_1a_7x7")(x)
        x = nn.max_pool(x, (1, 3, 3), (1, 2, 2), "SAME")
        x = PlainUnit(64, name="Conv3d_2b_1x1")(x)
        x = PlainUnit(192, (3, 3, 3), name="Conv3d_2c_3x3")(x)
        for name, widths in network.MIXED.items():
            if name in network.POOL_BEFORE:
                x = nn.max_pool(x, *network.POOL_BEFORE[name], "SAME")
            x = PlainMixed(widths, name=name)(x)
        window = tuple(min(size, most) for size, most in zip(x.shape[1:4], (2, 7, 7), strict=True))
        pooled = nn.avg_pool(x, window, (1, 1, 1), "VALID")
        logits = PlainHead(name="Logits/Conv3d_0c_1x1")(pooled)
        return x.mean((1, 2, 3)), logits.mean((1, 2, 3))


class PlainHead(nn.Module):
    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.Conv(network.NUM_CLASSES, (1, 1, 1), name="Conv_0")(x)


def multiply_adds(shape: tuple[int, ...]) -> int:
    """Counts the multiply-adds of the convolutions as published; ours does about half of them."""
    model, clips = network.I3D(), jax.ShapeDtypeStruct((*shape, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), clips)
    _, state = jax.eval_shape(
        lambda v, x: model.apply(v, x, capture_intermediates=True, mutable=["intermediates"]),
        variables,
        clips,
    )
    outputs = nn.meta.unbox(state["intermediates"])
    return _sum_units(variables["params"], outputs)


def _sum_units(params: Any, outputs: Any) -> int:
    total = 0
    for name, child in params.items():
        if "kernel" in child:
            out = outputs[name]["__call__"][0]
            total += child["kernel"].size * int(np.prod(out.shape[:-1]))
        else:
            total += _sum_units(child, outputs[name])
    return total


def interleave(calls: dict[str, Callable[[], Any]], rounds: int) -> dict[str, float]:
    """Returns each call's median time in seconds; the calls take turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for call in calls.values():
        jax.block_until_ready(call())
    for _ in range(rounds):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call())
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(taken) for name, taken in times.items()}


def main() -> None:
    variables = weights.read_arrays(weights.kinetics400_path())
    variables["batch_stats"] = jax.tree.map(np.ravel, variables["batch_stats"])
    projector = load_projector("kinetics400")
    variables = jax.device_put(variables)
    plain = jax.jit(PlainI3D().apply)
    ours = jax.jit(projector.apply)
    square = jnp.asarray(np.random.default_rng(0).standard_normal((2048, 2048)), jnp.float32)
    product = jax.jit(jnp.matmul)
    for shape in SHAPES:
        clips = np.random.default_rng(0).uniform(-1, 1, (*shape, 3)).astype(np.float32)
        expected, got = plain(variables, clips), ours(projector.params, clips)
        error = max(
            float(abs(a - b).max() / abs(a).max()) for a, b in zip(expected, got, strict=True)
        )
        seconds = interleave(
            {
                "plain": functools.partial(plain, variables, clips),
                "ours": functools.partial(ours, projector.params, clips),
                "peak": functools.partial(product, square, square),
            },
            ROUNDS,
        )
        gflop = 2e-9 * multiply_adds(shape)
        peak = 2e-9 * square.shape[0] ** 3 / seconds["peak"]
        print(
            f"{'x'.join(map(str, shape))}: {gflop:.1f} GFLOP; "
            f"plain {seconds['plain']:.3f} s, {gflop / seconds['plain']:.0f} GFLOP/s; "
            f"ours {seconds['ours']:.3f} s, {gflop / seconds['ours']:.0f} GFLOP/s; "
            f"{seconds['plain'] / seconds['ours']:.2f}x; "
            f"{gflop / seconds['ours'] / peak:.0%} of the GEMM peak ({peak:.0f} GFLOP/s); "
            f"largest relative difference {error:.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
