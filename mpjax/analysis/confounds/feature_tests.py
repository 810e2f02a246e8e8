"""Tries one family of features on one task: cross-validated, resampled, permuted, adjusted."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from mpjax.analysis.confounds import classifier
from mpjax.analysis.confounds.design import Task
from mpjax.analysis.confounds.features import BEHAVIOUR, SCENE, Family
from mpjax.analysis.stats.bootstrap import (
    count_by_group,
    draw_weights,
    percentile_interval,
    resample_scores,
)
from mpjax.analysis.stats.estimates import ALPHA, POWER, NotEstimableError, absent
from mpjax.analysis.stats.multiple_testing import holm
from mpjax.analysis.stats.permutation import draw_labels

_FEW_FEATURES = 16  # up to so many are compared as they are; of more, their components
_LEAST_DF = 4  # groups beyond one per class, for their spread to be known


@dataclasses.dataclass(frozen=True)
class Settings:
    """How uncertain figures are.

    Attributes:
        group: `animal` or `cage`: what is left out, resampled and permuted as a whole.
        bootstrap: resamples.
        permutations: of the classes.
        seed: of both.
    """

    group: str
    bootstrap: int = 2000
    permutations: int = 2000
    seed: int = 0


def components(
    family: Family, recordings: pd.DataFrame, task: Task, *, group: str
) -> Float[np.ndarray, "m k"]:
    """Returns the whitened features of a task's recordings, within days where the task is.

    Args:
        family: of features, a row per recording.
        recordings: all.
        task: says which are asked about.
        group: `animal` or `cage`.
    """
    groups = recordings[group][task.rows].nunique()
    return classifier.whiten(_features(family, recordings, task), groups=groups)


def _features(family: Family, recordings: pd.DataFrame, task: Task) -> Float[np.ndarray, "m d"]:
    """Returns a task's features, less the mean of the day where it compares within days."""
    frame = pd.DataFrame(family.values[task.rows])
    if task.within_day:
        frame -= frame.groupby(recordings["day"].to_numpy()[task.rows]).transform("mean")
    return frame.to_numpy()


def try_task(
    family: Family, recordings: pd.DataFrame, task: Task, settings: Settings
) -> dict[str, Any]:
    """Cross-validates and permutes one family on one task.

    The test is of the classes together and of each against the others (a scene may mark a single
    one): each accuracy in standard deviations of its own null, and the largest of them against
    that of each permutation, which holds the error rate over all of them.

    Source: Westfall & Young, Resampling-Based Multiple Testing (1993), ch. 2 (max-T).
    """
    whitened = components(family, recordings, task, group=settings.group)
    if not whitened.shape[1]:
        return absent("all recordings are alike in this") | {"tells_nothing": True}
    rows = recordings[task.rows].reset_index(drop=True)
    group = pd.factorize(rows[settings.group])[0]
    classes, groups = len(task.classes), int(group.max()) + 1
    named = classifier.predict(whitened, task.label[None], group, classes=classes)
    value = float(classifier.mean_recall(task.label[None], named, classes=classes)[0])
    counts = count_by_group(task.label, named[0], group, classes=classes)
    weights = draw_weights(groups, resamples=settings.bootstrap, seed=settings.seed)
    draws = resample_scores(counts, weights).mean_class_accuracy
    entry: dict[str, Any] = {
        "value": value,
        **percentile_interval(draws, groups=groups, unit=settings.group),
        "n": len(rows),
        "chance": 1 / classes,
        "classes": list(task.classes),
    }
    if family.kind == SCENE:
        features = _features(family, recordings, task)
        compared = features if features.shape[1] <= _FEW_FEATURES else whitened
        if (p := compare_means(compared, task.label, group)) is not None:
            entry["means"] = {"p": p}
    try:
        drawn, unit = draw_labels(
            rows, task.label, group=settings.group, by_condition=task.by_condition,
            count=settings.permutations, seed=settings.seed,
        )  # fmt: skip
    except NotEstimableError as error:
        return entry | {"p": None, "why": str(error)}
    labels = np.concatenate([task.label[None], drawn])
    return entry | {"unit": unit} | _permuted(whitened, labels, group, task.classes)


