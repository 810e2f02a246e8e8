"""A sweep over linear heads on cached embeddings: learning rate x weight decay x seed at once.

All trials are one compiled program. Trials with the same seed use the same batches, so that a step
of all of them is one matrix product. Trials are evaluated on animals that none of them was trained
on and that are not test animals.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
from etils import epath
from jaxtyping import Array, Float, Int, PRNGKeyArray

from mpjax.config import OptimConfig, SweepConfig
from mpjax.data.embeddings import Embeddings
from mpjax.data.splits import Splits
from mpjax.heads import logistic, probe
from mpjax.io import files
from mpjax.training import optim

_TRIAL = ["learning_rate", "weight_decay"]
_RECIPE = OptimConfig(learning_rate=1.0)  # the published schedule; a trial scales its height
_INIT_STD = 0.01  # as published


def run(
    embedded: Embeddings, splits: Splits, config: SweepConfig, path: epath.PathLike
) -> tuple[float, float]:
    """Sweeps over the heads of a study and writes a CSV with a row per trial.

    Trials are evaluated on the split `val` of a fixed division; without one, on one fold of the
    training animals. Under folds they are evaluated on the first fold, whose animals then affect
    the choice: the column `judged_on` names it.

    Returns:
        Learning rate and weight decay of the best trial by `summarise`.

    Raises:
        ValueError: there is nothing to train or to evaluate on.
    """
    rows, _, validation = probe.training_rows(embedded, splits)
    fold = min(rows.fold.tolist(), default=0) if validation is None else validation
    held = rows.fold == fold
    if held.all() or not held.any():
        raise ValueError(
            f"{held.sum()} of {len(held)} views are held out: a sweep needs views of some animals "
            "to train on and of others to evaluate on"
        )
    table = sweep(rows.take(~held), rows.take(held), len(splits.taxonomy.fine), config)
    judged_on = f"fold {fold}" if validation is None else "val"
    with files.write_aside(path) as aside:
        aside.write_text(table.assign(judged_on=judged_on).to_csv(index=False))
    best = summarise(table).iloc[0]
    return float(best["learning_rate"]), float(best["weight_decay"])


def summarise(table: pd.DataFrame) -> pd.DataFrame:
    """Returns mean and sd over seeds of every figure of `sweep`, the best trial first.

    Best is the highest mean of mean-class accuracy, then the lowest mean loss.
    """
    figures = table.groupby(_TRIAL)[["accuracy", "mean_class_accuracy", "loss"]]
    joined = figures.agg(["mean", "std"]).reset_index()
    joined.columns = ["_".join(name).rstrip("_") for name in joined.columns]
    return joined.sort_values(
        ["mean_class_accuracy_mean", "loss_mean"], ascending=[False, True], ignore_index=True
    )


def sweep(
    rows: logistic.TrainingRows,
    held_out: logistic.TrainingRows,
    num_classes: int,
    config: SweepConfig,
) -> pd.DataFrame:
    """Trains and evaluates a linear head per learning rate, weight decay and seed.

    Each is trained as published, on embeddings standardised by the statistics of `rows`: AdamW on
    small batches of views, warm-up and cosine, initial weights of sd 0.01. Every clip counts the
    same in the loss however many views it has.

    Returns:
        A row per trial: learning_rate, weight_decay, seed, and figures on the clips of `held_out`,
        whose probabilities are averaged over their views: accuracy, mean_class_accuracy (over the
        classes present) and loss (mean cross-entropy).
    """
    weight = logistic.row_weights(
        rows, frozenset(), num_classes, class_balanced=config.class_balanced
    )
    x, mean, std = logistic.standardise(rows.embedding, weight)
    _, first, clip = np.unique(held_out.clip, return_index=True, return_inverse=True)
    grid = [(rate, decay) for rate in config.learning_rates for decay in config.weight_decays]
    steps_per_epoch = len(rows.label) / config.batch_size
    figures = _run_trials(
        {"x": x, "label": rows.label, "weight": weight * np.float32(len(weight))},
        {
            "x": ((held_out.embedding - mean) / std).astype(np.float32),
            "clip": clip,
            "label": held_out.label[first],
        },
        np.array(grid, np.float32),
        np.array(config.seeds),
        num_classes=num_classes,
        steps=max(1, round(config.epochs * steps_per_epoch)),
        steps_per_epoch=steps_per_epoch,
        batch_size=config.batch_size,
        at_once=config.parallel_trials,
    )
    trials = [(*trial, seed) for seed in config.seeds for trial in grid]
    named = {name: np.asarray(values).ravel() for name, values in figures.items()}
    return pd.DataFrame(trials, columns=[*_TRIAL, "seed"]).assign(**named)


@functools.partial(
    jax.jit,
    static_argnames=("num_classes", "steps", "steps_per_epoch", "batch_size", "at_once"),
)
def _run_trials(
    train: dict[str, Array],
    held_out: dict[str, Array],
    grid: Float[Array, "trials 2"],
    seeds: Int[Array, "seeds"],
    *,
    num_classes: int,
    steps: int,
    steps_per_epoch: float,
    batch_size: int,
    at_once: int,
) -> dict[str, Float[Array, "seeds trials"]]:
    """Trains and evaluates all trials; see `sweep`."""
    schedule = optim.make_schedule(_RECIPE, steps=steps, steps_per_epoch=steps_per_epoch)

    def run_seed(seed: Int[Array, ""]) -> dict[str, Array]:
        init_key, order_key = jax.random.split(jax.random.key(seed))
        shape = (num_classes, train["x"].shape[1])
        start = {
            "kernel": _INIT_STD * jax.random.normal(init_key, shape),
            "bias": jnp.zeros(num_classes),
        }
        order = draw_batches(order_key, len(train["x"]), steps=steps, batch_size=batch_size)

        def run_trial(trial: Float[Array, "2"]) -> dict[str, Array]:
            return _evaluate(_train(start, train, order, trial, schedule), held_out)

        return jax.lax.map(run_trial, grid, batch_size=at_once)

    return jax.lax.map(run_seed, seeds)


def draw_batches(
    key: PRNGKeyArray, n: int, *, steps: int, batch_size: int
) -> Int[Array, "steps batch"]:
    """Draws the rows of each step: every epoch takes each row once, in its own random order.

    A batch at the end of an epoch continues with the next one.
    """
    epochs = -(-steps * batch_size // n)
    keys = jax.random.split(key, epochs)
    order = jax.lax.map(lambda key: jax.random.permutation(key, n), keys)
    return order.reshape(-1)[: steps * batch_size].reshape(steps, batch_size)


def _train(
    params: dict[str, Array],
    train: dict[str, Array],
    order: Int[Array, "steps batch"],
    trial: Float[Array, "2"],
    schedule: optax.Schedule,
) -> dict[str, Array]:
    learning_rate, weight_decay = trial
    b1, b2 = _RECIPE.betas
    optimizer = optax.adamw(
        lambda step: learning_rate * schedule(step), b1=b1, b2=b2, weight_decay=weight_decay
    )

    def step(carry: tuple[Any, Any], chosen: Int[Array, "batch"]) -> tuple[tuple[Any, Any], None]:
        params, state = carry
        x, label, weight = (train[name][chosen] for name in ("x", "label", "weight"))

        def loss(params: dict[str, Array]) -> Float[Array, ""]:
            logits = _logits(params, x)
            entropy = optax.softmax_cross_entropy_with_integer_labels(logits, label)
            return jnp.mean(weight * entropy)

        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (optax.apply_updates(params, updates), state), None

    return jax.lax.scan(step, (params, optimizer.init(params)), order)[0][0]


def _logits(params: dict[str, Array], x: Float[Array, "n d"]) -> Float[Array, "n classes"]:
    # With kernels [classes, d], those of all trials stack to one matrix without being moved.
    product = jnp.einsum("nd,cd->nc", x, params["kernel"], precision=jax.lax.Precision.HIGHEST)
    return product + params["bias"]


def _evaluate(params: dict[str, Array], held_out: dict[str, Array]) -> dict[str, Float[Array, ""]]:
    """Returns accuracy, mean-class accuracy and mean cross-entropy over clips."""
    clip, label = held_out["clip"], held_out["label"]
    log_p = jax.nn.log_softmax(_logits(params, held_out["x"]))
    highest = jax.ops.segment_max(log_p, clip, len(label))
    views = jax.ops.segment_sum(jnp.ones(len(log_p)), clip, len(label))
    spread = jax.ops.segment_sum(jnp.exp(log_p - highest[clip]), clip, len(label))
    mean_log_p = highest + jnp.log(spread / views[:, None])  # in the log domain: no underflow
    correct = (mean_log_p.argmax(axis=1) == label).astype(jnp.float32)
    of_class = jax.nn.one_hot(label, log_p.shape[1])
    count = of_class.sum(axis=0)
    recall = correct @ of_class / jnp.maximum(count, 1)
    return {
        "accuracy": correct.mean(),
        "mean_class_accuracy": recall.sum() / (count > 0).sum(),
        "loss": -jnp.take_along_axis(mean_log_p, label[:, None], axis=1).mean(),
    }
