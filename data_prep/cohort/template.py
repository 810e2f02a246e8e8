"""Drafts a cohort table: what the names of videos say of animal and day, the rest to fill in."""

import dataclasses
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from mpjax.data.video_search import VIDEOS, find_videos
from mpjax.io import files

PATTERNS = (
    "{animal}_d{day}",
    "{animal}_day{day}",
    "{animal}_d{day}_{drug}_{dose}mgkg_{minutes}min",
    "{animal}_d{day}_{drug}_{dose}mgkg",
    "{animal}_d{day}_{drug}",
)
# For each field of a pattern: the column of the table, and the values that it matches.
FIELDS = {
    "animal": ("animal", r"[^/]+?"),
    "condition": ("condition", r"[^/]+?"),
    "day": ("day", r"[+-]?\d{1,5}"),
    "cage": ("cage", r"[^/]+?"),
    "sex": ("sex", r"male|female|m|f"),
    "drug": ("drug", r"[^/]*?[^\W\d_][^/]*?"),
    "dose": ("dose_mg_per_kg", r"\d+(?:\.\d+)?"),
    "minutes": ("minutes_post_dose", r"\d+"),
    "label": ("label", r"[^/]+?"),
}
COLUMNS = (
    *("video", "animal", "cage", "sex", "condition", "day"),
    *("drug", "dose_mg_per_kg", "route", "minutes_post_dose", "fps", "roi"),
)
_SHOWN = 5  # files named in a sentence


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A pattern of file names: as it was written, and as an expression for paths."""

    text: str
    expression: re.Pattern[str]  # a path without its ending, with as many folders as the pattern

    def read(self, path: Path) -> dict[str, str] | None:
        """Returns the cells that a path gives, by column; None if the pattern does not fit."""
        depth = self.text.count("/") + 1
        match = self.expression.fullmatch("/".join(path.with_suffix("").parts[-depth:]))
        if match is None:
            return None
        cells = {FIELDS[name][0]: value for name, value in match.groupdict().items()}
        if "day" in cells:
            cells["day"] = str(int(cells["day"]))
        if "sex" in cells:
            cells["sex"] = cells["sex"][0].upper()
        if cells.get("drug", "").lower() in ("veh", "vehicle"):
            cells |= {"drug": "vehicle", "dose_mg_per_kg": ""}
        return cells


def parse_pattern(text: str) -> Pattern:
    """Reads a pattern such as '{condition}/{animal}_d{day}'.

    Raises:
        ValueError: a field is unknown or given twice, or there is none.
    """
    fields: list[str] = []
    expression = ""
    for part in re.split(r"(\{[^{}]*\}|\*|_)", text.strip("/")):
        if part.startswith("{"):
            name = part[1:-1].strip()
            if name not in FIELDS or name in fields:
                fault = "given twice" if name in fields else "not known"
                raise ValueError(
                    f"pattern {text!r}: field {{{name}}} is {fault}; there are {', '.join(FIELDS)}"
                )
            fields.append(name)
            expression += f"(?P<{name}>{FIELDS[name][1]})"
        else:
            expression += {"*": "[^/]*", "_": r"[_\-. ]"}.get(part, re.escape(part))
    if not fields:
        raise ValueError(f"pattern {text!r}: holds no field; write e.g. '{{animal}}_d{{day}}'")
    return Pattern(text, re.compile(expression, re.IGNORECASE | re.ASCII))


@dataclasses.dataclass(frozen=True)
class Template:
    """A table that was written, and what to report about it."""

    path: Path  # of the csv
    rows: list[dict[str, str]]  # cells per recording
    patterns: list[str]  # per recording, the pattern that fitted; "" if none did
    minutes: float  # of all recordings together
    failures: list[str]  # why videos could not be read; these are left out
    deeper: int = 0  # number of videos in subfolders, which were not searched


def write(
    folder: Path,
    *,
    out: Path | None = None,
    patterns: Sequence[str] = (),
    recursive: bool = False,
) -> Template:
    """Writes the table of the videos in `folder`.

    Args:
        out: path of the csv; None: cohort.csv in the folder. Videos are named relative to it.
        patterns: of file names; none: `PATTERNS`.
        recursive: whether to search subfolders; a pattern with a / implies it.

    Raises:
        FileExistsError: `out` exists.
        FileNotFoundError: there is no such folder.
        ValueError: there is no video, none can be read, or a pattern is faulty or fits none.
    """
    from mpjax.data import video  # PyAV: not for --help

    out = out or folder / "cohort.csv"
    if out.exists():
        raise FileExistsError(
            f"{out}: exists already and was not changed; check it (mpjax check "
            f"{shlex.quote(str(out))}), or write another: --out=OTHER.csv"
        )
    parsed = [parse_pattern(text) for text in patterns or PATTERNS]
    recursive = recursive or any("/" in text for text in patterns)
    videos = find_videos(folder, recursive=recursive)
    deeper = [] if recursive else find_videos(folder)[len(videos) :]
    if not videos:
        where = f"({', '.join(sorted(VIDEOS))}); name the folder of the videos"
        if deeper:
            where = f"itself, but its subfolders hold {len(deeper)}: add --recursive"
        raise ValueError(f"{folder}: holds no video {where}")
    probed = dict(zip(videos, video.probe_all(videos), strict=True))
    failures = [str(info) for info in probed.values() if isinstance(info, video.VideoError)]
    kept = {path: info for path, info in probed.items() if isinstance(info, video.VideoInfo)}
    if not kept:
        raise ValueError("none of the videos can be read:\n  " + "\n  ".join(failures))
    rows, fitted = [], []
    for path in kept:
        read = ((each.text, each.read(path.relative_to(folder.parent))) for each in parsed)
        text, cells = next(((text, cells) for text, cells in read if cells is not None), ("", {}))
        rows.append({"video": Path(os.path.relpath(path, out.parent)).as_posix()} | cells)
        fitted.append(text)
    if patterns and not any(fitted):
        raise ValueError(
            f"{' and '.join(map(repr, patterns))} fits no video, such as "
            f"{next(iter(kept)).relative_to(folder).as_posix()}; nothing was written. Correct the "
            "pattern, or leave --pattern out"
        )
    label = ["label"] if any("label" in row for row in rows) else []
    table = pd.DataFrame(rows, columns=[*COLUMNS[:5], *label, *COLUMNS[5:]])
    content = table.to_csv(index=False, lineterminator="\n")
    with files.write_aside(out) as aside:
        # Spreadsheets recognise UTF-8 by its byte order mark alone.
        aside.write_bytes(content.encode("utf-8" if content.isascii() else "utf-8-sig"))
    minutes = sum(info.duration_s for info in kept.values()) / 60
    return Template(out, rows, fitted, minutes, failures, len(deeper))


def describe(template: Template) -> Iterator[str]:
    """Yields lines on what was found and left out, what to fill in, and what comes next."""
    rows, path = template.rows, template.path
    yield f"{path}: {len(rows)} recording(s), {template.minutes:.1f} minutes"
    if template.deeper:
        yield f"left out: {template.deeper} video(s) in subfolders; --recursive includes them"
    by_pattern: dict[str, list[dict[str, str]]] = {}
    for row, text in zip(rows, template.patterns, strict=True):
        by_pattern.setdefault(text, []).append(row)
    unread = [row["video"] for row in by_pattern.pop("", [])]
    for text, mine in by_pattern.items():
        cells = ", ".join(f"{k} {v}" for k, v in mine[0].items() if k != "video" and v)
        yield f"filled in by {text!r}: {len(mine)} file(s), e.g. {mine[0]['video']}: {cells}"
    if unread:
        more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
        names = ", ".join(unread[:_SHOWN]) + more
        yield f"not filled in: {len(unread)} file(s) whose names fit no pattern: {names}"
        yield "  (--pattern='{animal}_d{day}' describes how your names are built; see --help)"
    for failure in template.failures:
        yield f"left out, unreadable: {failure}"
    classes = ["label"] if any("label" in row for row in rows) else ["condition", "day"]
    empty = {name: sum(not row.get(name) for row in rows) for name in ["animal", *classes]}
    if any(empty.values()):
        yield "fill in: " + ", ".join(f"{k} ({n} rows)" for k, n in empty.items() if n)
    yield (
        "where they apply: drug (`vehicle` for the control arm, empty for untreated), "
        "dose_mg_per_kg, minutes_post_dose, route; cage and sex; roi (x:y:w:h in px) if the "
        "image shows more than the chamber"
    )
    yield f"then: mpjax check {shlex.quote(str(path))}"
