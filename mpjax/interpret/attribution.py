"""Attributes a prediction to parts of a clip: integrated gradients, occlusion, and their test.

A score is a contrast of the head's logits: the mean over the explained classes minus the mean over
all others; for one class, its logit minus the mean of the others. Both methods compare a clip with
its background, the empty chamber: erased parts are replaced by it, not by grey, which is unlike
anything the networks were trained on.
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, UInt8
from scipy import ndimage
from scipy.special import logsumexp, softmax

from mpjax.models.classifier import LinearHead
from mpjax.models.projector import Projector

_SMOOTH_FRAMES = 0.8  # sd of the smoothing of gradients over time, frames
_SMOOTH_SHARE = 1 / 40  # and over space, of the shorter side
_PLAIN = 24.0  # grey levels by which a pixel clearly differs from the background
_VISIBLE = 3.0  # grey levels, mean of a cell: twice the coding noise of an empty one


def contrast(members: Bool[np.ndarray, " classes"]) -> Float[np.ndarray, " classes"]:
    """Returns weights of the logits that make mean(members) - mean(others), neither empty."""
    if members.all() or not members.any():
        raise ValueError(f"{members.sum()} of {len(members)} classes form no contrast")
    return (members / members.sum() - ~members / (~members).sum()).astype(np.float32)


def check_grid(shape: tuple[int, int, int], grid: tuple[int, ...]) -> None:
    """Raises ValueError for a grid with more cells than the clip [t, h, w] has pixels."""
    if any(cells > size for cells, size in zip(grid, shape, strict=True)):
        raise ValueError(f"grid {grid} is finer than the clip {shape}; choose fewer cells")


def cell_index(shape: tuple[int, int, int], grid: tuple[int, int, int]) -> Int[np.ndarray, "t h w"]:
    """Returns for every pixel of a clip [t, h, w] the number of its cell, none without a pixel."""
    check_grid(shape, grid)
    t, y, x = (np.arange(size) * cells // size for size, cells in zip(shape, grid, strict=True))
    _, rows, columns = grid
    return (t[:, None, None] * rows + y[None, :, None]) * columns + x[None, None, :]


@dataclasses.dataclass(frozen=True, eq=False)
class Explainer:
    """A frozen projector and its heads as functions of a clip's pixels, compiled once per shape."""

    projector: Projector
    batch_size: int = 8  # altered copies of the clip classified at once; limits the memory
    gradient_batch: int = 2  # the same for gradients, which keep the activations of every layer

    def logits(self, params: Any, head: Any, clips: Array) -> Float[Array, "b classes"]:
        """Classifies clips (uint8, or normalised floats): a pure function, for use in `jax.jit`."""
        classes = head["params"]["linear"]["bias"].shape[-1]
        return LinearHead(classes).apply(head, self.projector.embed(params, clips))

    def integrated_gradients(
        self,
        head: Any,
        clip: UInt8[np.ndarray, "t h w 3"],
        background: UInt8[np.ndarray, "h w 3"],
        *,
        weights: Float[np.ndarray, " classes"],
        steps: int,
    ) -> Float[np.ndarray, "t h w"]:
        """Attributes score(clip) - score(background) to the pixels, summed over their channels.

        `weights` are those of the logits in the score; `steps` are points on the straight path
        from background to clip, in the middle of equal parts.

        Source: Sundararajan, Taly & Yan (2017), Axiomatic Attribution for Deep Networks
            (arXiv 1703.01365), equations 1 and 3.
        """
        places = ((np.arange(steps) + 0.5) / steps).astype(np.float32)
        total = np.zeros(clip.shape[:3])
        for batch, filled in _batches(places, self.gradient_batch):
            counted = (np.arange(len(batch)) < filled).astype(np.float32)
            gradient = self._path_gradient(
                self.projector.params, head, clip, background, weights, batch, counted
            )
            total += np.asarray(gradient)
        return (total / steps).astype(np.float32)

    @functools.cached_property
    def occluded_logits(self) -> Callable[..., Array]:
        """Compiled: classifies copies of a clip with the background in all cells but the kept."""

        def run(
            params: Any, head: Any, clip: Array, background: Array, index: Array, keep: Array
        ) -> Array:
            kept = keep[:, index][..., None]
            return self.logits(params, head, jnp.where(kept, clip, background))

        return jax.jit(run)

    @functools.cached_property
    def _path_gradient(self) -> Callable[..., Array]:
        def run(
            params: Any,
            head: Any,
            clip: Array,
            background: Array,
            weights: Array,
            places: Array,
            counted: Array,
        ) -> Array:
            empty = self.projector.normalise(background[None, None])[0]
            start = jnp.broadcast_to(empty, clip.shape)
            way = self.projector.normalise(clip[None])[0] - start
            points = start + places[:, None, None, None, None] * way

            def score(points: Array) -> Array:
                return counted @ (self.logits(params, head, points) @ weights)

            return (way * jax.grad(score)(points).sum(axis=0)).sum(axis=-1)

        return jax.jit(run)


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A clip to explain, with the head that predicted it."""

    explainer: Explainer
    head: Any  # variables of a `LinearHead`
    clip: UInt8[np.ndarray, "t h w 3"]  # as embedded
    background: UInt8[np.ndarray, "h w 3"]  # the same without the animal
    wanted: tuple[int, ...]  # cells along t, h, w; along a shorter axis, one per frame or pixel

    @property
    def grid(self) -> tuple[int, int, int]:
        """Cells along t, h, w."""
        t, h, w = (min(*pair) for pair in zip(self.wanted, self.clip.shape, strict=False))
        return t, h, w

    @functools.cached_property
    def index(self) -> Int[np.ndarray, "t h w"]:
        """The cell of every pixel."""
        t, h, w, _ = self.clip.shape
        return cell_index((t, h, w), self.grid)

    @functools.cached_property
    def difference(self) -> Float[np.ndarray, " cells"]:
        """Mean difference of clip and background in each cell, grey levels."""
        return sum_by_cell(self._apart, self.index) / np.bincount(self.index.ravel())

    @functools.cached_property
    def visible(self) -> Float[np.ndarray, "t h w"]:
        """Where clip and background differ, smoothed, 0 to 1: nothing elsewhere can be erased."""
        return smooth_pixels(np.minimum(self._apart / _PLAIN, 1))

    @functools.cached_property
    def _apart(self) -> Float[np.ndarray, "t h w"]:
        return np.abs(self.clip.astype(np.float32) - self.background).mean(axis=-1)

    def logits(self, keep: Bool[np.ndarray, "n cells"]) -> Float[np.ndarray, "n classes"]:
        """Classifies copies of the clip that keep some cells and show the background elsewhere."""
        run, params = self.explainer.occluded_logits, self.explainer.projector.params
        logits = []
        for rows, filled in _batches(keep, self.explainer.batch_size):
            found = run(params, self.head, self.clip, self.background, self.index, rows)
            logits.append(np.asarray(found)[:filled])
        return np.concatenate(logits)


@dataclasses.dataclass(frozen=True)
class Attribution:
    """Which parts of a clip are evidence for a class."""

    # Importance of each cell by `gradients`, by `occlusion`, and, for comparison, `difference`: how
    # much it differs from the background, whatever the network computes from it.
    cells: dict[str, Float[np.ndarray, " cells"]]
    # Per pixel, smoothed, signed: `gradients`, `occlusion` and, if known, `pain` (by occlusion);
    # cells are shown where there is something to erase in them.
    maps: dict[str, Float[np.ndarray, "t h w"]]
    ends: Float[np.ndarray, "2 classes"]  # logits of the clip and of its background
    # `score` and `score_background`; `p_background`, the probability of the class in the empty
    # chamber; `gap`, the sum of the gradients minus the difference of the scores, which vanishes
    # with more steps; `erased`, the number of cells tried one by one.
    figures: dict[str, Any]


def attribute(
    subject: Subject,
    members: Bool[np.ndarray, " classes"],
    pain: Bool[np.ndarray, " classes"] | None,
    *,
    steps: int,
) -> Attribution:
    """Explains the score of some classes by both methods, and that of pain by occlusion.

    Occlusion is the mean of what a cell's absence costs the whole clip and of what its presence
    adds to the background: the cell's contributions as the last and as the first one, the two ends
    of Shapley's average (1953, doi:10.1515/9781400881970-018). Either alone misses evidence that
    appears twice in the clip, or that counts only together. A cell that looks like the background
    is not erased: nothing would change.

    `members` are the head's classes to explain; `pain` those that are pain, whose score is the
    logit of their probability.
    """
    weights, index, grid = contrast(members), subject.index, subject.grid
    tried = np.flatnonzero(subject.difference >= _VISIBLE)
    every = np.ones((1, len(subject.difference)), bool)
    alone = np.eye(len(subject.difference), dtype=bool)[tried]
    logits = subject.logits(np.concatenate([every, ~every, ~alone, alone]))

    def drops(scores: Float[np.ndarray, " n"]) -> Float[np.ndarray, " cells"]:
        without, only = np.split(scores[2:], 2)
        by_cell = np.zeros(len(subject.difference))
        by_cell[tried] = (scores[0] - without + only - scores[1]) / 2
        return by_cell

    scores = logits @ weights
    gradients = subject.explainer.integrated_gradients(
        subject.head, subject.clip, subject.background, weights=weights, steps=steps
    )
    cells = {
        "gradients": sum_by_cell(gradients, index),
        "occlusion": drops(scores),
        "difference": subject.difference,
    }
    maps = {
        "gradients": smooth_pixels(gradients),
        "occlusion": smooth_cells(cells["occlusion"], index, grid) * subject.visible,
    }
    if pain is not None:
        log_odds = logsumexp(logits[:, pain], axis=1) - logsumexp(logits[:, ~pain], axis=1)
        maps["pain"] = smooth_cells(drops(log_odds), index, grid) * subject.visible
    figures = {
        "score": float(scores[0]),
        "score_background": float(scores[1]),
        "p_background": float(softmax(logits[1].astype(np.float64))[members].sum()),
        "gap": float(gradients.sum() - (scores[0] - scores[1])),
        "erased": len(tried),
    }
    return Attribution(cells, maps, logits[:2], figures)


def _batches(rows: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yields `size` rows at a time, the last batch padded with its last row, and how many count."""
    for start in range(0, len(rows), size):
        batch = rows[start : start + size]
        yield np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)]), len(batch)


