"""Fits linear heads on cached embeddings: many regularisations and folds as one program.

Choosing the regularisation never sees the animals it is judged on. Let folds be groups of animals.
The head that predicts fold k is trained on the others, with the l2 that does best when each of
those is predicted in turn by a head trained without it and without k (nested, grouped
cross-validation). A head "without j and k" serves both, so all fits are indexed by the set of folds
that they leave out.
"""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from mpjax.config import HeadConfig
from mpjax.models.classifier import LinearHead

Variables = dict[str, Any]
LeftOut = frozenset[int]

# Fits per program: bounds memory (the L-BFGS history) whatever the number of folds.
_CHUNK = 32
_MEMORY = 10  # L-BFGS pairs kept


@dataclasses.dataclass(frozen=True)
class Rows:
    """Training rows: the views of all clips that may be trained on.

    Attributes:
        embedding: float32 [n, d].
        label: int [n], fine class.
        fold: int [n], the fold in which the row is held out.
        clip: int [n], the clip that the row is a view of.
    """

    embedding: Float[np.ndarray, "n d"]
    label: Int[np.ndarray, "n"]
    fold: Int[np.ndarray, "n"]
    clip: Int[np.ndarray, "n"]


def row_weights(
    rows: Rows, left_out: LeftOut, num_classes: int, *, class_balanced: bool
) -> Float[np.ndarray, "n"]:
    """Returns weights that sum to 1 over the rows outside `left_out`, and are 0 within.

    Every clip counts the same however many views it has; with `class_balanced`, so does every
    class.

    Raises:
        ValueError: no row is left to train on.
    """
    used = ~np.isin(rows.fold, list(left_out))
    if not used.any():
        raise ValueError(f"leaving out folds {sorted(left_out)} leaves nothing to train on")
    _, clip, views = np.unique(rows.clip, return_inverse=True, return_counts=True)
    weight = used / views[clip]
    if class_balanced:
        per_class = np.bincount(rows.label, weights=weight, minlength=num_classes)
        weight = np.divide(weight, per_class[rows.label], where=used, out=np.zeros(len(used)))
    return (weight / weight.sum()).astype(np.float32)


@functools.partial(jax.jit, static_argnames=("num_classes", "max_iterations", "tolerance"))
def fit(
    embedding: Float[Array, "n d"],
    label: Int[Array, "n"],
    weight: Float[Array, "m n"],
    l2: Float[Array, "m"],
    *,
    num_classes: int,
    max_iterations: int,
    tolerance: float,
) -> Variables:
    """Fits m heads at once by L-BFGS (Nocedal & Wright 2006, algorithm 7.5) on all rows.

    Minimises sum_i weight_i * cross_entropy_i + l2/2 * |kernel|^2 over standardised embeddings;
    mean and standard deviation are those of the weighted rows.

    Args:
        embedding: shared by all fits.
        label: fine class of each row.
        weight: per fit, sums to 1; 0 leaves a row out.
        l2: per fit.
        num_classes: number of fine classes.
        max_iterations: at most.
        tolerance: stops a fit when no component of its gradient is larger.

    Returns:
        Variables of `LinearHead`, every leaf with a leading axis m.
    """
    one_hot = jax.nn.one_hot(label, num_classes)
    centre = jnp.mean(embedding, axis=0)  # keeps logits free of cancellation
    centred = embedding - centre
    mean = weight @ centred
    variance = jax.lax.map(lambda wm: wm[0] @ jnp.square(centred - wm[1]), (weight, mean))
    std = jnp.sqrt(variance)
    std = jnp.where(std > 1e-6, std, 1.0)

    def loss(params: Variables, weight: Array, l2: Array, mean: Array, std: Array) -> Array:
        kernel = params["kernel"] / std[:, None]
        logits = centred @ kernel + params["bias"] - mean @ kernel
        entropy = optax.softmax_cross_entropy(logits, one_hot)
        return weight @ entropy + 0.5 * l2 * jnp.sum(jnp.square(params["kernel"]))

    def fit_one(*problem: Array) -> Variables:
        def objective(params: Variables) -> Array:
            return loss(params, *problem)

        solver = optax.lbfgs(memory_size=_MEMORY)
        value_and_grad = optax.value_and_grad_from_state(objective)

        def step(carry: tuple) -> tuple:
            params, state, _ = carry
            value, grad = value_and_grad(params, state=state)
            updates, state = solver.update(
                grad, state, params, value=value, grad=grad, value_fn=objective
            )
            return optax.apply_updates(params, updates), state, optax.tree.norm(grad, ord=jnp.inf)

        def unfinished(carry: tuple) -> Array:
            count = optax.tree.get(carry[1], "count")
            return (count == 0) | ((count < max_iterations) & (carry[2] > tolerance))

        width = embedding.shape[1]
        start = {"kernel": jnp.zeros((width, num_classes)), "bias": jnp.zeros(num_classes)}
        return jax.lax.while_loop(unfinished, step, (start, solver.init(start), jnp.inf))[0]

    params = jax.vmap(fit_one)(weight, l2, mean, std)
    return {"params": {"linear": params}, "scaler": {"mean": mean + centre, "std": std}}


