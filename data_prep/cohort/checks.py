"""Checks a cohort table: the rules for columns, cells and rows."""

import collections
import datetime
import difflib
import itertools
import math
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

import pandas as pd
import pandera.pandas as pa
import tqdm
from etils import epath

from data_prep.cohort.errors import CohortError, Fault
from mpjax import taxonomy as taxonomies
from mpjax.config import SplitConfig
from mpjax.data.splits import SPLITS
from mpjax.io import stores

VEHICLE = "vehicle"
COLUMNS = (
    *("video", "animal", "cage", "sex", "condition", "day", "label", "drug", "dose_mg_per_kg"),
    *("route", "minutes_post_dose", "fps", "roi", "pose", "split", "date", "camera"),
)
NUMERIC = ("dose_mg_per_kg", "minutes_post_dose", "fps")
FASTEST_FPS = 10_000  # a higher rate is a typing error
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
DAY = re.compile(r"([+-]?\d{1,5})(\.0*)?", re.ASCII)  # pandas writes 7.0 where a day is missing
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_ROI = re.compile(r"\d{1,6}:\d{1,6}:0*[1-9]\d{0,5}:0*[1-9]\d{0,5}", re.ASCII)
SEXES = {"": "", "m": "M", "male": "M", "f": "F", "female": "F"}
# Rules for a cell that is not empty.
_RULES: dict[str, tuple[Callable[[str], object], str]] = {
    "sex": (lambda cell: cell.lower() in SEXES, "must be M or F"),
    "day": (
        DAY.fullmatch,
        "must be a whole number of days after induction, such as 7 (0 or negative before it); "
        "instead of a date, give the days from induction to it",
    ),
    "dose_mg_per_kg": (lambda cell: parse_number(cell) >= 0, "must be a number, 0 or more"),
    "minutes_post_dose": (
        lambda cell: parse_number(cell) >= 0,
        "must be a number, 0 or more; for a recording before the dose, leave drug empty",
    ),
    "fps": (
        lambda cell: 0 <= parse_number(cell) <= FASTEST_FPS,
        f"must be a number of frames/s, at most {FASTEST_FPS}; empty: unknown",
    ),
    "roi": (_ROI.fullmatch, "must be x:y:w:h in whole px, w and h > 0"),
    "split": (SPLITS.__contains__, f"must be one of {', '.join(SPLITS)}"),
    "date": (lambda cell: _is_date(cell), "must be a date written YYYY-MM-DD, e.g. 2026-03-14"),
}


def iterate_rows(table: pd.DataFrame) -> Iterator[Any]:
    """Yields rows as named tuples; typed as Any because their fields are columns."""
    return iter(table.itertuples())


def parse_number(cell: str) -> float:
    """Returns the cell as a finite number; NaN where it is none."""
    value = float(cell) if _NUMBER.fullmatch(cell) else math.nan
    return value if math.isfinite(value) else math.nan


def _is_date(cell: str) -> bool:
    try:
        return bool(_DATE.fullmatch(cell) and datetime.date.fromisoformat(cell))
    except ValueError:  # such as February 30
        return False


def locate(names: pd.Series, csv_path: epath.Path) -> list[str]:
    """Returns absolute paths of files named relative to the csv; '' for ''."""
    folder = epath.Path(os.getcwd()) / csv_path.parent  # gs:// and the like are absolute
    return [name if not name or stores.is_remote(name) else str(folder / name) for name in names]


def condition_classes(table: pd.DataFrame) -> list[str]:
    """Returns the class of condition and day per row; '' where one of them is missing."""
    return [
        "" if pd.isna(day) or not condition else taxonomies.fine_name(condition, int(day))
        for condition, day in zip(table["condition"], table["day"], strict=True)
    ]


def has_labels(table: pd.DataFrame) -> bool:
    """Returns whether classes are the cohort's own labels, not made of condition and day."""
    return table["label"].tolist() != condition_classes(table)


def is_drug_animal(table: pd.DataFrame) -> pd.Series:
    """Returns for each row whether its animal has a drug or vehicle row."""
    treated = set(table["animal"][table["drug"] != ""])
    return table["animal"].isin(treated)


