"""Trains on clips by gradient descent: from records to checkpoints, logged and resumable.

A run killed at any moment and started again ends with the parameters and the metric log of an
uninterrupted one, bit for bit: a step depends only on the state, on the batch of its number and on
a key of its number.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from etils import epath
from jax.sharding import Mesh
from jaxtyping import Float, Int

from mpjax.config import StudyConfig, TrainConfig
from mpjax.data import pipeline, records
from mpjax.data.clips import Views
from mpjax.models.projector import Projector
from mpjax.training import compiled_steps, partitioning
from mpjax.training.checkpoint_manager import Checkpoints
from mpjax.training.metric_writer import MetricWriter
from mpjax.training.preemption import StopRequest
from mpjax.training.steps import State, TrainTask

BEST = "mean_class_accuracy"  # on `val`: decides which checkpoint is exported


class Stopped(Exception):
    """A run that was asked to stop and has saved."""


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """The chosen checkpoint of a run: the best on `val`, or the last if there is no `val`."""

    step: int
    params: Any  # as `State.evaluated`, numpy


@dataclasses.dataclass(frozen=True, eq=False)
class _Run:
    """What does not change from step to step."""

    config: StudyConfig
    source: records.RecordSource
    mesh: Mesh
    steps: int
    frozen: Any
    train: Callable[..., Any]
    evaluate: Callable[[State], dict[str, float]] | None


def count_steps(clips: int, config: TrainConfig) -> int:
    """Returns the steps of a run over `clips` training clips, at least 1."""
    return max(1, int(config.epochs * clips / config.batch_size))


def class_weights(
    label: Int[np.ndarray, "n"], num_classes: int, balance: str
) -> Float[np.ndarray, "classes"]:
    """Returns the weight of each class in the loss, on average 1 over the training clips.

    A `balance` of "weights" gives all classes the same share of the loss.
    """
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

    Checkpoints, the metric log and the events go to the folder `out`; `projector` is what training
    starts from, and `num_classes` counts the fine classes.

    Raises:
        Stopped: SIGTERM arrived; a checkpoint is saved.
        ValueError: bad config or data; a loss that is not finite.
    """
    out = epath.Path(out)
    mesh = partitioning.make_mesh(config.mesh)
    source = records.RecordSource(dataset, splits=["train"], labelled=True)
    check_batch(config.train, mesh)
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
        abstract, abstract_frozen = compiled_steps.layout(
            task, mesh, weights, fully_sharded=config.mesh.fully_sharded
        )
        frozen = compiled_steps.place_frozen(task, abstract_frozen, weights)
        run = _Run(
            config=config,
            source=source,
            mesh=mesh,
            steps=steps,
            frozen=frozen,
            train=compiled_steps.train_program(task, mesh, abstract, abstract_frozen),
            evaluate=_evaluator(dataset, task, mesh, abstract, frozen, config),
        )
        with Checkpoints(
            out / "checkpoints",
            keep=config.train.keep,
            config=_recorded(dataset, projector, config),
            defaults={"train": dataclasses.asdict(TrainConfig())},
            best=BEST if run.evaluate else None,
        ) as checkpoints:
            start = checkpoints.latest() or 0
            if start:
                state = checkpoints.restore(start, abstract)[0]
            else:
                state = compiled_steps.make_state(task, abstract, weights)
            _take_steps(run, state, start, checkpoints, out)
            checkpoints.wait()
            best = checkpoints.best() or steps
            state = checkpoints.restore(best, abstract)[0]
        return Result(best, partitioning.gather(state.evaluated))


def _recorded(
    dataset: epath.PathLike, projector: Projector, config: StudyConfig
) -> dict[str, dict[str, Any]]:
    """Returns what identifies a run; of its inputs the content, whatever their names and places."""
    chosen = dataclasses.asdict(config.projector)
    return {
        "train": dataclasses.asdict(config.train),
        "dataset": {"fingerprint": records.read_manifest(dataset)["fingerprint"]},
        "projector": {"fingerprint": projector.fingerprint}
        | {name: chosen[name] for name in ("size", "frames", "dtype")},
    }


