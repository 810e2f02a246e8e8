"""How does a binary begin and end: flags, help, one-line errors, an exit status that is true?"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mpjax.cli.app import describe, one_word, start, start_plain

__all__ = ["describe", "one_word", "start", "start_plain"]


def __getattr__(name: str) -> Any:
    # `mpjax --help` needs the names of the commands alone, and comes at once.
    if name in __all__:
        from mpjax.cli import app

        return getattr(app, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
