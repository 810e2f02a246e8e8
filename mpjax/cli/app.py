"""How every binary begins and ends: flags, help, one-line errors, the exit status."""

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
from mpjax.cli import commands, process
from mpjax.io import stores

# Extras that install what a plain `pip install mpjax` leaves out.
_EXTRAS = {
    "apache_beam": "beam",
    "av": "video",
    "importlib_resources": "prep",
    "pandera": "prep",
    "tensorflow_datasets": "prep",
}
_PATIENCE = 5.0  # s that a failing process waits for the others, which may fail too
_HELP = ("--help", "-help", "-h", "--helpshort", "-?")


def start(run: Callable[..., int | None], *, words: bool = False) -> None:
    """As `start_plain`, for a binary with `--config`; `run` takes the config first."""
    process.prepare()
    _prepare_config_flags()
    try:  # with a default, the fields of the command line are read here
        config = config_flags.DEFINE_config_file(
            "config", configs.__file__, "Config; single fields: --config.eval.seed=3."
        )
    except Exception as error:
        _refuse_config(error)
    start_plain(lambda *rest: run(configs.from_config_dict(config.value), *rest), words=words)


def _prepare_config_flags() -> None:
    """Puts paths in place of names of shipped configs; refuses fields that there are not."""
    faults = []
    for place, word in enumerate(sys.argv):
        flag, equals, value = word.partition("=")
        if flag in ("--config", "-config") and (equals or place + 1 < len(sys.argv)):
            name, *rest = (value if equals else sys.argv[place + 1]).split(":", 1)
            try:
                value = ":".join([configs.find_config(name), *rest])
            except FileNotFoundError as error:
                _refuse(str(error))
            sys.argv[place + (not equals)] = f"{flag}={value}" if equals else value
        elif match := re.match(r"--?(?:no)?(config\.[\w.]+)", word):
            try:
                configs.type_of_field(match[1])
            except ValueError as error:
                faults.append(str(error))
    if faults:
        _refuse("; ".join(faults))


def start_plain(run: Callable[..., int | None], *, words: bool = False) -> None:
    """Parses the flags, calls `run` and exits with what it returns (None: 0).

    With `words`, `run` also takes the arguments of the command line that are not flags. Bad input,
    a wrong flag or word and a missing package (ValueError, OSError, ImportError) print one message
    without a traceback (`--traceback` shows it) and exit with 1. The caller defines its own flags
    first.
    """
    process.prepare()
    process.skip_absent_tpu()
    traceback = flags.DEFINE_bool("traceback", False, "Show where an error was raised.")
    if any(word in _HELP for word in sys.argv[1:]):
        try:
            print(describe(sys.modules["__main__"].__doc__ or ""), flush=True)
        except BrokenPipeError:
            process.leave_closed_pipe()
        sys.exit(0)

    def main(argv: list[str]) -> None:
        logging.set_verbosity(logging.WARNING)  # Orbax and JAX log every step
        plain = standard_logging.Formatter("%(levelname)s: %(message)s")
        logging.get_absl_handler().setFormatter(plain)
        try:
            if argv[1:] and not words:
                raise app.UsageError(f"unexpected argument(s): {' '.join(argv[1:])}")
            status = run(*argv[1:])
            sys.stdout.flush()
        except app.UsageError as error:
            print(f"error: {error}\n(see --help)", file=sys.stderr)
            status = 1
        except Exception as error:
            if isinstance(error, BrokenPipeError):
                process.leave_closed_pipe()
            is_input = isinstance(error, ValueError | OSError | ImportError)
            if traceback.value or not (is_input or stores.is_failure(error)):
                raise
            text = f"{commands.as_typed(str(error))}{install_hint(error)}"
            if not is_input:
                text = f"the store refuses ({type(error).__name__}: {error})"
            print(f"error: {text}", file=sys.stderr)
            status = 1
        if status:
            _leave_hosts(status)
        sys.exit(status or 0)

    try:
        app.run(main, flags_parser=_parse)
    except KeyboardInterrupt as error:
        process.leave(error)


def install_hint(error: BaseException) -> str:
    """Returns how to install the package that is missing; "" if that is not the error."""
    package = (error.name or "").split(".")[0] if isinstance(error, ImportError) else ""
    return f"; pip install 'mpjax[{_EXTRAS[package]}]'" if package in _EXTRAS else ""


def _leave_hosts(status: int) -> None:
    """Ends one of several processes at once, right after the error that it has printed.

    Otherwise JAX would wait at exit for the others, which did not fail, and abort.
    """
    jax = sys.modules.get("jax")
    if jax is None or not jax.distributed.is_initialized():
        return
    leaving = threading.Thread(target=jax.distributed.shutdown, daemon=True)
    leaving.start()
    leaving.join(_PATIENCE)
    process.exit_at_once(status)


