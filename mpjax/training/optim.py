"""AdamW as published for Video Swin: parameter groups, warm-up and cosine, running average.

The groups follow arXiv 2106.13230 and its public configs: a projector that is trained too has a
tenth of the learning rate, and weight decay applies to all but norms and bias tables.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int

from mpjax.config import OptimConfig

_BIAS_TABLE = "relative_position_bias_table"


def make_schedule(config: OptimConfig, *, steps: int, steps_per_epoch: float) -> optax.Schedule:
    """Makes the learning rate: a linear warm-up from 0, then a cosine (arXiv 1608.03983) to 0.

    It changes at every step, numbered from 0. The published code (mmcv) lowers it once per epoch,
    on a cosine that begins with the run instead of after the warm-up, and starts the warm-up at a
    tenth of the peak.

    Args:
        config: peak and length of the warm-up, which ends with the run if it is longer.
        steps: of the whole run, at least 1; the learning rate reaches 0 there.
        steps_per_epoch: > 0; need not be a whole number.
    """
    warmup = min(config.warmup_epochs * steps_per_epoch, steps)

    def schedule(step: Any) -> Float[Array, "..."]:
        step = jnp.asarray(step, jnp.float32)
        rise = step / max(warmup, 1.0)
        progress = jnp.clip((step - warmup) / max(steps - warmup, 1.0), 0.0, 1.0)
        fall = 0.5 * (1.0 + jnp.cos(jnp.pi * progress))
        return config.learning_rate * jnp.where(step < warmup, rise, fall)

    return schedule


def make_optimizer(
    config: OptimConfig, schedule: optax.Schedule, params: Any
) -> optax.GradientTransformation:
    """Makes AdamW (arXiv 1711.05101) with the published groups of parameters.

    Of `params`, a dict with some of the keys "head", "adapters" and "projector", only names and
    structure are read.
    """
    b1, b2 = config.betas
    in_projector = {
        part: jax.tree.map(lambda _, yes=part == "projector": yes, tree)
        for part, tree in params.items()
    }
    return optax.chain(
        optax.clip_by_global_norm(config.clip_norm) if config.clip_norm else optax.identity(),
        optax.adamw(schedule, b1=b1, b2=b2, weight_decay=config.weight_decay, mask=decayed(params)),
        # Scaling the finished update scales its decay too, like a group's own learning rate.
        optax.masked(optax.scale(config.projector_scale), in_projector),
    )


def decayed(params: Any) -> Any:
    """Returns which leaves weight decay shrinks: all but norms and relative position bias tables.

    Biases of linear layers are among them, as published. A norm has "norm" in the name of its
    module.
    """

    def is_decayed(path: tuple[Any, ...], _: Any) -> bool:
        *modules, leaf = [entry.key for entry in path]
        return leaf != _BIAS_TABLE and not any("norm" in module for module in modules)

    return jax.tree_util.tree_map_with_path(is_decayed, params)


def update_ema(ema: Any, params: Any, *, decay: float, step: int | Int[Array, ""]) -> Any:
    """Moves an exponential average of the weights towards their latest values.

    The decay is min(decay, (1 + step) / (10 + step)), so that the random first weights soon lose
    their influence: the rule of `tf.train.ExponentialMovingAverage` with `num_updates`
    (https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage).
    At the start, when `step` is 0, `ema` is a copy of `params`.
    """
    kept = jnp.minimum(decay, (1.0 + step) / (10.0 + step))
    return optax.incremental_update(params, ema, 1.0 - kept)
