"""Simple baselines on the same clips, animals and folds: what the model has to beat.

Each returns predictions like the model's own, so that all go through one evaluation. `features` are
those of the clips of the model's predictions, row by row.
"""

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.spatial.distance import cdist
from scipy.special import softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from mpjax.analysis.predictions import Predictions
from mpjax.data.splits import fit_rows, predicting_fold

_CERTAIN = 0.99  # probability of the predicted class, for methods that give no probabilities

# The classes that are given a probability, and these probabilities.
_Answer = tuple[np.ndarray, np.ndarray]


def predict_majority(ours: Predictions) -> Predictions:
    """Predicts the class with the most training clips; of several, the first."""
    classes = ours.p.shape[1]

    def classify(train: np.ndarray, label: np.ndarray, rows: np.ndarray) -> _Answer:
        del train, rows
        largest = int(np.bincount(label, minlength=classes).argmax())
        return np.arange(classes), _certain(largest, classes)

    return _predict(ours, classify)


def predict_centroid(ours: Predictions, features: Float[np.ndarray, "n f"]) -> Predictions:
    """Predicts the class with the nearest mean of its training clips, in standardised features.

    The probabilities are those of Gaussians with one spherical variance, that of the training
    clips around the means of their classes.
    """

    def classify(train: np.ndarray, label: np.ndarray, rows: np.ndarray) -> _Answer:
        scaler = StandardScaler().fit(features[train])
        trained, tested = scaler.transform(features[train]), scaler.transform(features[rows])
        classes, code = np.unique(label, return_inverse=True)
        centroid = np.stack([trained[label == k].mean(axis=0) for k in classes])
        within = float(np.square(trained - centroid[code]).sum(axis=1).mean())
        squared = cdist(tested, centroid, "sqeuclidean")
        return classes, softmax(-0.5 * squared / max(within, np.finfo(np.float32).tiny), axis=1)

    return _predict(ours, classify)


def predict_linear(ours: Predictions, features: Float[np.ndarray, "n f"]) -> Predictions:
    """Classifies by multinomial logistic regression on a few hand-made features.

    Classes have equal weight; the penalty is scikit-learn's default, as so few features can hardly
    overfit. A missing feature (NaN) is replaced by the mean of the training clips.
    """

    def classify(train: np.ndarray, label: np.ndarray, rows: np.ndarray) -> _Answer:
        if len(np.unique(label)) < 2:
            return np.arange(ours.p.shape[1]), _certain(int(label[0]), ours.p.shape[1])
        with np.errstate(invalid="ignore"):  # a feature that is missing in every clip
            scaler = StandardScaler().fit(features[train])
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        model.fit(np.nan_to_num(scaler.transform(features[train])), label)
        return model.classes_, model.predict_proba(np.nan_to_num(scaler.transform(features[rows])))

    return _predict(ours, classify)


def align(table: pd.DataFrame, features: pd.DataFrame, key: str) -> Float[np.ndarray, "n f"]:
    """Returns the rows of `features` (indexed by `key`) that belong to the clips of `table`.

    Raises:
        ValueError: a clip or recording has no features.
    """
    place = features.index.get_indexer(table[key])
    if (place < 0).any():
        missing = table[key].to_numpy()[place < 0][0]
        raise ValueError(f"no features of {key} {missing!r}; run `python -m mpjax.explain` again")
    return features.to_numpy(np.float64)[place]


def _predict(
    ours: Predictions, classify: Callable[[np.ndarray, np.ndarray, np.ndarray], _Answer]
) -> Predictions:
    """Trains and predicts fold by fold, on the rows that the model's heads are trained on.

    `classify` gets the mask of the training clips, their labels, and the rows to predict.
    """
    p = np.zeros_like(ours.p)
    label, scheme = ours.table["label"].to_numpy(), ours.meta["scheme"]
    predicting = predicting_fold(ours.table, scheme)
    for fold in np.unique(predicting):
        train, rows = fit_rows(ours.table, scheme, int(fold)), np.flatnonzero(predicting == fold)
        classes, answer = classify(train, label[train], rows)
        p[np.ix_(rows, classes)] = answer
    return dataclasses.replace(ours, p=p, p_coarse=None, embedding=None)


def _certain(answer: int, classes: int) -> Float[np.ndarray, " classes"]:
    p = np.full(classes, (1 - _CERTAIN) / max(classes - 1, 1))
    p[answer] = _CERTAIN
    return p / p.sum()
