"""Devices, hosts, and where every array lies: one mesh, one table of rules.

The mesh has two axes. The batch is cut over "data", attention heads and hidden units of the weights
over "model". A parameter's axes have names (`PARAMETER_AXES`), and `RULES` says over which axis of
the mesh a name is cut; an axis that the number of devices does not divide stays whole.
"""

import re
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import pandas as pd
from jax.experimental import multihost_utils
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from mpjax.config import MeshConfig
from mpjax.data.pipeline import Part

AXES = ("data", "model")

RULES = {"batch": "data", "heads": "model", "hidden": "model"}

# By the end of a parameter's path, which optimiser state and averages share.
PARAMETER_AXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("attn/qkv/kernel", ("width", "qkv", "heads", "head_width")),
    ("attn/qkv/bias", ("qkv", "heads", "head_width")),
    ("attn/proj/kernel", ("heads", "head_width", "width")),
    ("attn/relative_position_bias_table", ("offset", "heads")),
    ("fc1/kernel", ("width", "hidden")),
    ("fc1/bias", ("hidden",)),
    ("fc2/kernel", ("hidden", "width")),
)

# When fully sharded, smaller arrays stay whole: a collective operation for each would cost more.
_MIN_SHARDED = 2**12


def start_hosts(config: MeshConfig) -> str:
    """Joins this process to the others of a run on several hosts; must come before any use of JAX.

    TPU pods, Slurm and Open MPI describe the other processes; elsewhere `config` does. A process
    without others does nothing. Returns a line about this process and its devices.

    Raises:
        ValueError: `config` names a coordinator without the number of processes or the reverse, or
            a cluster does not describe all of its processes.
    """
    if not config.coordinator and (config.processes > 1 or config.process):
        raise ValueError(
            f"config.mesh.processes {config.processes} and config.mesh.process {config.process} "
            f"without config.mesh.coordinator=HOST:PORT, the first process: give all three, or "
            f"none where a TPU pod, Slurm or Open MPI sets them"
        )
    if config.coordinator and not 0 <= config.process < config.processes:
        raise ValueError(
            f"config.mesh.process {config.process} is not among the config.mesh.processes "
            f"{config.processes}: number them from 0"
        )
    try:
        jax.distributed.initialize(
            coordinator_address=config.coordinator or None,
            num_processes=config.processes if config.coordinator else None,
            process_id=config.process if config.coordinator else None,
            heartbeat_timeout_seconds=config.timeout,
            shutdown_timeout_seconds=config.timeout,
        )
    except ValueError as error:
        if "coordinator_address should be defined" not in str(error):
            raise ValueError(
                f"the cluster does not describe all of its processes: {error}"
            ) from error
        # There is no cluster: this process is alone.
    return (
        f"process {jax.process_index()} of {jax.process_count()}: {jax.local_device_count()} of "
        f"{jax.device_count()} devices ({jax.devices()[0].device_kind})"
    )


