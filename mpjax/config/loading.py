"""Config files in and out: ConfigDicts and mappings become checked dataclasses, and back."""

import dataclasses
import typing
from typing import Annotated, Any, TypeVar

from mpjax.config import rules
from mpjax.config.study import StudyConfig

T = TypeVar("T")


def to_config_dict(config: Any) -> Any:
    """Turns a config dataclass into an `ml_collections.ConfigDict` of the same shape."""
    import ml_collections

    return ml_collections.ConfigDict(dataclasses.asdict(config))


def get_config() -> Any:
    """Returns what a binary without `--config` runs with: settings for a lab's own cohort.

    Half of a camera's usual 25 Hz, so that a clip of 16 frames shows 1.28 s of behaviour, and
    frames as large as the projector's input. The rest are the defaults.
    """
    config = to_config_dict(StudyConfig())
    config.video.fps = 12.5
    config.video.short_side = 224
    return config


def from_config_dict(values: Any, cls: type[T] = StudyConfig, *, path: str = "config") -> T:  # type: ignore[assignment]
    """Builds `cls` from a ConfigDict or a mapping with some of its fields, and checks it.

    Raises:
        ValueError: a field that is unknown or has another name now, a value of the wrong type or
            one that no rule allows, named from `path` on; all at once. Or what the dataclass itself
            refuses.
    """
    faults: list[str] = []
    result = _build(values, cls, path, faults)
    if faults:
        raise ValueError("; ".join(faults))
    return result


def _build(values: Any, cls: Any, path: str, faults: list[str]) -> Any:
    if not hasattr(values, "keys"):
        faults.append(f"{path}: fields and values are expected, not {values!r}")
        return None
    hints = typing.get_type_hints(cls, include_extras=True)
    for name in sorted(values.keys() - hints.keys()):
        new = rules.RENAMED.get(f"{path}.{name}".removeprefix("config."))
        known = f"no such field; {cls.__name__} has {', '.join(sorted(hints))}"
        faults.append(f"{path}.{name} is now config.{new}" if new else f"{path}.{name}: {known}")
    built = {}
    for name, hint in hints.items():
        if name not in values:
            continue
        value, where = values[name], f"{path}.{name}"
        if dataclasses.is_dataclass(hint):
            built[name] = _build(value, hint, where, faults)
            continue
        plain = typing.get_args(hint)[0] if typing.get_origin(hint) is Annotated else hint
        before = len(faults)
        if typing.get_origin(plain) is tuple:
            of = typing.get_args(plain)[0]
            built[name] = tuple(_scalar(item, of, where, faults) for item in rules.as_tuple(value))
        else:
            built[name] = _scalar(value, plain, where, faults)
        if len(faults) == before and (fault := rules.fault(where, built[name], hint)):
            faults.append(fault)
    return None if faults else cls(**built)  # the class would stop at its first fault


def _scalar(value: Any, hint: Any, where: str, faults: list[str]) -> Any:
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        faults.append(f"{where}: expected {hint.__name__}, got {value!r}")
    return value
