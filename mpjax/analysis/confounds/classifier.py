"""A small classifier that is fast enough to be trained again for every permutation of the classes.

Features are standardised and reduced to whitened principal components, independently of the
classes. A recording gets the class with the nearest mean over the other animals' (cages')
recordings: linear discriminant analysis with equal priors and one covariance for all recordings. It
is linear and regularised (by few components) like logistic regression, but uses the classes only
through their means, so that thousands of permuted cohorts are trained and tested as matrix
products; and it has no penalty to choose, for which there are too few animals. It misses what is
not linear in the features (one class both the darkest and the brightest).

Source: Hastie, Tibshirani & Friedman, The Elements of Statistical Learning (2009), ch. 4.3.
"""

import numpy as np
from jaxtyping import Float, Int

from mpjax.analysis.stats.whitening import fit_space

_CONSTANT = 1e-9  # standard deviation, relative to the mean, below which a feature is constant
_MOST = 30  # components
_CELLS = 4_000_000  # numbers held at once


def whiten(features: Float[np.ndarray, "n d"], *, groups: int) -> Float[np.ndarray, "n k"]:
    """Standardises features and returns their first principal components, each of variance 1.

    NaN is replaced by the mean of the others; features that are constant or entirely unknown are
    dropped. A component is kept for every two groups (animals or cages), two at least and `_MOST`
    at most; none (k = 0) where nothing varies.
    """
    known = np.isfinite(features).any(axis=0)
    values = features[:, known].astype(float)
    mean = np.nanmean(values, axis=0) if known.any() else np.zeros(0)
    values = np.where(np.isfinite(values), values, mean) - mean
    scale = values.std(axis=0)
    varies = scale > _CONSTANT * np.maximum(np.abs(mean), 1.0)
    if not varies.any():
        return np.zeros((len(features), 0))
    scaled = values[:, varies] / scale[varies]
    most = min(max(2, groups // 2), _MOST)
    space = fit_space(scaled, np.arange(len(scaled)), components=most, variance=1.0)
    return space.project(scaled)[0].astype(np.float64)


def predict(
    components: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "count n"],
    group: Int[np.ndarray, " n"],
    *,
    classes: int,
) -> Int[np.ndarray, "count n"]:
    """Predicts each recording's class from the recordings of all other groups (animals, cages).

    The classifier is trained on each of the labellings separately.
    """
    named = np.empty(labels.shape, int)
    step = max(1, _CELLS // max(1, components.size * classes))
    for start in range(0, len(labels), step):
        part = labels[start : start + step]
        hot = (part[:, :, None] == np.arange(classes)).astype(float)  # count n classes
        total = np.einsum("pnc,nk->pck", hot, components, optimize=True)
        size = hot.sum(1)
        for held in (group == each for each in np.unique(group)):
            own = np.einsum("pnc,nk->pck", hot[:, held], components[held], optimize=True)
            count = (size - hot[:, held].sum(1))[..., None]
            mean = np.divide(total - own, count, out=np.zeros_like(own), where=count > 0)
            score = np.einsum("nk,pck->pnc", components[held], mean, optimize=True)
            score -= 0.5 * np.square(mean).sum(-1)[:, None]
            score = np.where(count[:, None, :, 0] > 0, score, -np.inf)
            named[start : start + step][:, held] = score.argmax(-1)
    return named


def balanced_accuracy(
    components: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "count n"],
    group: Int[np.ndarray, " n"],
    *,
    classes: int,
) -> Float[np.ndarray, " count"]:
    """Returns the mean recall over the classes of each labelling; arguments as of `predict`."""
    named = predict(components, labels, group, classes=classes)
    with np.errstate(invalid="ignore"):  # a class that does not occur has no recall
        recall = [
            ((labels == each) & (named == each)).sum(1) / (labels == each).sum(1)
            for each in range(classes)
        ]
    return np.nanmean(recall, axis=0)
