"""The audit of confounds: can the class be predicted from something other than behaviour?

Each family of features (background, picture, file, date, camera, sex, cage) is given to a small
classifier under cross-validation that leaves out one animal (cage) at a time, by recordings.

- Red: above chance by more than a trace, by permutation over animals (cages) and after Holm's
  adjustment over all such tests; or a scene whose means by animal (cage) differ between the
  classes, which few animals are enough to show.
- Amber: what the design makes inseparable.
- Apart, and never red: what depends on the animal itself (its size, its motion, the bit rate that
  follows from it), which may well reflect pain.
"""

import base64
from typing import Any

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis.confounds import classifier, design, features, summary
from mpjax.analysis.confounds.feature_tests import Settings, adjust, run_task
from mpjax.analysis.confounds.features import BEHAVIOUR, RECORD, Family
from mpjax.analysis.stats.estimates import ALPHA, absent
from mpjax.data.splits import classification_rows
from mpjax.taxonomy import Taxonomy

_STRONGEST = 3  # features named per family
_RELEVANT = 0.65  # balanced accuracy of one class against all others (chance 0.5)
_TRACE = (
    "above chance, but by so little that a trace of the animal (a shadow, a reflection) left by "
    "the mask is as likely as a difference between scenes"
)


def audit_confounds(
    recordings: pd.DataFrame, taxonomy: Taxonomy, settings: Settings
) -> dict[str, Any]:
    """Tests whether the class can be predicted from anything other than behaviour.

    Args:
        recordings: a row per recording, from `mpjax.data.scene.measure.read_or_measure`; those of
            no class or of the split `drug` are left out.
        taxonomy: of the column `label`.

    Returns:
        For metrics.json: {"status": red | amber | green, "sentences", "n": {"recordings",
        "animals"}, "group", "families", "by_construction", "day", "burned_in", "animal_masked",
        "backgrounds"}. A family is {"title", "kind", "status": red | amber | green | unknown |
        apart, "why", "above_chance": names of tasks, "strongest": features, "sentence", "tasks"};
        a task (fine, coarse) {"value", "ci95", "n", "chance", "classes", "p", "p_holm", "unit",
        "null": {"mean", "q95"}, "best": {"class", "value", "chance"}, "means": {"p", "p_holm"},
        "detectable"}, or {"value": None, "why"}. The value is the balanced accuracy of all
        classes; `best` is the class, if any, that stands out more clearly against all others.
    """
    used = recordings[classification_rows(recordings)]
    used = used.astype({"date": str, "created": str}).reset_index(drop=True)
    used["date"] = used["date"].where(used["date"] != "", used["created"].str[:10])
    counts = {"recordings": len(used), "animals": int(used["animal"].nunique())}
    result: dict[str, Any] = {"n": counts, "group": settings.group}
    if used.empty:
        sentence = "Not audited: no recording of a trained class."
        return result | {"status": "amber", "sentences": [sentence], "families": {}}
    tasks = design.plan_tasks(used, taxonomy, settings.group)
    families = {family.name: family for family in features.families(used, settings.group)}
    tested = {name: _test_family(each, used, tasks, settings) for name, each in families.items()}
    adjust(tested)
    cases = design.find_inseparable(used, taxonomy)
    for case in cases:
        is_value = (used[case["column"]] == case["value"]).to_numpy(int)
        case["recognised"] = _recognise(families["background"], is_value)
    for name, family in families.items():
        _judge(tested[name], family, used, tasks, cases)
    result |= {
        "families": tested,
        "by_construction": cases,
        "day": design.describe_days(used, taxonomy),
        "burned_in": summary.describe_burned_in(used),
        "animal_masked": {
            "recordings": len(used),
            "cleared_of_a_still_animal": int((used["ghost"] > 0).sum()),
            "not_clear": int((~used["is_clear"].astype(bool)).sum()),
        },
        "backgrounds": _mean_backgrounds(used, taxonomy),
    }
    colours = {entry["status"] for entry in (*tested.values(), result["day"])}
    if cases or result["burned_in"]["places"]:
        colours.add("amber")
    result["status"] = next((each for each in ("red", "amber") if each in colours), "green")
    return result | {"sentences": summary.summarise(result)}


def _test_family(
    family: Family, recordings: pd.DataFrame, tasks: dict[str, design.Task], settings: Settings
) -> dict[str, Any]:
    """Returns a family's entry without its status."""
    entry: dict[str, Any] = {"title": family.title, "kind": family.kind, "tasks": {}}
    if family.why:
        return entry | {"why": family.why}
    # What is known about a recording is tested on the groups, where there are any.
    wanted = list(tasks)[-1:] if family.kind == RECORD else tasks
    entry["tasks"] = {name: run_task(family, recordings, tasks[name], settings) for name in wanted}
    return entry


