"""Object stores, `gs://bucket/…` and `s3://bucket/…`, where files are objects.

All other code opens paths with `etils.epath`, which reaches a store through fsspec (gcsfs, s3fs).
This module adds what a file system does by itself and a store does not: reading part of an object,
writing all of an object or nothing, and moving a folder so that its mark arrives last. Address and
credentials are set as for those packages (`AWS_ENDPOINT_URL`, `AWS_ACCESS_KEY_ID`,
`STORAGE_EMULATOR_HOST`, `GOOGLE_APPLICATION_CREDENTIALS`, `FSSPEC_S3_…`).
"""

import contextlib
import functools
import importlib.util
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from etils import epath

_PACKAGES = {"gs": ("gcsfs", "gcs"), "s3": ("s3fs", "s3")}  # package and mpjax's extra
_BLOCKS_KEPT = 8  # of an open object; a video's header, index and frames are read in turn
# What distinguishes one content from another; the first of these that a store gives is used.
_MARKS = ("md5Hash", "crc32c", "ETag", "etag", "generation", "LastModified", "mtime")
_ERRORS_OF = ("aiobotocore", "aiohttp", "botocore", "gcsfs", "google")

Range = tuple[epath.PathLike, int, int]  # object, first byte, number of bytes


def is_remote(path: epath.PathLike) -> bool:
    """Returns whether `path` is a URL of a store, not a file of this machine."""
    return "://" in os.fspath(path)


def ready(path: epath.PathLike) -> epath.Path:
    """Returns `path` as one that epath opens.

    Raises:
        ValueError: an empty path; a URL that is not of `gs://` or `s3://`, or that names no bucket.
        ImportError: the store's package is not installed; the message names mpjax's extra.
    """
    if not os.fspath(path):
        raise ValueError("an empty path (a variable that is not set?); write . for this folder")
    if is_remote(path):
        scheme, _, rest = os.fspath(path).partition("://")
        if not rest.strip("/"):
            raise ValueError(f"{os.fspath(path)}: names no bucket; write {scheme}://bucket/folder")
        _prepare(scheme)
    return epath.Path(path)


@functools.cache
def _prepare(scheme: str) -> None:
    """Checks that a store's package is installed, and sets up fsspec for it."""
    if scheme not in _PACKAGES:
        raise ValueError(f"{scheme}://: no such store; use gs://, s3:// or a local path")
    package, extra = _PACKAGES[scheme]
    if importlib.util.find_spec(package) is None:
        raise ImportError(f"{scheme}:// paths need {package}: pip install 'mpjax[{extra}]'")
    os.environ.setdefault("EPATH_USE_TF", "false")  # even where TensorFlow is installed
    import fsspec.config

    # Other processes write too, so earlier listings may be out of date.
    fsspec.config.conf.setdefault(scheme, {}).setdefault("use_listings_cache", False)


def filesystem(path: epath.PathLike) -> Any:
    """Returns the fsspec file system of a store's URL; raises as `ready`."""
    import fsspec

    ready(path)
    return fsspec.filesystem(os.fspath(path).partition("://")[0])


def is_failure(error: BaseException) -> bool:
    """Returns whether a store raised an exception: no credentials, no connection, refused."""
    return type(error).__module__.partition(".")[0] in _ERRORS_OF


# Reading.


def read_range(path: epath.PathLike, start: int, length: int) -> bytes:
    """Reads `length` bytes of a file from `start` on, and no others; fewer at its end."""
    if is_remote(path):
        return filesystem(path).cat_file(os.fspath(path), start=start, end=start + length)
    with epath.Path(path).open("rb") as file:
        file.seek(start)
        return file.read(length)


def read_ranges(ranges: Sequence[Range]) -> list[bytes]:
    """Reads several ranges of files of one disk or store, of a store all at once."""
    if not ranges or not is_remote(ranges[0][0]):
        return [read_range(*each) for each in ranges]
    each = [(os.fspath(path), start, start + length) for path, start, length in ranges]
    paths, starts, ends = map(list, zip(*each, strict=True))
    return filesystem(paths[0]).cat_ranges(paths, starts, ends, on_error="raise")


def open_binary(path: epath.PathLike, *, block_bytes: int = 1 << 20) -> Any:
    """Opens a file to read parts of it; an object is fetched by blocks, of which few are kept."""
    if not is_remote(path):
        return epath.Path(path).open("rb")
    options = {"cache_type": "blockcache", "cache_options": {"maxblocks": _BLOCKS_KEPT}}
    return filesystem(path).open(os.fspath(path), "rb", block_size=block_bytes, **options)


