"""mpjax: label-free analysis of mouse chronic pain from raw video, in JAX."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpjax.analysis.predictions import read_predictions
    from mpjax.config import StudyConfig
    from mpjax.models.projector import Projector, load_projector
    from mpjax.studies.study import open_study, run_study

    __version__: str

__all__ = [
    "Projector",
    "StudyConfig",
    "__version__",
    "load_projector",
    "open_study",
    "read_predictions",
    "run_study",
]

_HOMES = {
    "Projector": "models.projector",
    "StudyConfig": "config",
    "load_projector": "models.projector",
    "open_study": "studies.study",
    "read_predictions": "analysis.predictions",
    "run_study": "studies.study",
}


def __getattr__(name: str) -> Any:
    # Loaded at first use: `--help` needs neither JAX nor pandas.
    if name == "__version__":
        from importlib import metadata

        return metadata.version("mpjax")
    if name in _HOMES:
        return getattr(importlib.import_module(f"mpjax.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    # Not the sub-packages that happen to be imported already.
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