def one_word(words: Sequence[str], flag: flags.FlagHolder[str], *, needed: bool = False) -> str:
    """Returns the file that an argument or, in its place, a flag names; "" where none does.

    Raises:
        absl.app.UsageError: several arguments, both, or none where one is `needed`.
    """
    given = [*words, *([flag.value] if flag.value else [])]
    if len(given) > 1 or (needed and not given):
        got = " and ".join(given) or "none"
        raise app.UsageError(f"name one file, as FILE or --{flag.name}=FILE; got {got}")
    return given[0] if given else ""


def describe(doc: str) -> str:
    """Returns the help of a binary, from its docstring and the flags that it has defined."""
    lines = [commands.as_typed(textwrap.dedent(doc).strip()), "", "Flags:"]
    for flag in flags.FLAGS.get_key_flags_for_module(sys.argv[0]):
        if flag.name not in ("config", "traceback"):
            lines += _flag_lines(flag)
    has_config = "config" in flags.FLAGS
    if has_config:
        what = "Settings: a Python file, or the name of a shipped one, such as demo. Default: lab."
        lines += _entry("--config=FILE", what)
        lines += _entry("--config.SECTION.FIELD=VALUE", "One setting; it overrides FILE.")
    lines += _entry("--traceback", "Show where an error was raised.")
    if has_config:
        lines += ["", "Sections and single fields of the config:"]
        for field in dataclasses.fields(configs.StudyConfig):
            value = field.default
            what = f"Default: {value!r}."
            if dataclasses.is_dataclass(value):
                what = (type(value).__doc__ or "").split("\n")[0]
            lines += _entry(f"config.{field.name}", what)
        lines += [
            "", "For example: --config.video.stride=64 takes every fourth clip of 16 frames;",
            "--config.motifs.run=false leaves the motifs out. All fields are explained in",
            f"  {os.path.dirname(configs.__file__)}",
        ]  # fmt: skip
    return "\n".join(lines)


def _flag_lines(flag: flags.Flag) -> list[str]:
    name = f"--{flag.name}" if flag.flag_type() == "bool" else f"--{flag.name}=…"
    text = str(flag.help).replace(";\n    repeat this option to specify a list of values", "")
    if flag.flag_type().startswith("multi"):
        text += " May be repeated."
    # absl keeps that a flag is required as one of its validators.
    if any("must have a value other than None" in str(each.message) for each in flag.validators):
        text += " Required."
    elif flag.default not in (None, "", []) and flag.default is not False:
        text += f" Default: {flag.default}."
    return _entry(name, text)


def _entry(name: str, text: str) -> list[str]:
    """Returns the lines of a name and what it means, in two columns."""
    body = textwrap.wrap(text, 70) or [""]
    head = f"  {name:<24}"
    first = [f"{head}  {body[0]}"] if len(name) <= 24 else [head, f"{'':28}{body[0]}"]
    return first + [f"{'':28}{line}" for line in body[1:]]


def _parse(argv: list[str]) -> list[str]:
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        unset = r"flag --(\w+)=None: Flag --\w+ must have a value other than None\."
        text = re.sub(unset, r"the flag --\1=… is required", str(error))
        if match := re.match(r"flag --(config\.[\w.]+)=(.*?): ", text, re.DOTALL):
            wanted = configs.type_of_field(match[1])
            name = wanted.__name__ if isinstance(wanted, type) else "numbers or text"
            _refuse(f"{match[1]}: expected {name}, got {match[2]!r}")
        _refuse(f"{text}\n(see --help)")
    except Exception as error:
        _refuse_config(error)


def _refuse_config(error: BaseException) -> NoReturn:
    """Exits where a config file or field does not exist, or the file's code raises an error."""
    if "--traceback" in sys.argv:
        raise error
    cause: Any = error  # which ml_collections wraps in errors of the same kind
    while cause.args and isinstance(cause.args[0], BaseException):
        cause = cause.args[0]
    text = str(cause.args[0] if len(cause.args) == 1 else cause).replace("\n", " ")
    if isinstance(cause, AttributeError | KeyError) and "get_config" not in text:
        _refuse(f"the config has no field {text}")
    if "get_config" in text or not isinstance(cause, ValueError):
        text = f"the config file cannot be read ({type(cause).__name__}: {text})"
        text += "; it is a Python file whose get_config() returns a ConfigDict"
    _refuse(text)


def _refuse(text: str) -> NoReturn:
    print(f"error: {text}", file=sys.stderr)
    sys.exit(1)
