"""How does every binary handle its flags, its help, its errors and its exit status?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpjax.cli.app import install_hint, one_word, start, start_plain

__all__ = ["install_hint", "one_word", "start", "start_plain"]


def __getattr__(name: str) -> Any:
    # absl loads on first use: `mpjax --help` does without it.
    if name in __all__:
        from mpjax.cli import app

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
