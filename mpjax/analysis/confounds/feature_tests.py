"""Tests one family of features on one task: cross-validated, resampled, permuted, adjusted."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from mpjax.analysis.confounds import classifier
from mpjax.analysis.confounds.design import Task
from mpjax.analysis.confounds.features import BEHAVIOUR, RECORD, SCENE, Family
from mpjax.analysis.stats import bootstrap
from mpjax.analysis.stats.estimates import ALPHA, POWER, NotEstimableError, absent
from mpjax.analysis.stats.multiple_testing import holm
from mpjax.analysis.stats.permutation import draw_labels
from mpjax.formatting import p_phrase

_FEW_FEATURES = 16  # up to so many are compared one by one; of more, their components
_LEAST_DF = 4  # groups beyond one per class, for their spread to be known


@dataclasses.dataclass(frozen=True)
class Settings:
    """Settings of the audit's resampling."""

    group: str  # `animal` or `cage`: what is left out, resampled and permuted as a whole
    bootstrap: int = 2000
    permutations: int = 2000
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Trial:
    """Features of a task's recordings, ready for the classifier."""

    task: Task
    features: Float[np.ndarray, "m d"]  # minus the mean of the day if the task is within days
    components: Float[np.ndarray, "m k"]  # the same, whitened
    group: Int[np.ndarray, " m"]  # animal or cage of each recording, 0..groups-1

    def score(self, settings: Settings) -> tuple[float, Float[np.ndarray, " resamples"]]:
        """Returns the cross-validated balanced accuracy, and that of every bootstrap resample."""
        label, classes = self.task.label, len(self.task.classes)
        named = classifier.predict(self.components, label[None], self.group, classes=classes)
        counts = bootstrap.count_by_group(label, named[0], self.group, classes=classes)
        groups = counts.total.shape[0]
        weights = bootstrap.draw_weights(groups, resamples=settings.bootstrap, seed=settings.seed)
        weights = np.concatenate([np.ones((1, groups), int), weights])  # first the data themselves
        accuracy = bootstrap.resample_scores(counts, weights).mean_class_accuracy
        return float(accuracy[0]), accuracy[1:]


def prepare(
    values: Float[np.ndarray, "n d"], recordings: pd.DataFrame, task: Task, *, group: str
) -> Trial | None:
    """Prepares a task's features, from those of all recordings; None where they do not vary."""
    frame = pd.DataFrame(values[task.rows])
    if task.within_day:
        frame -= frame.groupby(recordings["day"].to_numpy()[task.rows]).transform("mean")
    codes, names = pd.factorize(recordings[group][task.rows])
    features = frame.to_numpy()
    components = classifier.whiten(features, groups=len(names))
    return Trial(task, features, components, codes) if components.shape[1] else None


def run_task(
    family: Family, recordings: pd.DataFrame, task: Task, settings: Settings
) -> dict[str, Any]:
    """Cross-validates and permutes one family on one task, or says why not.

    All classes together and each class against the others are tested, as a scene may mark a single
    class. Each accuracy is put in standard deviations of its own null; the largest of them is
    compared with the largest of each permutation, which keeps the error rate over all of them.

    Source: Westfall & Young, Resampling-Based Multiple Testing (1993), ch. 2 (max-T).
    """
    if task.why:
        return absent(task.why)
    rows = recordings[task.rows].reset_index(drop=True)
    if family.kind == RECORD and family.name != "date":
        shares = pd.crosstab(task.label, rows[family.name], normalize="index").to_numpy()
        if np.allclose(shares, shares[0], atol=1e-9):
            why = f"every class has the same share of each {family.name}"
            return absent(why) | {"uninformative": True}
    trial = prepare(family.values, recordings, task, group=settings.group)
    if trial is None:
        return absent("all recordings are alike in this") | {"uninformative": True}
    value, draws = trial.score(settings)
    groups = rows[settings.group].nunique()
    entry: dict[str, Any] = {
        "value": value,
        **bootstrap.percentile_interval(draws, groups=groups, unit=settings.group),
        "n": len(rows),
        "chance": 1 / len(task.classes),
        "classes": list(task.classes),
    }
    if family.kind == SCENE:
        few = trial.features.shape[1] <= _FEW_FEATURES
        compared = trial.features if few else trial.components
        if (p := compare_means(compared, task.label, trial.group)) is not None:
            entry["means"] = {"p": p}
    try:
        drawn, unit = draw_labels(
            rows, task.label, group=settings.group, by_condition=task.by_condition,
            count=settings.permutations, seed=settings.seed,
        )  # fmt: skip
    except NotEstimableError as error:
        return entry | {"p": None, "why": str(error)}
    labels = np.concatenate([task.label[None], drawn])
    return entry | {"unit": unit} | _permute(trial.components, labels, trial.group, task.classes)