def sizes(folder: epath.PathLike) -> dict[str, int]:
    """Returns the sizes, in bytes, of the files in a folder by name; asks a store once."""
    if not is_remote(folder):
        return {each.name: each.stat().st_size for each in os.scandir(folder) if each.is_file()}
    try:
        found = filesystem(folder).ls(os.fspath(folder), detail=True)
    except FileNotFoundError:
        return {}
    return {info["name"].rpartition("/")[2]: int(info["size"] or 0) for info in found}


def version(path: epath.PathLike) -> str:
    """Returns text that changes when a file does: a store's checksum, else size and time."""
    if not is_remote(path):
        stat = epath.Path(path).stat()
        return f"{stat.length}|{stat.mtime}"
    info = filesystem(path).info(os.fspath(path))
    mark = next((f"{name}={info[name]}" for name in _MARKS if info.get(name)), "")
    return f"{info['size']}|{mark}"


@contextlib.contextmanager
def local_copy(folder: epath.PathLike) -> Iterator[epath.Path]:
    """Yields a local folder with the files of `folder`: itself, or a temporary copy."""
    if not is_remote(folder):
        yield epath.Path(folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        store, root = filesystem(folder), os.fspath(folder).partition("://")[2].rstrip("/")
        names = [name for name in store.find(os.fspath(folder)) if not name.endswith("/")]
        copies = [os.path.join(scratch, name[len(root) + 1 :]) for name in names]
        for copy in copies:
            os.makedirs(os.path.dirname(copy), exist_ok=True)
        if names:
            store.get(names, copies)
        yield epath.Path(scratch)


# Writing.


def put_file(local: epath.PathLike, path: epath.PathLike) -> None:
    """Copies a local file to an object; readers see the old object or all of the new one."""
    try:
        filesystem(path).put_file(os.fspath(local), os.fspath(path))
    except OSError as error:
        raise OSError(f"{os.fspath(path)}: cannot be written ({error})") from error


def put_folder(local: epath.PathLike, folder: epath.PathLike) -> None:
    """Copies the files below a local folder to a folder of a store."""
    root = Path(local)
    names = sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())
    if names:
        filesystem(folder).put(
            [str(root / name) for name in names], [f"{os.fspath(folder)}/{name}" for name in names]
        )


def move_folder(source: epath.PathLike, target: epath.PathLike, *, mark: str) -> None:
    """Replaces a folder of a store by another; its mark shows that it is complete.

    The target's mark, a file in the folder, is removed first and written last, so that a folder
    with a mark is complete. If the process is killed, the source or the target still has its mark
    and all its files. What was in the target is removed. Objects are copied within the store.
    """
    store = filesystem(source)
    source, target = os.fspath(source), os.fspath(target)
    _remove(store, f"{target}/{mark}")
    _remove(store, target, recursive=True)
    root = source.partition("://")[2].rstrip("/")
    names = [name[len(root) + 1 :] for name in store.find(source)]
    names = [name for name in names if name and name != mark and not name.endswith("/")]
    if names:
        store.copy([f"{source}/{name}" for name in names], [f"{target}/{name}" for name in names])
    store.copy(f"{source}/{mark}", f"{target}/{mark}")
    _remove(store, f"{source}/{mark}")
    _remove(store, source, recursive=True)


def _remove(store: Any, path: str, *, recursive: bool = False) -> None:
    with contextlib.suppress(FileNotFoundError):
        store.rm(path, recursive=recursive)


class Outbox:
    """A local folder for code that writes local files only; `send` copies them to a store.

    As a context it yields the path, and sends the files unless there was an exception. `path` is
    of the local folder: the target itself, or a temporary one.
    """

    def __init__(self, folder: epath.PathLike) -> None:
        """Makes a temporary folder if `folder` is in a store."""
        self._target = folder
        self._scratch = tempfile.TemporaryDirectory() if is_remote(folder) else None
        self.path = self._scratch.name if self._scratch else os.fspath(folder)

    def __enter__(self) -> epath.Path:
        return epath.Path(self.path)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self.send()
        finally:
            if self._scratch:
                self._scratch.cleanup()

    def send(self) -> None:
        """Copies the files written so far to the store."""
        if self._scratch:
            put_folder(self.path, self._target)

    def close(self) -> None:
        """Sends the files and removes the temporary folder."""
        self.__exit__(None)
