"""How every binary begins and ends: flags, help, one-line errors, a truthful exit status."""

import dataclasses
import logging as standard_logging
import os
import re
import sys
import textwrap
import threading
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from absl import app, flags, logging
from ml_collections import config_flags

from mpjax import config as configs
from mpjax.cli import commands
from mpjax.io import stores

# What brings a package that a plain `pip install mpjax` leaves out.
_EXTRAS = {"apache_beam": "prep", "av": "video"}
_PATIENCE = 5.0  # s that a failing process gives the others to fail alike
_HELP = ("--help", "-help", "-h", "--helpshort", "-?")


def start(run: Callable[..., int | None], *, words: bool = False) -> None:
    """As `start_plain`, for a binary with `--config`, whose config `run` is called with first."""
    try:  # with a default, the fields of the command line are read here and now
        config = config_flags.DEFINE_config_file(
            "config", configs.__file__, "Config file; single fields: --config.head.seed=3."
        )
    except Exception as error:
        _refuse_config(error)
    start_plain(lambda *rest: run(configs.from_config_dict(config.value), *rest), words=words)


def start_plain(run: Callable[..., int | None], *, words: bool = False) -> None:
    """Parses the flags, calls `run` and exits with what it returns (None: 0).

    What bad input and absent packages raise (ValueError, OSError, ImportError, a flag or word too
    many or too few) is printed as one message without a traceback (`--traceback` shows it) and
    exits with 1. The caller defines its own flags first.

    Args:
        run: the binary.
        words: whether it is called with the words of the command line that are no flags.
    """
    traceback = flags.DEFINE_bool("traceback", False, "Show where an error was raised.")
    if any(word in _HELP for word in sys.argv[1:]):
        print(describe(sys.modules["__main__"].__doc__ or ""))
        sys.exit(0)

    def main(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # Orbax and JAX tell of every step they take
        plain = standard_logging.Formatter("%(levelname)s: %(message)s")
        logging.get_absl_handler().setFormatter(plain)
        try:
            if argv[1:] and not words:
                raise app.UsageError(f"unexpected argument(s): {' '.join(argv[1:])}")
            status = run(*argv[1:])
        except app.UsageError as error:
            print(f"error: {error}\n(--help tells how it is used)", file=sys.stderr)
            status = 1
        except (ValueError, OSError, ImportError) as error:
            if traceback.value:
                raise
            print(f"error: {commands.as_typed(str(error))}{_way_out(error)}", file=sys.stderr)
            status = 1
        except Exception as error:
            if traceback.value or not stores.is_failure(error):
                raise
            print(f"error: the store refuses ({type(error).__name__}: {error})", file=sys.stderr)
            status = 1
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(130)  # threads of native code may crash where Python tears itself down
        if status:
            _leave_hosts(status)
        sys.exit(status or 0)

    app.run(main, flags_parser=_parse)


def _leave_hosts(status: int) -> None:
    """Ends a process of several at once, so that the error it has printed is its last word.

    Otherwise JAX would wait at exit for the others, to which nothing happened, and abort. Where all
    of them fail alike, they leave together.
    """
    jax = sys.modules.get("jax")
    if jax is None or not jax.distributed.is_initialized():
        return
    leaving = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    leaving.start()
    leaving.join(_PATIENCE)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def one_word(words: Sequence[str], flag: flags.FlagHolder[str], *, needed: bool = False) -> str:
    """Returns the file that a word of the command line, or a flag in its place, names; or "".

    Args:
        words: those that are no flags.
        flag: the flag.
        needed: whether one of both must be given.

    Raises:
        absl.app.UsageError: several words, both, or none where one is needed.
    """
    given = [*words, *([flag.value] if flag.value else [])]
    if len(given) > 1 or (needed and not given):
        got = " and ".join(given) or "none"
        raise app.UsageError(f"name one file, by a word or by --{flag.name}=FILE; got {got}")
    return given[0] if given else ""


def describe(doc: str) -> str:
    """Returns the help of a binary: what it does, its flags, and how fields of a config are set.

    Args:
        doc: the binary's docstring. Its flags are defined already.
    """
    values = flags.FLAGS
    own = values.get_key_flags_for_module(sys.argv[0])
    lines = [commands.as_typed(textwrap.dedent(doc).strip()), "", "Flags:"]
    for flag in own:
        if flag.name not in ("config", "traceback"):
            lines += _flag_lines(flag)
    has_config = "config" in values
    if has_config:
        lines += _entry("--config=FILE", "Settings, a Python file; none: those for a lab's cohort.")
        lines += _entry("--config.SECTION.FIELD=VALUE", "One setting, whatever FILE says.")
    lines += _entry("--traceback", "Show where an error was raised.")
    if has_config:
        lines += ["", "Sections of the config, and fields that stand alone:"]
        for field in dataclasses.fields(configs.StudyConfig):
            what = field.default
            is_section = dataclasses.is_dataclass(what)
            told = (type(what).__doc__ or "").split("\n")[0] if is_section else f"now {what!r}"
            lines += _entry(f"config.{field.name}", told)
        lines += [
            "", "For example: --config.video.stride=64 looks at every fourth clip of 16 frames;",
            "--config.motifs.run=false leaves the motifs out. All fields, with what they mean:",
            f"  {configs.__file__}",
        ]  # fmt: skip
    return "\n".join(lines)


def _flag_lines(flag: flags.Flag) -> list[str]:
    name = f"--{flag.name}" if flag.flag_type() == "bool" else f"--{flag.name}=…"
    told = str(flag.help).replace(";\n    repeat this option to specify a list of values", "")
    if flag.flag_type().startswith("multi"):
        told += " May be repeated."
    if flag.name in _required():
        told += " Required."
    elif flag.default not in (None, "", []) and flag.default is not False:
        told += f" Default: {flag.default}."
    return _entry(name, told)


def _required() -> set[str]:
    """Names the flags that must be given, which absl keeps as validators of theirs."""
    return {
        name
        for name in flags.FLAGS
        for validator in flags.FLAGS[name].validators
        if "must have a value other than None" in str(validator.message)
    }


def _entry(name: str, text: str) -> list[str]:
    """Returns the lines of a name and what it means, in two columns."""
    body = textwrap.wrap(text, 70) or [""]
    head = f"  {name:<24}"
    first = [f"{head}  {body[0]}"] if len(name) <= 24 else [head, f"{'':28}{body[0]}"]
    return first + [f"{'':28}{line}" for line in body[1:]]


def _way_out(error: BaseException) -> str:
    name = (getattr(error, "name", None) or "").split(".")[0]
    extra = _EXTRAS.get(name) if isinstance(error, ImportError) else None
    return f"; pip install 'mpjax[{extra}]'" if extra else ""


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        told = re.sub(
            r"flag --(\w+)=None: Flag --\w+ must have a value other than None\.",
            r"the flag --\1=… is required",
            str(error),
        )
        print(f"error: {told}\n(--help tells how it is used)", file=sys.stderr)
        sys.exit(1)
    except Exception as error:
        _refuse_config(error)


def _refuse_config(error: BaseException) -> NoReturn:
    """Tells of a config file or field that does not exist, and of whatever its code raises."""
    if "--traceback" in sys.argv:
        raise error
    cause: Any = error  # which ml_collections wraps in errors of the same kind
    while cause.args and isinstance(cause.args[0], BaseException):
        cause = cause.args[0]
    told = str(cause.args[0] if len(cause.args) == 1 else cause).replace("\n", " ")
    if "get_config" in told or not isinstance(cause, AttributeError | KeyError | ValueError):
        told = f"the config file cannot be read ({type(cause).__name__}: {told})"
        told += "; it is a Python file whose get_config() returns a ConfigDict, see configs/"
    elif isinstance(cause, AttributeError | KeyError):
        told = f"the config has no field {told}"
    print(f"error: {told}\n(in the flags {' '.join(sys.argv[1:])})", file=sys.stderr)
    sys.exit(1)
