"""Standardised features, their principal components, whitened.

With a unit (an animal) per row, the directions are those along which the rows of one unit differ:
coat, size and lamp distinguish animals, but not what they do, so they make no motifs.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from scipy import linalg

BLOCK = 4096  # windows in float64 at once: 32 MiB of 1024 values
_CONSTANT = 1e-6  # of the largest standard deviation; a feature below it varies by rounding alone
_ROUNDING = 1e-7  # of a feature's mean, to which float32 is accurate
_LEAST_REPEATS = 0.5  # share of windows that are not the first of their group


@dataclasses.dataclass(frozen=True)
class Space:
    """A linear map of embeddings, fitted on the training windows."""

    mean: Float[np.ndarray, " d"]
    inverse_sd: Float[np.ndarray, " d"]  # 0 where a feature is constant
    components: Float[np.ndarray, "d q"]  # orthonormal directions of the standardised features
    whitener: Float[np.ndarray, " q"]  # what each component is multiplied by
    explained: Float[np.ndarray, " q"]  # share of the variance within animals, 0..1

    def project(
        self, embedding: Shaped[np.ndarray, "n d"]
    ) -> tuple[Float[np.ndarray, "n q"], Float[np.ndarray, " n"]]:
        """Returns the coordinates of windows, and the norm of what the components leave of each.

        A window's values are the same to the last bit whatever windows come with it: blocks have
        one size (the last is padded), for the order of a matrix product's sums depends on it.
        """
        points = np.empty((len(embedding), self.components.shape[1]), np.float32)
        residual = np.empty(len(embedding), np.float32)
        block = np.zeros((BLOCK, len(self.mean)))
        for start in range(0, len(embedding), BLOCK):
            stop = min(start + BLOCK, len(embedding))
            block[: stop - start] = embedding[start:stop]
            block -= self.mean
            block *= self.inverse_sd
            along = block @ self.components
            rest = np.square(block).sum(1) - np.square(along).sum(1)
            points[start:stop] = (along * self.whitener)[: stop - start]
            residual[start:stop] = np.sqrt(np.maximum(rest, 0))[: stop - start]
        return points, residual


def fit_space(
    embedding: Shaped[np.ndarray, "n d"],
    rows: Int[np.ndarray, " m"],
    unit: Int[np.ndarray, " m"] | None = None,
    *,
    components: int,
    variance: float,
    shrinkage: float = 0.0,
) -> Space:
    """Fits the map on some windows, by covariances summed in blocks.

    The components are those of the covariance within units. Each is whitened by its variance over
    all windows and weighed by the share of it that lies within units (1 - intraclass correlation).
    Without that weight, planted clusters were lost where every animal had an offset of its own:
    adjusted mutual information on other animals 0.03 to 0.4, with it 0.86 to 0.95.

    Args:
        embedding: of all windows; fitted on `rows`.
        unit: the animal (or cage) of each of `rows`, 0..; see `units_of`. None: directions are
            those of all variance.
        components: how many at most.
        variance: share of the variance within units that is enough.
        shrinkage: of the components' variances towards their mean, 0..1, before whitening: a
            component of next to no variance is noise, and is not blown up.

    Source: Jolliffe, Principal Component Analysis (2002), ch. 3; shrinkage towards the mean
        variance: Ledoit & Wolf (2004), doi:10.1016/S0047-259X(03)00096-4.
    """
    mean = sum(block.sum(0) for block in _blocks(embedding, rows)) / len(rows)
    unit = np.zeros(len(rows), int) if unit is None else unit
    units = int(unit.max()) + 1
    scatter = np.zeros((len(mean), len(mean)))
    sums = np.zeros((units, len(mean)))
    for start, block in zip(range(0, len(rows), BLOCK), _blocks(embedding, rows), strict=True):
        block -= mean
        scatter += block.T @ block
        own = unit[start : start + len(block)]
        order = np.argsort(own, kind="stable")
        names, first = np.unique(own[order], return_index=True)
        sums[names] += np.add.reduceat(block[order], first, axis=0)
    sd = np.sqrt(np.diag(scatter) / len(rows))
    least = _CONSTANT * max(sd.max(), np.finfo(np.float32).tiny)
    kept = sd > np.maximum(least, _ROUNDING * np.abs(mean))
    inverse_sd = np.divide(1, sd, out=np.zeros_like(sd), where=kept)
    total = scatter / len(rows) * np.outer(inverse_sd, inverse_sd)
    sums *= inverse_sd / np.sqrt(np.bincount(unit, minlength=units))[:, None]
    within = total - sums.T @ sums / len(rows)
    # The leading ones alone: less than half of the time that all of 1024 take.
    most = min(components, len(within))
    largest = [len(within) - most, len(within) - 1]
    values, vectors = linalg.eigh(within, subset_by_index=largest, driver="evx")
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    whole = np.trace(within)
    share = values / whole if whole > 0 else np.full(len(values), 1 / len(within))
    enough = int(np.searchsorted(np.cumsum(share), variance - 1e-12)) + 1
    chosen = slice(0, max(1, min(components, enough, int((values > 0).sum()))))
    vectors = vectors[:, chosen]
    # The sign of an eigenvector is arbitrary: its largest coefficient is made positive.
    vectors = vectors * np.sign(vectors[np.abs(vectors).argmax(0), range(vectors.shape[1])])
    spread = np.einsum("dq,dq->q", vectors, total @ vectors)
    shrunk = (1 - shrinkage) * spread + shrinkage * spread.mean()
    whitener = np.divide(
        values[chosen], spread * np.sqrt(shrunk), out=np.zeros_like(spread), where=spread > 0
    )
    return Space(mean, inverse_sd, np.ascontiguousarray(vectors), whitener, share[chosen])


def _blocks(
    embedding: Shaped[np.ndarray, "n d"], rows: Int[np.ndarray, " m"]
) -> Iterator[Float[np.ndarray, "b d"]]:
    for start in range(0, len(rows), BLOCK):
        yield embedding[rows[start : start + BLOCK]].astype(np.float64)


def units_of(group: Shaped[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Returns the code 0.. of each window's group; all zero where groups hold too few windows.

    Where most windows are alone in their group, what they do cannot be distinguished from who they
    are.
    """
    names, codes = np.unique(group, return_inverse=True)
    enough = len(codes) - len(names) >= _LEAST_REPEATS * len(codes)
    return codes if enough else np.zeros(len(codes), int)


