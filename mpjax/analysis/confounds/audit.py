"""The audit of confounds: can the class be told from what is not behaviour?

Each family of features (background, picture, file, date, camera, sex, cage) is given to a small
classifier (`confound_classifier`) under cross-validation that leaves out one animal (cage) at a
time, by recordings. Above chance, by permutation over animals (cages) and after Holm's adjustment
over all such tests, is red where it is more than a trace; so is a scene whose means by animal
(cage) differ between the classes, which shows with fewer of them. What the design makes inseparable
is amber. What the animal itself has a part in (its size, its motion, the bit rate that follows from
it) may tell pain rightly: it is listed apart and never red.
"""

import dataclasses
from typing import Any

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Float

from mpjax.analysis.confounds import classifier, design, features, summary
from mpjax.analysis.confounds.feature_tests import Settings, adjust, try_task
from mpjax.analysis.confounds.features import BEHAVIOUR, RECORD, Family
from mpjax.analysis.stats.estimates import ALPHA, absent
from mpjax.taxonomy import Taxonomy

_STRONGEST = 3  # features named per family
_RELEVANT = 0.65  # balanced accuracy of one class against all others (chance 0.5)
_TRACE = (
    "above chance, but by so little that a trace of the animal (a shadow, a reflection) that the "
    "mask left is as likely as another scene"
)


def audit(recordings: pd.DataFrame, taxonomy: Taxonomy, settings: Settings) -> dict[str, Any]:
    """Tries to tell the class from everything but behaviour.

    Args:
        recordings: a row per recording: the table of `mpjax.data.scene.measure.read_or_measure`.
        taxonomy: of its column `label`; recordings of no class or of the split `drug` are left out.
        settings: group, resamples, permutations.

    Returns:
        For metrics.json: {"status": red | amber | green, "sentences", "n": {"recordings",
        "animals"}, "group", "families", "by_construction", "day", "burned_in", "animal_masked",
        "backgrounds"}. A family is {"title", "kind", "status": red | amber | green | unknown |
        apart, "why", "above_chance": names of tasks, "strongest": features, "sentence", "tasks"};
        a task (fine, coarse) {"value", "ci95", "n", "chance", "classes", "p", "p_holm", "unit",
        "null": {"mean", "q95"}, "best": {"class", "value", "chance"}, "means": {"p", "p_holm"},
        "detectable"}, or {"value": None, "why"}. The value is the balanced accuracy of all
        classes; `best` the class that is told better against all others, if any.
    """
    used = recordings[(recordings["split"] != "drug") & (recordings["label"] >= 0)]
    used = used.assign(date=_dates(used)).reset_index(drop=True)
    counts = {"recordings": len(used), "animals": int(used["animal"].nunique())}
    result: dict[str, Any] = {"n": counts, "group": settings.group}
    if used.empty:
        why = "no recording of a trained class"
        return result | {"status": "amber", "sentences": [f"Not audited: {why}."], "families": {}}
    tasks, whys = design.plan_tasks(used, taxonomy, settings.group)
    families = _families(used, settings.group)
    tested = {family.name: _try_family(family, used, tasks, whys, settings) for family in families}
    adjust(tested)
    cases = design.by_construction(used, taxonomy)
    for case in cases:
        case["recognised"] = _recognise(families, used[case["column"]] == case["value"], settings)
    for family in families:
        _judge(tested[family.name], family, used, tasks, cases)
    result |= {
        "families": tested,
        "by_construction": cases,
        "day": design.describe_days(used, taxonomy),
        "burned_in": summary.describe_burned_in(used),
        "animal_masked": _describe_mask(used),
        "backgrounds": _mean_backgrounds(used, taxonomy),
    }
    result["status"] = _overall(result)
    return result | {"sentences": summary.tell(result)}


def _dates(recordings: pd.DataFrame) -> pd.Series:
    """Returns the date of each recording, by the cohort or else by the file; '' where unknown."""
    given = recordings["date"].astype(str)
    return given.where(given != "", recordings["created"].astype(str).str[:10])


