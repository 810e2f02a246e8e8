"""Resolves every install line of the project, and every extra, on every supported Python at hand.

The lines are read from README, docs, notebooks, configs, messages and build files, so a new one is
checked without being listed here. Those of mpjax are resolved with constraints.txt and without, the
others as they are written. Nothing is installed. uv resolves, because pip would take half an hour;
it lies in a folder that is deleted.

Run:   python .ci/installs.py [WHEEL]      builds mpjax's wheel if none is given
"""

import itertools
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from concurrent import futures
from pathlib import Path

import interpreters

ROOT = Path(__file__).resolve().parents[1]
WHERE = (
    "README.md", "CONTRIBUTING.md", "docs/*.md", "colab/*.py", "configs/*.py", "Makefile",
    ".ci/run", "mpjax/**/*.py", "mpjax/**/*.j2", "data_prep/**/*.py", "tests/benchmarks/*.py",
)  # fmt: skip
# Up to the end of a command: a separator of the shell, a comment, the closing mark of code.
LINE = re.compile(r"pip install ((?:\\\n|[^`\n#&;|)])*)")
OWN = re.compile(r"^(?:\./)?(?:mpjax-source|mpjax|\.)(\[[a-z0-9,]+\])?$")
OTHER = re.compile(r"^[A-Za-z0-9_.\-]+(\[[a-z0-9,]+\])?([=<>~!].*)?$")
# Notebooks choose by the devices of their runtime what they add.
COLAB = (
    ("mpjax[prep]", "jax[cuda12]"),
    ("mpjax[prep]", "jax[cuda13]"),
    ("mpjax[prep]", "jax[tpu]"),
)


def parse(command):
    """Returns what `pip install COMMAND` installs; () if a program fills it in."""
    try:
        words = shlex.split(command.replace("\\\n", " ").rstrip("\"',. "))
    except ValueError:  # a quotation mark of the text around the command
        words = command.replace("'", " ").replace('"', " ").split()
    found = []
    options = iter(words)
    for word in options:
        word = word.strip("\"',")
        if word in ("-c", "--constraint"):
            next(options, None)
        elif own := OWN.match(word):
            found.append(f"mpjax{own[1] or ''}")
        elif OTHER.match(word) and not word.startswith("-"):
            found.append(word)
        elif not word.startswith("-"):
            return ()
    return tuple(found)


def collect():
    """Returns {what is installed: the places that say so}."""
    found = {}
    for pattern in WHERE:
        for path in sorted(ROOT.glob(pattern)):
            text = path.read_text()
            for match in LINE.finditer(text):
                if wanted := parse(match[1]):
                    line = text[: match.start()].count("\n") + 1
                    found.setdefault(wanted, []).append(f"{path.relative_to(ROOT)}:{line}")
    if len(found) < 10:
        raise SystemExit(f"{len(found)} install lines found: does LINE match how they are written?")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for extra in project["optional-dependencies"]:
        found.setdefault((f"mpjax[{extra}]",), []).append("pyproject.toml")
    for wanted in COLAB:
        found.setdefault(wanted, []).append("colab/*.py")
    return found


class Resolver:
    """uv and empty environments of the interpreters, in one folder; mpjax from a wheel."""

    def __init__(self, folder, paths, wheel):
        self.folder = folder
        venv.create(folder / "tool", with_pip=True)
        python = folder / "tool" / "bin" / "python"
        quiet = ["--quiet", "--disable-pip-version-check"]
        _run([python, "-m", "pip", "install", *quiet, "uv"])
        self.uv = folder / "tool" / "bin" / "uv"
        if wheel is None:
            _run([python, "-m", "pip", "wheel", *quiet, "--no-deps", f"--wheel-dir={folder}", ROOT])
            (wheel,) = folder.glob("mpjax-*.whl")
        self.wheel = wheel
        for version, path in paths.items():
            _run([self.uv, "venv", "--quiet", f"--python={path}", folder / version])

    def resolve(self, version, wanted, *, constrained, offline):
        """Returns None, or why `wanted` cannot be resolved on a Python."""
        named = [f"{each} @ {self.wheel.as_uri()}" if OWN.match(each) else each for each in wanted]
        command = [self.uv, "pip", "install", "--dry-run", f"--python={self.folder / version}"]
        command += ["--offline"] if offline else []
        command += ["--constraint", ROOT / "constraints.txt"] if constrained else []
        done = _run([*command, *named], check=False)
        return done.stderr.partition("\n")[2].strip() if done.returncode else None


def _run(command, *, check=True):
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if check and done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done


def main():
    """Prints what cannot be resolved, with the reason and the places that name it; exits with 1."""
    start = time.monotonic()
    lines = collect()
    paths = {version: path for version, path in interpreters.find().items() if path}
    missing = sorted(set(interpreters.VERSIONS) - set(paths))
    with tempfile.TemporaryDirectory() as folder:
        wheel = Path(sys.argv[1]).resolve() if sys.argv[1:] else None
        resolver = Resolver(Path(folder), paths, wheel)

        def check(job, offline=True):
            version, wanted, constrained = job
            reason = resolver.resolve(version, wanted, constrained=constrained, offline=offline)
            # Offline, uv has what it asked for before: quick, but only a success counts.
            return check(job, offline=False) if reason and offline else reason

        jobs = [
            (version, wanted, constrained)
            for version, wanted in itertools.product(paths, lines)
            for constrained in (True, False)
            if not constrained or any(map(OWN.match, wanted))
        ]
        first = [(v, ("mpjax[dev,cuda,tpu]",), c) for v in paths for c in (True, False)]
        with futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda job: check(job, offline=False), first))
            reasons = list(pool.map(check, jobs))
    failed = 0
    for (version, wanted, constrained), reason in zip(jobs, reasons, strict=True):
        if reason:
            failed += 1
            with_them = " -c constraints.txt" if constrained else ""
            print(f"Python {version}: pip install{with_them} {' '.join(wanted)}: {reason}")
            print(f"  named in {', '.join(lines[wanted])}")
    print(
        f"{len(jobs) - failed} of {len(jobs)} installs resolve ({len(lines)} lines and extras, "
        f"{time.monotonic() - start:.0f} s) on Python {', '.join(paths)}"
        f"{'; not found: Python ' + ', '.join(missing) if missing else ''}"
    )
    sys.exit(failed > 0 or not paths)


if __name__ == "__main__":
    main()