def cell_faults(cells: pd.DataFrame) -> list[Fault]:
    """Checks each column by itself, with pandera."""
    filled = dict.fromkeys(("video", "animal"), "must not be empty")
    if "label" in cells and cells["label"].any():
        filled["label"] = "must not be empty: give a label on all rows or on none"
    else:
        rule = "must not be empty (or give every recording a label instead)"
        filled |= dict.fromkeys(("condition", "day"), rule)
    required = set(filled)
    if "split" in cells and cells["split"].any():
        filled["split"] = "must not be empty: give a split on all rows or on none"
    columns = {}
    for name in COLUMNS:
        rules: list[tuple[Any, str]] = [(bool, filled[name])] if name in filled else []
        if name in _RULES:
            is_valid, rule = _RULES[name]
            rules.append((lambda cell, ok=is_valid: not cell or bool(ok(cell)), rule))
        checks = [pa.Check(ok, element_wise=True, error=rule) for ok, rule in rules]
        columns[name] = pa.Column(str, checks, required=name in required)
    try:
        pa.DataFrameSchema(columns, strict=True).validate(cells, lazy=True)
    except pa.errors.SchemaErrors as error:
        return [_from_pandera(case) for case in iterate_rows(error.failure_cases)]
    return []


def _from_pandera(case: Any) -> Fault:
    """Turns a row of pandera's `failure_cases` into a fault."""
    value = case.failure_case
    if case.check == "column_in_dataframe":
        return Fault(1, value, "", "required column is missing (label can replace condition, day)")
    if case.check == "column_in_schema":
        near = difflib.get_close_matches(value.lower(), COLUMNS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        return Fault(1, value, value, f"unknown column; {hint}known are {', '.join(COLUMNS)}")
    return Fault(int(case.index), case.column, value, case.check)


def table_faults(table: pd.DataFrame, config: SplitConfig) -> list[Fault]:
    """Checks rows against each other."""
    faults = []
    for name in ("condition", "sex", "cage"):
        for row, was, at in _differing(table, "animal", name):
            rule = f"an animal has one {name}, and {row.animal} has {was!r} on row {at}"
            faults.append(Fault(row.row, name, getattr(row, name), rule))
    faults += _spelling_faults(table) + _dose_faults(table) + _duplicate_faults(table)
    drug = is_drug_animal(table)
    for row in iterate_rows(table[drug & ~table["split"].isin(("", "drug"))]):
        rule = f"animal {row.animal} has drug rows: all are drug"
        faults.append(Fault(row.row, "split", row.split, rule))
    return faults + _leak_faults(table[~drug], "animal" if config.group == "animal" else "cage")


def _differing(table: pd.DataFrame, key: str, value: str) -> Iterator[tuple[Any, str, int]]:
    """Yields rows whose `value` differs from the first with their `key`, that value and its row.

    Rows where either is '' do not count.
    """
    first: dict[str, tuple[str, int]] = {}
    for row in iterate_rows(table[[key, value, "row"]]):
        name, here = getattr(row, key), getattr(row, value)
        if name and here:
            was, at = first.setdefault(name, (here, row.row))
            if here != was:
                yield row, was, at


def _spelling_faults(table: pd.DataFrame) -> list[Fault]:
    """Finds names that are most likely another name, misspelt: they would split a class."""
    faults = []
    names = ["animal", "cage", "condition", "drug", "route", "camera"]
    for name in [*names, "label"] if has_labels(table) else names:
        usual = _usual_drugs(table) if name == "drug" else _usual_spellings(table[name])
        faults += [
            Fault(row, name, value, f"write {usual[value]!r}, as in other rows or in the format")
            for row, value in zip(table["row"], table[name], strict=True)
            if usual.get(value, value) != value
        ]
    return faults


def _usual_spellings(column: pd.Series, *, reserved: tuple[str, ...] = ()) -> dict[str, str]:
    """Maps each value to the most frequent one that differs only in case and space."""
    values = [*reserved, *dict(collections.Counter(filter(None, column)).most_common())]
    usual = {_folded(value): value for value in reversed(values)}
    return {value: usual[_folded(value)] for value in values}


def _usual_drugs(table: pd.DataFrame) -> dict[str, str]:
    """Maps each drug name to its usual spelling, including `vehicle` and typing errors."""
    usual: dict[str, str] = {}
    for value, name in _usual_spellings(table["drug"], reserved=(VEHICLE,)).items():
        like = (known for known in usual.values() if _is_slip(_folded(name), _folded(known)))
        usual[value] = next(like, name)
    return usual


def _is_slip(a: str, b: str) -> bool:
    """Returns whether one name is most likely the other, mistyped.

    For drugs that is one letter added, missing, changed or swapped with the next. Codes (`drugA`
    and `drugB`, names with digits) and prefixes (S-ketamine, R-ketamine) are different drugs.
    """
    if VEHICLE in (a, b):
        return difflib.SequenceMatcher(None, a, b).ratio() > 0.8
    start = _common_start(a, b)
    end = _common_start(a[start:][::-1], b[start:][::-1])
    x, y = a[start : len(a) - end], b[start : len(b) - end]
    one_slip = max(len(x), len(y)) <= 1 or (len(x) == 2 and x == y[::-1])
    last_changed = len(a) == len(b) and not end
    code = last_changed or bool(re.search(r"\d", a + b)) or min(len(a), len(b)) < 6
    return a == b or (start >= 3 and one_slip and not code)


def _common_start(a: str, b: str) -> int:
    pairs = zip(a, b, strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _folded(value: str) -> str:
    return " ".join(value.casefold().split())


def _dose_faults(table: pd.DataFrame) -> list[Fault]:
    usual = _usual_drugs(table)
    faults = []
    for row in iterate_rows(table):
        dose = row.dose_mg_per_kg
        broken = {}
        if not row.drug:
            for name in ("dose_mg_per_kg", "minutes_post_dose"):
                if not math.isnan(getattr(row, name)):
                    broken[name] = "must be empty because drug is empty: the animal is untreated"
        elif usual[row.drug] == VEHICLE and dose > 0:
            broken["dose_mg_per_kg"] = "must be 0 or empty for vehicle, the arm without a drug"
        elif usual[row.drug] != VEHICLE and not dose > 0:
            broken["dose_mg_per_kg"] = (
                f"must be above 0 for drug {row.drug!r}; for the control arm write vehicle, for "
                "untreated leave drug empty"
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
    faults = []
    for row, video, at, copy in zip(listed["row"], listed["video"], first, copies, strict=True):
        rule = f"repeats row {at}: delete one"
        if not copy:
            rule = (
                f"is listed already on row {at}; if it shows several animals, give each its own "
                "copy (or link) of the file, with its own name and roi"
            )
        if row != at:
            faults.append(Fault(row, "video", video, rule))
    return faults


def _leak_faults(table: pd.DataFrame, group: str) -> list[Fault]:
    fold = [f" fold {fold}" if fold >= 0 else "" for fold in table["fold"]]
    table = table.assign(side=table["split"] + pd.Series(fold, table.index, dtype=str))
    # Animals of the split drug may share a cage with others: they are neither trained nor tested.
    sides = {"animal": table, group: table[table["split"] != "drug"] if group == "cage" else table}
    return [
        Fault(row.row, "split", row.side, f"{name} {getattr(row, name)} is in {was} on row {at}")
        for name, rows in sides.items()
        for row, was, at in _differing(rows, name, "side")
    ]


def check_no_leak(table: pd.DataFrame, group: str) -> None:
    """Raises CohortError if an animal, or with `group` cage a cage, is on two sides of the split.

    A side is a split and, under folds, the fold. This includes animals in the split `drug`, but a
    cage may hold drug animals and others.
    """
    faults = _leak_faults(table, group)
    if faults:
        raise CohortError("cohort", faults)


def file_faults(table: pd.DataFrame, csv_path: epath.Path) -> list[Fault]:
    """Checks that videos and pose files exist and are files."""
    faults = []
    for name in ("video", "pose"):
        located = locate(table[name], csv_path)
        cells = zip(table["row"], table[name], located, strict=True)
        for row, value, location in tqdm.tqdm(
            cells, desc=f"checking {name} files", total=len(table), delay=2.0
        ):
            if not value:
                continue
            try:
                path = stores.ready(location)
            except (ImportError, ValueError) as error:  # no such store, or no package for it
                faults.append(Fault(row, name, value, str(error)))
                continue
            if path.is_dir():
                faults.append(Fault(row, name, value, "is a directory, must be a file"))
            elif not path.exists():
                hint = "; folders are separated by /" if "\\" in value else ""
                faults.append(Fault(row, name, value, f"no such file: {path}{hint}"))
    return faults
