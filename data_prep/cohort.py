"""Reads, checks and divides `cohort.csv`: `python -m data_prep.cohort --cohort=cohort.csv`.

A row is a recording. Cells are separated by comma, semicolon or tab (with the last two, 0,5 is a
number too); text is UTF-8, with or without a BOM, or else Windows-1252. Columns:

    video            path, absolute or relative to the csv; as written, the recording's name
    animal           has one condition, one sex, one cage
    condition, day   what was induced, and whole days since (negative: before); or instead
    label            any other class; wins where condition and day are given too
    cage, sex        optional; sex is M or F
    drug             empty: untreated; vehicle: the control arm; else the drug's name
    dose_mg_per_kg   above 0 for a drug; 0 or empty for vehicle; empty when untreated
    minutes_post_dose, route   optional; the minutes only with a drug or vehicle
    split            optional: train, val, test or drug, on all rows or on none
    fps, roi, pose   optional: frames/s; x:y:w:h in px; path of a pose file

An animal with a drug or vehicle row is in the split `drug` with all its rows: never trained on.
"""

import collections
import csv
import dataclasses
import difflib
import io
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import tqdm
from absl import flags, logging
from etils import epath

from mpjax import cli
from mpjax import taxonomy as taxonomies
from mpjax.config import SplitConfig, StudyConfig

VEHICLE = "vehicle"
SPLITS = ("train", "val", "test", "drug")
COLUMNS = (
    *("video", "animal", "cage", "sex", "condition", "day", "label", "drug", "dose_mg_per_kg"),
    *("route", "minutes_post_dose", "fps", "roi", "pose", "split"),
)
_NUMERIC = ("dose_mg_per_kg", "minutes_post_dose", "fps")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_DAY = re.compile(r"([+-]?\d{1,5})(\.0*)?", re.ASCII)  # pandas writes 7.0 where a day is missing
_ROI = re.compile(r"\d{1,6}:\d{1,6}:0*[1-9]\d{0,5}:0*[1-9]\d{0,5}", re.ASCII)
_SEXES = {"": "", "m": "M", "male": "M", "f": "F", "female": "F"}
# What a cell that is not empty must be.
_RULES: dict[str, tuple[Callable[[str], bool], str]] = {
    "sex": (lambda cell: cell.lower() in _SEXES, "must be M or F"),
    "day": (lambda cell: bool(_DAY.fullmatch(cell)), "must be a whole number of days"),
    "dose_mg_per_kg": (lambda cell: _number(cell) >= 0, "must be a number, 0 or more"),
    "minutes_post_dose": (
        lambda cell: _number(cell) >= 0,
        "must be a number, 0 or more; before the dose an animal is untreated: leave drug empty",
    ),
    "fps": (lambda cell: _number(cell) >= 0, "must be a number of frames/s; empty: unknown"),
    "roi": (lambda cell: bool(_ROI.fullmatch(cell)), "must be x:y:w:h in whole px, w and h > 0"),
    "split": (lambda cell: cell in SPLITS, f"must be one of {', '.join(SPLITS)}"),
}


@dataclasses.dataclass(frozen=True)
class Fault:
    """A broken rule and where: `row` as a spreadsheet numbers it (header: 1; the whole file: 0)."""

    row: int
    column: str
    value: str
    rule: str

    def __str__(self) -> str:
        if not self.row:
            return self.rule
        return f"row {self.row}, column {self.column}, value {self.value!r}: {self.rule}"


