"""Config files in and out: ConfigDicts and mappings become checked dataclasses, and back."""

import dataclasses
import os
import typing
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, TypeVar

from mpjax.config import rules
from mpjax.config.study import StudyConfig

T = TypeVar("T")
_SHIPPED = Path(__file__).parents[1] / "configs"


def find_config(name: str | os.PathLike[str]) -> str:
    """Returns the path of a config file, given by its path or as the bare name of a shipped one.

    Raises:
        FileNotFoundError: there is neither; the message lists the names.
    """
    text = os.fspath(name)
    path = _SHIPPED / f"{text}.py" if text.isidentifier() else Path(text)
    if not path.is_file():
        names = ", ".join(sorted(each.stem for each in _SHIPPED.glob("*.py")))
        raise FileNotFoundError(f"{text}: no such config file; shipped ones, by name: {names}")
    return os.fspath(path)


def type_of_field(name: str) -> Any:
    """Returns the type of a single field by its dotted name, e.g. `config.video.fps`.

    Raises:
        ValueError: there is no such field, it has another name now, or it is a section.
    """
    cls, path = StudyConfig, "config"
    for part in name.split(".")[1:]:
        hints = typing.get_type_hints(cls) if dataclasses.is_dataclass(cls) else {}
        if part not in hints:
            raise ValueError(_unknown(path, part, hints))
        cls, path = hints[part], f"{path}.{part}"
    if dataclasses.is_dataclass(cls):
        fields = ", ".join(sorted(typing.get_type_hints(cls)))
        raise ValueError(f"{path} is a section, no single field; it has {fields}")
    return cls


def _unknown(path: str, name: str, known: Iterable[str]) -> str:
    """Says that the section at `path` has no such field, and which ones it has."""
    new = rules.RENAMED.get(f"{path}.{name}".removeprefix("config."))
    if new:
        return f"{path}.{name} is now config.{new}"
    return f"{path}.{name}: no such field; {path} has {', '.join(sorted(known)) or 'none'}"


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
        faults.append(_unknown(path, name, hints))
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
