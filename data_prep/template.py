"""Writes a cohort table for a folder of videos to fill in: `python -m data_prep.template DIR`.

What the name of a file tells by a pattern is filled in; the rest stays empty, for you to fill in
with a spreadsheet or an editor. Nothing is ever overwritten.

A pattern is a file's name without its ending, and folders above it where wanted, in which {FIELD}
stands for a value, * for anything, and _ for a space, a dot or a dash too:

  --pattern='{animal}_d{day}'                   m07_d14.mp4: animal m07, day 14
  --pattern='{condition}/{animal}_{day}_*'      cfa/m07_14_cam2.mp4: condition cfa, m07, day 14
  --pattern='{animal}_d{day}_{drug}_{dose}mgkg_{minutes}min'

Fields are animal, condition, day, cage, sex, drug, dose (mg/kg), minutes (after the dose) and label
(any other class, in place of condition and day). Several --pattern are tried in turn. Without any,
these are:

  {animal}_d{day}    {animal}_day{day}    {animal}_d{day}_{drug}
  {animal}_d{day}_{drug}_{dose}mgkg       {animal}_d{day}_{drug}_{dose}mgkg_{minutes}min
"""

import csv
import dataclasses
import io
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import tqdm
from absl import app, flags

from mpjax import cli
from mpjax.io import files

