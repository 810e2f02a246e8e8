"""Reads and checks `cohort.csv`; its columns are listed in `data_prep.cohort.__main__`."""

import csv
import dataclasses
import io
import math
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from absl import logging
from etils import epath

from data_prep.cohort import checks, splits
from data_prep.cohort.checks import COLUMNS, VEHICLE
from data_prep.cohort.errors import CohortError, Fault, file_error
from mpjax import taxonomy as taxonomies
from mpjax.config import SplitConfig, StudyConfig
from mpjax.data.splits import SPLITS
from mpjax.io import stores


@dataclasses.dataclass(frozen=True)
class Cohort:
    """A checked cohort and its split.

    `table` has a row per recording in the csv's order, with all columns of `COLUMNS`. A missing
    value is '' (text), NA (`day`, Int64), NaN (`dose_mg_per_kg`, 0 for vehicle, and
    `minutes_post_dose`) or 0 (`fps`); `pose` is absolute, `label` the fine class. Also `path` (of
    the video, absolute), `row` (in the csv) and `fold` (-1: none).
    """

    table: pd.DataFrame
    taxonomy: taxonomies.Taxonomy  # of the rows that are not in the split `drug`
    scheme: str  # fixed; or kfold or leave_one_group_out: all are test rows, each in its `fold`
    group: str  # animal or cage, the unit that is never split
    path: str  # of the csv
    exclude: tuple[str, ...]  # fine classes left out
    seed: int | None  # of the random split; None if it was not random


def read_cohort(
    path: epath.PathLike,
    *,
    split: SplitConfig = SplitConfig(),
    exclude: Sequence[str] = (),
    check_files: bool = True,
) -> Cohort:
    """Reads a cohort table, checks all of it and splits its animals.

    Classes come from the table and from a `taxonomy.toml` next to it (`mpjax.taxonomy`); trainable
    rows of a class that its `fine` leaves out are dropped.

    Args:
        split: how animals are split if the table has no `split` column (`assign_split`).
        exclude: fine classes whose rows are dropped, also from the split `drug`.
        check_files: whether videos and pose files must exist; False for a cohort that is only
            planned, whose weaknesses are not warned of either.

    Raises:
        CohortError: the table cannot be used; all its faults together.
        ValueError: the `taxonomy.toml` is faulty.
    """
    path = stores.ready(path)
    cells, faults = _read_cells(path)
    table = _typed(cells, path)
    has_split = bool((table["split"] != "").any())
    faults += checks.cell_faults(cells)
    reported = {(fault.row, fault.column) for fault in faults}  # each bad cell once
    found = checks.table_faults(table, split)
    found += checks.file_faults(table, path) if check_files else []
    faults += [fault for fault in found if (fault.row, fault.column) not in reported]
    if faults:
        raise CohortError(path, sorted(faults, key=lambda fault: fault.row))
    table["pose"] = checks.locate(table["pose"], path)
    table.loc[table["drug"] == VEHICLE, "dose_mg_per_kg"] = 0.0
    if not has_split:
        table["split"] = np.where(checks.is_drug_animal(table), "drug", "test")
    table, taxonomy = splits.choose_classes(table, path, exclude)
    group = splits.choose_group(table, path, split)
    if has_split and split.scheme not in ("auto", "fixed"):
        rule = f"has a split column, but split.scheme is {split.scheme}: remove one of them"
        raise file_error(path, rule)
    if has_split:
        scheme = "fixed"
        splits.check_trained(table, path)
    else:
        table, scheme = splits.assign_split(table, path, group, split)
    if check_files:
        splits.warn_of_weaknesses(table, group, taxonomy.coarse)
    drawn = not has_split and scheme != "leave_one_group_out"
    return Cohort(
        table=table.reset_index(drop=True),
        taxonomy=taxonomy,
        scheme=scheme,
        group=group,
        path=str(path),
        exclude=tuple(exclude),
        seed=split.seed if drawn else None,
    )


def read_recordings(path: epath.PathLike) -> pd.DataFrame:
    """Reads a table of recordings to score, whose classes may be unknown.

    It is a csv as for `read_cohort`; `video` is required, `roi` and `fps` are optional, and other
    columns are ignored.

    Returns:
        A row per recording: `video` (as written), `path` (absolute), `roi` ('': all) and `fps`
        (0: the file's own).

    Raises:
        CohortError: the table cannot be used; all its faults together.
    """
    path = epath.Path(path)
    cells, faults = _read_cells(path)
    used = ("video", "roi", "fps")
    cells = cells[[name for name in used if name in cells]]
    table = _typed(cells, path)
    faults += [fault for fault in checks.cell_faults(cells) if fault.column in used]
    faults += checks.file_faults(table, path)
    if faults:
        raise CohortError(path, sorted(faults, key=lambda fault: fault.row))
    return table[["video", "path", "roi", "fps"]]


