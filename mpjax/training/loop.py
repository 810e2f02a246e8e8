"""Training on clips by gradient descent: from records to checkpoints, watched, stopped, resumed.

A run killed at any moment and started again ends with the parameters and the metric log of an
unbroken one, bit for bit: a step depends on the state, on the batch of its number and on a key of
its number, and on nothing else.
"""

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mpjax.config import ProjectorConfig, StudyConfig, TrainConfig
from mpjax.data import pipeline, records
from mpjax.data.clips import Views
from mpjax.models.projector import Projector
from mpjax.training import compiled_steps, partitioning
from mpjax.training.checkpoint_manager import Checkpoints
from mpjax.training.compiled_steps import Task
from mpjax.training.metric_writer import Watcher
from mpjax.training.preemption import StopRequest
from mpjax.training.steps import State

BEST = "mean_class_accuracy"  # of `val`: what decides which checkpoint is exported


class Stopped(Exception):
    """A run that was asked to stop, and saved."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """What a run has learnt.

    Attributes:
        step: of the chosen checkpoint: the best on `val`, or the last where there is no `val`.
        params: as `State.evaluated`, numpy.
    """

    step: int
    params: Any


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """What stays the same from step to step."""

    task: Task
    mesh: Mesh
    steps: int
    frozen: Any
    train: Callable[..., Any]
    evaluate: Callable[[State], dict[str, float]] | None
    config: StudyConfig


def count_steps(clips: int, config: TrainConfig) -> int:
    """Returns the steps of a run over `clips` training clips, at least 1."""
    return max(1, int(config.epochs * clips / config.batch_size))


def class_weights(
    label: Int[np.ndarray, "n"], num_classes: int, balance: str
) -> Float[np.ndarray, "classes"]:
    """Returns the weight of each class in the loss, on average 1 over the clips.

    Args:
        label: of the training clips.
        num_classes: number of fine classes.
        balance: "weights" gives all classes the same share of the loss.

    Raises:
        ValueError: a class has no clip, or `balance` is no such choice.
    """
    if balance not in ("none", "weights", "sampling"):
        raise ValueError(f"config.train.balance {balance!r}: choose none, weights or sampling")
    counts = np.bincount(label, minlength=num_classes)
    if not counts.all():
        raise ValueError(f"no clip to train on for class(es) {np.flatnonzero(counts == 0)}")
    if balance != "weights":
        return np.ones(num_classes, np.float32)
    return (len(label) / (num_classes * counts)).astype(np.float32)


def train(
    dataset: epath.PathLike,
    out: epath.PathLike,
    projector: Projector,
    num_classes: int,
    config: StudyConfig,
) -> Result:
    """Trains on the split `train`, evaluates on `val`, and returns the best parameters.

    Args:
        dataset: folder of the records.
        out: folder of the checkpoints, the metric log and the events.
        projector: to start from.
        num_classes: fine classes.
        config: of the study; `train`, `mesh` and `projector` are read.

    Raises:
        Stopped: SIGTERM came; a checkpoint is saved.
        ValueError: bad config or data; a loss that is not finite.
    """
    out = epath.Path(out)
    mesh = partitioning.make_mesh(config.mesh)
    source = records.RecordSource(dataset, splits=["train"], labelled=True)
    _check_batch(config.train, mesh)
    label = source.index["label"].to_numpy()
    steps = count_steps(len(source), config.train)
    task = compiled_steps.make_task(
        config.train,
        projector,
        class_weight=class_weights(label, num_classes, config.train.balance),
        total_steps=steps,
        steps_per_epoch=len(source) / config.train.batch_size,
    )
    weights = jax.device_get(compiled_steps.trainable(projector.params))
    with jax.set_mesh(mesh):
        sharded = config.mesh.fully_sharded
        abstract, abstract_frozen = compiled_steps.layout(
            task, mesh, weights, fully_sharded=sharded
        )
        frozen = compiled_steps.place(
            abstract_frozen, {} if config.train.what == "all" else weights
        )
        run = _Run(
            task=task,
            mesh=mesh,
            steps=steps,
            frozen=frozen,
            train=compiled_steps.train_program(task, mesh, abstract, abstract_frozen),
            evaluate=_evaluator(dataset, task, mesh, abstract, frozen, config),
            config=config,
        )
        with Checkpoints(
            out / "checkpoints",
            keep=config.train.keep,
            config={"train": dataclasses.asdict(config.train)} | _given(dataset, projector, config),
            defaults={"train": dataclasses.asdict(TrainConfig())},
            best=BEST if run.evaluate else None,
        ) as checkpoints:
            start = checkpoints.latest() or 0
            if start:
                state = checkpoints.restore(start, abstract)[0]
            else:
                state = compiled_steps.make_state(task, abstract, config.train.seed, weights)
            _steps(run, state, start, source, checkpoints, out)
            checkpoints.wait()
            best = checkpoints.best() or steps
            state = checkpoints.restore(best, abstract)[0]
        return Result(best, partitioning.gather(state.evaluated))


def _given(
    dataset: epath.PathLike, projector: Projector, config: StudyConfig
) -> dict[str, dict[str, Any]]:
    """Returns what a run learns from, whatever it is called and wherever it lies."""
    return {
        "dataset": {"fingerprint": records.read_manifest(dataset)["fingerprint"]},
        "projector": {
            "fingerprint": projector.fingerprint,
            "size": config.projector.size,
            "frames": config.projector.frames,
            "dtype": config.projector.dtype,
        },
    }


def _steps(
    run: _Run,
    state: State,
    start: int,
    source: records.RecordSource,
    checkpoints: Checkpoints,
    out: epath.Path,
) -> None:
    """Takes the steps from `start` on; leaves a checkpoint of the last one."""
    config = run.config.train
    clip_ids = source.index["clip_id"].to_numpy()
    key = jax.random.key(config.seed)

    def last_checkpoint() -> epath.Path | None:
        latest = checkpoints.latest()
        return None if latest is None else checkpoints.path(latest)

    with (
        StopRequest() as stop,
        Watcher(
            out,
            steps=run.steps,
            epochs=config.epochs,
            batch_size=config.batch_size,
            start=start,
            log_every=config.log_every,
            writer=partitioning.is_writer(),
            profile=run.config.profile,
            last_checkpoint=last_checkpoint,
        ) as watcher,
    ):
        batches = _train_batches(source, run, start)
        for step in range(start + 1, run.steps + 1):
            batch = next(batches)
            ids = clip_ids[batch.pop("position")].tolist()
            state, metrics = run.train(
                state, run.frozen, partitioning.to_global(run.mesh, batch), key
            )
            watcher.step(step, metrics, ids)
            last = step == run.steps
            scores = None
            if run.evaluate and (last or step % config.eval_every == 0):
                watcher.flush()
                scores = run.evaluate(state)
                watcher.evaluated(step, scores)
            stopping = stop.requested(step) and not last
            if last or stopping or scores or step % config.save_every == 0:
                watcher.flush()
                checkpoints.save(step, state, {"batches": step}, scores)
            if stopping:
                checkpoints.wait()
                raise Stopped(
                    f"stopped on request after step {step} of {run.steps}; saved in "
                    f"{checkpoints.path(step)}; the same command goes on from there"
                )


def _check_batch(config: TrainConfig, mesh: Mesh) -> None:
    ways = mesh.shape["data"] * config.optim.accumulate
    if config.batch_size % ways:
        raise ValueError(
            f"config.train.batch_size {config.batch_size} cannot be cut over {mesh.shape['data']} "
            f"device(s) along the mesh's axis data and config.train.optim.accumulate "
            f"{config.optim.accumulate} part(s); choose a multiple of {ways}"
        )


def _train_batches(
    source: records.RecordSource, run: _Run, start: int
) -> Iterator[dict[str, np.ndarray]]:
    config = run.config.train
    lowest, highest = config.augment.scale
    return iter(
        pipeline.train_batches(
            source,
            batch_size=config.batch_size,
            size=run.config.projector.size,
            frames=run.config.projector.frames,
            seed=config.seed,
            scale=(lowest, highest),
            flip=config.augment.flip,
            balanced=config.balance == "sampling",
            start=start,
            part=partitioning.local_part(run.mesh),
            workers=pipeline.Workers(processes=config.processes),
        )
    )


def _evaluator(
    dataset: epath.PathLike,
    task: Task,
    mesh: Mesh,
    abstract: State,
    frozen: Any,
    config: StudyConfig,
) -> Callable[[State], dict[str, float]] | None:
    """Returns what scores a state on the split `val`; None where the dataset has none."""
    index = records.read_index(dataset)
    if not ((index["split"] == "val") & (index["label"] >= 0)).any():
        return None
    source = records.RecordSource(dataset, splits=["val"], labelled=True)
    program = compiled_steps.eval_program(task, mesh, abstract, frozen)
    label = source.index["label"].to_numpy(np.int32)

    def evaluate(state: State) -> dict[str, float]:
        totals: dict[str, np.ndarray] = {}
        for batch in _eval_batches(source, mesh, config.projector, config.train.batch_size):
            rows = {
                "clips": batch["clips"],
                "label": label[batch["position"]],
                "mask": batch["mask"],
            }
            sums = program(state.evaluated, frozen, partitioning.to_global(mesh, rows))
            sums = jax.device_get(sums)
            totals = {name: totals.get(name, 0) + value for name, value in sums.items()}
        return summarise(totals)

    return evaluate


def _eval_batches(
    source: records.RecordSource, mesh: Mesh, config: ProjectorConfig, batch_size: int
) -> Iterator[dict[str, np.ndarray]]:
    """Yields one view of every clip: enough to compare checkpoints by."""
    views = Views(config.size, config.frames, 1, 1)
    part = partitioning.local_part(mesh)
    return iter(pipeline.eval_batches(source, batch_size=batch_size, views=views, part=part))


def summarise(totals: dict[str, Float[np.ndarray, "classes"]]) -> dict[str, float]:
    """Returns loss, accuracy and mean-class accuracy from sums of `steps.eval_step`."""
    count = totals["count"].astype(np.float64)
    seen = count > 0
    return {
        "loss": float(totals["loss"].sum() / count.sum()),
        "accuracy": float(totals["correct"].sum() / count.sum()),
        "mean_class_accuracy": float((totals["correct"][seen] / count[seen]).mean()),
    }
