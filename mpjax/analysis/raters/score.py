"""Blinded raters scored: accuracy, agreement, learning, confidence, and against other methods.

Clips of one animal are not independent, and raters differ. A rater's interval resamples animals (or
cages); the pooled one resamples animals and raters (see `crossed`).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from etils import epath
from jaxtyping import Float, Int

from mpjax.analysis.predictions import Predictions
from mpjax.analysis.raters import agreement, trials
from mpjax.analysis.raters.comparison import compare
from mpjax.analysis.raters.files import Answers, Key
from mpjax.analysis.stats.crossed_bootstrap import Crossed
from mpjax.analysis.stats.estimates import absent
from mpjax.io import files

SCHEMA = "mpjax.raters/1"
MODEL = "model"  # what `mpjax.rate score` calls the study's own predictions
_AGAIN = "run `python -m mpjax.rate score` again"


@dataclasses.dataclass(frozen=True)
class Task:
    """The fine or the coarse answers of all raters to the clips of a package.

    Attributes:
        classes: their names.
        label: true class of each clip.
        answer: by rater and clip; -1 where a clip was not answered.
        place: by rater, the clip of each trial, in the order of answering.
    """

    classes: tuple[str, ...]
    label: Int[np.ndarray, " clips"]
    answer: Int[np.ndarray, "raters clips"]
    place: tuple[Int[np.ndarray, " _"], ...]

    @property
    def right(self) -> Float[np.ndarray, "raters clips"]:
        """1 where the class was named, 0 where another was, NaN where nothing was answered."""
        return np.where(self.answer >= 0, (self.answer == self.label).astype(float), np.nan)

    @property
    def right_by_trial(self) -> list[Float[np.ndarray, " _"]]:
        """The same by rater, in the order of answering."""
        return [row[place] for row, place in zip(self.right, self.place, strict=True)]

    def confusion(self, raters: Sequence[int]) -> list[list[int]]:
        """Counts answers by true class (rows) and named class (columns)."""
        counts = np.zeros((len(self.classes),) * 2, int)
        for rater in raters:
            done = self.answer[rater] >= 0
            np.add.at(counts, (self.label[done], self.answer[rater, done]), 1)
        return counts.tolist()


def score(
    key: Key,
    answers: Sequence[Answers],
    *,
    against: Mapping[str, Predictions] | None = None,
    bootstrap: int = 2000,
    permutations: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores the raters of a package.

    Args:
        key: what the clips show.
        answers: checked answers, one per rater.
        against: predictions of other methods, by name, of the same held-out clips.
        bootstrap: resamples of animals (cages), and of raters, behind every interval.
        permutations: sign flips over animals behind the p of a comparison, where they are too many
            to try all.
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
        "predictions": {
            name: predictions.meta.get("fingerprint")
            for name, predictions in (against or {}).items()
        },
        "against": {},
    }
    for method, predictions in against.items():
        named = _predict(predictions, key, method=method)
        described["against"][method] = {
            kind: compare(
                (named[kind] == task.label).astype(float), task.right, crossed,
                names=names, permutations=permutations, seed=seed,
            )
            for kind, task in tasks.items()
        }  # fmt: skip
    return described


def read(path: epath.PathLike, predictions: Predictions) -> dict[str, Any] | None:
    """Reads raters.json for the report on predictions; None where there is no such file.

    Args:
        path: of the file.
        predictions: of the report.

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
    """Lays the answers out by rater and clip: `fine` and, where there are groups, `coarse`."""
    label = key.clips["label"].to_numpy()
    place = tuple(key.clips.index.get_indexer(one.trials["clip"]) for one in answers)
    tasks = {"fine": (key.taxonomy.fine, label)}
    if key.taxonomy.coarse:
        tasks["coarse"] = (key.taxonomy.coarse, np.asarray(key.taxonomy.fine_to_coarse)[label])
    laid = {}
    for kind, (classes, true) in tasks.items():
        answer = np.full((len(answers), len(label)), -1)
        for row, one, places in zip(answer, answers, place, strict=True):
            row[places] = one.trials[kind]
        laid[kind] = Task(classes, true, answer, place)
    return laid


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
        "response": trials.response_times(one.trials, tasks["fine"].right_by_trial[rater]),
    }
    confidence = one.trials["confidence"].to_numpy()
    for kind, task in tasks.items():
        right = task.right_by_trial[rater]
        group = crossed.group[task.place[rater]]
        described[kind] = {
            "accuracy": crossed.estimate_one(task.right[rater]),
            "confusion": task.confusion([rater]),
            "learning": trials.learning([right]),
            "confidence": {
                "levels": trials.levels(confidence, right),
                "discrimination": trials.discrimination(confidence, right, group, crossed),
            },
        }
    return described


def _describe_pooled(task: Task, answers: Sequence[Answers], crossed: Crossed) -> dict[str, Any]:
    by_trial = task.right_by_trial
    confidence = np.concatenate([one.trials["confidence"].to_numpy() for one in answers])
    return {
        "accuracy": crossed.estimate(task.right),
        "confusion": task.confusion(range(len(answers))),
        "learning": trials.learning(by_trial),
        "confidence": {"levels": trials.levels(confidence, np.concatenate(by_trial))},
    }


def _predict(
    predictions: Predictions, key: Key, *, method: str
) -> dict[str, Int[np.ndarray, " clips"]]:
    """Returns the classes that a method names for the clips of the package.

    Raises:
        ValueError: it has not held out these clips of these classes.
    """
    if predictions.taxonomy != key.taxonomy:
        raise ValueError(
            f"{method}: tells other classes apart than the package: "
            f"{', '.join(predictions.taxonomy.fine)} against {', '.join(key.taxonomy.fine)}"
        )
    held_out = np.flatnonzero(predictions.evaluated)
    rows = dict(zip(predictions.table["clip_id"].iloc[held_out], held_out, strict=True))
    missing = [clip for clip in key.clips["clip_id"] if clip not in rows]
    if missing:
        raise ValueError(
            f"{method}: {len(missing)} of the {len(key.clips)} rated clips are not among its "
            f"{len(rows)} held-out clips, the first is {missing[0]}; it must come from the cohort, "
            "video geometry and split that the package was made of"
        )
    order = [rows[clip] for clip in key.clips["clip_id"]]
    if not np.array_equal(predictions.table["label"].to_numpy()[order], key.clips["label"]):
        raise ValueError(
            f"{method}: gives the rated clips other labels than the package's key; the cohort has "
            "changed since: make and rate a new package"
        )
    p = predictions.p[order]
    named = {"fine": p.argmax(1)}
    if key.taxonomy.coarse:
        named["coarse"] = key.taxonomy.coarse_probabilities(p).argmax(1)
    return named
