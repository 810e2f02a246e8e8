"""Tables of the report: rows of plain values, shown as HTML and offered as CSV."""

import base64
import csv
import dataclasses
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]
WHY = "not_estimable"  # the column with the reason where a row has no figures


@dataclasses.dataclass(frozen=True)
class Column:
    """A column as shown."""

    heading: str
    cell: Callable[[Row], str]
    numeric: bool = True  # right-aligned
    below: Callable[[Row], str] | None = None  # second line of the cell, small: an interval


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the CSV has every key of its rows, the page the columns only."""

    name: str  # of the CSV, without its ending
    caption: str  # what it shows, also for screen readers
    rows: Sequence[Row]  # all with the same keys
    columns: Sequence[Column] = ()
    labels: int = 1  # how many columns, from the left, name the row

    @property
    def csv(self) -> str:
        """The rows as CSV (RFC 4180); unknown values are empty cells."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(self.rows[0]))
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    @property
    def uri(self) -> str:
        """The CSV as a data: URI, for a link that needs no network."""
        encoded = base64.b64encode(self.csv.encode()).decode()
        return f"data:text/csv;charset=utf-8;base64,{encoded}"

    @property
    def reasons(self) -> list[str]:
        """Per row, why it has no figures; empty where it has."""
        return [row.get(WHY) or "" for row in self.rows]


def by_name(tables: Iterable[Table]) -> dict[str, Table]:
    """Returns the tables that have rows, by their names."""
    return {table.name: table for table in tables if table.rows}


def spread(key: str, estimate: Mapping[str, Any]) -> Row:
    """Lays an estimate out as value, lower and upper end of its interval."""
    low, high = estimate.get("ci95") or (None, None)
    return {key: estimate.get("value"), f"{key}_ci_low": low, f"{key}_ci_high": high}


def remark(estimate: Mapping[str, Any]) -> str:
    """Returns the note on an estimate, or why something of it is missing."""
    return "; ".join(str(estimate[key]) for key in ("why", "note") if estimate.get(key))


def reason(estimate: Mapping[str, Any]) -> str:
    """Returns why an estimate has no value; empty where it has one."""
    return remark(estimate) if estimate.get("value") is None else ""


def lay(estimate: Mapping[str, Any], key: str = "value") -> Row:
    """Lays an estimate out with its interval, p, n, note, and why it has no value."""
    return {
        **spread(key, estimate), "p": estimate.get("p"), "n": estimate.get("n"),
        "note": remark(estimate), WHY: reason(estimate),
    }  # fmt: skip
