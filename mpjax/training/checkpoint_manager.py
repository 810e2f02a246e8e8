"""Checkpoints of a training run, written while it goes on, from which it goes on exactly.

`DIRECTORY/STEP` holds one checkpoint: the items `state` (arrays), `data` (the position of the
data iterator), `config` and `metrics` (JSON). It is written under another name (on object stores:
without a commit mark) until it is whole, so a half-written one is never taken for a checkpoint.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from orbax.checkpoint.checkpoint_managers import AnyPreservationPolicy, BestN, LatestN

from mpjax.io import files, stores
from mpjax.training.artifacts import CheckpointError, make_directory

# Fields that decide how a run is watched, kept and computed, not what it learns.
WATCHING = frozenset(
    {
        "train.keep",
        "train.log_every",
        "train.optim.accumulate",  # draws other paths to drop
        "train.processes",
        "train.remat",
        "train.save_every",
    }
)


class _Absent:
    def __repr__(self) -> str:
        return "absent"


_ABSENT = _Absent()


class Checkpoints:
    """The checkpoints of one run; every process of it makes one and calls its methods alike."""

    def __init__(
        self,
        directory: epath.PathLike,
        *,
        keep: int,
        config: Mapping[str, Any],
        best: str | None = None,
        defaults: Mapping[str, Any] = MappingProxyType({}),
        may_differ: frozenset[str] = WATCHING,
    ) -> None:
        """Opens or makes `directory` and removes what a killed save left in it.

        Args:
            directory: of this run alone; on several hosts, one that all of them see.
            keep: how many checkpoints stay, at least 1: the latest ones and, with `best`, the best
                one (then 2 at least).
            config: JSON-serialisable; kept in every checkpoint.
            best: name of the metric of which more is better; None: no checkpoint is the best.
            defaults: of `config`: what a field was in runs from before there was such a field.
            may_differ: dotted names of fields, or groups of them, that need not be those which the
                run began with.

        Raises:
            OSError: the directory cannot be written.
            CheckpointError: the run began with another config, or its checkpoint is damaged.
        """
        self._config = json.loads(json.dumps(config))  # as it is read back: tuples are lists
        self._defaults = _flat(json.loads(json.dumps(dict(defaults))))
        self._directory = make_directory(directory)
        check_writes_here(self._directory)
        self._best = best
        policies = [LatestN(keep if best is None else max(1, keep - 1))]
        if best is not None:
            policies.append(BestN(get_metric_fn=self._score, n=1))
        with self._told_as_damaged(step=None):
            self._manager = ocp.CheckpointManager(
                self._directory,
                options=ocp.CheckpointManagerOptions(
                    best_fn=None if best is None else self._score,
                    preservation_policy=AnyPreservationPolicy(policies),
                    cleanup_tmp_directories=True,
                ),
            )
        if (latest := self.latest()) is not None:
            self._check_config(latest, may_differ)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def path(self, step: int) -> epath.Path:
        """Returns the folder of a checkpoint."""
        return self._directory / str(step)

    def latest(self) -> int | None:
        """Returns the step of the latest checkpoint, or None where there is none."""
        return self._manager.latest_step()

    def best(self) -> int | None:
        """Returns the step of the checkpoint that is best by `best`; without it, the latest."""
        return self._manager.best_step()

    def save(
        self, step: int, state: Any, data: Any, metrics: Mapping[str, float] | None = None
    ) -> bool:
        """Starts to write a checkpoint; returns as soon as `state` may be overwritten or donated.

        Args:
            step: steps made.
            state: pytree of JAX arrays, one part of which is `params`.
            data: JSON-serialisable; where the data iterator stands.
            metrics: of this state; None, or without the metric `best`: it cannot be the best.

        Returns:
            False where there is a checkpoint of this step already, which stays as it is.

        Raises:
            Exception: the save before this one has failed.
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
        """Reads a checkpoint.

        Args:
            step: of the checkpoint.
            abstract_state: tree of `jax.ShapeDtypeStruct` with the shardings to restore into,
                whichever devices the checkpoint was saved from.

        Returns:
            The state and the position of the data iterator.

        Raises:
            CheckpointError: the checkpoint is damaged, or of another state.
        """
        with self._told_as_damaged(step):
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    state=ocp.args.StandardRestore(abstract_state), data=ocp.args.JsonRestore()
                ),
            )
        return restored["state"], restored["data"]

    def restore_params(self, step: int) -> Any:
        """Reads the parameters of a checkpoint alone; see the function of this name."""
        with self._told_as_damaged(step):
            return restore_params(self._directory, step)

    def wait(self) -> None:
        """Waits until the save under way is finished; raises what it failed of."""
        self._manager.wait_until_finished()

    def close(self) -> None:
        """Waits for the save under way and ends Orbax's threads."""
        self._manager.close()

    def _score(self, metrics: Mapping[str, float]) -> float:
        score = metrics.get(self._best or "", -math.inf)
        return -math.inf if math.isnan(score) else score

    def _check_config(self, step: int, may_differ: frozenset[str]) -> None:
        with self._told_as_damaged(step):
            restored = self._manager.restore(
                step, args=ocp.args.Composite(config=ocp.args.JsonRestore())
            )
        now = _flat(self._config)
        # Fields that are no more, or not looked at any more, decide nothing.
        was = dict.fromkeys(now, _ABSENT) | self._defaults | _flat(restored["config"])
        differing = [
            f"{name} was {was[name]!r}, is {now[name]!r}"
            for name in sorted(now)
            if was[name] != now[name]
            and not any(name == may or name.startswith(may + ".") for may in may_differ)
        ]
        if differing:
            self.close()
            raise CheckpointError(
                f"{self._directory}: this run began with another config: {'; '.join(differing)}; "
                f"give it the same config, choose another folder, or delete this one"
            )

    @contextlib.contextmanager
    def _told_as_damaged(self, step: int | None) -> Iterator[None]:
        """Turns whatever Orbax raises of a damaged checkpoint into one message with a way out."""
        try:
            yield
        except (CheckpointError, jax.errors.JaxRuntimeError):  # the latter: of devices, of peers
            raise
        except Exception as error:  # tensorstore, JSON and trees each raise errors of their own
            cause = error.__cause__ or error
            reason = " ".join(str(cause).split())[:300]
            if step is None:
                where, what = self._directory, "the damaged step's folder"
            else:
                where, what = self.path(step), "this folder"
            raise CheckpointError(
                f"{where}: the checkpoint is damaged, or is not one of this model "
                f"({type(cause).__name__}: {reason}); delete {what} to go on from the one before"
            ) from error


