"""Moves a finished dataset to its folder, safely even if the process is killed."""

import re

from etils import epath

from mpjax.data import records
from mpjax.io import files, stores


class BuildError(ValueError):
    """A dataset that cannot be built."""


def prepare(out: epath.Path) -> None:
    """Moves a finished dataset to `out` if its build was killed within `replace`.

    Raises BuildError if nothing can be written next to `out`, or if it holds other files.
    """
    try:
        files.make_folder(out.parent)
        probe = out.parent / f".{out.name}.writable"
        probe.write_text("")
        probe.unlink()
    except OSError as error:
        raise BuildError(f"{out}: cannot be written ({error}); choose another folder") from error
    if not (out if not stores.is_remote(out) else out / records.MANIFEST_FILE).exists():
        for finished in unfinished(out):
            if (finished / records.MANIFEST_FILE).exists():
                replace(out, finished)
                break
    old = out.parent / f".{out.name}.old"
    if old.exists() and out.exists():
        old.rmtree()
    if out.exists() and not out.is_dir():
        raise BuildError(f"{out}: is a file; name a folder for the dataset")
    if out.exists() and any(out.iterdir()) and not (out / records.MANIFEST_FILE).exists():
        raise BuildError(
            f"{out}: holds other files; name a new or empty folder for the dataset (or delete this "
            f"one, if it is a dataset that has lost its {records.MANIFEST_FILE})"
        )


def unfinished(out: epath.Path) -> list[epath.Path]:
    """Returns the folders of unfinished builds of `out`."""
    pattern = re.compile(re.escape(f".{out.name}.") + r"[0-9a-f]{16}\.part")
    siblings = out.parent.iterdir() if out.parent.exists() else ()  # a store has no empty folders
    return [path for path in siblings if pattern.fullmatch(path.name)]


def replace(out: epath.Path, aside: epath.Path) -> None:
    """Replaces the older dataset, if any, by the finished one."""
    if stores.is_remote(out):
        stores.move_folder(aside, out, mark=records.MANIFEST_FILE)
        return
    if not out.exists():
        aside.rename(out)
        return
    old = out.parent / f".{out.name}.old"
    if old.exists():
        old.rmtree()
    out.rename(old)
    aside.rename(out)
    old.rmtree()
