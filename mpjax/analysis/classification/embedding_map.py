"""A map of the clip embeddings for the eye: their first two principal components."""

import dataclasses

import numpy as np
from jaxtyping import Float, Int
from sklearn.decomposition import PCA

MOST_CLIPS = 3000


@dataclasses.dataclass(frozen=True)
class Plane:
    """Clips in the plane of the two directions along which their embeddings vary most."""

    rows: Int[np.ndarray, " shown"]  # which rows of the embedding, ascending
    coordinates: Float[np.ndarray, "shown 2"]  # of these clips, centred
    explained: Float[np.ndarray, " 2"]  # share of their variance along each axis, 0..1


def project(embedding: Float[np.ndarray, "n d"], *, seed: int = 0) -> Plane | None:
    """Projects embeddings of clips onto their first two principal components.

    Of more than 3,000 clips, 3,000 are drawn at random: a plot shows no more, and the cost stays
    bounded. The sign of an axis is arbitrary; its largest coefficient is made positive.

    Returns:
        The plane; None with fewer than three clips or two dimensions, or without any variance.
    """
    rows = np.arange(len(embedding))
    if len(rows) > MOST_CLIPS:
        rows = np.sort(np.random.default_rng(seed).choice(rows, MOST_CLIPS, replace=False))
    points = embedding[rows].astype(np.float64)
    if len(points) < 3 or points.shape[1] < 2 or not np.ptp(points, axis=0).any():
        return None
    pca = PCA(2, svd_solver="full")
    return Plane(rows, pca.fit_transform(points), pca.explained_variance_ratio_)