def check_writes_here(directory: epath.PathLike) -> None:
    """Refuses a store that Orbax cannot write to.

    Orbax 0.12 hands gs:// paths to TensorStore's own driver; of others it wants absolute ones, and
    takes `s3://bucket` (as `s3:/bucket`) for none (`_build_ocdbt_kvstore_tspec`).

    Raises:
        CheckpointError: `directory` is one of such a store.
    """
    if stores.is_remote(directory) and not os.fspath(directory).startswith("gs://"):
        raise CheckpointError(
            f"{os.fspath(directory)}: Orbax cannot write a run's checkpoints there; train on clips "
            "with a local or gs:// --workdir (config.train.what=probe works on any)"
        )


def _flat(config: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Returns the leaves of nested mappings by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in config.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def restore_params(directory: epath.PathLike, step: int, *, part: str = "params") -> Any:
    """Reads one part of a checkpoint's state, and no other, as numpy arrays.

    Needs no `Checkpoints`, so that a run can be evaluated while it goes on.

    Args:
        directory: of the run's checkpoints.
        step: of the checkpoint.
        part: `params`, or another part of the state, such as an average of them.

    Raises:
        CheckpointError: there is no such checkpoint, or it holds no such part.
    """
    path = files.absolute(directory) / str(step)
    if not path.exists():
        raise CheckpointError(f"{path}: no such checkpoint")
    with ocp.PyTreeCheckpointer() as checkpointer:
        tree = checkpointer.handler.metadata(path / "state").tree
        if part not in tree:
            raise CheckpointError(f"{path}: holds no {part!r}, but {', '.join(sorted(tree))}")
        wanted = {part: tree[part]}
        restored = checkpointer.restore(
            path / "state",
            args=ocp.args.PyTreeRestore(
                item=wanted,
                restore_args=jax.tree.map(
                    lambda _: ocp.RestoreArgs(restore_type=np.ndarray), wanted
                ),
                partial_restore=True,
            ),
        )
    return restored[part]
