"""Video Swin on disk: an Orbax checkpoint, and a JSON file that says what it is."""

from typing import Any

import jax
import jax.numpy as jnp
from etils import epath

from mpjax.config import from_config_dict, rules
from mpjax.io import files, stores
from mpjax.io.files import read_json, write_json
from mpjax.models.swin.network import SwinConfig, init_params

_ABOUT = "projector.json"


def check_free(directory: epath.PathLike) -> None:
    """Raises a FileExistsError where there is something already, other than an empty directory."""
    directory = stores.ready(directory)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise FileExistsError(f"{directory}: exists already; delete it, or choose another place")


def by_one_process() -> dict[str, Any]:
    """Returns arguments of an Orbax checkpointer that one process of several uses by itself."""
    import orbax.checkpoint as ocp

    return {
        "multiprocessing_options": ocp.options.MultiprocessingOptions(
            primary_host=0, active_processes={0}, barrier_sync_key_prefix="one"
        )
    }


def save(
    directory: epath.PathLike,
    config: SwinConfig,
    params: Any,
    *,
    provenance: dict[str, Any],
    classes: tuple[str, ...] | None = None,
) -> None:
    """Writes a projector as an Orbax checkpoint `params` and a `projector.json`; all or nothing.

    Of several processes, the first calls this alone.

    Args:
        directory: new, or empty.
        provenance: JSON-serialisable; where the weights came from.
        classes: names of the head's classes, in its order; None: unknown.

    Raises:
        OSError: there is something there already, or it cannot be written.
    """
    check_free(directory)
    directory = files.absolute(directory)  # as Orbax wants it
    about = {"kind": "swin", "config": config, "classes": classes, "provenance": provenance}
    if stores.is_remote(directory):
        with stores.Outbox(directory) as folder:
            _write(folder, params)
        write_json(directory / _ABOUT, about)  # the mark of a whole one, hence the last
        return
    # Not left to Orbax, whose threads wait 5 minutes for a directory that cannot be made.
    with files.write_folder_aside(directory) as aside:
        _write(aside, params)
        write_json(aside / _ABOUT, about)


def _write(directory: epath.Path, params: Any) -> None:
    import orbax.checkpoint as ocp

    with ocp.StandardCheckpointer(**by_one_process()) as checkpointer:
        checkpointer.save(directory / "params", params)


def restore(directory: epath.PathLike) -> tuple[SwinConfig, Any, tuple[str, ...] | None]:
    """Reads back the config, the parameters and the classes' names that `save` wrote.

    Raises:
        ValueError: the directory holds no Video Swin, or an unfinished or damaged one.
    """
    directory = files.absolute(directory)
    about = directory / _ABOUT
    if not about.exists():
        raise ValueError(f"{directory}: no projector.json in it; not a projector, or half-written")
    values = read_json(about)
    if values.get("kind") != "swin" or "config" not in values:
        raise ValueError(f"{about}: does not describe a Video Swin; convert the checkpoint again")
    noted = rules.rename_fields(values["config"], "projector")
    config = from_config_dict(noted, SwinConfig, path=f"{about}: config")
    classes = tuple(values["classes"]) if values.get("classes") else None
    if classes is not None and len(classes) != config.num_classes:
        raise ValueError(
            f"{about}: names {len(classes)} classes for a head of {config.num_classes}"
        )
    with stores.local_copy(directory) as folder:
        return config, _restore_params(folder, config), classes


def _restore_params(directory: epath.Path, config: SwinConfig) -> Any:
    import orbax.checkpoint as ocp

    expected = jax.eval_shape(lambda key: init_params(config, key), jax.random.key(0))
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            stored = checkpointer.metadata(directory / "params").item_metadata.tree
            if jax.tree.map(lambda leaf: leaf.shape, stored) == jax.tree.map(jnp.shape, expected):
                return checkpointer.restore(directory / "params", expected)
    except (ValueError, OSError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{directory}: its parameters are damaged or cut short ({error}); convert it again"
        ) from error
    raise ValueError(f"{directory}: its parameters are not those of projector.json's config")