def _judge(
    entry: dict[str, Any],
    family: Family,
    recordings: pd.DataFrame,
    tasks: dict[str, design.Task],
    cases: list[dict[str, Any]],
) -> None:
    """Adds a family's status, reason and sentence in place."""
    tried = entry["tasks"]
    least = {name: _least_p(task, family.kind) for name, task in tried.items()}
    above = [name for name, p in least.items() if p <= ALPHA]
    entry["strongest"] = []
    if above:
        best = min(above, key=lambda name: (least[name], name != "coarse"))
        entry["strongest"] = _strongest(family, recordings, tasks[best])
    inseparable = " ".join(case["sentence"] for case in cases if case["column"] == family.name)
    untested = "; ".join(dict.fromkeys(filter(None, map(_why_untested, tried.values()))))
    if family.kind == BEHAVIOUR:
        entry["status"] = "apart"
    elif any(is_relevant(tried[name]) for name in above):
        entry["status"] = "red"
    elif above or inseparable:
        entry |= {"status": "amber", "why": _TRACE if above else inseparable}
    elif family.why:
        entry["status"] = "green" if family.values.size else "unknown"
    elif untested:
        entry |= {"status": "amber", "why": untested}
    else:
        entry["status"] = "green"
    for task in tried.values():
        task.pop("uninformative", None)
    entry["above_chance"] = above
    entry["sentence"] = summary.describe_family(entry)


def is_relevant(task: dict[str, Any]) -> bool:
    """Says whether a task's result above chance is more than a trace.

    In a thousand recordings even a shadow of the animal at the edge of its mask is above chance.
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
    """Returns why a task is inconclusive; empty where it is not, or where nothing varies."""
    if task.get("uninformative") or "means" in task:
        return ""
    return str(task["why"] if task.get("p") is None else task["detectable"].get("why", ""))


def _strongest(family: Family, recordings: pd.DataFrame, task: design.Task) -> list[dict[str, Any]]:
    """Names the features by which one class differs most from the others, by animals' means."""
    values, animal = family.values[task.rows], recordings["animal"].to_numpy()[task.rows]
    sides = [
        [_animal_means(values[mine], animal[mine]) for mine in (task.label == c, task.label != c)]
        for c in range(len(task.classes))
    ]
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.array([[np.nanmean(side, 0) for side in both] for both in sides])
        variance = np.array([[np.nanvar(side, 0) for side in both] for both in sides])
    difference = np.abs(mean[:, 0] - mean[:, 1])
    size = difference / np.maximum(np.sqrt(variance.mean(1)), 1e-3 * difference + 1e-12)
    strongest: dict[str, dict[str, Any]] = {}
    for place in np.argsort(-size, axis=None, kind="stable"):
        c, i = np.unravel_index(place, size.shape)
        feature = family.features[i]
        if len(strongest) < _STRONGEST and np.isfinite(size[c, i]):
            own, rest, sd = map(float, (*mean[c, :, i], size[c, i]))
            described = summary.describe_feature(feature, task.classes[c], own, rest, sd)
            strongest.setdefault(feature.what, described)
    return list(strongest.values())


def _animal_means(values: Float[np.ndarray, "n d"], animal: np.ndarray) -> np.ndarray:
    """Returns a row per animal."""
    return pd.DataFrame(values).groupby(animal).mean().to_numpy()


def _recognise(background: Family, label: Int[np.ndarray, " n"]) -> dict[str, Any]:
    """Returns how well the background recognises one cage, camera or date, by recordings.

    Single recordings are left out, as the cage itself cannot be.
    """
    components = classifier.whiten(background.values, groups=len(label))
    if not components.shape[1] or min(label.sum(), (1 - label).sum()) < 2:
        return absent("too few recordings, or all look alike")
    single = np.arange(len(label))
    [value] = classifier.balanced_accuracy(components, label[None], single, classes=2).tolist()
    by = "background, leaving out single recordings"
    return {"value": value, "chance": 0.5, "n": len(label), "by": by}


def _mean_backgrounds(recordings: pd.DataFrame, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Averages the backgrounds of each class, every animal with the same weight, as base64 PNGs."""
    names, label = design.main_classes(recordings, taxonomy)
    images = [
        np.asarray(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_GRAYSCALE), np.float32)
        for png in recordings["picture"]
    ]
    height, width = pd.Series([image.shape for image in images]).mode()[0]
    stack = np.stack([cv2.resize(image, (width, height)).ravel() for image in images])
    found = []
    for c in np.unique(label):
        means = _animal_means(stack[label == c], recordings["animal"].to_numpy()[label == c])
        image = np.rint(means.mean(0).reshape(height, width)).clip(0, 255).astype(np.uint8)
        png = base64.b64encode(cv2.imencode(".png", image)[1].tobytes()).decode()
        n = int((label == c).sum())
        found.append({"class": names[c], "n": n, "animals": len(means), "png": png})
    return found
