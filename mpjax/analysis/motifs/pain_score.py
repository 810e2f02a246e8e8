"""A sparse, interpretable score of pain from the usage of motifs alone.

A recording is described by the square roots of its shares of time per motif, which steady the
variance of counts (Bartlett 1936; the distance is Hellinger's) and take a motif that never occurs
as it is. The centred log ratio would need a made-up count for it, and in short recordings most
motifs do not occur. The roots are standardised, and classified by logistic regression with an L1
penalty, which leaves out what is not needed.

Source: Tibshirani (1996), Regression shrinkage and selection via the lasso.
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression

from mpjax.analysis.classification.scores import score_units
from mpjax.analysis.motifs import usage
from mpjax.analysis.motifs.codebook import Assigned
from mpjax.analysis.stats import bootstrap as resampling
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.units import Units
from mpjax.config import MotifConfig
from mpjax.data.splits import FINAL, FIXED, fit_rows, tested_rows
from mpjax.taxonomy import Taxonomy

_CHOICE_FOLDS = 5  # of the training groups, to choose the penalty by
_ITERATIONS, _TOLERANCE = 500, 1e-3
_LEAST_P = 1e-6  # in the loss, so that a single sure error does not decide


@dataclasses.dataclass(frozen=True)
class _Recordings:
    """Recordings of one trained class each, by one codebook."""

    table: pd.DataFrame
    roots: Float[np.ndarray, "n motifs"]


def score_pain(
    windows: pd.DataFrame,
    assigned: Mapping[int, Assigned],
    *,
    taxonomy: Taxonomy,
    group: str,
    config: MotifConfig,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores the usage of motifs by how well it tells the classes of held-out animals' recordings.

    Args:
        windows: a row per window, see `motifs.analyse`.
        assigned: per test fold, what the codebook says that was fitted without that fold's
            animals; of a fixed split, under `FINAL`, that of the training animals' codebook. All
            in the order of `windows`.
        taxonomy: fine and coarse classes.
        group: `animal` or `cage`, what is held out and resampled.
        config: the penalties.
        bootstrap: resamples of animals (cages) behind the intervals.
        seed: of them and of the solver.

    Returns:
        `fine` and, where there are coarse classes, `coarse`: {"classes", "accuracy",
        "mean_class_accuracy" (each {"value", "ci95", "n"}, n in recordings), "confusion", "chance",
        "animals", "folds": per test fold the "penalty", how many motifs were "kept", and their
        "weights" per class}; or {"value": None, "why"}.
    """
    tasks = {"fine": (np.arange(len(taxonomy.fine)), taxonomy.fine)}
    if taxonomy.coarse:
        tasks["coarse"] = (np.asarray(taxonomy.fine_to_coarse), taxonomy.coarse)
    described: dict[str, Any] = {"features": "square roots of the shares of the time per motif"}
    parts = {fold: _recordings(windows, each) for fold, each in assigned.items()}
    for task, (to_class, classes) in tasks.items():
        described[task] = _score_task(
            parts, to_class, classes, group=group, config=config, bootstrap=bootstrap, seed=seed
        )
    return described


def _recordings(windows: pd.DataFrame, assigned: Assigned) -> _Recordings:
    motifs = int(assigned.motif.max()) + 1  # one that no window shows could tell nothing
    measured, _ = usage.measure_recordings(windows, assigned, motifs=motifs)
    able = measured.take((measured.table["label"] >= 0).to_numpy())
    return _Recordings(able.table, np.sqrt(able.values[:, :motifs]))