def _permute(
    components: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "count n"],
    group: Int[np.ndarray, " n"],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Returns p, the null of the accuracy and the best class; `labels[0]` are the true ones."""
    scores = [classifier.balanced_accuracy(components, labels, group, classes=len(classes))]
    for each in range(len(classes)) if len(classes) > 2 else ():
        alone = (labels == each).astype(int)
        scores.append(classifier.balanced_accuracy(components, alone, group, classes=2))
    score = np.stack(scores, 1)
    mean, sd = score[1:].mean(0), np.maximum(score[1:].std(0), 1e-9)
    standard = (score - mean) / sd
    largest = standard.max(1)
    at_least = int((largest[1:] >= largest[0] - 1e-9).sum())
    # Permutations that only rename the classes: a perfect accuracy is perfect in each of them.
    first = pd.factorize(labels[0])[0]
    renamed = sum(bool((pd.factorize(row)[0] == first).all()) for row in labels[1:])
    found = {
        "p": (1 + at_least) / len(score),
        "null": {"mean": float(mean[0]), "q95": float(np.quantile(score[1:, 0], 0.95))},
        "_null": (largest[1:], float(mean[0]), float(sd[0]), (1 + renamed) / len(score)),
    }
    if best := int(standard[0].argmax()):
        value = float(score[0, best])
        found["best"] = {"class": classes[best - 1], "value": value, "chance": 0.5}
    return found


def compare_means(
    features: Float[np.ndarray, "n k"], label: Int[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> float | None:
    """Tests whether the groups' means differ more between classes than within.

    Few groups can be permuted in few ways only, so that a scene which marks a single class cannot
    reach a small p (3 cages in each of 3 classes: 0.036). This test can; it assumes that the
    groups' means are normal. NaN is replaced by the mean of the others.

    Returns:
        The least p of the features' analyses of variance, Bonferroni-adjusted for their number;
        None where a group has recordings of several classes, or there are too few groups.
    """
    pairs = np.unique(np.stack([group, label]), axis=1)
    classes = np.unique(label)
    if pairs.shape[1] != group.max() + 1 or pairs.shape[1] < len(classes) + _LEAST_DF:
        return None
    frame = pd.DataFrame(features)
    means = frame.fillna(frame.mean()).groupby(group).mean().to_numpy()
    sides = [means[pairs[1] == each] for each in classes]
    within = sum(len(side) * side.var(0) for side in sides)
    total = len(means) * means.var(0)
    # Features without spread within the classes give no variance to test by.
    usable = within > 1e-9 * np.maximum(total, np.square(means).sum(0) + 1e-300)
    if not usable.any():
        return None
    least = stats.f_oneway(*[side[:, usable] for side in sides]).pvalue.min()
    return min(1.0, float(least) * int(usable.sum()))


def adjust(tested: dict[str, dict[str, Any]]) -> None:
    """Adjusts p over all tests that can turn the audit red, and adds what each could detect."""
    tasks = [(entry["kind"], task) for entry in tested.values() for task in entry["tasks"].values()]
    own = [
        test
        for kind, task in tasks
        for test in (task, task.get("means", {}))
        if kind != BEHAVIOUR and test.get("p") is not None
    ]
    for test, adjusted in zip(own, holm([test["p"] for test in own]), strict=True):
        test["p_holm"] = adjusted
    for _, task in tasks:
        if "_null" in task:
            task["detectable"] = _detectable(*task.pop("_null"), tests=max(1, len(own)))


def _detectable(
    largest: Float[np.ndarray, " count"], mean: float, sd: float, floor: float, *, tests: int
) -> dict[str, Any]:
    """Returns the least balanced accuracy of all classes found with a power of 80 %.

    It exceeds what chance reaches once in 20 times over all tests, by a margin for the variation
    of an accuracy, which is taken to be as large as under chance. `largest` is the test's statistic
    in each permutation, mean and sd are of the accuracy in them; `floor` is the least possible p.
    """
    if floor > ALPHA / tests:
        return absent(f"even a perfect accuracy would have {p_phrase(floor)} before adjustment")
    critical = float(np.quantile(largest, 1 - ALPHA / tests))
    least = mean + (critical + float(stats.norm.ppf(POWER))) * sd
    if least > 1:
        return absent("chance alone often reaches high accuracies: there are too few animals")
    return {"value": least, "power": POWER, "alpha": ALPHA}
