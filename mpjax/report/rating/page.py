"""The page on which blinded raters answer: one folder that needs no network and no server.

It holds the clips under neutral names and the list of classes, but not which clip is of which. All
files have the same date.
"""

import os
import string
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mpjax.analysis.raters.files import CONFIDENCE
from mpjax.io import files
from mpjax.report.rendering import environment
from mpjax.taxonomy import Taxonomy, parse_fine_name

FORMAT = "mpjax.rating/1"
_KEYS = string.digits[1:] + string.ascii_lowercase
_DATE = 946684800  # 2000-01-01, of every file


def describe_package(
    package: str,
    taxonomy: Taxonomy,
    *,
    clips: Sequence[Mapping[str, Any]],
    examples: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Returns what the page holds.

    Args:
        package: its id.
        taxonomy: the classes to choose among.
        clips: of each the fields of `mpjax.data.rating_clips.Pictures`, but `sheets` are paths of
            its images, relative to the page, or data: URIs.
        examples: the same, with the fine class as `label`.
    """
    parsed = [parse_fine_name(name) for name in taxonomy.fine]
    days = sorted({each[1] for each in parsed if each}) if all(parsed) else []
    return {
        "format": FORMAT,
        "id": package,
        "fine": list(taxonomy.fine),
        "coarse": list(taxonomy.coarse),
        "days": days,
        # By name, which is a hash: the order reveals nothing.
        "clips": sorted((dict(clip) for clip in clips), key=lambda clip: clip["name"]),
        "examples": [dict(example) | {"shown": _shown(example["label"])} for example in examples],
    }


def render(package: Mapping[str, Any]) -> str:
    """Renders the page of what `describe_package` returns."""
    ends = sorted({f"{clip['frames'] / clip['fps']:.1f}" for clip in package["clips"]}, key=float)
    seconds = f"{ends[0]} second{'' if ends[0] == '1.0' else 's'}"
    if len(ends) > 1:
        seconds = f"{ends[0]} to {ends[-1]} seconds"
    template = environment().get_template("rating/page.html.j2")
    return template.render(package=package, questions=_questions(package), seconds=seconds)


def write(out: Path, page: str, images: Mapping[str, bytes]) -> None:
    """Writes the new folder of a package, aside then renamed; all of it has one date.

    `page` is its index.html; `images` are their contents by path within the folder.
    """
    with files.write_folder_aside(out) as aside:
        for name in sorted(images):
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(images[name])
        (aside / "index.html").write_text(page, encoding="utf-8")
        for path in [*Path(aside).rglob("*"), aside]:
            os.utime(path, (_DATE, _DATE))


def _questions(package: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the questions of a trial in their order, with the keys of their choices."""
    coarse, fine, days = package["coarse"], package["fine"], package["days"]
    questions = [_question("coarse", "Which group?", coarse, _plain)] if coarse else []
    sure = "How confident are you about the class?"
    if days:
        parsed = [parse_fine_name(name) for name in fine]
        conditions = list(dict.fromkeys(each[0] for each in parsed if each))
        questions.append(_question("condition", "Which condition exactly?", conditions, _plain))
        questions.append(_question("day", "Which day after induction?", days, _day))
        sure = "How confident are you about condition and day?"
    else:
        questions.append(_question("fine", "Which class?", fine, _plain))
    levels = range(1, len(CONFIDENCE) + 1)
    questions.append(_question("confidence", sure, levels, lambda i: CONFIDENCE[i - 1]))
    return questions


def _question(
    name: str, text: str, values: Sequence[Any], show: Callable[[Any], str]
) -> dict[str, Any]:
    narrow = name == "confidence" or (name == "day" and len(values) <= len(CONFIDENCE))
    choices = [
        {"value": str(value), "shown": show(value), "key": _KEYS[i] if i < len(_KEYS) else ""}
        for i, value in enumerate(values)
    ]
    return {"id": name, "text": text, "narrow": narrow, "choices": choices}


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _day(day: int) -> str:
    return f"Day {day}".replace("-", "−")


def _shown(label: str) -> str:
    parsed = parse_fine_name(label)
    return f"{_plain(parsed[0])}, {_day(parsed[1]).lower()}" if parsed else _plain(label)
