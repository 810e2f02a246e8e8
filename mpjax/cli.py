"""How every binary begins and ends: `--config`, one-line errors, a truthful exit status."""

import sys
from collections.abc import Callable

from absl import app, flags, logging
from ml_collections import config_flags

from mpjax import config as configs


def start(run: Callable[[configs.StudyConfig], int | None]) -> None:
    """Parses the flags, calls `run` with the config and exits with what it returns (None: 0).

    A ValueError or OSError, the ways in which bad input shows, is printed as one message without
    a traceback (`--traceback` shows it) and exits with 1. The caller defines its own flags first.
    """
    config = config_flags.DEFINE_config_file(
        "config", configs.__file__, "Config file; single fields: --config.head.seed=3."
    )
    traceback = flags.DEFINE_bool("traceback", False, "Show where an error was raised.")

    def main(argv: list[str]) -> None:
        if len(argv) > 1:
            raise app.UsageError(f"unexpected argument(s): {' '.join(argv[1:])}")
        logging.set_verbosity(logging.WARNING)  # Orbax and JAX tell of every step they take
        try:
            status = run(configs.from_config_dict(config.value))
        except (ValueError, OSError) as error:
            if traceback.value:
                raise
            print(f"error: {error}", file=sys.stderr)
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
