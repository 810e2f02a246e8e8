"""How every binary begins and ends: flags, one-line errors, a truthful exit status."""

import sys
from collections.abc import Callable

from absl import app, flags, logging
from ml_collections import config_flags

from mpjax import config as configs
from mpjax import stores


def start(run: Callable[[configs.StudyConfig], int | None]) -> None:
    """As `start_plain`, for a binary with `--config`, whose config `run` is called with."""
    config = config_flags.DEFINE_config_file(
        "config", configs.__file__, "Config file; single fields: --config.head.seed=3."
    )
    start_plain(lambda: run(configs.from_config_dict(config.value)))


def start_plain(run: Callable[..., int | None], *, words: bool = False) -> None:
    """Parses the flags, calls `run` and exits with what it returns (None: 0).

    What bad input and absent packages raise (ValueError, OSError, ImportError) is printed as one
    message without a traceback (`--traceback` shows it) and exits with 1. The caller defines its
    own flags first.

    Args:
        run: the binary.
        words: whether it is called with the words of the command line that are no flags.
    """
    traceback = flags.DEFINE_bool("traceback", False, "Show where an error was raised.")

    def main(argv: list[str]) -> None:
        if argv[1:] and not words:
            raise app.UsageError(f"unexpected argument(s): {' '.join(argv[1:])}")
        logging.set_verbosity(logging.WARNING)  # Orbax and JAX tell of every step they take
        try:
            status = run(*argv[1:])
        except (ValueError, OSError, ImportError) as error:
            if traceback.value:
                raise
            print(f"error: {error}", file=sys.stderr)
            status = 1
        except Exception as error:
            if traceback.value or not stores.is_failure(error):
                raise
            print(f"error: the store refuses ({type(error).__name__}: {error})", file=sys.stderr)
            status = 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            status = 130
        sys.exit(status or 0)

    app.run(main, flags_parser=_parse)


def _parse(argv: list[str]) -> list[str]:
    try:
        return app.parse_flags_with_usage(argv)
    except (AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        # How ml_collections tells of a config file or field that does not exist.
        print(f"error: {error}\n(in the flags {' '.join(argv[1:])})", file=sys.stderr)
        sys.exit(1)
