"""Scores of blinded raters: accuracy, agreement, learning, confidence, and other methods.

Clips of one animal are not independent, and raters differ. A rater's interval resamples animals (or
cages); the pooled one resamples animals and raters (see `stats.crossed_bootstrap`).
"""

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from etils import epath
from jaxtyping import Float, Int
from sklearn.metrics import confusion_matrix

from mpjax.analysis.classification.scores import tasks_of
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.raters import agreement
from mpjax.analysis.raters.comparison import compare
from mpjax.analysis.raters.files import CONFIDENCE, Answers, Key
from mpjax.analysis.stats.bootstrap import percentile_interval
from mpjax.analysis.stats.crossed_bootstrap import Crossed
from mpjax.analysis.stats.estimates import absent
from mpjax.io import files

SCHEMA = "mpjax.raters/1"
MODEL = "model"  # what `mpjax.rate score` calls the study's own predictions
_STEP = 10  # trials; a slope per trial would be a tiny number
_AGAIN = "run `python -m mpjax.rate score` again"


@dataclasses.dataclass(frozen=True)
class Task:
    """The fine or the coarse answers of all raters to the clips of a package."""

    classes: tuple[str, ...]
    label: Int[np.ndarray, " clips"]  # true class
    answer: Int[np.ndarray, "raters clips"]  # -1 where a clip was not answered
    place: tuple[Int[np.ndarray, " _"], ...]  # by rater, the clip of each trial, as answered

    @property
    def right(self) -> Float[np.ndarray, "raters clips"]:
        """1 where the answer is right, 0 where it is wrong, NaN where there is none."""
        return np.where(self.answer >= 0, (self.answer == self.label).astype(float), np.nan)

    @property
    def right_by_trial(self) -> list[Float[np.ndarray, " _"]]:
        """The same by rater, in the order of answering."""
        return [row[place] for row, place in zip(self.right, self.place, strict=True)]

    def confusion(self, raters: Sequence[int]) -> list[list[int]]:
        """Counts answers by true class (rows) and answered class (columns)."""
        answer = self.answer[list(raters)]
        done = answer >= 0
        true = np.broadcast_to(self.label, answer.shape)[done]
        return confusion_matrix(true, answer[done], labels=range(len(self.classes))).tolist()


