"""Tables of the report: rows of plain values, shown as HTML and offered as CSV."""

import base64
import csv
import dataclasses
import io
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mpjax import formatting

Row = dict[str, Any]
WHY = "not_estimable"  # the column with the reason where a row has no figures


@dataclasses.dataclass(frozen=True)
class Column:
    """A column as shown.

    Attributes:
        heading: of the column.
        cell: formats it from a row.
        numeric: right-aligned.
        below: formats the second line of the cell, in small type: an interval.
    """

    heading: str
    cell: Callable[[Row], str]
    numeric: bool = True
    below: Callable[[Row], str] | None = None


@dataclasses.dataclass(frozen=True)
class Table:
    """A table; the CSV has every key of its rows, the page the columns only.

    Attributes:
        name: of the CSV, without its ending.
        caption: what it shows, for the eye and for screen readers.
        rows: plain values by name, all rows with the same names.
        columns: as shown.
        labels: how many columns, from the left, name the row.
    """

    name: str
    caption: str
    rows: Sequence[Row]
    columns: Sequence[Column]
    labels: int = 1

    @property
    def csv(self) -> str:
        """The rows as CSV (RFC 4180); empty cells are what is not known."""
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


def text(heading: str, key: str) -> Column:
    """A column of words."""
    return Column(heading, lambda row: "" if row[key] is None else str(row[key]), numeric=False)


def integer(heading: str, key: str) -> Column:
    """A column of whole numbers."""
    return Column(heading, lambda row: "–" if row[key] is None else f"{row[key]:,.0f}")


def real(heading: str, key: str, *, digits: int = 2) -> Column:
    """A column of numbers."""
    return Column(heading, lambda row: formatting.number(row[key], digits))


def share(heading: str, key: str) -> Column:
    """A column of shares, in per cent."""
    return Column(heading, lambda row: formatting.percent(row[key]))


def p_value(heading: str, key: str) -> Column:
    """A column of p-values."""
    return Column(heading, lambda row: formatting.p_value(row[key]))


def estimate(heading: str, key: str, *, digits: int = 2) -> Column:
    """A column of estimates laid out by `spread`, each with its interval below."""
    return Column(
        heading,
        lambda row: formatting.number(row[key], digits),
        below=lambda row: formatting.span(_interval(row, key), digits),
    )


def share_estimate(heading: str, key: str) -> Column:
    """A column of shares laid out by `spread`, in per cent, each with its interval below."""
    return Column(
        heading,
        lambda row: formatting.percent(row[key]),
        below=lambda row: formatting.interval(_interval(row, key)),
    )


def _interval(row: Row, key: str) -> Row:
    low, high = row[f"{key}_ci_low"], row[f"{key}_ci_high"]
    return {"ci95": None if low is None else [low, high]}


def spread(key: str, estimate: Mapping[str, Any]) -> Row:
    """Lays an estimate out as value, lower and upper end of its interval."""
    low, high = estimate.get("ci95") or (None, None)
    return {key: estimate.get("value"), f"{key}_ci_low": low, f"{key}_ci_high": high}


def remark(estimate: Mapping[str, Any]) -> str:
    """Returns what an estimate says about itself: a note, or why something is missing."""
    return "; ".join(str(estimate[key]) for key in ("why", "note") if estimate.get(key))
