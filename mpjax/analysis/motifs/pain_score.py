"""A sparse, interpretable score of pain from the usage of motifs alone.

A recording is described by the square roots of its shares of time per motif, which stabilise the
variance of counts (Bartlett 1936; the distance is Hellinger's) and need no correction for a motif
that never occurs. The centred log ratio would need an invented count for it, and in short
recordings most motifs do not occur. The roots are standardised, and classified by logistic
regression with an L1 penalty, which leaves out motifs that are not needed.

Source: Tibshirani (1996), Regression shrinkage and selection via the lasso.
"""

import copy
import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from sklearn.utils.class_weight import compute_sample_weight

from mpjax.analysis.classification.scores import Task, score_units, tasks_of
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
_LEAST_P = 1e-6  # in the loss, so that a single confident error does not decide

# Recordings of one trained class each, and the roots of their usage.
_Recordings = tuple[pd.DataFrame, Float[np.ndarray, "n motifs"]]


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
    """Scores how well the usage of motifs classifies recordings of held-out animals.

    Args:
        windows: a row per window, see `analyse.analyse`.
        assigned: per test fold, the motifs by the codebook fitted without that fold's animals; of a
            fixed split, under `FINAL`, by that of the training animals.
        taxonomy: fine and coarse classes.
        group: `animal` or `cage`, what is held out and resampled.
        config: the penalties.
        bootstrap: resamples of animals (cages) behind the intervals.
        seed: of resampling and solver.

    Returns:
        `fine` and, where there are coarse classes, `coarse`: {"classes", "accuracy",
        "mean_class_accuracy" (each {"value", "ci95", "n"}, n in recordings), "confusion", "chance",
        "animals", "folds": per test fold the "penalty", how many motifs were "kept", and their
        "weights" per class}; or {"value": None, "why"}.
    """
    parts: dict[int, _Recordings] = {}
    for fold, each in assigned.items():
        motifs = int(each.motif.max()) + 1  # a motif of no window carries no information
        measured, _ = usage.measure_recordings(windows, each, motifs=motifs)
        able = measured.take(measured.table["label"] >= 0)
        parts[fold] = able.table, np.sqrt(able.values[:, :motifs])
    options: dict[str, Any] = {
        "group": group,
        "config": config,
        "bootstrap": bootstrap,
        "seed": seed,
    }
    return {"features": "square roots of the shares of the time per motif"} | {
        name: _score_task(parts, task, **options) for name, task in tasks_of(taxonomy).items()
    }


def _score_task(
    parts: Mapping[int, _Recordings],
    task: Task,
    *,
    group: str,
    config: MotifConfig,
    bootstrap: int,
    seed: int,
) -> dict[str, Any]:
    labels, predicted, groups, folds = [], [], [], []
    for fold, (table, roots) in parts.items():
        scheme = FIXED if fold == FINAL else "kfold"
        held, train = tested_rows(table, scheme, fold), fit_rows(table, scheme, fold)
        if not held.any():
            continue
        label, owner = task.to_class[table["label"].to_numpy()], table[group].to_numpy()
        if len(np.unique(label[train])) < 2:
            return absent("fewer than 2 classes have recordings to train on")
        if len(np.unique(owner[train])) < 2:
            return absent("choosing the penalty takes 2 training animals (or cages)")
        model = _fit(roots[train], label[train], owner[train], config=config, seed=seed)
        labels.append(label[held])
        predicted.append(model.probabilities(roots[held], len(task.classes)))
        groups.append(owner[held])
        folds.append({"fold": fold if fold != FINAL else None, **model.describe(task.classes)})
    if not labels:
        return absent("no held-out recording of a single trained class")
    codes, names = pd.factorize(np.concatenate(groups))
    label, p = np.concatenate(labels), np.concatenate(predicted)
    units = Units(label, p, codes, np.arange(len(label)))
    weights = resampling.draw_weights(len(names), resamples=bootstrap, seed=seed)
    found = score_units(units, task.classes, weights=weights, unit=group)
    described = {
        "classes": list(task.classes),
        "chance": {"value": 1 / len(task.classes)},
        **{name: found[name] for name in ("accuracy", "mean_class_accuracy", "confusion")},
        "animals": len(names),
        "folds": folds,
    }
    if nothing := sum(not each["kept"] for each in folds):
        described["note"] = (
            f"in {nothing} of {len(folds)} fold(s) no motif helped on other training animals, so "
            "only the classes' frequencies were used there"
        )
    return described