_NOT_GIVEN = r"^(?i:na|n/a|nan|-)$"
_HAVE_NO_NAMES = ("day", "sex", "roi", "pose", "date", *checks.NUMERIC)  # so NA means empty
_REQUIRED = {"video", "animal", "condition", "day", "label"}
_SEPARATOR_LINE = re.compile(r"\A\"?sep=.\"?\r?\n")  # Excel writes and hides it


def _read_cells(path: epath.Path) -> tuple[pd.DataFrame, list[Fault]]:
    """Returns the stripped cells, indexed by spreadsheet row, and the faults of their layout."""
    text = _read_text(path)

    def known_columns(delimiter: str) -> int:
        header = next(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
        return len({cell.strip() for cell in header} & set(COLUMNS))

    delimiter = max(",;\t", key=known_columns)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header, *lines = ([cell.strip() for cell in line] for line in reader)
    except csv.Error as error:
        rule = f"line {reader.line_num}: {error} (a quote that is not closed?)"
        raise file_error(path, rule) from None
    if not _REQUIRED & {name.lower() for name in header}:
        raise file_error(
            path,
            f"row 1 is not the header, but {delimiter.join(header)[:80]!r}; name the columns there "
            "(video, animal, condition, day, …), separated by comma, semicolon or tab",
        )
    rows = {number: line for number, line in enumerate(lines, start=2) if any(line)}
    if not rows:
        raise file_error(path, "has a header but no recordings")
    while header and not header[-1]:  # spreadsheets pad rows with empty cells
        header.pop()
    faults = [
        Fault(1, name, name, "column given twice" if name else "column without a name")
        for i, name in enumerate(header)
        if not name or name in header[:i]
    ]
    for number, line in rows.items():
        if len(line) < len(header) or any(line[len(header) :]):
            rule = f"row has {len(line)} cells, the header {len(header)}"
            faults.append(Fault(number, "", delimiter.join(line), rule))
    cells = pd.DataFrame(
        {
            name: [line[i] if i < len(line) else "" for line in rows.values()]
            for i, name in reversed(list(enumerate(header)))  # the first of two columns wins
            if name
        },
        index=list(rows),
        dtype=str,
    )
    # A day is whole, so a comma in it can only be a decimal one.
    replaced = [(name, _NOT_GIVEN, "") for name in _HAVE_NO_NAMES]
    replaced.append(("day", r"^([+-]?\d+),(0+)$", r"\1.\2"))
    if delimiter != ",":
        replaced += [(name, r"^([+-]?\d*),(\d+)$", r"\1.\2") for name in checks.NUMERIC]
    for name, pattern, new in replaced:
        if name in cells:
            cells[name] = cells[name].str.replace(pattern, new, regex=True)
    return cells, faults


def _read_text(path: epath.Path) -> str:
    if path.is_dir():
        raise file_error(path, "is a directory; name the csv file in it")
    if not path.exists():
        raise file_error(path, "no such file")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise file_error(path, f"cannot be read ({error.strerror or error})") from error
    if b"\0" in data:
        raise file_error(path, "is not a text file; in a spreadsheet, save as 'CSV UTF-8'")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        logging.warning("%s: not UTF-8, read as Windows-1252; save it as 'CSV UTF-8' instead", path)
    text = _SEPARATOR_LINE.sub("", text)
    if not text.strip():
        raise file_error(path, "is empty")
    return text


def _typed(cells: pd.DataFrame, path: epath.Path) -> pd.DataFrame:
    """Returns `Cohort.table` before classes and splits; a bad cell counts as not given."""
    table = cells.reindex(columns=list(COLUMNS), fill_value="")
    table["row"] = table.index
    table["path"] = checks.locate(table["video"], path)
    table["sex"] = [checks.SEXES.get(cell.lower(), "") for cell in table["sex"]]
    days = [int(day[1]) if (day := checks.DAY.fullmatch(cell)) else None for cell in table["day"]]
    table["day"] = pd.array(days, dtype="Int64")
    for name in checks.NUMERIC:
        table[name] = [checks.parse_number(cell) for cell in table[name]]
    table["fps"] = table["fps"].fillna(0.0)
    if not (table["label"] != "").any():
        table["label"] = checks.condition_classes(table)
    table["fold"] = -1
    return table


def check(config: StudyConfig, path: epath.PathLike) -> int:
    """Prints a summary of the cohort at `path`, then its videos that cannot be used.

    Each video is probed for its length, and its roi is checked against the image. Returns the exit
    status: 1 if a video cannot be used.

    Raises:
        CohortError: the table cannot be used.
    """
    from mpjax.data import boxes, video  # PyAV: not to read a table

    cohort = read_cohort(path, split=config.split, exclude=config.exclude)
    minutes, failures = [], []
    infos = video.probe_all(list(cohort.table["path"]))
    for row, info in zip(checks.iterate_rows(cohort.table), infos, strict=True):
        if isinstance(info, video.VideoError):
            minutes.append(math.nan)
            failures.append(f"unreadable: {info}")
            continue
        minutes.append(info.duration_s / 60)
        try:
            if row.roi:
                roi = boxes.parse_roi(row.roi)
                boxes.check_within(roi, width=info.width, height=info.height)
        except ValueError as error:
            fault = Fault(row.row, "roi", row.roi, f"{row.path}: {error}")
            failures.append(f"error: {cohort.path}: {fault}")
    print(summarise(cohort, minutes))
    for failure in failures:
        print(failure, file=sys.stderr)
    if not failures:
        print(f"then: mpjax study {shlex.quote(str(path))} --workdir=out/mine")
    return int(bool(failures))


def summarise(cohort: Cohort, minutes: Sequence[float]) -> str:
    """Tabulates animals, recordings and minutes per class, day, arm and split.

    Classes are those outside the split `drug`, each with its coarse group; days and arms are those
    of all rows. A sum of `minutes` with NaN (unknown) is shown as `?`.
    """
    table = cohort.table.assign(minutes=list(minutes))
    lines = [("", "animals", "recordings", "minutes")]
    for title, keys in _sections(table, cohort.taxonomy):
        lines += [(title, "", "", "")] if len(keys) else []
        for name in keys.unique():
            lines.append((f"  {name}", *_count(table.loc[keys.index[keys == name]])))
    lines.append(("total", *_count(table)))
    width = max(len(line[0]) for line in lines)
    head = f"{cohort.path}: {cohort.scheme} split by {cohort.group}\n"
    body = [f"{name:<{width}}{a:>10}{r:>12}{m:>10}".rstrip() for name, a, r, m in lines]
    return "\n".join((head, *body))


def _sections(
    table: pd.DataFrame, taxonomy: taxonomies.Taxonomy
) -> Iterator[tuple[str, pd.Series]]:
    """Yields titles and the entry under which each row counts, in the order of printing."""
    trainable = table[table["split"] != "drug"]
    label = trainable["label"].sort_values(key=lambda names: names.map(taxonomy.fine.index))
    if taxonomy.coarse:
        groups = zip(taxonomy.fine, taxonomy.fine_to_coarse, strict=True)
        coarse = label.map({name: taxonomy.coarse[i] for name, i in groups})
        yield "class (its group)", label + " (" + coarse + ")"
        yield "group", coarse.sort_values(key=lambda names: names.map(taxonomy.coarse.index))
    else:
        yield "class", label
    yield "day", table["day"].dropna().sort_values()
    arms = table.assign(treated=table["drug"] != "", dosed=~table["drug"].isin(("", VEHICLE)))
    arms = arms.sort_values(["treated", "dosed", "drug", "dose_mg_per_kg", "route"])
    arms["arm"] = [_arm_name(row) for row in checks.iterate_rows(arms)]
    yield "arm", arms["arm"]
    arms = arms[arms["split"] == "drug"].sort_values("condition", kind="stable")
    yield "split drug, by condition", arms["condition"] + ", " + arms["arm"]
    sides = table.assign(order=table["split"].map(SPLITS.index)).sort_values(["order", "fold"])
    folds = sides["fold"].map(lambda fold: f", fold {fold}" if fold >= 0 else "")
    yield "split", sides["split"] + folds


def _count(rows: pd.DataFrame) -> tuple[str, str, str]:
    minutes = rows["minutes"].sum(skipna=False)
    text = "?" if math.isnan(minutes) else f"{minutes:.1f}"
    return str(rows["animal"].nunique()), str(len(rows)), text


def _arm_name(row: Any) -> str:
    if not row.drug:
        return "untreated"
    dose = f" {row.dose_mg_per_kg:g} mg/kg" if row.drug != VEHICLE else ""
    return f"{row.drug}{dose} {row.route}".rstrip()
