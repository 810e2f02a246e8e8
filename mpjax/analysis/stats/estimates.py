"""Levels shared by every test, and what stands for an estimate that the data cannot give."""

from typing import Any

ALPHA, POWER = 0.05, 0.8
PERMUTATIONS = 9999


class NotEstimableError(ValueError):
    """The data do not determine a figure; the message says why."""


def absent(why: str) -> dict[str, Any]:
    """Returns the entry of an estimate that cannot be given."""
    return {"value": None, "why": why}
