"""Columns of tables by what they hold: text, numbers, shares, p-values, estimates."""

from collections.abc import Callable, Sequence
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


def estimate(heading: str, key: str, *, digits: int = 2) -> Column:
    """A column of estimates laid out by `spread`, each with its interval below."""
    return _with_interval(
        heading, key, lambda x: formatting.number(x, digits), lambda x: formatting.span(x, digits)
    )


def share_estimate(heading: str, key: str) -> Column:
    """A column of shares laid out by `spread`, in per cent, each with its interval below."""
    return _with_interval(heading, key, formatting.percent, formatting.interval)


def points_estimate(heading: str, key: str) -> Column:
    """A column of differences of shares, in percentage points, each with its interval below."""

    def points(value: float | None) -> str:
        return formatting.number(None if value is None else 100 * value, 1)

    def between(found: Row) -> str:
        ends = found["ci95"]
        return "–" if ends is None else f"{points(ends[0])} to {points(ends[1])}"

    return _with_interval(heading, key, points, between)


def notes(rows: Sequence[Row]) -> list[Column]:
    """A column of notes; none where no row with figures has one."""
    return [text("Note", "note")] if any(row["note"] for row in rows) else []


def _with_interval(
    heading: str, key: str, show: Callable[[Any], str], between: Callable[[Row], str]
) -> Column:
    return Column(heading, lambda row: show(row[key]), below=lambda row: between(_ends(row, key)))


def _ends(row: Row, key: str) -> Row:
    low, high = row[f"{key}_ci_low"], row[f"{key}_ci_high"]
    return {"ci95": None if low is None else [low, high]}