def fit_all(
    rows: Rows, problems: Sequence[tuple[LeftOut, float]], num_classes: int, config: HeadConfig
) -> list[Variables]:
    """Fits a head for every (folds left out, l2), in order; see `fit`."""
    weights = {
        left_out: row_weights(rows, left_out, num_classes, class_balanced=config.class_balanced)
        for left_out in {left_out for left_out, _ in problems}
    }
    heads: list[Variables] = []
    for first in range(0, len(problems), _CHUNK):
        chunk = problems[first : first + _CHUNK]
        filled = [*chunk, *[chunk[-1]] * (min(_CHUNK, len(problems)) - len(chunk))]
        stacked = fit(
            rows.embedding,
            rows.label,
            np.stack([weights[left_out] for left_out, _ in filled]),
            np.array([l2 for _, l2 in filled], np.float32),
            num_classes=num_classes,
            max_iterations=config.max_iterations,
            tolerance=config.tolerance,
        )
        stacked = jax.device_get(stacked)
        heads += [jax.tree.map(lambda leaf, i=i: leaf[i], stacked) for i in range(len(chunk))]
    return heads


def predict(
    variables: Variables, embedding: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n classes"]:
    """Returns the logits of one fitted head, computed in float32."""
    num_classes = variables["params"]["linear"]["bias"].shape[-1]
    return np.array(_apply(num_classes)(variables, embedding))


@functools.cache
def _apply(num_classes: int) -> Callable[[Variables, Any], Array]:
    return jax.jit(LinearHead(num_classes).apply)


def log_loss(variables: Variables, rows: Rows, left_out: LeftOut, *, class_balanced: bool) -> float:
    """Returns the mean cross-entropy, weighted as in training, on the rows outside `left_out`."""
    logits = predict(variables, rows.embedding)
    log_p = jax.nn.log_softmax(logits, axis=-1)
    weight = row_weights(rows, left_out, logits.shape[-1], class_balanced=class_balanced)
    return float(-(weight @ np.asarray(log_p)[np.arange(len(weight)), rows.label]))


@dataclasses.dataclass(frozen=True)
class FoldHeads:
    """Heads by the fold that they may predict.

    Attributes:
        heads: variables of the head that was trained without fold k, and under `FINAL` of the one
            trained on all rows.
        l2: the regularisation chosen for each.
        losses: per head and candidate l2, the inner cross-validated log-loss; empty where there
            was nothing to choose.
    """

    heads: dict[int, Variables]
    l2: dict[int, float]
    losses: dict[int, dict[float, float]]


FINAL = -1


def fit_folds(
    rows: Rows,
    num_classes: int,
    config: HeadConfig,
    *,
    predicted: Sequence[int] = (),
    validation: int | None = None,
) -> FoldHeads:
    """Fits the final head and one per predicted fold, each with an l2 of its own choosing.

    Args:
        rows: training rows; their folds are those among which l2 is chosen.
        num_classes: number of fine classes.
        config: candidates and solver. A single l2 is taken as it is.
        predicted: folds that need a head without them; their l2 comes from nested cross-validation.
        validation: a fold on which alone l2 is chosen, and on which no head is trained.

    Raises:
        ValueError: several l2 are given, but too few folds to choose among them.
    """
    always = frozenset() if validation is None else frozenset([validation])
    targets: dict[int, LeftOut] = {fold: always | {fold} for fold in predicted}
    targets[FINAL] = always
    losses = {}
    if len(config.l2) > 1:
        folds = sorted({int(fold) for fold in rows.fold})
        judged = {
            left_out: [(left_out | {j}, j) for j in folds if j not in left_out]
            if validation is None
            else [(left_out, validation)]
            for left_out in targets.values()
        }
        losses = _choice_losses(rows, folds, judged, num_classes, config)
    chosen = {}
    for target, left_out in targets.items():
        candidates = losses.get(left_out) or dict.fromkeys(config.l2, 0.0)
        chosen[target] = min(candidates, key=candidates.__getitem__)
    problems = [(left_out, chosen[target]) for target, left_out in targets.items()]
    heads = fit_all(rows, problems, num_classes, config)
    kept = {target: losses.get(left_out, {}) for target, left_out in targets.items()}
    return FoldHeads(dict(zip(targets, heads, strict=True)), chosen, kept)


def _choice_losses(
    rows: Rows,
    folds: list[int],
    judged: dict[LeftOut, list[tuple[LeftOut, int]]],
    num_classes: int,
    config: HeadConfig,
) -> dict[LeftOut, dict[float, float]]:
    """Returns the mean log-loss of each l2, for each set of folds left out.

    Args:
        rows: training rows.
        folds: all folds.
        judged: per set of folds left out, the heads (by what they leave out) that stand for it,
            each with the fold that judges it.
        num_classes: number of fine classes.
        config: candidates and solver.
    """
    if not all(judged.values()):
        raise ValueError(
            f"{len(folds)} fold(s) are too few to choose head.l2 by nested cross-validation; "
            "add animals, or give one value: --config.head.l2='(0.1,)'"
        )
    held = {left_out for pairs in judged.values() for left_out, _ in pairs}
    # By l2 first: fits that take alike many iterations share a program.
    fits = [(left_out, l2) for l2 in config.l2 for left_out in sorted(held, key=sorted)]
    heads = dict(zip(fits, fit_all(rows, fits, num_classes, config), strict=True))

    def mean_loss(pairs: list[tuple[LeftOut, int]], l2: float) -> float:
        losses = [
            log_loss(
                heads[left_out, l2],
                rows,
                frozenset(folds) - {fold},
                class_balanced=config.class_balanced,
            )
            for left_out, fold in pairs
        ]
        return float(np.mean(losses))

    return {
        target: {l2: mean_loss(pairs, l2) for l2 in config.l2} for target, pairs in judged.items()
    }
