"""Small trees of arrays on disk, written by Orbax: either whole or absent."""

import uuid
from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from mpjax.io import files, stores
from mpjax.models.swin import checkpoint

_VARIABLES = "variables"
_METADATA = "metadata.json"


class CheckpointError(ValueError):
    """A checkpoint that does not exist or cannot be read."""


def make_directory(directory: epath.PathLike) -> epath.Path:
    """Makes `directory` if needed, checks that it can be written, and returns its absolute path.

    Raises OSError if it cannot. Orbax does not check: its threads wait 5 minutes for a directory
    that cannot be made.
    """
    directory = files.absolute(directory)
    if stores.is_remote(directory):  # object stores have no folders
        return directory
    probe = directory / f".{uuid.uuid4().hex[:8]}.part"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise OSError(f"{directory}: cannot be written ({error})") from error
    return directory


def save(directory: epath.PathLike, variables: Any, metadata: Any) -> None:
    """Writes `variables` by Orbax, then `metadata` as JSON, which marks the checkpoint as complete.

    Replaces an older checkpoint in `directory`. With several processes, only the first calls it.
    To an object store the checkpoint is copied as a whole: Orbax itself writes to gs:// only.
    """
    directory = make_directory(directory)
    (directory / _METADATA).unlink(missing_ok=True)
    if stores.is_remote(directory):
        (directory / _VARIABLES).rmtree(missing_ok=True)
    with (
        stores.Outbox(directory / _VARIABLES) as folder,
        ocp.StandardCheckpointer(**checkpoint.by_one_process()) as checkpointer,
    ):
        checkpointer.save(folder, variables, force=True)
    files.write_json(directory / _METADATA, metadata)


def read_metadata(directory: epath.PathLike) -> Any:
    """Returns the metadata of a complete checkpoint, or None if there is none."""
    path = files.absolute(directory) / _METADATA
    return files.read_json(path) if path.exists() else None


def restore(directory: epath.PathLike) -> Any:
    """Returns the variables of a checkpoint as numpy arrays, whatever devices wrote it.

    Raises:
        CheckpointError: there is no complete checkpoint in `directory`, or it is damaged.
    """
    directory = files.absolute(directory)
    if read_metadata(directory) is None:
        raise CheckpointError(f"{directory}: no finished checkpoint; run `python -m mpjax.train`")
    try:
        with (
            stores.local_copy(directory / _VARIABLES) as folder,
            ocp.PyTreeCheckpointer() as checkpointer,
        ):
            return checkpointer.restore(folder)
    except Exception as error:  # tensorstore, JSON and trees each raise their own errors
        if stores.is_failure(error):
            raise
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{directory}: damaged ({type(error).__name__}: {reason}); delete this folder and run "
            "`python -m mpjax.train`"
        ) from error