def _families(recordings: pd.DataFrame, group: str) -> list[Family]:
    found = features.families(recordings)
    moments = pd.to_datetime(recordings["date"], errors="coerce", format="%Y-%m-%d")
    days = (moments - moments.min()).dt.days.astype(float)
    found.append(features.dates(recordings, days))
    found.append(features.category(recordings, "camera", title="Camera"))
    found.append(features.category(recordings, "sex", title="Sex"))
    cage = features.category(recordings, "cage", title="Cage")
    if group == "cage" and not cage.why:
        cage = dataclasses.replace(
            cage, why="cages are kept apart by the split, so that to know a cage helps nothing"
        )
    elif not cage.why and recordings.groupby("cage")["animal"].nunique().max() < 2:
        cage = dataclasses.replace(
            cage, why="each cage holds one animal, which is kept on one side of the split"
        )
    return [*found, cage]


def _try_family(
    family: Family,
    recordings: pd.DataFrame,
    tasks: dict[str, design.Task],
    whys: dict[str, str],
    settings: Settings,
) -> dict[str, Any]:
    """Returns a family's entry, not yet judged."""
    entry: dict[str, Any] = {"title": family.title, "kind": family.kind, "tasks": {}}
    if family.why:
        return entry | {"why": family.why}
    wanted = ["fine", "coarse"]
    if family.kind == RECORD:
        wanted = ["coarse"] if "coarse" in (*tasks, *whys) else ["fine"]
    for name in wanted:
        if name in whys:
            entry["tasks"][name] = absent(whys[name])
        elif name in tasks:
            named = family.kind == RECORD and family.name != "date"
            if named and design.is_balanced(recordings, family.name, tasks[name]):
                why = f"every class has the same share of each {family.name}"
                entry["tasks"][name] = absent(why) | {"tells_nothing": True}
            else:
                entry["tasks"][name] = try_task(family, recordings, tasks[name], settings)
    return entry


def _judge(
    entry: dict[str, Any],
    family: Family,
    recordings: pd.DataFrame,
    tasks: dict[str, design.Task],
    cases: list[dict[str, Any]],
) -> None:
    """Gives a family its colour, its reason and its sentence, in place."""
    tried = entry["tasks"]
    least = {name: _least_p(task, family.kind) for name, task in tried.items()}
    above = [name for name, p in least.items() if p <= ALPHA]
    entry["strongest"] = []
    if above:
        best = min(above, key=lambda name: (least[name], name != "coarse"))
        entry["strongest"] = _strongest(family, recordings, tasks[best])
    blocked = " ".join(case["sentence"] for case in cases if case["column"] == family.name)
    untested = [why for task in tried.values() if (why := _why_untested(task))]
    if family.kind == BEHAVIOUR:
        entry["status"] = "apart"
    elif any(is_relevant(tried[name]) for name in above):
        entry["status"] = "red"
    elif above:
        entry |= {"status": "amber", "why": _TRACE}
    elif blocked:
        entry |= {"status": "amber", "why": blocked}
    elif family.why:
        entry["status"] = "green" if family.values.size else "unknown"
    elif untested:
        entry |= {"status": "amber", "why": "; ".join(dict.fromkeys(untested))}
    else:
        entry["status"] = "green"
    for task in tried.values():
        task.pop("tells_nothing", None)
    entry["above_chance"] = above
    entry["sentence"] = summary.describe_family(entry)


def is_relevant(task: dict[str, Any]) -> bool:
    """Says whether what is told above chance is more than a trace.

    In a thousand recordings a shadow of the animal at the edge of its mask is above chance, too.

    Args:
        task: entry of a family, p at most 5 %.
    """
    low = (task.get("ci95") or [0.0])[0]
    means = task.get("means", {}).get("p_holm", 1.0)
    best = task.get("best", {}).get("value", 0.0)
    return bool(low > task["chance"] or means <= ALPHA or best >= _RELEVANT)


def _least_p(task: dict[str, Any], kind: str) -> float:
    """Returns the least p of a task; adjusted, where it can turn the audit red."""
    if kind == BEHAVIOUR:
        return float(task.get("p") or 1.0)
    return min(float(test.get("p_holm") or 1.0) for test in (task, task.get("means", {})))


def _why_untested(task: dict[str, Any]) -> str:
    """Returns why a task says nothing either way; empty where it does, or nothing varies."""
    if task.get("tells_nothing"):
        return ""
    if task.get("p") is None and "means" not in task:
        return str(task["why"])
    if "means" in task:
        return ""
    return str(task["detectable"].get("why", ""))


