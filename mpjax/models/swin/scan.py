"""The blocks of a deep stage as a loop: a program whose size does not grow with the depth.

XLA compiles every block of an unrolled network again, a TPU's attention kernels in about a minute
for each. Here it compiles one pair of blocks, plain and shifted, and runs it over their stacked
parameters. Stacking is part of the program: outside, parameters and checkpoints stay as they are,
and a step copies the stage's parameters once.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from mpjax.models.swin.windows import KERNEL_ARRAYS

# (parameters of a block, tokens, its share of `scales`) -> tokens
Block = Callable[[Any, Array, Array | None], Array]


def run_pairs(
    pair: Sequence[Block],
    params: Sequence[Any],
    x: Float[Array, "b t h w c"],
    scales: Float[Array, "blocks 2 b"] | None,
    *,
    remat: bool,
) -> Float[Array, "b t h w c"]:
    """Runs blocks one after the other, the even ones by `pair[0]` and the odd ones by `pair[1]`.

    Args:
        pair: functions of the two kinds of blocks.
        params: of each block, laid out alike; an even number of them.
        scales: of `network.drop_path_scales`.
        remat: compute each pair again in the backward pass instead of storing it. Otherwise only
            what lies between its matrix products is: XLA, which does so by itself in an unrolled
            network, leaves what a loop stores as JAX has it.
    """
    stacked = tuple(
        jax.tree.map(lambda *leaves: jnp.stack(leaves), *params[place::2]) for place in (0, 1)
    )
    cut = (None, None) if scales is None else (scales[::2], scales[1::2])

    def run(x: Array, own: Any) -> tuple[Array, None]:
        for block, block_params, block_scales in zip(pair, *own, strict=True):
            x = block(block_params, x, block_scales)
        return x, None

    policies = jax.checkpoint_policies
    stored = policies.save_from_both_policies(
        policies.dots_with_no_batch_dims_saveable, policies.save_only_these_names(KERNEL_ARRAYS)
    )
    # In a loop, XLA cannot merge what is computed again with what was computed first.
    body = jax.checkpoint(run, prevent_cse=False, policy=None if remat else stored)
    return jax.lax.scan(body, x, (stacked, cut))[0]
