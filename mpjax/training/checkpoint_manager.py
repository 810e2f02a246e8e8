"""Checkpoints of a training run, from which it resumes exactly.

`DIRECTORY/STEP` holds one checkpoint: the items `state` (arrays), `data` (the position of the
data iterator), `config` and `metrics` (JSON). Until it is complete it has another name (on object
stores: no commit mark), so a half-written one is never read as a checkpoint.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from mpjax.io import files, stores
from mpjax.training.artifacts import CheckpointError, make_directory

# Fields that may change when a run resumes: they do not affect what it learns.
MAY_CHANGE = frozenset(
    {
        "train.keep",
        "train.log_every",
        "train.optim.accumulate",  # only draws other paths to drop
        "train.processes",
        "train.remat",
        "train.save_every",
    }
)


class Checkpoints:
    """The checkpoints of one run; every process of the run makes one and makes the same calls."""

    def __init__(
        self,
        directory: epath.PathLike,
        *,
        keep: int,
        config: Mapping[str, Any],
        best: str | None = None,
        defaults: Mapping[str, Any] | None = None,
    ) -> None:
        """Opens or makes `directory` and removes what a killed save left in it.

        Args:
            directory: of this run only; on several hosts, one that all of them see.
            keep: how many checkpoints to keep, at least 1: the latest ones and, with `best`, the
                best one (then at least 2).
            config: JSON-serialisable; stored in every checkpoint.
            best: name of a metric of which more is better; None: no checkpoint is the best.
            defaults: values that fields of `config` had before they were introduced.

        Raises:
            CheckpointError: the run began with another config, or its checkpoint is damaged.
        """
        self._config = json.loads(json.dumps(config))  # as it is read back: tuples are lists
        self._defaults = flatten_dict(json.loads(json.dumps(defaults or {})), sep=".")
        self._directory = make_directory(directory)
        check_writes_here(self._directory)
        self._best = best
        policies = [LatestN(keep if best is None else max(1, keep - 1))]
        if best is not None:
            policies.append(BestN(get_metric_fn=self._score, n=1))
        with self._explaining_damage(step=None):
            self._manager = ocp.CheckpointManager(
                self._directory,
                options=ocp.CheckpointManagerOptions(
                    best_fn=None if best is None else self._score,
                    preservation_policy=AnyPreservationPolicy(policies),
                    cleanup_tmp_directories=True,
                ),
            )
        if (latest := self.latest()) is not None:
            self._check_config(latest)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self._manager.close()  # waits for the save under way and ends Orbax's threads

    def path(self, step: int) -> epath.Path:
        """The folder of a checkpoint."""
        return self._directory / str(step)

    def latest(self) -> int | None:
        """Returns the step of the latest checkpoint, or None if there is none."""
        return self._manager.latest_step()

    def latest_path(self) -> epath.Path | None:
        """The folder of the latest checkpoint, or None if there is none."""
        return None if (latest := self.latest()) is None else self.path(latest)

    def best(self) -> int | None:
        """Returns the step of the checkpoint with the best metric; without one, the latest."""
        return self._manager.best_step()

    def save(
        self, step: int, state: Any, data: Any, metrics: Mapping[str, float] | None = None
    ) -> bool:
        """Starts to write a checkpoint; returns as soon as `state` may be overwritten or donated.

        Returns False if a checkpoint of this step exists already; it is left unchanged. An error of
        the previous save is raised here.

        Args:
            step: number of steps taken.
            state: pytree of JAX arrays, one part of which is `params`.
            data: JSON-serialisable position of the data iterator.
            metrics: of this state; without the metric `best`, it cannot be the best checkpoint.
        """
        if step in self._manager.all_steps():
            return False
        return self._manager.save(
            step,
            metrics=dict(metrics or {}),
            args=ocp.args.Composite(
                state=ocp.args.StandardSave(state),
                data=ocp.args.JsonSave(data),
                config=ocp.args.JsonSave(self._config),
            ),
            force=True,  # at this step, whatever steps were saved
        )

    def restore(self, step: int, abstract_state: Any) -> tuple[Any, Any]:
        """Reads the state and the position of the data iterator.

        `abstract_state` holds `jax.ShapeDtypeStruct`s with the shardings to restore into,
        whichever devices the checkpoint was saved from.

        Raises:
            CheckpointError: the checkpoint is damaged, or belongs to another model.
        """
        with self._explaining_damage(step):
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract_state), data=ocp.args.JsonRestore()
                ),
            )
        return restored["state"], restored["data"]

    def wait(self) -> None:
        """Waits until the current save is finished; raises the error if it failed."""
        self._manager.wait_until_finished()

    def _score(self, metrics: Mapping[str, float]) -> float:
        score = metrics.get(self._best or "", -math.inf)
        return -math.inf if math.isnan(score) else score

    def _check_config(self, step: int) -> None:
        with self._explaining_damage(step):
            restored = self._manager.restore(
                step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
            )
        now = flatten_dict(self._config, sep=".")
        # Fields that no longer exist, or are no longer read, make no difference.
        before = self._defaults | flatten_dict(restored["config"], sep=".")
        differing = [
            f"{name} was {repr(before[name]) if name in before else 'absent'}, is {now[name]!r}"
            for name in sorted(now.keys() - MAY_CHANGE)
            if name not in before or before[name] != now[name]
        ]
        if differing:
            self._manager.close()
            raise CheckpointError(
                f"{self._directory}: this run began with another config: {'; '.join(differing)}; "
                f"give it the same config, choose another folder, or delete this one"
            )

    @contextlib.contextmanager
    def _explaining_damage(self, step: int | None) -> Iterator[None]:
        """Turns Orbax's errors about a damaged checkpoint into one message that says what to do."""
        try:
            yield
        except (CheckpointError, jax.errors.JaxRuntimeError):  # the latter: of devices, of peers
            raise
        except Exception as error:  # tensorstore, JSON and trees each raise their own errors
            cause = error.__cause__ or error
            reason = " ".join(str(cause).split())[:300]
            where = self._directory if step is None else self.path(step)
            what = "the damaged step's folder" if step is None else "this folder"
            raise CheckpointError(
                f"{where}: the checkpoint is damaged, or belongs to another model "
                f"({type(cause).__name__}: {reason}); delete {what} to resume from the one before"
            ) from error


def check_writes_here(directory: epath.PathLike) -> None:
    """Raises CheckpointError if `directory` is in an object store that Orbax cannot write to.

    Orbax 0.12 passes gs:// paths to TensorStore's own driver; other paths must be absolute, which
    `s3://bucket` (as `s3:/bucket`) is not (`_build_ocdbt_kvstore_tspec`).
    """
    if stores.is_remote(directory) and not os.fspath(directory).startswith("gs://"):
        raise CheckpointError(
            f"{os.fspath(directory)}: Orbax cannot write a run's checkpoints there; train on clips "
            "with a local or gs:// --workdir (config.train.what=probe works on any)"
        )


def restore_params(directory: epath.PathLike, step: int) -> Any:
    """Reads only the parameters of a checkpoint, as numpy arrays; the run may still be training."""
    path = files.absolute(directory) / str(step)
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint")
    with ocp.PyTreeCheckpointer() as checkpointer:
        wanted = {"params": checkpointer.handler.metadata(path / "state").tree["params"]}
        arrays = jax.tree.map(lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted)
        restored = checkpointer.restore(
            path / "state",
            args=ocp.args.PyTreeRestore(item=wanted, restore_args=arrays, partial_restore=True),
        )
    return restored["params"]