def make_mesh(config: MeshConfig, devices: Any = None) -> Mesh:
    """Arranges devices as a mesh with the axes "data" and "model".

    Raises:
        ValueError: the mesh needs a different number of devices.
    """
    devices = jax.devices() if devices is None else list(devices)
    data = config.data or max(1, len(devices) // config.model)
    if data * config.model != len(devices):
        raise ValueError(
            f"a mesh of config.mesh.data x config.mesh.model = {data} x {config.model} does not "
            f"fit {len(devices)} device(s)"
        )
    kinds = (jax.sharding.AxisType.Auto,) * len(AXES)
    return jax.make_mesh((data, config.model), AXES, kinds, devices=devices)


def shardings(tree: Any, mesh: Mesh | AbstractMesh, *, fully_sharded: bool = False) -> Any:
    """Returns the `NamedSharding` of each parameter and of its optimiser state.

    If `fully_sharded`, large arrays are cut over "data" too, along the longest axis that allows it.
    Of `tree` only shapes are read.
    """

    def place(path: Any, leaf: Any) -> NamedSharding:
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        spec = _spec(name, leaf.shape, mesh.shape)
        if fully_sharded and np.prod(leaf.shape) >= _MIN_SHARDED:
            ways = mesh.shape["data"]
            free = [i for i, n in enumerate(leaf.shape) if spec[i] is None and n % ways == 0]
            if free:
                spec[max(free, key=lambda i: leaf.shape[i])] = "data"
        return NamedSharding(mesh, PartitionSpec(*spec))

    return jax.tree_util.tree_map_with_path(place, tree)


def gather_weights(tree: Any, mesh: Mesh) -> Any:
    """Makes weights whole over "data" within a program: each is gathered once, before it is used.

    By itself, the compiler would gather where a weight is multiplied, in every loop around it.
    """
    return jax.lax.with_sharding_constraint(tree, shardings(tree, mesh))


def _spec(name: str, shape: tuple[int, ...], mesh_shape: Any) -> list[str | None]:
    spec: list[str | None] = [None] * len(shape)
    for ending, axes in PARAMETER_AXES:
        if re.search(rf"(^|/){ending}$", name):
            for i, (axis, size) in enumerate(zip(axes, shape, strict=True)):
                over = RULES.get(axis)
                if over and size % mesh_shape[over] == 0:
                    spec[i] = over
    return spec


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """The sharding of a batch: cut over "data" along its first axis."""
    return NamedSharding(mesh, PartitionSpec(RULES["batch"]))


def replicated(mesh: Mesh) -> NamedSharding:
    """The sharding of arrays that every device holds whole."""
    return NamedSharding(mesh, PartitionSpec())


def to_global(mesh: Mesh, local: Any) -> Any:
    """Joins the processes' rows of a batch, equally many each, to global arrays cut over "data"."""
    sharding = batch_sharding(mesh)
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(sharding, x), local)


def local_part(mesh: Mesh) -> Part:
    """Returns which rows of a batch lie on this process's devices."""
    process = np.array([device.process_index for device in mesh.devices.flat])
    mine = (process == jax.process_index()).reshape(mesh.devices.shape)
    blocks = np.unique(np.nonzero(mine)[AXES.index("data")])
    return Part(tuple(blocks.tolist()), mesh.shape["data"])


def gather(tree: Any) -> Any:
    """Returns whole arrays, as numpy, in every process."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    return multihost_utils.process_allgather(tree, tiled=True)


def is_writer() -> bool:
    """Whether this process is the one that writes files."""
    return jax.process_index() == 0


def wait_for_all(name: str) -> None:
    """Returns once every process has reached the point `name`."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def layout_table(
    params: Any, axes: Mapping[str, int], *, fully_sharded: bool = False
) -> pd.DataFrame:
    """Tabulates the axes of a mesh that each parameter is sharded over; needs no device.

    Of `params` only shapes are read; `axes` are the devices along the mesh's axes, e.g.
    {"data": 4, "model": 2}.

    Returns:
        Columns parameter, shape, cut over (a name per dimension, "–" where it is whole) and
        per device (share of its values, per cent), the largest parameter first.
    """
    mesh = AbstractMesh(tuple(axes.values()), tuple(axes))
    placed = shardings(params, mesh, fully_sharded=fully_sharded)
    rows = []
    for (path, leaf), where in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(placed), strict=True
    ):
        size = int(np.prod(leaf.shape))
        mine = int(np.prod(where.shard_shape(leaf.shape)))
        names = (*where.spec, *(None,) * (len(leaf.shape) - len(where.spec)))
        row = {
            "parameter": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": " x ".join(map(str, leaf.shape)),
            "cut over": ", ".join(name or "–" for name in names),
            "per device": f"{100 * mine / size:.3g} %",
        }
        rows.append((size, row))
    return pd.DataFrame([row for _, row in sorted(rows, key=lambda each: -each[0])])