def even_sample(
    codes: Int[np.ndarray, " n"], most: int, generator: np.random.Generator
) -> Int[np.ndarray, " m"]:
    """Draws positions (ascending) of at most `most` windows, as evenly over the codes as possible.

    An animal that was filmed for longer then does not count for more.
    """
    if len(codes) <= most:
        return np.arange(len(codes))
    order = generator.permutation(len(codes))
    rank = pd.Series(order).groupby(codes[order]).cumcount()  # of a window among those of its code
    return np.sort(order[np.argsort(rank, kind="stable")[:most]])


def nearest(
    points: Float[np.ndarray, "n q"], centres: Float[np.ndarray, "k q"]
) -> tuple[Int[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Returns the nearest centre of each point (of several, the first) and its distance."""
    motif = np.empty(len(points), int)
    distance = np.empty(len(points), np.float32)
    block = np.zeros((BLOCK, points.shape[1]))
    for start in range(0, len(points), BLOCK):
        stop = min(start + BLOCK, len(points))
        block[: stop - start] = points[start:stop]
        squared = np.square(block).sum(1)[:, None] - 2 * block @ centres.T
        squared += np.square(centres).sum(1)
        own = squared.argmin(1)[: stop - start]
        motif[start:stop] = own
        # Differences, not the expanded squares: near a centre these would cancel.
        apart = block[: stop - start] - centres[own]
        distance[start:stop] = np.sqrt(np.square(apart).sum(1))
    return motif, distance
