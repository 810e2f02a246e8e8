"""Fits linear heads on cached embeddings: all regularisations of a training set as one program.

The regularisation is never chosen on animals that it is then tested on. Folds are groups of
animals. The head that predicts fold k is trained on the others, with the l2 that does best when
each of those is predicted by a head trained without it and without k (nested, grouped
cross-validation). A head "without j and k" serves both, so fits are indexed by the set of folds
that they leave out.
"""

import dataclasses
import functools
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import tqdm
from absl import logging
from jaxtyping import Array, Bool, Float, Int
from scipy.special import log_softmax

from mpjax.config import HeadConfig
from mpjax.data.splits import FINAL
from mpjax.models.classifier import LinearHead

Variables = dict[str, Any]
LeftOut = frozenset[int]

_MEMORY = 10  # L-BFGS pairs kept
_NOISE = 1e-10  # variance, as a share of the greatest, below which a direction is rounding error


@dataclasses.dataclass(frozen=True)
class TrainingRows:
    """The views of all clips that may be trained on."""

    embedding: Float[np.ndarray, "n d"]  # float32
    label: Int[np.ndarray, "n"]  # class
    fold: Int[np.ndarray, "n"]  # in which the row is held out
    clip: Int[np.ndarray, "n"]  # that the row is a view of

    def take(self, chosen: Bool[np.ndarray, "n"]) -> "TrainingRows":
        """Returns some of the rows."""
        return TrainingRows(*(column[chosen] for column in vars(self).values()))


