"""What the audit of confounds says in words."""

import base64
import json
from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
import pandas as pd
from jaxtyping import Float

from mpjax.analysis.confounds.features import BEHAVIOUR, Feature

_TASKS = {"fine": "fine class", "coarse": "coarse class, within days"}


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _p(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def describe_feature(
    feature: Feature, name: str, own: float, rest: float, size: float
) -> dict[str, Any]:
    """Returns a feature by which a class differs, in numbers and in words.

    Args:
        feature: its words.
        name: of the class.
        own: the mean over the animals of the class.
        rest: over the others.
        size: the difference in standard deviations between animals.
    """
    verb = feature.more if own >= rest else feature.less
    means = [_percent(v) if feature.share else f"{v:.{feature.digits}f}" for v in (own, rest)]
    return {
        "class": name,
        "what": feature.what,
        "mean": own,
        "others": rest,
        "standard_deviations": size,
        "sentence": f"{name} recordings {verb}: mean {means[0]} against {means[1]} "
        f"({feature.what})",
    }


def describe_family(entry: Mapping[str, Any]) -> str:
    """Returns the sentence of one family: what it tells, how surely, by which features."""
    title, status = entry["title"], entry["status"]
    if status == "unknown":
        return f"{title}: not tested, for {entry['why']}."
    if entry["above_chance"]:
        told = "; ".join(_describe_task(name, entry["tasks"][name], entry["kind"])
                         for name in entry["above_chance"])  # fmt: skip
        features = "; ".join(each["sentence"] for each in entry["strongest"][:2])
        why = f" This is {entry['why']}." if status == "amber" else ""
        return f"{title}: {told}. {features}.{why}"
    if not any(task.get("value") is not None for task in entry["tasks"].values()):
        whys = dict.fromkeys(task["why"] for task in entry["tasks"].values())
        return f"{title}: {(entry.get('why') or '; '.join(whys)).rstrip('.')}."
    told = "; ".join(
        _describe_task(name, task, entry["kind"])
        for name, task in entry["tasks"].items()
        if task.get("value") is not None
    )
    least = [t["detectable"]["value"] for t in entry["tasks"].values()
             if t.get("detectable", {}).get("value") is not None]  # fmt: skip
    power = (
        f" An accuracy of {' and '.join(map(_percent, least))} would have been found in 80 % of "
        "such cohorts." if least else ""
    )  # fmt: skip
    why = f" {entry['why'].rstrip('.')}." if entry.get("why") else ""
    return f"{title}: {told}.{power}{why}"


def _describe_task(name: str, task: Mapping[str, Any], kind: str) -> str:
    interval = ""
    if task.get("ci95"):
        low, high = task["ci95"]
        interval = f", 95 % CI {100 * low:.0f} to {100 * high:.0f} %"
    p = task.get("p_holm", task.get("p"))
    test = "not testable" if p is None else _p(p)
    adjusted = "" if kind == BEHAVIOUR or p is None else " after Holm"
    best = ""
    if "best" in task:
        one = task["best"]
        best = f", {one['class']} against all others with {_percent(one['value'])} (chance 50 %)"
    means = task.get("means", {})
    differ = f"; means differ with {_p(means['p_holm'])} after Holm" if "p_holm" in means else ""
    return (
        f"{_TASKS[name]} told with a balanced accuracy of {_percent(task['value'])} "
        f"(chance {_percent(task['chance'])}{interval}, {test}{adjusted}{differ}){best}"
    )


def describe_burned_in(recordings: pd.DataFrame) -> dict[str, Any]:
    """Gathers timers and captions over the recordings.

    Returns:
        {"places": [{"kind", "box", "recordings"}], "mask", "not_tested", "sentence"}: where they
        are, px of the original, and in how many recordings; what to give `config.video.mask`.
    """
    boxes: dict[tuple[str, tuple[int, ...]], int] = {}
    for kind in ("timers", "captions"):
        found = [
            [int(part) for part in text.split(":")]
            for cell in recordings[kind]
            for text in json.loads(cell)
        ]
        for box, count in _join(found):
            boxes[kind[:-1], box] = count
    places = [
        {"kind": kind, "box": ":".join(map(str, box)), "recordings": count}
        for (kind, box), count in sorted(boxes.items(), key=lambda item: (-item[1], item[0]))
    ]
    untested = recordings["timers_why"][recordings["timers_why"] != ""]
    mask = [":".join(map(str, box)) for _, box in sorted(boxes, key=lambda key: -boxes[key])]
    told = {"places": places, "mask": mask, "not_tested": len(untested), "sentence": ""}
    if places:
        listed = "; ".join(
            f"a {p['kind']} at {p['box']} in {p['recordings']} of {len(recordings)} recordings"
            for p in places
        )
        told["sentence"] = (
            f"Burned into the picture: {listed} (x:y:w:h in px of the original). It may tell the "
            f"session; black it out and build again: --config.video.mask={_as_flag(mask)}"
        )
    elif len(untested):
        told["sentence"] = f"In {len(untested)} recordings {untested.iloc[0]}."
    return told


def _as_flag(mask: list[str]) -> str:
    return f"\"('{mask[0]}',)\"" if len(mask) == 1 else f'"{tuple(mask)}"'


def _join(boxes: list[list[int]]) -> list[tuple[tuple[int, ...], int]]:
    """Joins boxes that overlap; returns each with how many went into it."""
    joined: list[tuple[list[int], int]] = []
    for box in boxes:
        count = 1
        apart = []
        for other, n in joined:
            if _overlap(box, other):
                box, count = _around(box, other), count + n
            else:
                apart.append((other, n))
        joined = [*apart, (box, count)]
    return [(tuple(box), count) for box, count in joined]


def _overlap(a: list[int], b: list[int]) -> bool:
    return all(a[i] < b[i] + b[i + 2] and b[i] < a[i] + a[i + 2] for i in (0, 1))


def _around(a: list[int], b: list[int]) -> list[int]:
    start = [min(a[i], b[i]) for i in (0, 1)]
    end = [max(a[i] + a[i + 2], b[i] + b[i + 2]) for i in (0, 1)]
    return [*start, end[0] - start[0], end[1] - start[1]]


def tell(result: Mapping[str, Any]) -> list[str]:
    """Returns the audit's sentences, the worst first."""
    families = result["families"].values()
    red = [entry["sentence"] for entry in families if entry["status"] == "red"]
    amber = [case["sentence"] + _recognised(case) for case in result["by_construction"]]
    amber += [
        entry["sentence"]
        for entry in families
        if entry["status"] == "amber" and not _is_case(entry, result)
    ]
    if result["day"]["status"] == "amber":
        amber.append(f"Day: {result['day']['why']}.")
    if result["burned_in"]["places"]:
        amber.append(result["burned_in"]["sentence"])
    if red:
        head = ["The class can be told from what is not behaviour. Until this is removed or "
                "balanced, no accuracy of this report can be taken for behaviour."]  # fmt: skip
    elif amber:
        head = ["No family tells the class in a way that would be red; this asks for care:"]
    else:
        head = ["No family of scene, file or recording tells the class better than chance."]
    return [*head, *red, *amber]


def _is_case(entry: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    return any(case["sentence"] in entry.get("why", "") for case in result["by_construction"])


def _recognised(case: Mapping[str, Any]) -> str:
    found = case["recognised"]
    if found.get("value") is None:
        return ""
    return (
        f" The background alone recognises recordings of {case['column']} {case['value']} with a "
        f"balanced accuracy of {_percent(found['value'])} (chance 50 %)."
    )


def describe_stills(told: Mapping[str, Any]) -> str:
    """Returns whether clips say more than still frames."""
    difference = told["difference"]
    text = (
        f"Clips tell {_percent(told['clip']['value'])}, still frames "
        f"{_percent(told['still']['value'])} (balanced accuracy, chance "
        f"{_percent(told['chance'])})"
    )
    if difference["ci95"] is None:
        return f"{text}; the difference has no interval."
    low, high = difference["ci95"]
    points = (
        f"a difference of {100 * difference['value']:+.0f} points (95 % CI {100 * low:+.0f} to "
        f"{100 * high:+.0f})"
    )
    if low > 0:
        return f"{text}: {points}. Motion carries part of it."
    if high < 0:
        return f"{text}: {points}. Still frames alone tell more: it is not motion."
    return f"{text}: {points}. Whether motion adds anything cannot be told."


def encode_png(picture: Float[np.ndarray, "h w"]) -> str:
    """Encodes a grey picture as a PNG in base64."""
    encoded = cv2.imencode(".png", np.clip(np.rint(picture), 0, 255).astype(np.uint8))[1]
    return base64.b64encode(encoded.tobytes()).decode()
