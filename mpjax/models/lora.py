"""Low-rank adapters (LoRA, arXiv 2106.09685) of a frozen Video Swin.

Adapters are a small pytree of their own, and `merge` is a pure function of them and of the frozen
weights. Train them alone, with a head, by differentiating with respect to these two: the frozen
weights are an argument, and have neither gradients nor a state of the optimiser.

    def loss(trained, frozen, clips):
        params = merge(frozen, trained["adapters"], config)
        return f(trained["head"], VideoSwin(...).apply({"params": params}, clips).embedding)

    gradient = jax.grad(loss)({"head": head, "adapters": adapters}, frozen, clips)

The arithmetic is that of the Universal Action Space (arXiv 2602.09518) and its public code.
"""

import itertools
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from einops import rearrange
from jaxtyping import Array, Float, PRNGKeyArray

from mpjax.config import LoraConfig

# The published choices: which linear layers of a block are adapted.
TARGETS: dict[str, tuple[str, ...]] = {
    "qv": ("q", "v"),
    "qkv": ("q", "k", "v"),
    "qkvo": ("q", "k", "v", "o"),
    "mlp": ("fc1", "fc2"),
    "all": ("q", "k", "v", "o", "fc1", "fc2"),
}


def init(config: LoraConfig, params: Any, key: PRNGKeyArray) -> Any:
    """Draws adapters that leave the network as it is: A from N(0, 1), B = 0, as published.

    Of `params`, those of `VideoSwin`, only the shapes are read.

    Returns:
        Per block and layer, `{"stage0_block0": {"q": {"a": [inputs, rank], "b": [rank, outputs]}}}`
        in float32.
    """
    adapters: dict[str, Any] = {}
    places = list(itertools.product(_blocks(config, params), TARGETS[config.targets]))
    for (block, layer), own_key in zip(places, jax.random.split(key, len(places)), strict=True):
        width, hidden = params[block]["fc1"]["kernel"].shape
        inputs, outputs = {"fc1": (width, hidden), "fc2": (hidden, width)}.get(
            layer, (width, width)
        )
        adapters.setdefault(block, {})[layer] = {
            "a": jax.random.normal(own_key, (inputs, config.rank)),
            "b": jnp.zeros((config.rank, outputs)),
        }
    return adapters


def merge(params: Any, adapters: Any, config: LoraConfig) -> Any:
    """Adds the adapters' updates to the weights they adapt.

    With Delta = alpha / rank * A B, the q, k, v and MLP layers x W + b become x (W + Delta) + b.
    The published `lora_o` reads the output of its layer: (x W + b)(I + Delta).

    Returns:
        Parameters laid out as `params`, those of `VideoSwin`; differentiable with respect to
        `adapters`.

    Raises:
        ValueError: the adapters have another rank than `config`.
    """
    merged = dict(params)
    for block, layers in adapters.items():
        updates = {}
        for layer, pair in layers.items():
            if (rank := pair["a"].shape[1]) != config.rank:
                raise ValueError(
                    f"adapter {block}/{layer} has rank {rank}, the config says {config.rank}"
                )
            updates[layer] = config.alpha / config.rank * _product(pair["a"], pair["b"])
        merged[block] = _merge_block(params[block], updates)
    return merged


def _merge_block(block: Any, updates: dict[str, Array]) -> Any:
    merged = dict(block) | {"attn": dict(block["attn"])}
    kernel = jnp.asarray(block["attn"]["qkv"]["kernel"])
    for place, layer in enumerate("qkv"):
        if layer in updates:
            update = rearrange(updates[layer], "d (h k) -> d h k", h=kernel.shape[2])
            kernel = kernel.at[:, place].add(update)
    merged["attn"]["qkv"] = {**block["attn"]["qkv"], "kernel": kernel}
    if "o" in updates:
        merged["attn"]["proj"] = {
            name: weight + _product(weight, updates["o"])
            for name, weight in block["attn"]["proj"].items()
        }
    for layer in ("fc1", "fc2"):
        if layer in updates:
            merged[layer] = {**block[layer], "kernel": block[layer]["kernel"] + updates[layer]}
    return merged


def _product(
    x: Float[Array | np.ndarray, "... d"], y: Float[Array | np.ndarray, "d outputs"]
) -> Float[Array, "... outputs"]:
    return jnp.einsum("...d,do->...o", x, y, precision=jax.lax.Precision.HIGHEST)


def _blocks(config: LoraConfig, params: Any) -> list[str]:
    found = [re.fullmatch(r"stage(\d+)_block(\d+)", name) for name in params]
    blocks = sorted((int(match[1]), int(match[2])) for match in found if match)
    last = blocks[-1][0]
    stages = {"all": range(last + 1), "first": (0,), "last": (last,)}[config.stages]
    return [f"stage{stage}_block{number}" for stage, number in blocks if stage in stages]