def check_batch(config: TrainConfig, mesh: Mesh) -> None:
    """Raises ValueError for a batch that cannot be cut over the mesh and into parts."""
    ways = mesh.shape["data"] * config.optim.accumulate
    if config.batch_size % ways:
        raise ValueError(
            f"config.train.batch_size {config.batch_size} cannot be cut over {mesh.shape['data']} "
            f"device(s) along the mesh's axis data and config.train.optim.accumulate "
            f"{config.optim.accumulate} part(s); choose a multiple of {ways}"
        )


def _take_steps(
    run: _Run, state: State, start: int, checkpoints: Checkpoints, out: epath.Path
) -> None:
    """Takes the steps after `start`; leaves a checkpoint of the last one."""
    config = run.config.train
    clip_ids = run.source.index["clip_id"].to_numpy()
    key = jax.random.key(config.seed)

    with (
        StopRequest() as stop,
        MetricWriter(
            out,
            steps=run.steps,
            epochs=config.epochs,
            batch_size=config.batch_size,
            start=start,
            log_every=config.log_every,
            writer=partitioning.is_writer(),
            profile=run.config.profile,
            last_checkpoint=checkpoints.latest_path,
        ) as metric_writer,
    ):
        batches = _train_batches(run, start)
        for step in range(start + 1, run.steps + 1):
            batch = next(batches)
            ids = clip_ids[batch.pop("position")].tolist()
            batch = partitioning.to_global(run.mesh, batch)
            state, metrics = run.train(state, run.frozen, batch, key)
            metric_writer.step(step, metrics, ids)
            last = step == run.steps
            scores = None
            if run.evaluate and (last or step % config.eval_every == 0):
                metric_writer.flush()
                scores = run.evaluate(state)
                metric_writer.evaluated(step, scores)
            stopping = stop.requested(step) and not last
            if last or stopping or scores or step % config.save_every == 0:
                metric_writer.flush()
                checkpoints.save(step, state, {"batches": step}, scores)
            if stopping:
                checkpoints.wait()
                raise Stopped(
                    f"stopped on request after step {step} of {run.steps}; saved in "
                    f"{checkpoints.path(step)}; run the same command to resume"
                )


def _train_batches(run: _Run, start: int) -> Any:
    config = run.config.train
    lowest, highest = config.augment.scale
    return iter(
        pipeline.train_batches(
            run.source,
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
    task: TrainTask,
    mesh: Mesh,
    abstract: State,
    frozen: Any,
    config: StudyConfig,
) -> Callable[[State], dict[str, float]] | None:
    """Returns a function that scores a state on the split `val`; None if the dataset has none."""
    index = records.read_index(dataset)
    if not ((index["split"] == "val") & (index["label"] >= 0)).any():
        return None
    source = records.RecordSource(dataset, splits=["val"], labelled=True)
    program = compiled_steps.eval_program(task, mesh, abstract, frozen)
    label = source.index["label"].to_numpy(np.int32)
    # One view of every clip is enough to compare checkpoints.
    views = Views(config.projector.size, config.projector.frames, 1, 1)
    part = partitioning.local_part(mesh)

    def evaluate(state: State) -> dict[str, float]:
        totals: dict[str, np.ndarray] = {}
        for batch in pipeline.eval_batches(
            source, batch_size=config.train.batch_size, views=views, part=part
        ):
            rows = {name: batch[name] for name in ("clips", "mask")}
            rows["label"] = label[batch["position"]]
            sums = program(state.evaluated, frozen, partitioning.to_global(mesh, rows))
            for name, value in jax.device_get(sums).items():
                totals[name] = totals.get(name, 0) + value
        return summarise(totals)

    return evaluate


def summarise(totals: dict[str, Float[np.ndarray, "classes"]]) -> dict[str, float]:
    """Returns loss, accuracy and mean-class accuracy from sums of `steps.eval_step`."""
    count = totals["count"].astype(np.float64)
    present = count > 0
    return {
        "loss": float(totals["loss"].sum() / count.sum()),
        "accuracy": float(totals["correct"].sum() / count.sum()),
        "mean_class_accuracy": float((totals["correct"][present] / count[present]).mean()),
    }