def row_weights(
    rows: TrainingRows, left_out: LeftOut, num_classes: int, *, class_balanced: bool
) -> Float[np.ndarray, "n"]:
    """Returns weights that sum to 1 over the rows outside `left_out`, and are 0 within.

    Every clip counts the same however many views it has; with `class_balanced`, every class too.
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


def standardise(
    embedding: Float[np.ndarray, "n d"], weight: Float[np.ndarray, "n"]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "d"], Float[np.ndarray, "d"]]:
    """Returns embeddings standardised over weighted rows, float32, with the mean and the sd."""
    mean = weight @ embedding.astype(np.float64)
    std = np.sqrt(weight @ np.square(embedding - mean))
    std = np.where(std > 1e-6, std, 1.0)
    return ((embedding - mean) / std).astype(np.float32), mean, std


def fit(
    rows: TrainingRows,
    weight: Float[np.ndarray, "n"],
    l2: Sequence[float],
    num_classes: int,
    config: HeadConfig,
) -> list[Variables]:
    """Fits one head per l2 on the same weighted rows.

    Minimises sum_i weight_i * cross_entropy_i + l2/2 * |kernel|^2 over `standardise`d embeddings.

    The solver is L-BFGS (Nocedal & Wright 2006, algorithm 7.5) in coordinates in which the Hessian
    is at most the identity: Boehning's bound (1992, doi:10.1007/BF00048682) of the multinomial
    Hessian, half the weighted covariance of the embedding, is diagonal in the covariance's
    eigenvectors. The variances of embeddings differ by orders of magnitude; without this, weak
    regularisations take several times as long.

    Weights sum to 1; 0 leaves a row out. Returns variables of one `LinearHead` per l2.
    """
    scaled, mean, std = standardise(rows.embedding, weight)
    variance, axes = _principal_axes(scaled * np.sqrt(weight)[:, None])
    params = _minimise(
        scaled @ axes,
        rows.label,
        weight,
        variance,
        np.array(l2, np.float32),
        num_classes=num_classes,
        max_iterations=config.max_iterations,
        tolerance=config.tolerance,
    )
    scaler = {"mean": mean.astype(np.float32), "std": std.astype(np.float32)}
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    return [
        {"params": {"linear": {"kernel": axes @ kernel[i], "bias": bias[i]}}, "scaler": scaler}
        for i in range(len(l2))
    ]


def _principal_axes(
    x: Float[np.ndarray, "n d"],
) -> tuple[Float[np.ndarray, " r"], Float[np.ndarray, "d r"]]:
    """Returns the eigenvalues of x^T x and its eigenvectors, r = min(n, d), in float32.

    Computed from x x^T if that is the smaller matrix. Directions of mere rounding error are then
    columns of zeros, so that r, and the program, depend on the shape alone.
    """
    exact = x.astype(np.float64)
    n, d = x.shape
    value, vector = np.linalg.eigh(exact @ exact.T if n < d else exact.T @ exact)
    value = np.maximum(value, 0.0)
    axes = exact.T @ vector if n < d else vector
    if n < d:
        found = value > _NOISE * value.max()
        axes = np.divide(axes, np.sqrt(value), where=found, out=np.zeros_like(axes))
        value = np.where(found, value, 0.0)
    return value.astype(np.float32), axes.astype(np.float32)


@functools.partial(jax.jit, static_argnames=("num_classes", "max_iterations", "tolerance"))
def _minimise(
    x: Float[Array, "n r"],
    label: Int[Array, "n"],
    weight: Float[Array, "n"],
    variance: Float[Array, "r"],
    l2: Float[Array, "m"],
    *,
    num_classes: int,
    max_iterations: int,
    tolerance: float,
) -> dict[str, Array]:
    """Returns kernels [m, r, classes] and biases [m, classes] on principal components `x`."""
    one_hot = jax.nn.one_hot(label, num_classes)

    def fit_one(l2: Array) -> dict[str, Array]:
        step_sizes = {"kernel": jax.lax.rsqrt(0.5 * variance + l2)[:, None], "bias": 2**0.5}

        def objective(scaled_params: dict[str, Array]) -> Array:
            params = jax.tree.map(jnp.multiply, scaled_params, step_sizes)
            entropy = optax.softmax_cross_entropy(x @ params["kernel"] + params["bias"], one_hot)
            return weight @ entropy + 0.5 * l2 * jnp.sum(jnp.square(params["kernel"]))

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

        start = {"kernel": jnp.zeros((x.shape[1], num_classes)), "bias": jnp.zeros(num_classes)}
        found = jax.lax.while_loop(unfinished, step, (start, solver.init(start), jnp.inf))[0]
        return jax.tree.map(jnp.multiply, found, step_sizes)

    return jax.vmap(fit_one)(l2)


def fit_all(
    rows: TrainingRows,
    problems: Iterable[tuple[LeftOut, float]],
    num_classes: int,
    config: HeadConfig,
) -> dict[tuple[LeftOut, float], Variables]:
    """Fits a head for every (folds left out, l2); see `fit`. Shows progress."""
    grouped: dict[LeftOut, list[float]] = {}
    for left_out, l2 in problems:
        grouped.setdefault(left_out, []).append(l2)
    heads: dict[tuple[LeftOut, float], Variables] = {}
    for left_out, l2s in tqdm.tqdm(grouped.items(), desc="fitting heads", unit="set", delay=2):
        weight = row_weights(rows, left_out, num_classes, class_balanced=config.class_balanced)
        fitted = fit(rows, weight, l2s, num_classes, config)
        heads |= {(left_out, l2): head for l2, head in zip(l2s, fitted, strict=True)}
    return heads


def predict(
    variables: Variables, embedding: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "n classes"]:
    """Returns the logits of one fitted head, computed in float32."""
    return np.array(_apply(variables, embedding))


@jax.jit
def _apply(variables: Variables, embedding: Array) -> Array:
    return LinearHead(variables["params"]["linear"]["bias"].shape[-1]).apply(variables, embedding)


def average_views(
    logits: Float[np.ndarray, "n classes"], clip: Int[np.ndarray, "n"]
) -> Float[np.ndarray, "clips classes"]:
    """Averages probabilities over the views of a clip, in the log domain against underflow.

    The views of a clip are adjacent. Returns the log of the averaged probabilities of every clip,
    in order, float32.
    """
    first = np.flatnonzero(np.diff(clip, prepend=clip[:1] - 1))
    views = np.diff(first, append=len(clip))
    log_p = log_softmax(logits.astype(np.float64), axis=-1)
    total = np.logaddexp.reduceat(log_p, first, axis=0)
    return (total - np.log(views)[:, None]).astype(np.float32)


def log_loss(
    variables: Variables, rows: TrainingRows, left_out: LeftOut, *, class_balanced: bool
) -> float:
    """Returns the mean cross-entropy, weighted as in training, on the rows outside `left_out`."""
    log_p = np.asarray(jax.nn.log_softmax(predict(variables, rows.embedding), axis=-1))
    weight = row_weights(rows, left_out, log_p.shape[-1], class_balanced=class_balanced)
    return float(-(weight @ log_p[np.arange(len(weight)), rows.label]))


@dataclasses.dataclass(frozen=True)
class FoldHeads:
    """Heads by the fold that they were trained without; under `FINAL`, the one of all rows."""

    heads: dict[int, Variables]
    l2: dict[int, float]
    # Inner cross-validated log-loss per head and candidate l2; empty without a choice.
    losses: dict[int, dict[float, float]]


def fit_folds(
    rows: TrainingRows,
    num_classes: int,
    config: HeadConfig,
    *,
    predicted: Sequence[int] = (),
    validation: int | None = None,
) -> FoldHeads:
    """Fits the final head and one per predicted fold, each with its own choice of l2.

    With too few folds to choose on, the middle l2 is used, with a warning.

    Args:
        rows: training rows; l2 is chosen by cross-validation over their folds.
        config: candidates and solver. A single l2 is used as it is.
        predicted: folds that need a head without them; their l2 comes from nested cross-validation.
        validation: the only fold to choose l2 on; no head is trained on it.
    """
    always = frozenset() if validation is None else frozenset([validation])
    targets: dict[int, LeftOut] = {fold: always | {fold} for fold in predicted}
    targets[FINAL] = always
    losses = {}
    middle = sorted(config.l2)[len(config.l2) // 2]
    if len(config.l2) > 1:
        folds = sorted({int(fold) for fold in rows.fold})
        inner = {
            left_out: [(left_out | {j}, j) for j in folds if j not in left_out]
            if validation is None
            else [(left_out, validation)]
            for left_out in targets.values()
        }
        # A head that tests an l2 needs a fold to be tested on and one to be trained on.
        if all(pairs and all(held < set(folds) for held, _ in pairs) for pairs in inner.values()):
            losses = _choice_losses(rows, folds, inner, num_classes, config)
        else:
            logging.warning(
                "%d fold(s) of animals are too few to choose head.l2; using the middle one, %g",
                len(folds),
                middle,
            )
    kept = {target: losses.get(left_out, {}) for target, left_out in targets.items()}
    chosen = {
        target: min(found, key=found.__getitem__, default=middle) for target, found in kept.items()
    }
    wanted = {target: (left_out, chosen[target]) for target, left_out in targets.items()}
    fitted = fit_all(rows, wanted.values(), num_classes, config)
    heads = {target: fitted[problem] for target, problem in wanted.items()}
    return FoldHeads(heads, chosen, kept)


def _choice_losses(
    rows: TrainingRows,
    folds: list[int],
    inner: dict[LeftOut, list[tuple[LeftOut, int]]],
    num_classes: int,
    config: HeadConfig,
) -> dict[LeftOut, dict[float, float]]:
    """Returns the mean log-loss of each l2, for each set of folds left out.

    `inner` gives, per set of folds left out, the heads that stand for it (by what they leave out),
    each with the fold that it is tested on.
    """
    held = {left_out for pairs in inner.values() for left_out, _ in pairs}
    fits = [(left_out, l2) for left_out in sorted(held, key=sorted) for l2 in config.l2]
    heads = fit_all(rows, fits, num_classes, config)

    def loss(head: Variables, fold: int) -> float:
        others = frozenset(folds) - {fold}
        return log_loss(head, rows, others, class_balanced=config.class_balanced)

    def mean_loss(pairs: list[tuple[LeftOut, int]], l2: float) -> float:
        return float(np.mean([loss(heads[left_out, l2], fold) for left_out, fold in pairs]))

    return {
        target: {l2: mean_loss(pairs, l2) for l2 in config.l2} for target, pairs in inner.items()
    }
