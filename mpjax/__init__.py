"""mpjax: label-free analysis of mouse chronic pain from raw video, in JAX."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpjax.models.projector import Projector, load_projector

__all__ = ["Projector", "load_projector"]


def __getattr__(name: str) -> Any:
    # JAX loads on first use: the analysis half and `--help` do without it.
    if name in __all__:
        from mpjax.models import projector

        return vars(projector)[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
