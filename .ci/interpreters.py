"""Finds interpreters of every Python that mpjax supports: on the path, or else pyenv's.

Run:   python .ci/interpreters.py           prints a path per line, oldest Python first
       python .ci/interpreters.py 3.12      prints that one's path, or nothing and exits with 1
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

VERSIONS = ("3.11", "3.12", "3.13")


def find():
    """Returns the path of an interpreter, or None, for each of `VERSIONS`."""
    return {version: _find_one(version) for version in VERSIONS}


def _find_one(version):
    pyenv = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser() / "versions"
    places = [shutil.which(f"python{version}"), shutil.which("python3")]
    places += sorted(pyenv.glob(f"{version}.*/bin/python"))
    code = "import sys, ensurepip; print('%d.%d' % sys.version_info[:2])"
    for place in filter(None, places):  # pyenv puts names on the path that do not run
        done = subprocess.run([place, "-c", code], capture_output=True, text=True, check=False)
        if done.returncode == 0 and done.stdout.strip() == version:
            return str(place)
    return None


if __name__ == "__main__":
    wanted = sys.argv[1:] or VERSIONS
    paths = list(filter(None, map(_find_one, wanted)))
    print("\n".join(paths))
    sys.exit(not paths)