@dataclasses.dataclass(frozen=True)
class _Model:
    """A fitted score; its penalty is a share of the least one that leaves out every motif."""

    scaler: StandardScaler
    regression: LogisticRegression
    penalty: float

    def probabilities(
        self, roots: Float[np.ndarray, "n motifs"], classes: int
    ) -> Float[np.ndarray, "n classes"]:
        """Returns the probability of each class; 0 of one that was not trained on."""
        p = np.zeros((len(roots), classes))
        p[:, self.regression.classes_] = self.regression.predict_proba(self.scaler.transform(roots))
        return p

    def describe(self, classes: Sequence[str]) -> dict[str, Any]:
        """Returns the penalty and the weights that are not 0, the heaviest motif first."""
        weights = self.regression.coef_
        if len(weights) == 1:  # of two classes, scikit-learn gives the second one's only
            weights = np.vstack([-weights, weights]) / 2
        kept = np.flatnonzero(np.abs(weights).max(0) > 0)
        kept = kept[np.argsort(-np.abs(weights[:, kept]).max(0), kind="stable")]
        names = [classes[index] for index in self.regression.classes_]
        rows = [
            {"motif": motif, "weights": dict(zip(names, weights[:, motif].tolist(), strict=True))}
            for motif in kept.tolist()
        ]
        return {"penalty": self.penalty, "kept": len(kept), "weights": rows}


def _fit(
    roots: Float[np.ndarray, "n motifs"],
    label: Int[np.ndarray, " n"],
    group: np.ndarray,
    *,
    config: MotifConfig,
    seed: int,
) -> _Model:
    """Fits the score; the penalty is chosen by its loss on held-out groups of these recordings.

    Of equal losses the stronger penalty is chosen.
    """
    penalties = sorted(config.penalties, reverse=True)
    names, codes = np.unique(group, return_inverse=True)
    folds = min(_CHOICE_FOLDS, len(names))
    fold = (np.random.default_rng(seed).permutation(len(names)) % folds)[codes]
    losses = np.full((len(penalties), folds), np.nan)
    for each in range(folds):
        train = fold != each
        if len(np.unique(label[train])) < 2:
            continue
        for place, model in enumerate(_path(roots[train], label[train], penalties, seed=seed)):
            held, p = label[~train], model.probabilities(roots[~train], int(label.max()) + 1)
            loss = -np.log(np.maximum(p[np.arange(len(held)), held], _LEAST_P))
            # Averaged within classes first, as the fit weighs them.
            losses[place, each] = np.mean([loss[held == own].mean() for own in np.unique(held)])
    losses = losses[:, np.isfinite(losses).all(0)]
    chosen = int(losses.mean(1).argmin()) if losses.shape[1] else 0
    return _path(roots, label, penalties[: chosen + 1], seed=seed)[-1]


def _path(
    roots: Float[np.ndarray, "n motifs"],
    label: Int[np.ndarray, " n"],
    penalties: Sequence[float],
    *,
    seed: int,
) -> list[_Model]:
    """Fits one model per penalty, the strongest first, each starting from the one before.

    Penalties are shares of the least one that leaves out every motif, which follows from the
    gradient where all classes are equally probable.
    """
    scaler = StandardScaler().fit(roots)
    points = scaler.transform(roots)
    classes, own = np.unique(label, return_inverse=True)
    weight = compute_sample_weight("balanced", label)
    surprise = (np.eye(len(classes))[own] - 1 / len(classes)) * weight[:, None]
    largest = max(float(np.abs(points.T @ surprise).max()), 1e-9)
    regression = LogisticRegression(
        solver="saga", l1_ratio=1.0, class_weight="balanced", warm_start=True,
        max_iter=_ITERATIONS, tol=_TOLERANCE, random_state=seed,
    )  # fmt: skip
    models = []
    for penalty in penalties:
        regression.set_params(C=1 / (penalty * largest))
        with warnings.catch_warnings():
            # A weight that has not fully converged changes no recording's answer.
            warnings.simplefilter("ignore", ConvergenceWarning)
            # Of 15 classes, a small cohort has few recordings each.
            warnings.filterwarnings("ignore", message="The number of unique classes")
            regression.fit(points, label)
        models.append(_Model(scaler, copy.deepcopy(regression), float(penalty)))
    return models
