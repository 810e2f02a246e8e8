"""Checks metrics.json against its JSON Schema, `mpjax/analysis/metrics.schema.json`."""

import importlib.resources
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema


def read_schema() -> dict[str, Any]:
    """Reads the JSON Schema (draft 2020-12) of metrics.json."""
    file = importlib.resources.files("mpjax.analysis") / "metrics.schema.json"
    return json.loads(file.read_text(encoding="utf-8"))


def check(metrics: Mapping[str, Any]) -> None:
    """Raises ValueError with the path of the first fault and the rule that it breaks.

    NaN and infinite numbers are faults too, which JSON Schema cannot say.
    """
    for path, number in _numbers(metrics, "$"):
        if not math.isfinite(number):
            raise ValueError(f"metrics: {path} is {number}; give null and say why")
    validator = jsonschema.Draft202012Validator(read_schema())
    error = next(iter(validator.iter_errors(metrics)), None)
    if error is not None:
        raise ValueError(f"metrics: {error.json_path}: {error.message}")


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """Yields every real number of a nested document with its path."""
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _numbers(item, f"{path}.{name}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _numbers(item, f"{path}[{index}]")
    elif isinstance(value, float):
        yield path, value