def _strongest(family: Family, recordings: pd.DataFrame, task: design.Task) -> list[dict[str, Any]]:
    """Names the features by which one class differs most from the others, by animals' means."""
    values = family.values[task.rows]
    animal = recordings["animal"].to_numpy()[task.rows]
    found = []
    for c, name in enumerate(task.classes):
        own, rest = (_animal_means(values[is_], animal[is_])
                     for is_ in (task.label == c, task.label != c))  # fmt: skip
        with np.errstate(invalid="ignore", divide="ignore"):
            difference = np.nanmean(own, 0) - np.nanmean(rest, 0)
            spread = np.sqrt((np.nanvar(own, 0) + np.nanvar(rest, 0)) / 2)
        size = np.abs(difference) / np.maximum(spread, 1e-3 * np.abs(difference) + 1e-12)
        for i in np.flatnonzero(np.isfinite(size)).tolist():
            found.append((float(size[i]), -c, -i, name, own[:, i], rest[:, i]))
    found.sort(key=lambda each: each[:3], reverse=True)
    told: list[dict[str, Any]] = []
    for strength, _, place, name, own, rest in found:
        feature = family.features[-place]
        if len(told) < _STRONGEST and feature.what not in [each["what"] for each in told]:
            told.append(summary.describe_feature(
                feature, name, float(np.nanmean(own)), float(np.nanmean(rest)), strength
            ))  # fmt: skip
    return told


def _animal_means(
    values: Float[np.ndarray, "n d"], animal: np.ndarray
) -> Float[np.ndarray, "animals d"]:
    return pd.DataFrame(values).groupby(animal).mean().to_numpy()


def _recognise(families: list[Family], is_value: pd.Series, settings: Settings) -> dict[str, Any]:
    """Tells how well the background recognises one cage, camera or date, by recordings.

    The recordings are left out one by one: the cage itself cannot be.
    """
    family = next(each for each in families if each.name == "background")
    components = classifier.whiten(family.values, groups=len(is_value))
    label = is_value.to_numpy(int)
    if not components.shape[1] or min(label.sum(), (1 - label).sum()) < 2:
        return absent("too few recordings, or all look alike")
    named = classifier.predict(components, label[None], np.arange(len(label)), classes=2)
    return {
        "value": float(classifier.mean_recall(label[None], named, classes=2)[0]),
        "chance": 0.5,
        "n": len(label),
        "by": "background, leaving out single recordings",
    }


def _describe_mask(recordings: pd.DataFrame) -> dict[str, Any]:
    """Says in how many recordings the background is free of the animal."""
    return {
        "recordings": len(recordings),
        "cleared_of_a_still_animal": int((recordings["ghost"] > 0).sum()),
        "not_clear": int((~recordings["is_clear"].astype(bool)).sum()),
    }


def _mean_backgrounds(recordings: pd.DataFrame, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Averages the backgrounds of each class, animals alike, as PNGs in base64."""
    by_condition = design.is_by_condition(taxonomy) and bool(taxonomy.coarse)
    names = taxonomy.coarse if by_condition else taxonomy.fine
    label = recordings["label"].to_numpy(int)
    label = np.asarray(taxonomy.fine_to_coarse)[label] if by_condition else label
    pictures = [
        np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), np.float32)
        for png in recordings["picture"]
    ]
    shapes = pd.Series([picture.shape for picture in pictures])
    height, width = shapes.mode()[0]
    pictures = [cv2.resize(p, (width, height)) if p.shape != (height, width) else p
                for p in pictures]  # fmt: skip
    stack = np.stack(pictures).reshape(len(pictures), -1)
    told = []
    for c in np.unique(label):
        means = _animal_means(stack[label == c], recordings["animal"].to_numpy()[label == c])
        png = summary.encode_png(means.mean(0).reshape(height, width))
        n = int((label == c).sum())
        told.append({"class": names[c], "n": n, "animals": len(means), "png": png})
    return told


def _overall(result: dict[str, Any]) -> str:
    colours = {entry["status"] for entry in result["families"].values()}
    colours.add(result["day"]["status"])
    if result["by_construction"] or result["burned_in"]["places"]:
        colours.add("amber")
    return next((colour for colour in ("red", "amber") if colour in colours), "green")
