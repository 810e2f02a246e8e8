"""Numbers as text: shares, intervals, p-values, estimates and counts."""

from collections.abc import Mapping, Sequence
from typing import Any

_ABSENT = "–"


def percent(share: float | None) -> str:
    """Formats a share as per cent."""
    return _ABSENT if share is None else f"{number(100 * share, 1)} %"


def interval(score: Mapping[str, Any]) -> str:
    """Formats a 95 % interval of a share in per cent, or a dash where there is none."""
    if score.get("ci95") is None:
        return _ABSENT
    low, high = score["ci95"]
    between = "–" if low >= 0 else " to "
    return f"{number(100 * low, 1)}{between}{number(100 * high, 1)} %"


def number(value: float | None, digits: int = 2) -> str:
    """Formats a number with a true minus sign, or a dash where there is none."""
    if value is None:
        return _ABSENT
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.removeprefix("-")


def signed(value: float, digits: int = 2) -> str:
    """Formats a difference with its sign, + or a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def span(entry: Mapping[str, Any], digits: int = 2) -> str:
    """Formats a 95 % interval of any number, or a dash where there is none."""
    if entry.get("ci95") is None:
        return _ABSENT
    low, high = entry["ci95"]
    return f"{number(low, digits)} to {number(high, digits)}"


def p_value(p: float | None) -> str:
    """Formats a p-value: three decimals, never 0."""
    if p is None:
        return _ABSENT
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def p_phrase(p: float, name: str = "p") -> str:
    """Formats a p-value (or `q`) for a sentence; it does not break over two lines."""
    text = p_value(p).replace(" ", "\u00a0")
    return f"{name}\u00a0{text}" if text.startswith("<") else f"{name}\u00a0=\u00a0{text}"


def estimate(entry: Mapping[str, Any], digits: int = 2) -> str:
    """Formats an estimate with its interval and p, or the reason why there is none."""
    if entry.get("value") is None:
        return f"not estimable: {entry.get('why', 'no reason given')}"
    text = number(entry["value"], digits)
    if entry.get("ci95") is not None:
        text += f" (95 % CI {span(entry, digits)})"
    if entry.get("p") is not None:
        text += f", {p_phrase(entry['p'])}"
    return text


def join(names: Sequence[str]) -> str:
    """Joins names as prose: a, b and c."""
    names = list(names)
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def count(n: int, one: str, many: str | None = None) -> str:
    """Formats a number of things: 1 animal, 3 animals, 12,000 clips."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
