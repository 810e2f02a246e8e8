"""The page on which raters answer, blinded: one folder that needs no network and no server.

It knows the clips by neutral names, and the classes there are; not which clip is of which. All
files are dated alike.
"""

import os
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from mpjax.analysis.raters.files import CONFIDENCE
from mpjax.io import files
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
    """Returns what the page is told.

    Args:
        package: id of the package.
        taxonomy: the classes to choose among.
        clips: per clip to rate: `name`, `sheets` (where its pictures are, relative to the page, or
            as data: URIs), `frames`, `width`, `height`, `cell`, `columns`, `per_sheet`, `fps`; see
            `mpjax.data.rating_clips.Pictures`.
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
        # By name, which is a hash: the order tells nothing.
        "clips": sorted((dict(clip) for clip in clips), key=lambda clip: clip["name"]),
        "examples": [dict(example) | {"shown": _shown(example["label"])} for example in examples],
    }


def render(package: Mapping[str, Any]) -> str:
    """Renders the page.

    Args:
        package: see `describe_package`.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mpjax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("rating/page.html.j2")
    return template.render(
        package=package, questions=_questions(package), seconds=_seconds(package["clips"])
    )


def write(out: Path, page: str, pictures: Mapping[str, bytes]) -> None:
    """Writes the folder of a package, aside then renamed; all of it has one date.

    Args:
        out: the folder; new.
        page: index.html.
        pictures: content by path within the folder.

    Raises:
        FileExistsError: `out` exists.
    """
    with files.write_folder_aside(out) as aside:
        for name in sorted(pictures):
            (aside / name).parent.mkdir(exist_ok=True)
            (aside / name).write_bytes(pictures[name])
        (aside / "index.html").write_text(page, encoding="utf-8")
        for path in [*Path(aside).rglob("*"), aside]:
            os.utime(path, (_DATE, _DATE))


def _questions(package: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns the questions of a trial in their order, with the keys of their choices."""
    asked: list[tuple[str, str, Sequence[str], Sequence[str]]] = []
    coarse, fine, days = package["coarse"], package["fine"], package["days"]
    if coarse:
        asked.append(("coarse", "Which group?", coarse, [_plain(name) for name in coarse]))
    if days:
        parsed = [parse_fine_name(name) for name in fine]
        conditions = list(dict.fromkeys(each[0] for each in parsed if each))
        asked.append(
            ("condition", "Which condition exactly?", conditions, list(map(_plain, conditions)))
        )
        asked.append(
            ("day", "Which day after induction?", list(map(str, days)), list(map(_day, days)))
        )
    else:
        asked.append(("fine", "Which class?", fine, list(map(_plain, fine))))
    levels = [str(level) for level in range(1, len(CONFIDENCE) + 1)]
    sure = "How sure are you of condition and day?" if days else "How sure are you of the class?"
    asked.append(("confidence", sure, levels, CONFIDENCE))
    return [
        {
            "id": name,
            "text": text,
            "narrow": name == "confidence" or (name == "day" and len(values) <= len(CONFIDENCE)),
            "choices": [
                {"value": value, "shown": told, "key": _KEYS[i] if i < len(_KEYS) else ""}
                for i, (value, told) in enumerate(zip(values, shown, strict=True))
            ],
        }
        for name, text, values, shown in asked
    ]


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _day(day: int) -> str:
    return f"Day {day}".replace("-", "−")


def _shown(label: str) -> str:
    parsed = parse_fine_name(label)
    return f"{_plain(parsed[0])}, {_day(parsed[1]).lower()}" if parsed else _plain(label)


def _seconds(clips: Sequence[Mapping[str, Any]]) -> str:
    """Tells how long the clips are."""
    ends = sorted({f"{clip['frames'] / clip['fps']:.1f}" for clip in clips}, key=float)
    if len(ends) > 1:
        return f"{ends[0]} to {ends[-1]} seconds"
    return f"{ends[0]} second{'' if ends[0] == '1.0' else 's'}"
