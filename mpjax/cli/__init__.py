"""How does a binary begin and end: flags, help, one-line errors, an exit status that is true?"""

from mpjax.cli.app import describe, one_word, start, start_plain

__all__ = ["describe", "one_word", "start", "start_plain"]