def _score_task(
    parts: Mapping[int, _Recordings],
    to_class: Int[np.ndarray, " fine"],
    classes: Sequence[str],
    *,
    group: str,
    config: MotifConfig,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    labels, predicted, groups, folds = [], [], [], []
    for fold, part in parts.items():
        scheme = FIXED if fold == FINAL else "kfold"
        held = tested_rows(part.table, scheme, fold)
        train = fit_rows(part.table, scheme, fold)
        if not held.any():
            continue
        label = to_class[part.table["label"].to_numpy()]
        if why := _why_not_trained(label[train], part.table[group][train]):
            return absent(why)
        model = _fit(
            part.roots[train], label[train], part.table[group][train].to_numpy(),
            config=config, seed=seed,
        )  # fmt: skip
        labels.append(label[held])
        predicted.append(model.probabilities(part.roots[held], len(classes)))
        groups.append(part.table[group][held].to_numpy())
        folds.append({"fold": fold if fold != FINAL else None, **model.describe(classes)})
    if not labels:
        return absent("no held-out recording of a single trained class")
    codes, names = pd.factorize(np.concatenate(groups))
    label, p = np.concatenate(labels), np.concatenate(predicted)
    units = Units(label, p, codes, np.arange(len(label)))
    weights = resampling.draw_weights(len(names), resamples=bootstrap, seed=seed)
    found = score_units(units, classes, weights=weights, unit=group)
    kept = {name: found[name] for name in ("accuracy", "mean_class_accuracy", "confusion")}
    nothing = sum(not each["kept"] for each in folds)
    note = (
        f"in {nothing} of {len(folds)} fold(s) no motif helped on other training animals, so only "
        "the classes' frequencies answer there"
    )
    return {
        "classes": list(classes),
        "chance": {"value": 1 / len(classes)},
        **kept,
        "animals": len(set(codes)),
        "folds": folds,
        **({"note": note} if nothing else {}),
    }


def _why_not_trained(label: Int[np.ndarray, " n"], group: pd.Series) -> str | None:
    if len(set(label.tolist())) < 2:
        return "fewer than 2 classes have recordings to train on"
    if len(set(group)) < 2:
        return "it takes 2 training animals (or cages) to choose the penalty by"
    return None


@dataclasses.dataclass(frozen=True)
class Model:
    """A fitted score.

    Attributes:
        mean, scale: of the roots of usage on the training side.
        weights: per class seen in training and motif; those of a class that was not are absent.
        intercept: per class.
        seen: which classes these are.
        penalty: chosen, as a share of the least that leaves out every motif.
    """

    mean: Float[np.ndarray, " motifs"]
    scale: Float[np.ndarray, " motifs"]
    weights: Float[np.ndarray, "seen motifs"]
    intercept: Float[np.ndarray, " seen"]
    seen: Int[np.ndarray, " seen"]
    penalty: float

    def probabilities(
        self, roots: Float[np.ndarray, "n motifs"], classes: int
    ) -> Float[np.ndarray, "n classes"]:
        """Returns the probability of each class; 0 of one that was not trained on."""
        logits = (roots - self.mean) / self.scale @ self.weights.T + self.intercept
        logits -= logits.max(1, keepdims=True)
        p = np.zeros((len(roots), classes))
        p[:, self.seen] = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        return p

    def describe(self, classes: Sequence[str]) -> dict[str, Any]:
        """Returns the penalty and the weights that are not 0, the heaviest motif first."""
        kept = np.flatnonzero(np.abs(self.weights).max(0) > 0)
        kept = kept[np.argsort(-np.abs(self.weights[:, kept]).max(0), kind="stable")]
        return {
            "penalty": self.penalty,
            "kept": len(kept),
            "weights": [
                {
                    "motif": int(motif),
                    "weights": {
                        classes[index]: float(weight)
                        for index, weight in zip(self.seen, self.weights[:, motif], strict=True)
                    },
                }
                for motif in kept
            ],
        }


def _fit(
    roots: Float[np.ndarray, "n motifs"],
    label: Int[np.ndarray, " n"],
    group: np.ndarray,
    *,
    config: MotifConfig,
    seed: int,
) -> Model:
    """Fits the score; the penalty is chosen by its loss on held-out groups of these recordings.

    Of equal losses the stronger penalty is taken.
    """
    penalties = sorted(config.penalties, reverse=True)
    fold = _folds(group, np.random.default_rng(seed))
    losses = np.full((len(penalties), int(fold.max()) + 1), np.nan)
    for each in range(losses.shape[1]):
        train = fold != each
        if len(np.unique(label[train])) < 2:
            continue
        for place, model in enumerate(_path(roots[train], label[train], penalties, seed=seed)):
            p = model.probabilities(roots[~train], int(label.max()) + 1)
            losses[place, each] = _balanced_loss(p, label[~train])
    losses = losses[:, np.isfinite(losses).all(0)]
    chosen = int(losses.mean(1).argmin()) if losses.shape[1] else 0
    return _path(roots, label, penalties[: chosen + 1], seed=seed)[-1]


def _folds(group: np.ndarray, generator: np.random.Generator) -> Int[np.ndarray, " n"]:
    names, codes = np.unique(group, return_inverse=True)
    count = min(_CHOICE_FOLDS, len(names))
    return (generator.permutation(len(names)) % count)[codes]


def _balanced_loss(p: Float[np.ndarray, "n classes"], label: Int[np.ndarray, " n"]) -> float:
    """Returns the cross-entropy, averaged within classes first, as the fit weighs them."""
    loss = -np.log(np.maximum(p[np.arange(len(label)), label], _LEAST_P))
    return float(np.mean([loss[label == each].mean() for each in np.unique(label)]))


def _path(
    roots: Float[np.ndarray, "n motifs"],
    label: Int[np.ndarray, " n"],
    penalties: Sequence[float],
    *,
    seed: int,
) -> list[Model]:
    """Fits one model per penalty, the strongest first, each from the one before.

    Args:
        penalties: shares of the least penalty that leaves out every motif, which follows from the
            gradient where all classes are equally probable.
    """
    mean, sd = roots.mean(0), roots.std(0)
    scale = np.where(sd > 1e-9, sd, 1.0)
    points = (roots - mean) / scale
    seen, own = np.unique(label, return_inverse=True)
    # Classes weigh alike, as with class_weight="balanced".
    weight = (len(own) / len(seen) / np.bincount(own))[own]
    surprise = (np.eye(len(seen))[own] - 1 / len(seen)) * weight[:, None]
    largest = max(float(np.abs(points.T @ surprise).max()), 1e-9)
    regression = LogisticRegression(
        solver="saga", l1_ratio=1.0, class_weight="balanced", warm_start=True,
        max_iter=_ITERATIONS, tol=_TOLERANCE, random_state=seed,
    )  # fmt: skip
    models = []
    for penalty in penalties:
        regression.set_params(C=1 / (penalty * largest))
        with warnings.catch_warnings():
            # A weight that has not quite settled moves no recording's answer.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Of 15 classes, a small cohort has few recordings each.
            warnings.filterwarnings("ignore", message="The number of unique classes")
            regression.fit(points, label)
        weights, intercept = regression.coef_.copy(), regression.intercept_.copy()
        if len(seen) == 2:  # scikit-learn gives the second class's alone
            weights, intercept = (
                np.vstack([-weights, weights]) / 2,
                np.append(-intercept, intercept) / 2,
            )
        models.append(Model(mean, scale, weights, intercept, seen, float(penalty)))
    return models