class CohortError(ValueError):
    """The faults of a cohort: `faults` holds them all, the message the first `SHOWN`."""

    SHOWN = 50

    def __init__(self, path: object, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        lines = [str(fault) for fault in self.faults[: self.SHOWN]]
        if len(self.faults) > 1:
            lines.insert(0, f"{len(self.faults)} faults")
        if len(self.faults) > self.SHOWN:
            lines.append(f"... and {len(self.faults) - self.SHOWN} more")
        super().__init__(f"{path}: " + "\n  ".join(lines))


@dataclasses.dataclass(frozen=True)
class Cohort:
    """A checked and divided cohort.

    Attributes:
        table: a row per recording in the csv's order, with all columns of `COLUMNS`; text is ''
            where not given; `day` Int64, NA; `dose_mg_per_kg` (vehicle: 0) and
            `minutes_post_dose` float, NaN; `fps` 0; `pose` absolute; `label` the fine class.
            Also `path` (the video's, absolute), `row` (in the csv) and `fold` (-1: in none).
        taxonomy: of the rows that are not in the split `drug`.
        scheme: fixed (train, val, test), or kfold or leave_one_group_out (all of them test, in
            turn: `fold` says when).
        group: animal or cage, whichever stays on one side as a whole.
        path: of the csv.
    """

    table: pd.DataFrame
    taxonomy: taxonomies.Taxonomy
    scheme: str
    group: str
    path: str


def read_cohort(
    path: epath.PathLike,
    *,
    split: SplitConfig = SplitConfig(),
    exclude: Sequence[str] = (),
    check_files: bool = True,
) -> Cohort:
    """Reads a cohort table, checks it as a whole and divides its animals.

    Classes come from the table and from a `taxonomy.toml` beside it (`mpjax.taxonomy`); trainable
    rows of a class that its `fine` leaves out are dropped.

    Args:
        path: of the csv.
        split: how animals are divided where the table has no `split` column (`assign_split`).
        exclude: fine classes whose rows are dropped, in the split `drug` too.
        check_files: whether videos and pose files must exist.

    Raises:
        CohortError: the table cannot be used; all its faults together.
        ValueError: `split` or the `taxonomy.toml` is at fault.
    """
    _check_config(split)
    path = epath.Path(path)
    cells, faults = _read_cells(path)
    table = _typed(cells, path)
    has_split = bool((table["split"] != "").any())
    faults += _cell_faults(cells)
    reported = {(fault.row, fault.column) for fault in faults}  # a bad cell once
    found = _table_faults(table, split) + (_file_faults(table, path) if check_files else [])
    faults += [fault for fault in found if (fault.row, fault.column) not in reported]
    if faults:
        raise CohortError(path, sorted(faults, key=lambda fault: fault.row))
    table["pose"] = _locate(table["pose"], path)
    table.loc[table["drug"] == VEHICLE, "dose_mg_per_kg"] = 0.0
    if not has_split:
        table["split"] = np.where(_is_drug_animal(table), "drug", "test")
    table, taxonomy = _choose_classes(table, path, exclude)
    group = _choose_group(table, path, split)
    if has_split:
        scheme = "fixed"
        if split.scheme not in ("auto", scheme):
            raise _whole(path, f"has a split column, but split.scheme is {split.scheme}: drop one")
        _check_trained(table, path)
    else:
        table, scheme = assign_split(table, path, group, split)
    _warn(table, group)
    return Cohort(table.reset_index(drop=True), taxonomy, scheme, group, str(path))


def _check_config(config: SplitConfig) -> None:
    """Raises ValueError for a value that no scheme can use."""
    for name, choices in (
        ("scheme", ("auto", "fixed", "kfold", "leave_one_group_out")),
        ("group", ("auto", "animal", "cage")),
    ):
        if getattr(config, name) not in choices:
            raise ValueError(
                f"split.{name} is {getattr(config, name)!r}, must be one of {', '.join(choices)}"
            )
    val, test = config.val_fraction, config.test_fraction
    if not (val >= 0 and test > 0 and val + test < 1):
        raise ValueError(
            f"split.val_fraction is {val} and test_fraction {test}; needs val >= 0, test > 0 and "
            "a sum below 1"
        )
    if config.folds < 2:
        raise ValueError(f"split.folds is {config.folds}, needs 2 or more")


def _rows(table: pd.DataFrame) -> Iterator[Any]:
    return iter(table.itertuples())


def _whole(path: epath.PathLike, rule: str) -> CohortError:
    return CohortError(path, [Fault(0, "", "", rule)])


# Reading.


def _read_cells(path: epath.Path) -> tuple[pd.DataFrame, list[Fault]]:
    """Returns the stripped cells, indexed by spreadsheet row, and the faults of their layout."""
    text = _read_text(path)
    delimiter = max(",;\t", key=lambda d: len(set(_header(text, d)) & set(COLUMNS)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        header, *lines = ([cell.strip() for cell in line] for line in reader)
    except csv.Error as error:
        raise _whole(
            path, f"line {reader.line_num}: {error} (a quote that is not closed?)"
        ) from None
    rows = {number: line for number, line in enumerate(lines, start=2) if any(line)}
    if not rows:
        raise _whole(path, "has a header but no recordings")
    while header and not header[-1]:  # spreadsheets pad rows with empty cells
        header.pop()
    faults = [
        Fault(1, name, name, "column given twice" if name else "a column without a name")
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
    if delimiter != ",":
        for name in cells.columns.intersection(list(_NUMERIC)):
            cells[name] = cells[name].str.replace(r"^([+-]?\d*),(\d+)$", r"\1.\2", regex=True)
    return cells, faults


def _read_text(path: epath.Path) -> str:
    if path.is_dir():
        raise _whole(path, "is a directory; name the csv file in it")
    if not path.exists():
        raise _whole(path, "no such file")
    data = path.read_bytes()
    if b"\0" in data:
        raise _whole(path, "is not a text file; in a spreadsheet, save as 'CSV UTF-8'")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("cp1252", errors="replace")
        logging.warning("%s: not UTF-8, read as Windows-1252; better save as 'CSV UTF-8'", path)
    if not text.strip():
        raise _whole(path, "is empty")
    return text


def _header(text: str, delimiter: str) -> list[str]:
    first = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    return [cell.strip() for cell in next(first)]


def _number(cell: str) -> float:
    """Returns the cell as a finite number; NaN where it is none."""
    value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    return value if math.isfinite(value) else math.nan


def _typed(cells: pd.DataFrame, path: epath.Path) -> pd.DataFrame:
    """Returns `Cohort.table` before classes and splits; a bad cell counts as not given."""
    table = cells.reindex(columns=list(COLUMNS), fill_value="")
    table["row"] = table.index
    table["path"] = _locate(table["video"], path)
    table["sex"] = [_SEXES.get(cell.lower(), "") for cell in table["sex"]]
    days = [int(day[1]) if (day := _DAY.fullmatch(cell)) else None for cell in table["day"]]
    table["day"] = pd.array(days, dtype="Int64")
    for name in _NUMERIC:
        table[name] = [_number(cell) for cell in table[name]]
    table["fps"] = table["fps"].fillna(0.0)
    if not (table["label"] != "").any():
        table["label"] = _condition_classes(table)
    table["fold"] = -1
    return table


def _condition_classes(table: pd.DataFrame) -> list[str]:
    """Returns the class that condition and day make per row; '' where one is missing."""
    return [
        "" if pd.isna(day) or not condition else taxonomies.fine_name(condition, int(day))
        for condition, day in zip(table["condition"], table["day"], strict=True)
    ]


def _has_labels(table: pd.DataFrame) -> bool:
    """Says whether classes are the cohort's own labels, not made of condition and day."""
    return table["label"].tolist() != _condition_classes(table)


def _locate(names: pd.Series, csv_path: epath.Path) -> list[str]:
    """Returns absolute paths of files named relative to the csv; '' for ''."""
    folder = epath.Path(os.getcwd()) / csv_path.parent  # gs:// and the like are absolute
    paths = [epath.Path(name) for name in names]
    return [
        str(path if path.is_absolute() else folder / path) if path.name else "" for path in paths
    ]


# Checks.


def _cell_faults(cells: pd.DataFrame) -> list[Fault]:
    """Checks each column by itself with the schema library."""
    labelled = "label" in cells and bool(cells["label"].any())
    filled = dict.fromkeys(("video", "animal"), "must not be empty")
    if labelled:
        filled["label"] = "must not be empty: give a label on all rows or on none"
    else:
        filled |= dict.fromkeys(("condition", "day"), "must not be empty, without labels")
    required = set(filled)
    if "split" in cells and cells["split"].any():
        filled["split"] = "must not be empty: give a split on all rows or on none"
    columns = {}
    for name in COLUMNS:
        checks = [pa.Check(bool, element_wise=True, error=filled[name])] if name in filled else []
        if name in _RULES:
            is_valid, rule = _RULES[name]
            checks.append(
                pa.Check(
                    lambda cell, ok=is_valid: not cell or ok(cell), element_wise=True, error=rule
                )
            )
        columns[name] = pa.Column(str, checks, required=name in required)
    try:
        pa.DataFrameSchema(columns, strict=True).validate(cells, lazy=True)
    except pa.errors.SchemaErrors as error:
        return [_from_pandera(case) for case in _rows(error.failure_cases)]
    return []


def _from_pandera(case: Any) -> Fault:
    """Turns a row of pandera's `failure_cases` into a fault."""
    value = case.failure_case
    if case.check == "column_in_dataframe":
        return Fault(1, value, "", "required column is missing (label may replace condition, day)")
    if case.check == "column_in_schema":
        near = difflib.get_close_matches(value.lower(), COLUMNS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return Fault(1, value, value, f"unknown column; {hint}known are {', '.join(COLUMNS)}")
    return Fault(int(case.index), case.column, value, case.check)


def _differing(table: pd.DataFrame, key: str, value: str) -> Iterator[tuple[Any, str, int]]:
    """Yields rows whose `value` is not that of the first row with their `key`, that value and row.

    Rows where either is '' do not count.
    """
    first: dict[str, tuple[str, int]] = {}
    for row in _rows(table):
        name, here = getattr(row, key), getattr(row, value)
        if name and here:
            was, at = first.setdefault(name, (here, row.row))
            if here != was:
                yield row, was, at


def _table_faults(table: pd.DataFrame, config: SplitConfig) -> list[Fault]:
    """Checks rows against each other."""
    faults = _animal_faults(table) + _spelling_faults(table)
    faults += _dose_faults(table) + _duplicate_faults(table)
    return faults + _given_split_faults(table, config)


def _animal_faults(table: pd.DataFrame) -> list[Fault]:
    return [
        Fault(
            row.row,
            name,
            getattr(row, name),
            f"animal {row.animal} has one {name}: {was!r} on row {at}",
        )
        for name in ("condition", "sex", "cage")
        for row, was, at in _differing(table, "animal", name)
    ]


def _spelling_faults(table: pd.DataFrame) -> list[Fault]:
    """Finds names that are most likely another name, miswritten: they would split a class."""
    faults = []
    names = ["animal", "cage", "condition", "drug", "route"]
    for name in [*names, "label"] if _has_labels(table) else names:
        usual = _usual_drugs(table) if name == "drug" else _usual_spellings(table[name])
        faults += [
            Fault(row, name, value, f"write {usual[value]!r}, as elsewhere or as the format has it")
            for row, value in zip(table["row"], table[name], strict=True)
            if usual.get(value, value) != value
        ]
    return faults


def _usual_spellings(column: pd.Series, *, reserved: tuple[str, ...] = ()) -> dict[str, str]:
    """Maps each value to the most frequent one that differs only in case and space."""
    counts = collections.Counter(value for value in column if value)
    values = [*reserved, *(value for value, _ in counts.most_common())]
    usual: dict[str, str] = {}
    for value in values:
        usual.setdefault(_folded(value), value)
    return {value: usual[_folded(value)] for value in values}


def _usual_drugs(table: pd.DataFrame) -> dict[str, str]:
    """Maps each drug name to its usual spelling, `vehicle` and slips of the pen included."""
    usual = {}
    known: list[str] = []
    for value, name in _usual_spellings(table["drug"], reserved=(VEHICLE,)).items():
        like = [other for other in known if _is_slip(_folded(name), _folded(other))]
        usual[value] = like[0] if like else name
        known += [] if like else [name]
    return usual


def _is_slip(a: str, b: str) -> bool:
    """Says whether one name is most likely the other, mistyped.

    For drugs that is one letter more, less, changed or swapped with the next. Codes (`drugA` and
    `drugB`, names with digits) and prefixes (S-ketamine, R-ketamine) do tell drugs apart.
    """
    if VEHICLE in (a, b):
        return difflib.SequenceMatcher(None, a, b).ratio() > 0.8
    start = _common_start(a, b)
    end = _common_start(a[start:][::-1], b[start:][::-1])
    x, y = a[start : len(a) - end], b[start : len(b) - end]
    one_letter = len(x) <= 1 and len(y) <= 1
    swapped = len(x) == 2 and x == y[::-1]
    last_changed = len(a) == len(b) and not end
    code = last_changed or bool(re.search(r"\d", a + b)) or min(len(a), len(b)) < 6
    return a == b or (start >= 3 and (one_letter or swapped) and not code)


def _common_start(a: str, b: str) -> int:
    return next(
        (i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b))
    )


def _folded(value: str) -> str:
    return " ".join(value.casefold().split())


def _dose_faults(table: pd.DataFrame) -> list[Fault]:
    usual = _usual_drugs(table)
    faults = []
    for row in _rows(table):
        dose = row.dose_mg_per_kg
        broken = {}
        if not row.drug:
            for name in ("dose_mg_per_kg", "minutes_post_dose"):
                if not math.isnan(getattr(row, name)):
                    broken[name] = "must be empty: drug is empty, so the animal is untreated"
        elif usual[row.drug] == VEHICLE and dose > 0:
            broken["dose_mg_per_kg"] = "must be 0 or empty: vehicle is the arm without a drug"
        elif usual[row.drug] != VEHICLE and not dose > 0:
            broken["dose_mg_per_kg"] = (
                f"must be above 0 for drug {row.drug!r}; the control arm is written vehicle, "
                "and untreated is an empty drug"
            )
        for name, rule in broken.items():
            value = getattr(row, name)
            faults.append(Fault(row.row, name, "" if math.isnan(value) else f"{value:g}", rule))
    return faults


def _duplicate_faults(table: pd.DataFrame) -> list[Fault]:
    listed = table[table["video"] != ""]
    keys = listed["path"].map(os.path.normpath)
    first = listed.groupby(keys)["row"].transform("first")
    copies = listed.drop(columns="row").duplicated()
    return [
        Fault(
            *(row, "video", video),
            f"repeats row {at}: delete one" if same else f"is listed already on row {at}",
        )
        for row, video, at, same in zip(listed["row"], listed["video"], first, copies, strict=True)
        if row != at
    ]


def _file_faults(table: pd.DataFrame, csv_path: epath.Path) -> list[Fault]:
    faults = []
    for name in ("video", "pose"):
        located = _locate(table[name], csv_path)
        for row, value, location in zip(table["row"], table[name], located, strict=True):
            path = epath.Path(location)
            if value and path.is_dir():
                faults.append(Fault(row, name, value, "is a directory, must be a file"))
            elif value and not path.exists():
                hint = "; folders are separated by /" if "\\" in value else ""
                faults.append(Fault(row, name, value, f"no such file: {path}{hint}"))
    return faults


def _given_split_faults(table: pd.DataFrame, config: SplitConfig) -> list[Fault]:
    drug = _is_drug_animal(table)
    faults = [
        Fault(row.row, "split", row.split, f"animal {row.animal} has drug rows: all its are drug")
        for row in _rows(table[drug])
        if row.split not in ("", "drug")
    ]
    return faults + _leak_faults(table[~drug], "animal" if config.group == "animal" else "cage")


def _leak_faults(table: pd.DataFrame, group: str) -> list[Fault]:
    fold = [f" fold {fold}" if fold >= 0 else "" for fold in table["fold"]]
    table = table.assign(side=table["split"] + pd.Series(fold, table.index, dtype=str))
    # The drug's animals may share a cage with others: no side is trained and tested there.
    sides = {"animal": table, group: table[table["split"] != "drug"] if group == "cage" else table}
    return [
        Fault(row.row, "split", row.side, f"{name} {getattr(row, name)} is in {was} on row {at}")
        for name, rows in sides.items()
        for row, was, at in _differing(rows, name, "side")
    ]


def check_no_leak(table: pd.DataFrame, group: str) -> None:
    """Checks that no animal, and no cage where `group` is cage, lies on two sides.

    A side is a split and, where folds apply, the fold. An animal stays on one side, those in the
    split `drug` included; a cage may hold drug animals beside others.

    Args:
        table: `Cohort.table`.
        group: animal or cage.

    Raises:
        CohortError: some do; all of them, by row.
    """
    faults = _leak_faults(table, group)
    if faults:
        raise CohortError("cohort", faults)


def _is_drug_animal(table: pd.DataFrame) -> pd.Series:
    treated = set(table["animal"][table["drug"] != ""])
    return table["animal"].isin(treated)


# Classes and sides.


def _choose_classes(
    table: pd.DataFrame, path: epath.Path, exclude: Sequence[str]
) -> tuple[pd.DataFrame, taxonomies.Taxonomy]:
    """Returns the rows that stay, and the taxonomy of those that may be trained on."""
    known = taxonomies.sort_fine(table["label"])
    unknown = [name for name in exclude if name not in known]
    if unknown:
        raise _whole(
            path, f"exclude: no class {', '.join(unknown)}; the classes are {', '.join(known)}"
        )
    has_labels = _has_labels(table)
    table = table[~table["label"].isin(list(exclude))]
    trainable = table["split"] != "drug"
    fine = taxonomies.sort_fine(table["label"][trainable])
    if not fine:
        raise _whole(path, "no recording is left to train on: all are excluded or of drug animals")
    file = path.parent / "taxonomy.toml"
    if file.exists():
        taxonomy = taxonomies.read_taxonomy(file, fine)
    elif has_labels:
        taxonomy = taxonomies.Taxonomy(fine)
    else:
        taxonomy = taxonomies.default_taxonomy(fine)
    return table[~trainable | table["label"].isin(taxonomy.fine)].copy(), taxonomy


def _choose_group(table: pd.DataFrame, path: epath.Path, config: SplitConfig) -> str:
    """Returns what is kept on one side: the cage where every trainable row names one."""
    caged = table["cage"][table["split"] != "drug"] != ""
    if config.group == "cage" and not caged.all():
        row = table["row"][caged.index[~caged][0]]
        raise CohortError(
            path, [Fault(int(row), "cage", "", "must not be empty: split.group is cage")]
        )
    if config.group == "auto":
        return "cage" if caged.all() else "animal"
    return config.group


def assign_split(
    table: pd.DataFrame, path: epath.PathLike, group: str, config: SplitConfig
) -> tuple[pd.DataFrame, str]:
    """Divides the trainable animals or cages, stratified, by seed, whatever the rows' order.

    Strata are the conditions (a cage of several: the combination); with labels, a group's most
    frequent label. Where labels or combinations leave a stratum below 3 groups, there are none.
    Scheme auto is

    - fixed where the fractions give every stratum at least 3 groups to train, 1 to validate and 2
      to test (6 groups with the default fractions), and train is sure to see every class;
    - else leave_one_group_out where there are no more groups than `config.folds`;
    - else kfold, with as many folds as the rarest condition has groups, from 2 to `config.folds`.

    Args:
        table: as `Cohort.table`; rows whose `split` is drug stay as they are.
        path: of the csv, for errors.
        group: animal or cage.
        config: fractions, folds, seed and scheme.

    Returns:
        The table with `split` and `fold` set, and the scheme.

    Raises:
        CohortError: there are too few groups.
    """
    trainable = table[table["split"] != "drug"]
    strata = _permuted_strata(trainable, group, config.seed)
    names = [name for members in strata.values() for name in members]
    if len(names) < 2:
        raise _whole(path, f"one {group} to train on, {names[0]}; needs two or more")
    scheme = _choose_scheme(trainable, group, strata, config)
    side = dict.fromkeys(names, "test")
    fold = dict.fromkeys(names, -1)
    if scheme == "fixed":
        side = _fixed_sides(strata, path, group, config)
    elif scheme == "kfold":
        folds = _fold_count(trainable, group, config)
        fold = {name: i % folds for i, name in enumerate(names)}
    else:
        fold = {name: i for i, name in enumerate(sorted(names))}
    table = table.copy()
    table["split"] = table["split"].where(table["split"] == "drug", table[group].map(side))
    table["fold"] = table[group].map(fold).where(table["split"] != "drug", -1).astype(int)
    if scheme == "fixed":
        _check_trained(table, path)
    check_no_leak(table, group)
    return table, scheme


def _choose_scheme(
    table: pd.DataFrame, group: str, strata: dict[str, list[str]], config: SplitConfig
) -> str:
    if config.scheme != "auto":
        return config.scheme
    if _is_large(table, group, strata, config):
        return "fixed"
    groups = sum(map(len, strata.values()))
    return "leave_one_group_out" if groups <= config.folds else "kfold"


def _fixed_sides(
    strata: dict[str, list[str]], path: epath.PathLike, group: str, config: SplitConfig
) -> dict[str, str]:
    side: dict[str, str] = {}
    for stratum, members in strata.items():
        train, val, test = _counts(len(members), config)
        if train < 1:
            raise _whole(
                path,
                f"split.scheme is fixed, but {stratum or 'the cohort'} has {len(members)} "
                f"{group}(s), too few for train, val and test; take kfold",
            )
        sides = ["train"] * train + ["val"] * val + ["test"] * test
        side |= dict(zip(members, sides, strict=True))
    return side


def _permuted_strata(table: pd.DataFrame, group: str, seed: int) -> dict[str, list[str]]:
    rows = table.groupby(group)
    if _has_labels(table):
        kind = rows["label"].agg(lambda labels: labels.mode().iloc[0])
    else:
        kind = rows["condition"].agg(lambda conditions: " + ".join(sorted(set(conditions))))
    sizes = kind.value_counts()
    if sizes.min() < 3 and set(kind) != set(table["condition"]):
        kind[:] = ""
    generator = np.random.default_rng(seed)
    return {
        stratum: [str(name) for name in generator.permutation(sorted(kind.index[kind == stratum]))]
        for stratum in sorted(set(kind))
    }


def _counts(groups: int, config: SplitConfig) -> tuple[int, int, int]:
    """Returns how many of a stratum's groups go to train, val and test; rounded, at least 1."""
    test = max(1, math.floor(groups * config.test_fraction + 0.5))
    val = max(1, math.floor(groups * config.val_fraction + 0.5)) if config.val_fraction else 0
    return groups - val - test, val, test


def _is_large(
    table: pd.DataFrame, group: str, strata: dict[str, list[str]], config: SplitConfig
) -> bool:
    """Says whether a fixed division is enough (see `assign_split`)."""
    held_out = {}
    for stratum, members in strata.items():
        train, val, test = _counts(len(members), config)
        held_out[stratum] = val + test
        if train < 3 or test < 2:
            return False
    stratum_of = {name: stratum for stratum, members in strata.items() for name in members}
    for _, names in table.groupby("label")[group].unique().items():
        if len(names) <= sum(held_out[s] for s in {stratum_of[name] for name in names}):
            return False
    return True


def _fold_count(table: pd.DataFrame, group: str, config: SplitConfig) -> int:
    """Returns the folds of a k-fold division: no more than the rarest condition has groups."""
    groups = table[group].nunique()
    if not _has_labels(table):
        groups = int(table.groupby("condition")[group].nunique().min())
    return max(2, min(config.folds, groups))


def _check_trained(table: pd.DataFrame, path: epath.PathLike) -> None:
    """Raises CohortError unless each class has a recording in train."""
    trainable = table[table["split"] != "drug"]
    trained = set(trainable["label"][trainable["split"] == "train"])
    missing = trainable[~trainable["label"].isin(trained)].drop_duplicates("label")
    faults = [
        Fault(row.row, "split", row.split, f"class {row.label} has no recording in train")
        for row in _rows(missing)
    ]
    if faults:
        raise CohortError(path, faults)


def _warn(table: pd.DataFrame, group: str) -> None:
    """Warns of what is allowed but weakens the evidence."""
    drug = table["split"] == "drug"
    shared = set(table["cage"][drug]) & set(table["cage"][~drug]) - {""}
    if shared:
        logging.warning(
            "drug animals share a cage with trainable ones: %s", ", ".join(sorted(shared))
        )
    without = int((table["cage"][~drug] == "").sum())
    if group == "animal" and 0 < without < (~drug).sum():
        logging.warning(
            "cage is empty on %d trainable rows: animals are divided, cage mates may part", without
        )
    groups = table[~drug].groupby("label")[group].unique()
    for name, only in groups[groups.map(len) == 1].items():
        logging.warning(
            "class %s is in one %s only (%s): whatever else is special there looks like the class; "
            "leave it out (exclude) or say so",
            *(name, group, only[0]),
        )


# The summary.


def probe_minutes(cohort: Cohort) -> tuple[list[float], list[str]]:
    """Reads the length of each video off its file.

    Returns:
        Minutes per row of the table, NaN where unreadable, and what went wrong with those.
    """
    from data_prep import video

    minutes, failures = [], []
    for path in tqdm.tqdm(
        cohort.table["path"], desc="probing", unit="video", delay=2.0, mininterval=1.0
    ):
        try:
            minutes.append(video.probe(path).duration_s / 60)
        except video.VideoError as error:
            minutes.append(math.nan)
            failures.append(str(error))
    return minutes, failures


def summarise(cohort: Cohort, minutes: Sequence[float]) -> str:
    """Tabulates animals, recordings and minutes per class, day, arm and split.

    Classes are those of the rows that are not in the split `drug`, each with its coarse group;
    days and arms are those of all rows.

    Args:
        cohort: the cohort.
        minutes: length of each recording; NaN (unknown) makes the sums it enters a `?`.
    """
    table = cohort.table.assign(minutes=list(minutes))
    lines = [("", "animals", "recordings", "minutes")]
    for title, keys in _sections(table, cohort.taxonomy):
        if len(keys):
            lines.append((title, "", "", ""))
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
    """Yields titles and what each row counts under, ordered as it is to be printed."""
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
    arms["arm"] = [_arm_name(row) for row in _rows(arms)]
    yield "arm", arms["arm"]
    arms = arms[arms["split"] == "drug"].sort_values("condition", kind="stable")
    yield "split drug, by condition", arms["condition"] + ", " + arms["arm"]
    sides = table.sort_values(["split", "fold"], key=_side_order)
    folds = sides["fold"].map(lambda fold: f", fold {fold}" if fold >= 0 else "")
    yield "split", sides["split"] + folds


def _side_order(column: pd.Series) -> pd.Series:
    return column.map(SPLITS.index) if column.name == "split" else column


def _count(rows: pd.DataFrame) -> tuple[str, str, str]:
    minutes = rows["minutes"].sum(skipna=False)
    return (
        str(rows["animal"].nunique()),
        str(len(rows)),
        "?" if math.isnan(minutes) else f"{minutes:.1f}",
    )


def _arm_name(row: Any) -> str:
    if not row.drug:
        return "untreated"
    dose = f" {row.dose_mg_per_kg:g} mg/kg" if row.drug != VEHICLE else ""
    return f"{row.drug}{dose} {row.route}".rstrip()


def main(config: StudyConfig) -> int:
    """Prints the summary of the cohort that the flags name; returns the exit status."""
    cohort = read_cohort(flags.FLAGS.cohort, split=config.split, exclude=config.exclude)
    minutes, failures = probe_minutes(cohort)
    print(summarise(cohort, minutes))
    for failure in failures:
        print(f"unreadable: {failure}", file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    flags.DEFINE_string("cohort", None, "Path of cohort.csv.", required=True)
    cli.start(main)
