"""Compiles the real steps of training, evaluation and embedding for devices that are not present.

Nothing is computed and no weights are made: programs are lowered from shapes and shardings.
"""

import dataclasses
import functools
import importlib.util
import re
import time
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import topologies
from jax.sharding import Mesh

from mpjax.config import MeshConfig, ProjectorConfig, StudyConfig
from mpjax.embedding import dataset
from mpjax.models import swin
from mpjax.models.projector import Projector, load_projector
from mpjax.profiling import costs
from mpjax.profiling.costs import Costs
from mpjax.training import compiled_steps, partitioning

PROGRAMS = ("train", "eval", "embed")

_ON_CLIPS = ("head", "lora", "all")  # values of config.train.what that train on clips
_CLASSES = 15  # of the head: the default taxonomy's; its size does not matter
_STEPS = 1000  # of the schedule: the program is the same for any number

_OUT_OF_MEMORY = re.compile(  # libtpu's wording
    r"Used (\S+) of (\S+) hbm"
    r"|required for HLO temporaries \((\S+)\) exceeds available HBM \((\S+)\)"
)


class DoesNotFit(Exception):
    """The compiler found no way to run a program within a chip's memory."""


def devices_of(topology: str) -> list[Any]:
    """Returns the devices of a TPU topology, e.g. "v5e:4x4" or "v5p:2x2x4", to compile for.

    Raises:
        ImportError: libtpu, the compiler, is not installed.
        ValueError: libtpu does not know the topology.
    """
    if importlib.util.find_spec("libtpu") is None:
        raise ImportError(
            "libtpu, which compiles for TPUs without having one, is not installed: "
            "`pip install 'mpjax[aot]'`"
        )
    try:
        return topologies.get_topology_desc(topology, "tpu").devices
    except Exception as error:  # XLA's errors share no other class
        reason = str(error).splitlines()[0]
        if "INVALID_ARGUMENT" not in reason:
            raise ValueError(f"libtpu does not start, whatever the topology: {reason}") from error
        raise ValueError(
            f"topology {topology!r}: unknown to libtpu; choose e.g. v5e:4x4, v6e:16x16 or "
            f"v5p:2x2x4 ({reason})"
        ) from error


def abstract_projector(
    config: ProjectorConfig, *, attention_impl: str, scan: bool = False
) -> Projector:
    """Returns the projector of a config with shapes instead of weights; see `swin.SwinConfig`.

    Random weights are not made; others are read for their architecture.
    """
    if config.kind == "swin" and config.weights == "random":
        network = swin.config_of(config.architecture, num_classes=None, dtype=config.dtype)
    else:
        loaded = load_projector(
            config.weights, kind=config.kind, seed=config.seed, dtype=config.dtype
        )
        if not isinstance(loaded.config, swin.SwinConfig):
            shapes = jax.eval_shape(lambda x: x, loaded.params)
            return dataclasses.replace(loaded, params=shapes)
        network = loaded.config
    network = dataclasses.replace(network, attention_impl=attention_impl, scan=scan)
    params = jax.eval_shape(functools.partial(swin.init_params, network), jax.random.key(0))
    return dataclasses.replace(swin.make_projector(network, {}), params=params)


def choose_programs(config: StudyConfig, names: Sequence[str]) -> tuple[str, ...]:
    """Returns the programs to compile for a study: `names`, or all that it runs on clips.

    Raises:
        ValueError: the study has no program of that name.
    """
    choices = PROGRAMS if config.train.what in _ON_CLIPS else ("embed",)
    if unknown := [name for name in names if name not in choices]:
        raise ValueError(
            f"no program {unknown[0]!r} with config.train.what={config.train.what}; choose "
            f"{', '.join(choices)}"
        )
    return tuple(names) or choices


def lower(
    name: str, config: StudyConfig, mesh: Mesh, *, attention_impl: str, scan: bool = False
) -> jax.stages.Lowered:
    """Lowers a program of `PROGRAMS` for a mesh, which must divide its batch.

    `attention_impl` is that of a Video Swin; with `scan`, its deep stages are loops, as on TPUs.
    """
    choose_programs(config, [name])
    projector = abstract_projector(config.projector, attention_impl=attention_impl, scan=scan)
    arguments: tuple[Any, ...]
    if name == "embed":
        whole = partitioning.replicated(mesh)
        params = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole), projector.params
        )
        batch = _batch(config, dataset.round_up(config.projector.batch_size, mesh), mesh)
        program, arguments = dataset.embed_program(projector, mesh), (params, batch["clips"])
    else:
        program, arguments = _step_program(name, config, projector, mesh)
    # Not earlier: under the mesh, JAX would compute on devices that are not present.
    with jax.set_mesh(mesh):
        return program.lower(*arguments)


