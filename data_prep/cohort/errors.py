"""The faults of a cohort table, reported all at once."""

import dataclasses
from collections.abc import Sequence

import numpy as np
from etils import epath


@dataclasses.dataclass(frozen=True)
class Fault:
    """A broken rule and its place: `row` as in a spreadsheet (header: 1; the whole file: 0)."""

    row: int
    column: str
    value: str
    rule: str

    def __str__(self) -> str:
        if not self.row:
            return self.rule
        return f"row {self.row}, column {self.column}, value {self.value!r}: {self.rule}"


class CohortError(ValueError):
    """The faults of a cohort: `faults` holds them all, the message the first `SHOWN`.

    Several empty cells of a column that break one rule are one line.
    """

    SHOWN = 50

    def __init__(self, path: object, faults: Sequence[Fault]):
        self.faults = tuple(faults)
        found = _lines(self.faults)
        lines = [f"{len(self.faults)} faults"] * (len(self.faults) > 1) + found[: self.SHOWN]
        if len(found) > self.SHOWN:
            lines.append(f"... and {len(found) - self.SHOWN} more")
        super().__init__(f"{path}: " + "\n  ".join(lines))


_LEFT_EMPTY = 3  # empty cells of a column from which on they share a line


def _lines(faults: Sequence[Fault]) -> list[str]:
    """Returns a line per fault, or per column that was left empty: rows 2-5, 9, column …"""
    empty: dict[tuple[str, str], list[int]] = {}
    for fault in faults:
        if not fault.value and fault.row > 1:
            empty.setdefault((fault.column, fault.rule), []).append(fault.row)
    lines: dict[str, None] = {}  # ordered, each once
    for fault in faults:
        rows = empty.get((fault.column, fault.rule), []) if not fault.value else []
        if len(rows) < _LEFT_EMPTY:
            lines[str(fault)] = None
            continue
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        runs = [(run[0], run[-1]) for run in np.split(rows, breaks)]
        ranges = ", ".join(f"{a}-{b}" if b > a else str(a) for a, b in runs)
        lines[f"rows {ranges}, column {fault.column}, empty: {fault.rule}"] = None
    return list(lines)


def file_error(path: epath.PathLike, rule: str) -> CohortError:
    """Returns the error of a cohort that is faulty as a whole, not in one row."""
    return CohortError(path, [Fault(0, "", "", rule)])
