"""Orbax checkpoints of small trees: whole or not there."""

from typing import Any

import orbax.checkpoint as ocp
from etils import epath

from mpjax import files

_VARIABLES = "variables"
_METADATA = "metadata.json"


class CheckpointError(ValueError):
    """A checkpoint that is not there or cannot be read."""


def save(directory: epath.PathLike, variables: Any, metadata: Any) -> None:
    """Writes `variables` by Orbax, then `metadata` as JSON, which marks the checkpoint as whole.

    An older checkpoint in `directory` is replaced.

    Args:
        directory: folder of the checkpoint.
        variables: pytree of arrays with string keys.
        metadata: JSON-serialisable.
    """
    directory = files.absolute(directory)
    (directory / _METADATA).unlink(missing_ok=True)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory / _VARIABLES, variables, force=True)
    files.write_json(directory / _METADATA, metadata)


def read_metadata(directory: epath.PathLike) -> Any:
    """Returns the metadata of a whole checkpoint, or None where there is none."""
    path = files.absolute(directory) / _METADATA
    return files.read_json(path) if path.exists() else None


def restore(directory: epath.PathLike) -> Any:
    """Returns the variables of a checkpoint as numpy arrays, whatever devices wrote it.

    Raises:
        CheckpointError: there is no whole checkpoint in `directory`.
    """
    directory = files.absolute(directory)
    if read_metadata(directory) is None:
        raise CheckpointError(f"{directory}: no finished checkpoint; run `python -m mpjax.train`")
    with ocp.PyTreeCheckpointer() as checkpointer:
        return checkpointer.restore(directory / _VARIABLES)
