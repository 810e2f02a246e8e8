"""Fingerprints, and files and folders that are written as a whole or not at all."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import tempfile
import uuid
from collections.abc import Iterator
from typing import Any

from etils import epath

from mpjax.io import stores


def fingerprint(*parts: Any) -> str:
    """Hashes JSON-serialisable `parts` (dataclasses too) to 16 hex digits of their sha256."""
    text = json.dumps(parts, sort_keys=True, default=_plain, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"cannot fingerprint {value!r} of type {type(value).__name__}")


def sha256(path: epath.PathLike) -> str:
    """Returns the sha256 of a file's content, in hex digits."""
    with epath.Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def absolute(path: epath.PathLike) -> epath.Path:
    """Returns `path` as an absolute path; a URL such as gs://… already is one."""
    return stores.ready(path if stores.is_remote(path) else os.path.abspath(path))


def make_folder(path: epath.PathLike) -> epath.Path:
    """Makes a folder and its parents where they are missing; a store needs none.

    Raises:
        NotADirectoryError: it is a file, or below one; the message names that file.
    """
    path = stores.ready(path)
    if stores.is_remote(path):  # there, a mistyped name would make a bucket
        return path
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next(each for each in (path, *path.parents) if each.exists())
        raise NotADirectoryError(f"{file}: is a file, not a folder") from error
    return path


@contextlib.contextmanager
def write_aside(path: epath.PathLike) -> Iterator[epath.Path]:
    """Yields a temporary file next to `path` to write to; renames it to `path` on success.

    On an exception the temporary file is removed and `path` stays as it was. For an object in a
    store the temporary file is local, and is sent as a whole at the end.

    Raises:
        PermissionError: the folder cannot be written; the message names it.
        OSError: the store refuses; the message names the object.
    """
    path = stores.ready(path)
    if stores.is_remote(path):
        with tempfile.TemporaryDirectory() as scratch:
            yield (aside := epath.Path(scratch) / path.name)
            stores.put_file(aside, path)
        return
    aside = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        make_folder(path.parent)
        yield aside
        aside.replace(path)
    except PermissionError as error:
        raise PermissionError(f"{path.parent}: cannot write here ({error})") from error
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        raise OSError(
            f"{path.parent}: no space left on the disk, so {path.name} was not written"
        ) from error
    finally:
        with contextlib.suppress(NotADirectoryError):
            aside.unlink(missing_ok=True)


@contextlib.contextmanager
def write_folder_aside(path: epath.PathLike) -> Iterator[epath.Path]:
    """Yields a temporary folder next to a local `path` to fill; renames it to `path` on success.

    Raises:
        FileExistsError: there is something at `path` already, other than an empty folder.
        OSError: the folder cannot be made.
    """
    path = stores.ready(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise FileExistsError(f"{path}: exists already; delete it, or choose another --out folder")
    aside = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.part"
    try:
        aside.mkdir(parents=True)
    except OSError as error:
        raise OSError(f"{path}: cannot be written ({error})") from error
    try:
        yield aside
        if path.exists():
            path.rmdir()
        aside.rename(path)
    finally:
        aside.rmtree(missing_ok=True)


def write_json(path: epath.PathLike, value: Any) -> None:
    """Writes `value` as indented JSON, as `write_aside` does; NaN is refused."""
    with write_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2, allow_nan=False, default=_plain) + "\n")


def read_json(path: epath.PathLike) -> Any:
    """Reads a JSON file; raises ValueError, with its name, if it is not JSON."""
    try:
        return json.loads(epath.Path(path).read_text())
    except ValueError as error:
        raise ValueError(f"{path}: not JSON ({error}); delete it to make it again") from error
