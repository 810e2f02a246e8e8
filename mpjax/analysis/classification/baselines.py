"""Simple baselines on the very same clips, animals and folds: what a model has to beat.

Each gives a table of predictions like the model's own, so that all go through one evaluation.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression

from mpjax.analysis.predictions import Predictions
from mpjax.data.splits import fit_rows, predicting_fold

_SURE = 0.99  # probability of the class that a method without probabilities names


def predict_majority(ours: Predictions) -> Predictions:
    """Names the class with the most training clips, of several the first."""
    p = np.zeros_like(ours.p)
    for train, test in _fits(ours):
        counts = np.bincount(_labels(ours)[train], minlength=p.shape[1])
        p[test] = _one_hot(np.array([counts.argmax()]), p.shape[1])
    return _replace(ours, p)


def predict_centroid(ours: Predictions, features: Float[np.ndarray, "n f"]) -> Predictions:
    """Names the class whose training clips are nearest on average, in standardised features.

    The probabilities are those of Gaussians of one spherical variance, that of the training clips
    around their own centroids; the likeliest class is that of the nearest centroid.

    Args:
        ours: the model's predictions.
        features: of their clips, row by row.
    """
    p = np.zeros_like(ours.p)
    label = _labels(ours)
    for train, test in _fits(ours):
        scaled = _standardise(features, train)
        present = np.unique(label[train])
        centroid = np.stack([scaled[train][label[train] == k].mean(axis=0) for k in present])
        own = scaled[train] - centroid[np.searchsorted(present, label[train])]
        variance = max(float(np.square(own).sum(axis=1).mean()), np.finfo(np.float32).tiny)
        squared = np.stack([np.square(scaled[test] - each).sum(axis=1) for each in centroid], 1)
        likely = np.exp(-0.5 * (squared - squared.min(axis=1, keepdims=True)) / variance)
        answer = np.zeros((int(test.sum()), p.shape[1]))
        answer[:, present] = likely / likely.sum(axis=1, keepdims=True)
        p[test] = answer
    return _replace(ours, p)


def predict_linear(ours: Predictions, features: Float[np.ndarray, "n f"]) -> Predictions:
    """Classifies by a multinomial logistic regression on a few hand-made features.

    Classes weigh alike; the penalty is scikit-learn's default, for there is next to nothing to
    overfit. A missing feature (NaN) is taken as the training clips' mean.

    Args:
        ours: the model's predictions.
        features: of their clips, row by row.
    """
    p = np.zeros_like(ours.p)
    label = _labels(ours)
    for train, test in _fits(ours):
        scaled = np.nan_to_num(_standardise(features, train))
        classes = np.unique(label[train])
        if len(classes) < 2:
            p[test] = _one_hot(classes[:1], p.shape[1])
            continue
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit(scaled[train], label[train])
        answer = np.zeros((int(test.sum()), p.shape[1]))
        answer[:, model.classes_] = model.predict_proba(scaled[test])
        p[test] = answer
    return _replace(ours, p)


def align(table: pd.DataFrame, features: pd.DataFrame, key: str) -> Float[np.ndarray, "n f"]:
    """Returns the rows of `features` (indexed by `key`) that belong to the clips of `table`.

    Raises:
        ValueError: a clip or recording has none.
    """
    place = features.index.get_indexer(table[key])
    if (place < 0).any():
        missing = table[key].to_numpy()[place < 0][0]
        raise ValueError(f"no features of {key} {missing!r}; run `python -m mpjax.explain` again")
    return features.to_numpy(np.float64)[place]


def _fits(ours: Predictions) -> Iterator[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]]:
    """Yields masks of clips to train on and to predict, as the model's heads were trained."""
    scheme = ours.meta["scheme"]
    predicting = predicting_fold(ours.table, scheme)
    for fold in np.unique(predicting):
        yield fit_rows(ours.table, scheme, int(fold)), predicting == fold


def _labels(ours: Predictions) -> Int[np.ndarray, " n"]:
    return ours.table["label"].to_numpy()


def _standardise(
    features: Float[np.ndarray, "n f"], train: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, "n f"]:
    known = features[train]
    count = np.isfinite(known).sum(axis=0)
    total = np.where(np.isfinite(known), known, 0).sum(axis=0)
    mean = np.divide(total, count, out=np.zeros(len(count)), where=count > 0)
    square = np.where(np.isfinite(known), np.square(known - mean), 0).sum(axis=0)
    sd = np.sqrt(np.divide(square, count, out=np.zeros(len(count)), where=count > 0))
    return (features - mean) / np.where(sd > 1e-6 * (np.abs(mean) + 1e-6), sd, 1.0)


def _one_hot(answer: Int[np.ndarray, " n"], classes: int) -> Float[np.ndarray, "n classes"]:
    if classes == 1:
        return np.ones((len(answer), 1))
    p = np.full((len(answer), classes), (1 - _SURE) / (classes - 1))
    p[np.arange(len(answer)), answer] = _SURE
    return p


def _replace(ours: Predictions, p: Float[np.ndarray, "n fine"]) -> Predictions:
    return dataclasses.replace(ours, p=p, p_coarse=None, embedding=None)