def score(
    key: Key,
    answers: Sequence[Answers],
    *,
    against: Mapping[str, Predictions] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores the raters of a package.

    Args:
        key, answers: what the clips show, and what each rater answered.
        against: predictions of other methods, by name, of the same held-out clips.
        bootstrap: resamples of animals (cages), and of raters, behind every interval.
        seed: of resampling and permutation.

    Returns:
        The content of raters.json; what cannot be estimated is {"value": None, "why": …}.

    Raises:
        ValueError: other predictions are not of these clips and classes.
    """
    against = against or {}
    tasks = lay_out(key, answers)
    names = [one.rater for one in answers]
    group = key.clips.groupby(key.group).ngroup().to_numpy()
    crossed = Crossed.draw(
        group, raters=len(answers), unit=key.group, resamples=bootstrap, seed=seed
    )
    described: dict[str, Any] = {
        "schema": SCHEMA,
        "package": _describe_package(key),
        "bootstrap": {
            "unit": key.group,
            "groups": crossed.weights.shape[1],
            "resamples": bootstrap,
            "seed": seed,
        },
        "tasks": {
            kind: {"classes": list(task.classes), "chance": 1 / len(task.classes)}
            for kind, task in tasks.items()
        },
        "raters": [_describe_rater(tasks, one, r, crossed) for r, one in enumerate(answers)],
        "pooled": {kind: _describe_pooled(task, answers, crossed) for kind, task in tasks.items()},
        "agreement": {
            kind: agreement.describe(task.answer, crossed, classes=len(task.classes), names=names)
            for kind, task in tasks.items()
        },
        "predictions": {name: each.meta.get("fingerprint") for name, each in against.items()},
        "against": {},
    }
    for method, predictions in against.items():
        named = _predict(predictions, key, method=method)
        described["against"][method] = {
            kind: compare(
                (named[kind] == task.label).astype(float), task.right, crossed,
                names=names, seed=seed,
            )
            for kind, task in tasks.items()
        }  # fmt: skip
    return described


def read(path: epath.PathLike, predictions: Predictions) -> dict[str, Any] | None:
    """Reads raters.json for the report on `predictions`; None where there is no such file.

    Returns:
        Its content; or {"value": None, "why": …} where it belongs to another dataset, to earlier
        predictions, or to another version.

    Raises:
        ValueError: the file is not JSON.
    """
    path = epath.Path(path)
    if not path.exists():
        return None
    found = files.read_json(path)
    if found.get("schema") != SCHEMA:
        return absent(f"{path.name} is {found.get('schema')!r}, not {SCHEMA!r}; {_AGAIN}")
    ours = predictions.meta.get("provenance", {}).get("dataset")
    if ours is not None and found["package"]["dataset"] != ours:
        return absent(f"the ratings are of another dataset ({path.name}); {_AGAIN}")
    fingerprint = predictions.meta.get("fingerprint")
    if found["predictions"].get(MODEL, fingerprint) != fingerprint:
        return absent(f"the raters were compared with earlier predictions; {_AGAIN}")
    return found


def lay_out(key: Key, answers: Sequence[Answers]) -> dict[str, Task]:
    """Arranges the answers by rater and clip: `fine` and, where there are groups, `coarse`."""
    label = key.clips["label"].to_numpy()
    place = tuple(key.clips.index.get_indexer(one.trials["clip"]) for one in answers)
    arranged = {}
    for kind, task in tasks_of(key.taxonomy).items():
        answer = np.full((len(answers), len(label)), -1)
        for row, one, places in zip(answer, answers, place, strict=True):
            row[places] = one.trials[kind]
        arranged[kind] = Task(task.classes, task.to_class[label], answer, place)
    return arranged


def _describe_package(key: Key) -> dict[str, Any]:
    return {
        "id": key.package,
        "dataset": key.body["dataset"],
        "clips": len(key.clips),
        "recordings": key.clips["video"].nunique(),
        "animals": key.clips["animal"].nunique(),
        "clips_per_class": key.body["wanted"],
        "short": key.body["short"],
        "examples": len(key.body["examples"]),
    }


def _describe_rater(
    tasks: Mapping[str, Task], one: Answers, rater: int, crossed: Crossed
) -> dict[str, Any]:
    described: dict[str, Any] = {
        "name": one.rater,
        "clips": len(one.trials),
        "undone": one.undone,
        "sessions": one.sessions,
        "response": response_times(one.trials, tasks["fine"].right_by_trial[rater]),
    }
    confidence = one.trials["confidence"].to_numpy()
    for kind, task in tasks.items():
        right = task.right_by_trial[rater]
        group = crossed.group[task.place[rater]]
        described[kind] = {
            "accuracy": crossed.estimate_one(task.right[rater]),
            "confusion": task.confusion([rater]),
            "learning": learning(right),
            "confidence": {
                "levels": levels(confidence, right),
                "discrimination": discrimination(confidence, right, group, crossed),
            },
        }
    return described


def _describe_pooled(task: Task, answers: Sequence[Answers], crossed: Crossed) -> dict[str, Any]:
    confidence = np.concatenate([one.trials["confidence"].to_numpy() for one in answers])
    return {
        "accuracy": crossed.estimate(task.right),
        "confusion": task.confusion(range(len(answers))),
        "confidence": {"levels": levels(confidence, np.concatenate(task.right_by_trial))},
    }


def _predict(
    predictions: Predictions, key: Key, *, method: str
) -> dict[str, Int[np.ndarray, " clips"]]:
    """Returns the classes that a method predicts for the clips of the package, by task."""
    if predictions.taxonomy != key.taxonomy:
        raise ValueError(
            f"{method}: its classes are not those of the package: "
            f"{', '.join(predictions.taxonomy.fine)} against {', '.join(key.taxonomy.fine)}"
        )
    held_out, rated = np.flatnonzero(predictions.evaluated), key.clips["clip_id"]
    place = pd.Index(predictions.table["clip_id"].iloc[held_out]).get_indexer(rated)
    missing = rated[place < 0]
    if len(missing):
        raise ValueError(
            f"{method}: {len(missing)} of the {len(rated)} rated clips are not among its "
            f"{len(held_out)} held-out clips, the first is {missing.iloc[0]}; it must come from "
            "the cohort, video geometry and split that the package was made of"
        )
    order = held_out[place]
    if not np.array_equal(predictions.table["label"].to_numpy()[order], key.clips["label"]):
        raise ValueError(
            f"{method}: the labels of the rated clips are not those of the package's key; the "
            "cohort has changed since: make and rate a new package"
        )
    p = predictions.p[order]
    return {kind: task.pool(p).argmax(1) for kind, task in tasks_of(key.taxonomy).items()}


def response_times(
    trials: pd.DataFrame, right: Float[np.ndarray, " trials"]
) -> dict[str, float | None]:
    """Describes how long a rater took, in seconds."""
    seconds = trials["response_ms"].to_numpy() / 1000
    low, middle, high = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    total = float(trials["response_ms"].sum() / 1000)  # of whole numbers: exact in any order
    found = {"median_s": middle, "q25_s": low, "q75_s": high, "total_s": total}
    for name, own in (("right", seconds[right == 1]), ("wrong", seconds[right == 0])):
        found[f"median_{name}_s"] = float(np.median(own)) if len(own) else None
    return found


def learning(right: Float[np.ndarray, " trials"]) -> dict[str, Any]:
    """Estimates how the odds of a right answer change over the trials, by logistic regression.

    The order of clips is random for each rater, so trial and clip are not confounded. The value is
    the change of the log-odds per 10 trials in the order of answering, positive for learning.

    Source: Agresti, Categorical Data Analysis (3rd ed., 2013), ch. 5 (Wald interval).
    """
    if len(right) < 3 or right.min() == right.max():
        return absent("all answers are right, or all are wrong, or there are fewer than 3")
    if np.abs(np.diff(right)).sum() < 2:  # a single trial separates right from wrong answers
        return absent("all right answers come before all wrong ones, or after them")
    import statsmodels.api as sm

    design = np.column_stack([np.arange(len(right)) / _STEP, np.ones(len(right))])
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of separation, or no convergence
        try:
            fit = sm.Logit(right, design).fit(disp=0)
        except (Warning, np.linalg.LinAlgError) as fault:
            return absent(f"the logistic regression did not converge ({type(fault).__name__})")
    value, p, interval = float(fit.params[0]), float(fit.pvalues[0]), fit.conf_int()[0].tolist()
    return {"value": value, "ci95": interval, "p": p, "n": len(right)}


def levels(
    confidence: Int[np.ndarray, " n"], right: Float[np.ndarray, " n"]
) -> list[dict[str, Any]]:
    """Returns the accuracy at each level of confidence (1 to 5) that was chosen."""
    found = []
    for level, name in enumerate(CONFIDENCE, 1):
        if len(own := right[confidence == level]):
            accuracy = float(own.mean())
            found.append({"confidence": level, "name": name, "n": len(own), "accuracy": accuracy})
    return found


def discrimination(
    confidence: Int[np.ndarray, " n"],
    right: Float[np.ndarray, " n"],
    group: Int[np.ndarray, " n"],
    crossed: Crossed,
) -> dict[str, Any]:
    """Estimates how well a rater's confidence distinguishes right from wrong answers.

    The value is the area under the type 2 ROC curve: the chance that of a right and a wrong answer
    the right one was given with more confidence, ties counting half. `group` is the animal or cage
    of each trial's clip.

    Source: Fleming & Lau (2014), doi:10.3389/fnhum.2014.00443.
    """
    if not 0 < right.sum() < len(right):
        return absent("all answers are right, or all are wrong")
    cells = np.zeros((2, crossed.weights.shape[1], len(CONFIDENCE)))  # wrong and right answers
    np.add.at(cells, (right.astype(int), group, confidence - 1), 1)
    # All answers once, then every resample.
    weights = np.vstack([np.ones_like(crossed.weights[:1]), crossed.weights]).astype(float)
    wrong, correct = weights @ cells[0], weights @ cells[1]
    pairs = wrong.sum(1) * correct.sum(1)
    won = (correct * (np.cumsum(wrong, axis=1) - wrong / 2)).sum(1)
    area = np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0)
    interval = percentile_interval(area[1:], groups=len(np.unique(group)), unit=crossed.unit)
    return {"value": float(area[0]), **interval, "n": len(right)}