VIDEOS = frozenset(
    (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
)
PATTERNS = (
    "{animal}_d{day}",
    "{animal}_day{day}",
    "{animal}_d{day}_{drug}_{dose}mgkg_{minutes}min",
    "{animal}_d{day}_{drug}_{dose}mgkg",
    "{animal}_d{day}_{drug}",
)
# Of each field of a pattern: the column of the table, and what may stand for it.
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
_SEPARATOR = r"[_\-. ]"


@dataclasses.dataclass(frozen=True)
class Pattern:
    """A readable pattern of file names, ready to be matched.

    Attributes:
        text: as it was written.
        fields: names of its fields, in order.
        expression: matches a path without its ending, as many folders of it as the pattern has.
    """

    text: str
    fields: tuple[str, ...]
    expression: re.Pattern[str]

    def read(self, path: Path) -> dict[str, str] | None:
        """Returns the cells that a path tells, by column; None where the pattern does not fit."""
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
        ValueError: a field that there is not, one given twice, or none at all.
    """
    parts = re.split(r"(\{[^{}]*\}|\*|_)", text.strip("/"))
    fields: list[str] = []
    expression = ""
    for part in parts:
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
            expression += {"*": "[^/]*", "_": _SEPARATOR}.get(part, re.escape(part))
    if not fields:
        raise ValueError(f"pattern {text!r}: holds no field; write e.g. '{{animal}}_d{{day}}'")
    return Pattern(text, tuple(fields), re.compile(expression, re.IGNORECASE | re.ASCII))


def find_videos(folder: Path, *, recursive: bool = True) -> list[Path]:
    """Lists the videos in a folder by their endings (`VIDEOS`), sorted; hidden ones are left out.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; name the folder of the videos")
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        visible = (name for name in names if not name.startswith("."))
        found += [Path(parent, name) for name in visible if Path(name).suffix.lower() in VIDEOS]
    return sorted(found)


@dataclasses.dataclass(frozen=True)
class Template:
    """A table that was written, and what is to be said of it.

    Attributes:
        path: of the csv.
        rows: a dict of cells per recording.
        patterns: per recording, the pattern that fitted; "" where none did.
        minutes: of all recordings together.
        failures: what was wrong with the videos that could not be read, and are left out.
        deeper: videos in folders within it that were not looked at.
    """

    path: Path
    rows: list[dict[str, str]]
    patterns: list[str]
    minutes: float
    failures: list[str]
    deeper: int = 0


def write(
    folder: Path,
    *,
    out: Path | None = None,
    patterns: Sequence[str] = (),
    recursive: bool = False,
) -> Template:
    """Writes the table of the videos in `folder`.

    Args:
        folder: of the videos.
        out: path of the csv; None: cohort.csv in the folder. Videos are named relative to it.
        patterns: of file names; none: `PATTERNS`.
        recursive: whether folders within it are looked through too; a pattern with a / says so.

    Raises:
        FileExistsError: `out` exists.
        FileNotFoundError: there is no such folder.
        ValueError: no video, none that can be read, or a pattern that is faulty or fits none.
    """
    out = out or folder / "cohort.csv"
    if out.exists():
        raise FileExistsError(
            f"{out}: exists already, and is left as it is; check it (mpjax check "
            f"{shlex.quote(str(out))}), or write another: --out=OTHER.csv"
        )
    parsed = [parse_pattern(text) for text in patterns or PATTERNS]
    recursive = recursive or any("/" in text for text in patterns)
    videos = find_videos(folder, recursive=recursive)
    if not videos:
        raise ValueError(f"{folder}: holds no video{_elsewhere(folder, recursive)}")
    minutes, failures, kept = _probe(videos)
    if not kept:
        raise ValueError("none of the videos can be read:\n  " + "\n  ".join(failures))
    rows, fitted = _fill(kept, parsed, folder=folder, beside=out.parent)
    if patterns and not any(fitted):
        raise ValueError(
            f"{' and '.join(map(repr, patterns))} fits no video, such as "
            f"{kept[0].relative_to(folder).as_posix()}; nothing was written. Correct the pattern, "
            "or leave --pattern out"
        )
    _write_rows(out, rows, label=any("label" in row for row in rows))
    deeper = 0 if recursive else len(find_videos(folder)) - len(videos)
    return Template(out, rows, fitted, minutes, failures, deeper)


def _elsewhere(folder: Path, recursive: bool) -> str:
    deeper = [] if recursive else find_videos(folder)
    if deeper:
        return f", but folders within it hold {len(deeper)}: look there too with --recursive"
    return f" ({', '.join(sorted(VIDEOS))}); name the folder of the videos"


def _probe(videos: Sequence[Path]) -> tuple[float, list[str], list[Path]]:
    """Returns the minutes of the videos that can be read, what is wrong with others, and those."""
    from mpjax.data import video

    minutes, failures, kept = 0.0, [], []
    for path in tqdm.tqdm(videos, desc="probing", unit="video", delay=2):
        try:
            minutes += video.probe(path).duration_s / 60
            kept.append(path)
        except video.VideoError as error:
            failures.append(str(error))
    return minutes, failures, kept


def _fill(
    videos: Sequence[Path], patterns: Sequence[Pattern], *, folder: Path, beside: Path
) -> tuple[list[dict[str, str]], list[str]]:
    """Returns a row per video, and the pattern that fitted it."""
    rows, fitted = [], []
    for path in videos:
        named = Path(os.path.relpath(path, beside)).as_posix()
        row, text = {"video": named}, ""
        for pattern in patterns:
            cells = pattern.read(path.relative_to(folder.parent))
            if cells is not None:
                row, text = row | cells, pattern.text
                break
        rows.append(row)
        fitted.append(text)
    return rows, fitted


def _write_rows(path: Path, rows: Sequence[dict[str, str]], *, label: bool) -> None:
    text = io.StringIO(newline="")
    columns = [*COLUMNS[:5], "label", *COLUMNS[5:]] if label else list(COLUMNS)
    writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    content = text.getvalue()
    with files.write_aside(path) as aside:
        # Spreadsheets take text for UTF-8 by its byte order mark alone.
        aside.write_bytes(content.encode("utf-8" if content.isascii() else "utf-8-sig"))


def describe(template: Template) -> Iterator[str]:
    """Yields lines on what was found, guessed and left out, what is to be filled in, what next."""
    rows, path = template.rows, template.path
    yield f"{path}: {len(rows)} recording(s), {template.minutes:.1f} minutes"
    if template.deeper:
        yield f"left out: {template.deeper} video(s) in folders within it; --recursive takes them"
    for text in dict.fromkeys(filter(None, template.patterns)):
        mine = [row for row, of in zip(rows, template.patterns, strict=True) if of == text]
        cells = ", ".join(f"{k} {v}" for k, v in mine[0].items() if k != "video" and v)
        yield f"guessed by {text!r}: {len(mine)} file(s), e.g. {mine[0]['video']}: {cells}"
    unread = [row["video"] for row, of in zip(rows, template.patterns, strict=True) if not of]
    if unread:
        yield f"nothing guessed of {len(unread)} file(s), whose names fit no pattern: " + _some(
            unread
        )
        yield "  (--pattern='{animal}_d{day}' says how yours are built; see --help)"
    for failure in template.failures:
        yield f"left out, unreadable: {failure}"
    needed = ["animal", *(["label"] if any("label" in row for row in rows) else _CLASS)]
    empty = {name: sum(not row.get(name) for row in rows) for name in needed}
    if any(empty.values()):
        yield "fill in: " + ", ".join(f"{k} ({n} rows)" for k, n in empty.items() if n)
    yield (
        "where they apply: drug (`vehicle` for the control arm, empty for untreated), "
        "dose_mg_per_kg, minutes_post_dose, route; cage and sex; roi (x:y:w:h in px) where "
        "more than the chamber is in the picture"
    )
    yield f"then: mpjax check {shlex.quote(str(path))}"


_CLASS = ("condition", "day")


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def main() -> None:
    """Runs the binary."""
    out = flags.DEFINE_string("out", "", "Path of the csv; empty: DIR/cohort.csv.")
    pattern = flags.DEFINE_multi_string("pattern", [], "How file names are built, see above.")
    recursive = flags.DEFINE_bool("recursive", False, "Look through folders within DIR too.")

    def run(*words: str) -> int:
        if len(words) != 1:
            raise app.UsageError(f"name one folder of videos; got {' and '.join(words) or 'none'}")
        template = write(
            Path(words[0]),
            out=Path(out.value) if out.value else None,
            patterns=pattern.value,
            recursive=recursive.value,
        )
        for line in describe(template):
            print(line)
        return int(bool(template.failures))

    cli.start_plain(run, words=True)


if __name__ == "__main__":
    main()
