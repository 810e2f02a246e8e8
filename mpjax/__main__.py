"""The console command `mpjax`: every binary of the package as a subcommand (`mpjax --help`)."""

import sys
from collections.abc import Sequence

from mpjax import cli
from mpjax.cli import process

_OPENING = """\
Reads chronic pain in mice from raw video, without human-defined action labels.

From a folder of videos to a report, and on to new recordings:

  mpjax init VIDEOS                          writes VIDEOS/cohort.csv; fill in its empty cells
  mpjax check VIDEOS/cohort.csv              lists all its faults, with row, column and rule
  mpjax study VIDEOS/cohort.csv --workdir=out/mine       runs everything; open out/mine/report.html
  mpjax predict --model=out/mine NEW_VIDEOS --out=out/new      scores new recordings
"""
_CLOSING = """\
`mpjax COMMAND --help` lists the flags of a command, with an example. `mpjax COMMAND` is the same as
`python -m MODULE` of the package. The exit status is 0 for success, 1 for bad input."""


def main(argv: Sequence[str] | None = None) -> None:
    """Runs a subcommand as `python -m` would, with the same exit status."""
    process.prepare()
    try:
        _run(argv)
    except KeyboardInterrupt as error:
        process.leave(error)


def _run(argv: Sequence[str] | None) -> None:
    import difflib
    import importlib.metadata
    import runpy

    from mpjax.cli import commands

    words = list(sys.argv[1:] if argv is None else argv)
    first = words[0] if words else "--help"
    if first == "help" and len(words) > 1:
        return _run([words[1], "--help"])
    if first in ("--help", "-h", "help", "-help"):
        _print(describe())
        sys.exit(0)
    if first == "--version":
        print(f"mpjax {importlib.metadata.version('mpjax')}")
        sys.exit(0)
    if first not in commands.MODULES:
        kind = "flag" if first.startswith("-") else "command"
        known = [*commands.MODULES, "--help", "--version"]
        near = difflib.get_close_matches(first, known, n=1, cutoff=0.5)
        hint = f"did you mean `mpjax {near[0]}`?" if near else "`mpjax --help` lists them all"
        print(f"error: mpjax has no {kind} {first!r}; {hint}", file=sys.stderr)
        sys.exit(2)
    sys.argv = [sys.argv[0], *words[1:]]
    try:
        runpy.run_module(commands.MODULES[first], run_name="__main__", alter_sys=True)
    except ImportError as error:  # of the command's own module: cli.start has not begun
        hint = cli.install_hint(error)
        if not hint or "--traceback" in words:
            raise
        sys.exit(f"error: {error}{hint}")


def _print(text: str) -> None:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        process.leave_closed_pipe()


def describe() -> str:
    """Returns what `mpjax --help` prints."""
    from mpjax.cli import commands

    lines = [_OPENING]
    for title, group in commands.GROUPS.items():
        lines += [title, *(f"  {name:<10} {commands.purpose(of)}" for name, of in group.items())]
        lines.append("")
    return "\n".join([*lines, _CLOSING])


if __name__ == "__main__":
    main()
