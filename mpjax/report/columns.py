"""Columns of tables by what they hold: text, numbers, shares, p-values, estimates."""

from collections.abc import Sequence
from typing import Any

from mpjax import formatting
from mpjax.report.tables import Column, Row


def text(heading: str, key: str) -> Column:
    """A column of text."""
    return Column(heading, lambda row: "" if row[key] is None else str(row[key]), numeric=False)


def flag(heading: str, key: str, yes: str = "yes", no: str = "") -> Column:
    """A column that says where something holds."""
    return Column(heading, lambda row: yes if row[key] else no, numeric=False)


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


def estimate(heading: str, key: str, *, digits: int = 2, scale: float = 1) -> Column:
    """A column of estimates laid out by `spread`, times `scale`, each with its interval below."""
    return Column(
        heading,
        lambda row: formatting.number(None if row[key] is None else scale * row[key], digits),
        below=lambda row: formatting.span(_interval(row, key, scale), digits),
    )


def share_estimate(heading: str, key: str) -> Column:
    """A column of shares laid out by `spread`, in per cent, each with its interval below."""
    return Column(
        heading,
        lambda row: formatting.percent(row[key]),
        below=lambda row: formatting.interval(_interval(row, key)),
    )


def points_estimate(heading: str, key: str) -> Column:
    """A column of differences of shares, in percentage points, each with its interval below."""
    return estimate(heading, key, digits=1, scale=100)


def notes(rows: Sequence[Row]) -> list[Column]:
    """A column of notes; none where no row with figures has one."""
    return [text("Note", "note")] if any(row["note"] for row in rows) else []


def _interval(row: Row, key: str, scale: float = 1) -> dict[str, Any]:
    low, high = row[f"{key}_ci_low"], row[f"{key}_ci_high"]
    return {"ci95": None if low is None else (scale * low, scale * high)}
