"""The findings of the audit of confounds as sentences."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mpjax.analysis.confounds.features import BEHAVIOUR, Feature
from mpjax.formatting import interval, number, p_phrase, percent

_TASKS = {"fine": "class", "coarse": "group within days"}


def describe_feature(
    feature: Feature, name: str, own: float, rest: float, size: float
) -> dict[str, Any]:
    """Describes a feature by which the class `name` differs from the others.

    `own` and `rest` are means over animals; `size` is the difference in SD between animals.
    """
    digits = feature.digits
    means = [percent(v) if digits is None else number(v, digits) for v in (own, rest)]
    verb = feature.more if own >= rest else feature.less
    return {
        "class": name,
        "what": feature.what,
        "mean": own,
        "others": rest,
        "standard_deviations": size,
        "sentence": f"{name} recordings {verb}: mean {' against '.join(means)} ({feature.what})",
    }


def describe_family(entry: Mapping[str, Any]) -> str:
    """Describes the result of one family: what it predicts, how surely, by which features."""
    title, tasks, why = entry["title"], entry["tasks"], entry.get("why", "").rstrip(".")
    if entry["status"] == "unknown":
        return f"{title}: not tested ({why})."
    tested = {name: task for name, task in tasks.items() if task.get("value") is not None}
    if not tested:
        whys = dict.fromkeys(task["why"] for task in tasks.values())
        return f"{title}: {why or '; '.join(whys).rstrip('.')}."
    shown = entry["above_chance"] or tested
    found = "; ".join(_describe_task(name, tasks[name], entry["kind"]) for name in shown)
    if entry["above_chance"]:
        features = "; ".join(each["sentence"] for each in entry["strongest"][:2])
        caution = f" This is {why}." if entry["status"] == "amber" else ""
        return f"{title}: {found}. {features}.{caution}"
    detectable = [task.get("detectable", {}).get("value") for task in tasks.values()]
    if least := [percent(value) for value in detectable if value is not None]:
        found += f". 80 % of such cohorts would reveal an accuracy of {' and '.join(least)}"
    return f"{title}: {found}." + (f" {why[0].upper()}{why[1:]}." if why else "")


def _describe_task(name: str, task: Mapping[str, Any], kind: str) -> str:
    details = [f"chance {percent(task['chance'])}"]
    if task.get("ci95"):
        details.append(f"95 % CI {interval(task)}")
    p, means = task.get("p_holm", task.get("p")), task.get("means", {})
    adjusted = "" if kind == BEHAVIOUR else " after Holm"
    details.append("not testable" if p is None else p_phrase(p) + adjusted)
    if "p_holm" in means:
        details.append(f"means differ with {p_phrase(means['p_holm'])} after Holm")
    text = f"balanced accuracy for {_TASKS[name]} {percent(task['value'])} ({', '.join(details)})"
    if best := task.get("best"):
        text += f", {best['class']} against all others {percent(best['value'])} (chance 50 %)"
    return text


def describe_burned_in(recordings: pd.DataFrame) -> dict[str, Any]:
    """Collects where timers and captions are, in px of the original video, over the recordings.

    Returns {"places": [{"kind", "box", "recordings"}], "mask": the value for `config.video.mask`,
    "not_tested", "sentence"}.
    """
    places: list[dict[str, Any]] = []
    for column, kind in (("captions", "caption"), ("timers", "timer")):
        texts = [text for cell in recordings[column] for text in json.loads(cell)]
        for box, count in sorted(_join([list(map(int, text.split(":"))) for text in texts])):
            places.append({"kind": kind, "box": ":".join(map(str, box)), "recordings": count})
    places.sort(key=lambda place: -place["recordings"])
    mask = [place["box"] for place in places]
    untested = recordings["timers_why"][recordings["timers_why"] != ""]
    sentence = ""
    if places:
        listed = "; ".join(
            f"a {place['kind']} at {place['box']} in {place['recordings']} of {len(recordings)} "
            "recordings"
            for place in places
        )
        sentence = (
            f"Burned into the video: {listed} (x:y:w:h in px of the original). It may give the "
            f'session away; mask it and build again: --config.video.mask="{tuple(mask)}"'
        )
    elif len(untested):
        sentence = f"In {len(untested)} recordings {untested.iloc[0]}."
    return {"places": places, "mask": mask, "not_tested": len(untested), "sentence": sentence}


def _join(boxes: list[list[int]]) -> list[tuple[tuple[int, ...], int]]:
    """Joins boxes (x, y, width, height) that overlap; returns each with how many went into it."""
    joined: list[tuple[np.ndarray, np.ndarray, int]] = []  # first and last corner, boxes
    for box in boxes:
        start, end, count = np.array(box[:2]), np.array(box[:2]) + box[2:], 1
        apart = []
        for other in joined:
            if (start < other[1]).all() and (other[0] < end).all():
                start, end = np.minimum(start, other[0]), np.maximum(end, other[1])
                count += other[2]
            else:
                apart.append(other)
        joined = [*apart, (start, end, count)]
    return [((*start.tolist(), *(end - start).tolist()), count) for start, end, count in joined]


def summarise(result: Mapping[str, Any]) -> list[str]:
    """Returns the audit's sentences, the worst first."""
    families = result["families"].values()
    cases = [case["sentence"] for case in result["by_construction"]]
    red = [entry["sentence"] for entry in families if entry["status"] == "red"]
    amber = []
    for case in result["by_construction"]:
        amber.append(case["sentence"])
        if (accuracy := case["recognised"]["value"]) is not None:
            amber[-1] += (
                f" The background alone recognises recordings of {case['column']} {case['value']} "
                f"with a balanced accuracy of {percent(accuracy)} (chance 50 %)."
            )
    amber += [
        entry["sentence"]
        for entry in families
        if entry["status"] == "amber" and not any(case in entry.get("why", "") for case in cases)
    ]
    if result["day"]["status"] == "amber":
        amber.append(f"Day: {result['day']['why']}.")
    if result["burned_in"]["places"]:
        amber.append(result["burned_in"]["sentence"])
    head = "Nothing about scene, file or recording predicts the class better than chance."
    if red:
        head = (
            "The class can be predicted from something other than behaviour. Until this is removed "
            "or balanced, no accuracy in this report can be attributed to behaviour."
        )
    elif amber:
        head = "Nothing tested is clearly confounded with the class, but note the following:"
    return [head, *red, *amber]


def describe_single_frames(found: Mapping[str, Any]) -> str:
    """Says whether clips predict the class better than single frames do."""
    difference, chance = found["difference"], percent(found["chance"])
    clip, still = (percent(found[side]["value"]) for side in ("clip", "still"))
    text = (
        f"Balanced accuracy is {clip} from clips and {still} from single frames (chance {chance})"
    )
    if difference["ci95"] is None:
        return f"{text}; the difference has no interval."
    low, high = difference["ci95"]
    points = [number(100 * each, 1) for each in (difference["value"], low, high)]
    text += f": a difference of {points[0]} points (95 % CI {points[1]} to {points[2]})"
    if low > 0:
        return f"{text}. Motion carries part of it."
    if high < 0:
        return f"{text}. Single frames alone do better: it is not motion."
    return f"{text}. It is unclear whether motion adds anything."