def _permuted(
    whitened: Float[np.ndarray, "n k"],
    labels: Int[np.ndarray, "count n"],
    group: Int[np.ndarray, " n"],
    classes: Sequence[str],
) -> dict[str, Any]:
    """Returns p, the null of the accuracy and the class told best; `labels[0]` is the truth."""
    named = classifier.predict(whitened, labels, group, classes=len(classes))
    scores = [classifier.mean_recall(labels, named, classes=len(classes))]
    for each in range(len(classes)) if len(classes) > 2 else ():
        alone = (labels == each).astype(int)
        told = classifier.predict(whitened, alone, group, classes=2)
        scores.append(classifier.mean_recall(alone, told, classes=2))
    score = np.stack(scores, 1)
    null = score[1:]
    sd = np.maximum(null.std(0), 1e-9)
    standard = (score - null.mean(0)) / sd
    largest = standard.max(1)
    at_least = int((largest[1:] >= largest[0] - 1e-9).sum())
    found = {
        "p": (1 + at_least) / len(score),
        "null": {"mean": float(null[:, 0].mean()), "q95": float(np.quantile(null[:, 0], 0.95))},
        "_largest": largest[1:],
        "_floor": (1 + _count_same_partition(labels)) / len(score),
        "_spread": (float(null[:, 0].mean()), float(sd[0])),
    }
    best = int(standard[0].argmax())
    if best:
        found["best"] = {
            "class": classes[best - 1], "value": float(score[0, best]), "chance": 0.5
        }  # fmt: skip
    return found


def _count_same_partition(labels: Int[np.ndarray, "count n"]) -> int:
    """Counts the permutations that only rename the classes: a perfect score is as good in each."""
    first = pd.factorize(labels[0])[0]
    return sum(bool((pd.factorize(row)[0] == first).all()) for row in labels[1:])


def compare_means(
    features: Float[np.ndarray, "n k"], label: Int[np.ndarray, " n"], group: Int[np.ndarray, " n"]
) -> float | None:
    """Tests whether the groups' means differ between classes more than within.

    With few groups the labels can be exchanged in so few ways that a scene which marks a single
    class cannot reach a small p (3 cages in each of 3 classes: 0.036). This test can; it takes the
    groups' means as normal.

    Args:
        features: of the recordings; NaN is taken as the mean of the others.
        label: class of each.
        group: animal or cage of each, 0..groups-1.

    Returns:
        The least p of the features' analyses of variance, Bonferroni-adjusted for their number;
        None where a group has recordings of several classes, or there are too few groups.

    Source: Fisher's one-way analysis of variance; Scheffé, The Analysis of Variance (1959), ch. 3.
    """
    pairs = np.unique(np.stack([group, label]), axis=1)
    classes = np.unique(label)
    if pairs.shape[1] != group.max() + 1 or pairs.shape[1] < len(classes) + _LEAST_DF:
        return None
    frame = pd.DataFrame(features)
    means = frame.fillna(frame.mean()).groupby(group).mean().to_numpy()
    sides = [means[pairs[1] == each] for each in classes]
    within = sum(np.square(side - side.mean(0)).sum(0) for side in sides)
    between = sum(len(side) * np.square(side.mean(0) - means.mean(0)) for side in sides)
    # Without spread there is no variance to judge by.
    usable = within > 1e-9 * np.maximum(within + between, np.square(means).sum(0) + 1e-300)
    if not usable.any():
        return None
    df = len(classes) - 1, len(means) - len(classes)
    ratio = (between[usable] / df[0]) / (within[usable] / df[1])
    return min(1.0, float(stats.f.sf(ratio.max(), *df)) * int(usable.sum()))


def adjust(tested: dict[str, dict[str, Any]]) -> None:
    """Adjusts p over all tests that can turn the audit red; says what each could have found."""
    own = [
        test
        for entry in tested.values()
        for task in entry["tasks"].values()
        for test in (task, task.get("means", {}))
        if entry["kind"] != BEHAVIOUR and test.get("p") is not None
    ]
    for test, adjusted in zip(own, holm([test["p"] for test in own]), strict=True):
        test["p_holm"] = adjusted
    for entry in tested.values():
        for task in entry["tasks"].values():
            if "_largest" in task:
                largest, spread = task.pop("_largest"), task.pop("_spread")
                task["detectable"] = _detectable(largest, spread, len(own))
                if (floor := task.pop("_floor")) > ALPHA / max(1, len(own)):
                    why = f"even a perfect accuracy would have p = {floor:.3f} before adjustment"
                    task["detectable"] = absent(why)


def _detectable(
    largest: Float[np.ndarray, " count"], spread: tuple[float, float], tests: int
) -> dict[str, Any]:
    """Returns the least balanced accuracy of all classes found with a power of 80 %.

    It lies above what chance reaches once in 20 times over all tests, by what an accuracy varies,
    taken as it varies under chance.

    Args:
        largest: the test's statistic in each permutation.
        spread: mean and standard deviation of the accuracy in them.
        tests: that share the error rate.
    """
    critical = float(np.quantile(largest, 1 - ALPHA / max(1, tests)))
    least = spread[0] + (critical + float(stats.norm.ppf(POWER))) * spread[1]
    if least > 1:
        return absent("chance alone reaches high accuracies too often: there are too few animals")
    return {"value": least, "power": POWER, "alpha": ALPHA}