def smooth_pixels(saliency: Float[np.ndarray, "t h w"]) -> Float[np.ndarray, "t h w"]:
    """Blurs values slightly over space and time: those of single pixels mean nothing."""
    space = _SMOOTH_SHARE * min(saliency.shape[1:])
    return ndimage.gaussian_filter(saliency, (_SMOOTH_FRAMES, space, space))


def smooth_cells(
    values: Float[np.ndarray, " cells"],
    index: Int[np.ndarray, "t h w"],
    grid: tuple[int, int, int],
) -> Float[np.ndarray, "t h w"]:
    """Spreads the values of cells over their pixels and blurs the edges between them."""
    sigma = [size / cells / 2 for size, cells in zip(index.shape, grid, strict=True)]
    return ndimage.gaussian_filter(values[index], sigma)


def sum_by_cell(
    saliency: Float[np.ndarray, "t h w"], index: Int[np.ndarray, "t h w"]
) -> Float[np.ndarray, " cells"]:
    """Sums the attributions of the pixels of each cell."""
    return np.bincount(index.ravel(), weights=saliency.ravel())


def deletion_masks(
    orders: Sequence[Int[np.ndarray, " cells"]], levels: int
) -> Bool[np.ndarray, "orders inner cells"]:
    """Returns which cells are kept when the first of an order are erased, at the inner levels.

    Level k of `levels` erases the share k / levels. The shares 0 (the clip) and 1 (the background)
    are the same for all orders and left out.
    """
    cells = len(orders[0])
    erased = np.round(np.arange(1, levels) * cells / levels).astype(int)
    rank = np.argsort(np.stack(orders), axis=1)  # of each cell in each order
    return rank[:, None, :] >= erased[None, :, None]


def area_under(curve: Float[np.ndarray, "*n levels"]) -> Float[np.ndarray, "*n"]:
    """Integrates curves over the share of erased (or shown) cells, 0 to 1, by trapezoids."""
    return np.asarray(np.trapezoid(curve, np.linspace(0, 1, curve.shape[-1]), axis=-1))