def _step_program(
    name: str, config: StudyConfig, projector: Projector, mesh: Mesh
) -> tuple[Any, tuple]:
    task = compiled_steps.make_task(
        config.train,
        projector,
        class_weight=np.ones(_CLASSES, np.float32),
        total_steps=_STEPS,
        steps_per_epoch=_STEPS / config.train.epochs,
    )
    weights = compiled_steps.trainable(projector.params)
    sharded = config.mesh.fully_sharded
    state, frozen = compiled_steps.layout(task, mesh, weights, fully_sharded=sharded)
    batch = _batch(config, config.train.batch_size, mesh)
    if name == "eval":
        program = compiled_steps.eval_program(task, mesh, state, frozen)
        return program, (state.evaluated, frozen, batch)
    del batch["mask"]
    key = jax.eval_shape(functools.partial(jax.random.key, config.train.seed))
    return compiled_steps.train_program(task, mesh, state, frozen), (state, frozen, batch, key)


def _batch(config: StudyConfig, size: int, mesh: Mesh) -> dict[str, jax.ShapeDtypeStruct]:
    """Returns the shapes of a batch as the pipeline makes it."""
    ways = mesh.shape["data"]
    if size % ways:
        raise ValueError(f"a batch of {size} clips cannot be cut over {ways} devices")
    side = config.projector.size
    clip = (config.projector.frames or config.video.frames, side, side, 3)
    place = partitioning.batch_sharding(mesh)

    def rows(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((size, *shape), dtype, sharding=place)

    return {"clips": rows(jnp.uint8, *clip), "label": rows(jnp.int32), "mask": rows(jnp.bool_)}


def compile_costs(
    name: str, config: StudyConfig, mesh: Mesh, *, attention_impl: str, scan: bool = False
) -> Costs:
    """Compiles a program for a mesh and reads what it costs per chip; arguments as for `lower`.

    The mesh may be one of real devices or of `devices_of` a topology.

    Raises:
        DoesNotFit: the chips' memory is too small.
    """
    lowered = lower(name, config, mesh, attention_impl=attention_impl, scan=scan)
    try:
        compiled = lowered.compile()
    except jax.errors.JaxRuntimeError as error:
        found = _OUT_OF_MEMORY.search(str(error))
        if not found:
            raise
        needed, available = (group for group in found.groups() if group)
        raise DoesNotFit(f"needs {needed} of {available} of HBM") from error
    return costs.measure(compiled, devices=mesh.size)


def model_flops(name: str, config: StudyConfig) -> float:
    """Counts the FLOPs of a program per clip as its model defines them, without recomputation."""
    optim = dataclasses.replace(config.train.optim, accumulate=1)
    plain = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, batch_size=1, remat=False, optim=optim),
        projector=dataclasses.replace(config.projector, batch_size=1),
        mesh=MeshConfig(),
    )
    mesh = partitioning.make_mesh(plain.mesh, jax.local_devices(backend="cpu")[:1])
    counted: Any = lower(name, plain, mesh, attention_impl="xla").cost_analysis()
    return counted["flops"]


def report(name: str, config: StudyConfig, topology: str) -> costs.Report:
    """Compiles a program of `PROGRAMS` for a TPU topology and reports what it costs.

    Raises:
        DoesNotFit, ImportError, ValueError: as `compile_costs` and `devices_of`.
    """
    # Both before libtpu is loaded, which takes a while.
    choose_programs(config, [name])
    costs.chip_of(topology)
    mesh = partitioning.make_mesh(config.mesh, devices_of(topology))
    attention = config.projector.attention_impl
    if attention == "auto":
        attention = "xla"  # as `SwinConfig.chosen_attention` returns on a TPU
    start = time.perf_counter()
    measured = compile_costs(name, config, mesh, attention_impl=attention, scan=True)
    size = config.train.batch_size
    if name == "embed":
        size = dataset.round_up(config.projector.batch_size, mesh)
    return costs.Report(
        program=name,
        topology=topology,
        mesh=dict(mesh.shape),
        fully_sharded=config.mesh.fully_sharded,
        clips=size / mesh.size,
        model_flops=model_flops(name, config),
        costs=measured,
        seconds=time.perf_counter() - start,
    )
