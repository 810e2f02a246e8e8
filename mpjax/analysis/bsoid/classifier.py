"""From usage of motifs to classes: a penalised logistic regression, its penalty by grouped CV."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import threadpoolctl  # type: ignore[import-untyped]
from jaxtyping import Float, Int
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils.class_weight import compute_sample_weight

_FOLDS = 5  # of the choice of the penalty
_MAX_ITERATIONS = 1000
LEAST_P = 1e-9  # of a class without a training clip; a logit must be finite


@dataclasses.dataclass(frozen=True)
class Usage:
    """Usage of motifs."""

    clip: Float[np.ndarray, "clips motifs"]  # shares
    # See `usage.recording_usage`; None where a clip is to be classified by itself alone.
    recording: Float[np.ndarray, "recordings usage_and_transitions"] | None
    owner: Int[np.ndarray, "clips"]  # the recording of each clip

    def take(self, rows: Int[np.ndarray, "some"]) -> "Usage":
        """Returns some of the clips."""
        return dataclasses.replace(self, clip=self.clip[rows], owner=self.owner[rows])


class UsageClassifier:
    """A multinomial logistic regression on usage, with an L2 penalty.

    Shares enter as their square roots, whose sampling error does not depend on the share
    (Hellinger; Legendre & Gallagher 2001, doi:10.1007/s004420100716). The columns of the clip and
    those of its recording are each scaled to a total variance of 1, so that neither dominates
    because it has more columns; of the recording, leading principal components are used.

    Args:
        usage: of the training clips.
        components: of the recordings' usage, at most.
    """

    def __init__(self, usage: Usage, *, components: int):
        self._clip = _Block(np.sqrt(usage.clip), components=None)
        self._recording = None
        if usage.recording is not None:
            own = usage.recording[np.unique(usage.owner)]
            self._recording = _Block(np.sqrt(own), components=components)
        self._features = self._transform(usage)
        self.inverse_penalty = np.nan

    def fit(
        self,
        label: Int[np.ndarray, "clips"],
        group: Int[np.ndarray, "clips"],
        *,
        inverse_penalties: Sequence[float],
        seed: int,
    ) -> "UsageClassifier":
        """Chooses the penalty by log-loss on left-out animals (cages), and fits on all rows.

        Classes have equal weight. With fewer than two groups the middle penalty is used.

        Args:
            label: class of each training clip.
            group: its animal or cage.
            inverse_penalties: candidates (`C` of scikit-learn).
            seed: of the division of groups into folds.

        Raises:
            ValueError: all clips are of one class.
        """
        if len(np.unique(label)) < 2:
            raise ValueError("B-SOiD: all training clips are of one class; two or more are needed")
        candidates = sorted(inverse_penalties)
        self.inverse_penalty = candidates[len(candidates) // 2]
        folds = min(_FOLDS, len(np.unique(group)))
        # BLAS on matrices this small takes ten times the processor time with threads.
        with threadpoolctl.threadpool_limits(1, user_api="blas"):
            if len(candidates) > 1 and folds > 1:
                split = StratifiedGroupKFold(folds, shuffle=True, random_state=seed)
                divided = list(split.split(self._features, label, group))
                losses = [self._loss(label, divided, candidate) for candidate in candidates]
                self.inverse_penalty = candidates[int(np.argmin(losses))]
            self._model = _logistic(self._features, label, self.inverse_penalty)
        return self

    def predict(self, usage: Usage, *, classes: int) -> Float[np.ndarray, "clips classes"]:
        """Returns the probability of each class 0..classes-1."""
        return _probabilities(self._model, self._transform(usage), classes)

    def _transform(self, usage: Usage) -> Float[np.ndarray, "clips features"]:
        blocks = [self._clip(np.sqrt(usage.clip))]
        if self._recording is not None and usage.recording is not None:
            blocks.append(self._recording(np.sqrt(usage.recording))[usage.owner])
        return np.concatenate(blocks, axis=1)

    def _loss(
        self, label: np.ndarray, divided: Sequence[tuple[np.ndarray, ...]], inverse_penalty: float
    ) -> float:
        """Returns the class-balanced log-loss on left-out groups."""
        classes, loss = int(label.max()) + 1, 0.0
        weight = compute_sample_weight("balanced", label) / len(label)
        for trained, held in divided:
            if len(np.unique(label[trained])) > 1:
                model = _logistic(self._features[trained], label[trained], inverse_penalty)
                p = _probabilities(model, self._features[held], classes)
                loss -= float(weight[held] @ np.log(p[np.arange(len(held)), label[held]]))
        return loss


class _Block:
    """Centres columns that belong together and gives them a total variance of 1."""

    def __init__(self, values: Float[np.ndarray, "n d"], *, components: int | None):
        self._mean = values.mean(axis=0)
        self._axes = np.eye(values.shape[1])
        if components is not None:
            most = min(components, *values.shape)
            self._axes = PCA(most, svd_solver="full").fit(values).components_.T
        spread = np.sqrt(((values - self._mean) @ self._axes).var(axis=0).sum())
        self._scale = 1 / spread if spread > 0 else 0.0

    def __call__(self, values: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n components"]:
        return (values - self._mean) @ self._axes * self._scale


def _logistic(
    features: Float[np.ndarray, "n d"], label: Int[np.ndarray, "n"], inverse_penalty: float
) -> LogisticRegression:
    model = LogisticRegression(C=inverse_penalty, class_weight="balanced", max_iter=_MAX_ITERATIONS)
    return model.fit(features, label)


def _probabilities(
    model: LogisticRegression, features: Float[np.ndarray, "n d"], classes: int
) -> Float[np.ndarray, "n classes"]:
    p = np.full((len(features), classes), LEAST_P)
    if len(features):  # scikit-learn refuses an empty table
        p[:, model.classes_] = np.maximum(model.predict_proba(features), LEAST_P)
    return p / p.sum(axis=1, keepdims=True)
