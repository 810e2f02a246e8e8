"""A plane through the clip embeddings, for the eye: principal components."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int

MOST_CLIPS = 3000


@dataclasses.dataclass(frozen=True)
class Plane:
    """Clips on the plane of the two directions along which their embeddings vary most.

    Attributes:
        rows: which rows of the embedding are shown, ascending.
        coordinates: of these clips, centred.
        explained: share of their variance along either axis, 0..1.
    """

    rows: Int[np.ndarray, " shown"]
    coordinates: Float[np.ndarray, "shown 2"]
    explained: Float[np.ndarray, " 2"]


def project(embedding: Float[np.ndarray, "n d"], *, seed: int = 0) -> Plane | None:
    """Projects embeddings onto their first two principal components.

    Of more than 3,000 clips, 3,000 are drawn by seed: a plot shows no more, and the cost of the
    decomposition stays bounded.

    Args:
        embedding: of the clips, one per row.
        seed: of the draw.

    Returns:
        The plane; None where fewer than three clips or fewer than two directions leave none.

    Source: Jolliffe, Principal Component Analysis (2002), ch. 3 (by singular values). The sign of
        an axis is arbitrary; here its largest coefficient is positive.
    """
    rows = np.arange(len(embedding))
    if len(rows) > MOST_CLIPS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_CLIPS, replace=False))
    points = embedding[rows].astype(np.float64)
    if len(points) < 3 or points.shape[1] < 2:
        return None
    points -= points.mean(0)
    left, singular, right = np.linalg.svd(points, full_matrices=False)
    variance = singular**2
    if not variance[0] > 0:
        return None
    largest = np.abs(right[:2]).argmax(1)
    sign = np.sign(right[[0, 1], largest])
    return Plane(rows, left[:, :2] * singular[:2] * sign, variance[:2] / variance.sum())
