"""Watching a training run: a metric log, TensorBoard events, a progress line, a profile.

The metric log holds what the run computed and no clock times: killed and resumed, a run ends with
the same bytes as an unbroken one. Speed goes to TensorBoard and to the progress line.
"""

import contextlib
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import tqdm
from etils import epath

from mpjax.io import files, stores
from mpjax.training.artifacts import make_directory

_WARM_UP = 3  # steps before the profile: compilation and the first reads are not what it is for
_IDS_TOLD = 8  # clips of a batch that an error names
_LINE_EVERY = 30.0  # s between progress lines where stderr is no terminal
_SEND_EVERY = 60.0  # s between sendings of log and events to an object store


class NotFinite(ValueError):
    """A loss or another metric that is NaN or infinite."""


class MetricLog:
    """A file of JSON lines `{"step", "split", metric: value, …}`, cut back on resume."""

    def __init__(self, path: epath.PathLike, *, start: int) -> None:
        """Opens the log at `path`, and drops every line of a step after `start`.

        Raises:
            ValueError: a line other than the last is not one of this log.
        """
        self._path = epath.Path(path)
        # Object stores cannot append: there the object is written anew, on `flush`.
        self._remote = stores.is_remote(path)
        self._unwritten = ""
        text = self._path.read_text() if self._path.exists() else ""
        kept = "".join(line for line in _whole_lines(text) if _step(line, path) <= start)
        if kept != text:
            with files.write_aside(self._path) as aside:
                aside.write_text(kept)

    def write(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Adds a line; floats are written so that they come back exactly."""
        record = {"step": step, "split": split, **metrics}
        self._unwritten += json.dumps(record, allow_nan=False) + "\n"
        if not self._remote:
            self.flush()

    def flush(self) -> None:
        """Brings every line to the file."""
        if not self._unwritten:
            return
        if self._remote:
            before = self._path.read_text() if self._path.exists() else ""
            self._path.write_text(before + self._unwritten)
        else:
            with self._path.open("a") as file:
                file.write(self._unwritten)
        self._unwritten = ""


def _whole_lines(text: str) -> list[str]:
    """Returns the lines of a log without a last one that was cut off while it was written."""
    return [line for line in text.splitlines(keepends=True) if line.endswith("\n")]


def _step(line: str, path: epath.PathLike) -> int:
    try:
        return int(json.loads(line)["step"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path}: not a line of a metric log: {line.strip()[:80]!r}; delete the line"
        ) from error


class Watcher:
    """Watches one run; the training loop tells it of every step and evaluation.

    The metrics of a step are looked at when the next step has been told of, so that the device
    always has work queued and is never waited for. Use::

        with Watcher(directory, steps=steps, epochs=epochs, batch_size=b, start=start) as watcher:
            for step in range(start + 1, steps + 1):
                state, metrics = train_step(state, batch)
                watcher.step(step, metrics, clip_ids)
                if evaluation is due:
                    watcher.evaluated(step, evaluate(state))
                if a checkpoint is due:
                    watcher.flush()  # so that the log holds this step, and the step was finite
                    checkpoints.save(step, state, …)

    Leaving it by an exception flushes nothing: the step that was not yet looked at is dropped.
    """

    def __init__(
        self,
        directory: epath.PathLike,
        *,
        steps: int,
        epochs: float,
        batch_size: int,
        start: int = 0,
        log_every: int = 10,
        writer: bool = True,
        profile: int = 0,
        last_checkpoint: Callable[[], epath.Path | None] = lambda: None,
    ) -> None:
        """Sets up a watch.

        Args:
            directory: of `metrics.jsonl`, `tensorboard` and `profile`.
            steps: of the whole run.
            epochs: of the whole run, told in the progress line.
            batch_size: clips per step, over all processes.
            start: steps made before; 0, or the step of the checkpoint resumed from.
            log_every: steps between lines of the log; the last step is logged too.
            writer: whether this process writes. One does; all look for what is not finite.
            profile: steps to trace, after a few to warm up; 0: none.
            last_checkpoint: folder, named by its step, to go back to, asked for when needed.
        """
        self._directory = directory
        self._steps, self._epochs, self._batch_size = steps, epochs, batch_size
        self._start, self._log_every, self._writer = start, log_every, writer
        self._last_checkpoint = last_checkpoint
        self._pending: tuple[int, Mapping[str, Any], Sequence[object]] | None = None
        # Step and time from which speed is measured: not before one step is done, which compiles.
        self._clock: tuple[int, float] | None = None
        self._sent = time.monotonic()
        self._profile = _Profile(start=start, steps=steps, length=profile if writer else 0)

    def __enter__(self) -> "Watcher":
        if self._writer:
            # It looks for PyTorch when imported: not something to do for a run unwatched.
            import tensorboardX

            directory = make_directory(self._directory)
            self._log = MetricLog(directory / "metrics.jsonl", start=self._start)
            self._board = stores.Outbox(directory / "tensorboard")
            self._events = tensorboardX.SummaryWriter(
                self._board.path, purge_step=self._start + 1 if self._start else None
            )
            self._bar = _progress(total=self._steps, done=self._start)
            self._profile.directory = directory / "profile"
        self._profile.reached(self._start)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.ExitStack() as stack:
            if self._writer:
                stack.callback(self._bar.close)
                stack.callback(self._board.close)
                stack.callback(self._events.close)
                stack.callback(self._log.flush)
            stack.callback(self._profile.stop)
            if kind is None:
                self.flush()

    def step(self, step: int, metrics: Mapping[str, jax.Array], clip_ids: Sequence[object]) -> None:
        """Tells of a step made, and looks at the one before.

        Args:
            step: its number, from 1.
            metrics: scalars on the device, which may not be computed yet; the same in all
                processes. With the gradient's norm among them, a step is refused before its
                update reaches a checkpoint.
            clip_ids: of this process's part of the batch, to be named if the step fails.

        Raises:
            NotFinite: a metric of the step before is NaN or infinite.
        """
        for value in metrics.values():
            value.copy_to_host_async()
        self._settle()
        self._pending = (step, metrics, clip_ids)
        if self._profile.due(step):
            self._settle()
            self._profile.reached(step)

    def flush(self) -> None:
        """Waits for the last step told of, looks at it and brings the log to its file.

        Called before a checkpoint is saved: a run resumed from it finds its log complete.

        Raises:
            NotFinite: a metric of that step is NaN or infinite.
        """
        self._settle()
        if self._writer:
            self._send()

    def _send(self) -> None:
        self._log.flush()
        self._board.send()
        self._sent = time.monotonic()

    def _settle(self) -> None:
        if self._pending is None:
            return
        (step, metrics, clip_ids), self._pending = self._pending, None
        values = {name: float(value) for name, value in jax.device_get(dict(metrics)).items()}
        self._check_finite(step, values, what=f"batch: clips {_named(clip_ids)}")
        if self._writer:
            logged = step % self._log_every == 0 or step == self._steps
            speed = self._speed(step) if logged or self._clock is None else {}
            if logged:
                self._write(step, "train", values, speed)
            self._bar.update(step - self._bar.n)

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Tells of an evaluation on the split `val`.

        Args:
            step: steps made.
            metrics: the same in all processes.

        Raises:
            NotFinite: one of them, or of the last step, is NaN or infinite.
        """
        self._settle()
        values = {name: float(value) for name, value in metrics.items()}
        self._check_finite(step, values, what="evaluation on the split val")
        if self._writer:
            self._write(step, "val", values, {})
            self._log.flush()
            self._clock = None

    def _write(
        self, step: int, split: str, values: Mapping[str, float], speed: Mapping[str, float]
    ) -> None:
        self._log.write(step, split, values)
        for name, value in {**values, **speed}.items():
            self._events.add_scalar(f"{split}/{name}", value, step)
        self._events.flush()
        if time.monotonic() - self._sent > _SEND_EVERY:
            self._send()
        if split == "train":
            self._tell(step, values, speed)

    def _tell(self, step: int, values: Mapping[str, float], speed: Mapping[str, float]) -> None:
        told = [f"epoch {self._epochs * step / self._steps:.2f}/{self._epochs:g}"]
        told += [f"{name} {values[name]:.4g}" for name in ("loss", "accuracy") if name in values]
        told += [f"{value:.4g} clips/s" for value in speed.values()]
        self._bar.set_postfix_str(", ".join(told), refresh=False)

    def _speed(self, step: int) -> dict[str, float]:
        """Returns the clips per second since this was last asked; none yet: nothing."""
        now = time.monotonic()
        before, self._clock = self._clock, (step, now)
        if before is None:
            return {}
        return {"clips_per_second": self._batch_size * (step - before[0]) / (now - before[1])}

    def _check_finite(self, step: int, values: Mapping[str, float], *, what: str) -> None:
        wrong = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
        if not wrong:
            return
        last = self._last_checkpoint()
        way_back = "there is no checkpoint yet" if last is None else f"last good checkpoint: {last}"
        raise NotFinite(
            f"step {step}: {', '.join(wrong)} ({what}); {way_back}; run again with a lower "
            f"--config.train.optim.learning_rate or with --config.train.optim.clip_norm=1"
        )


class _Profile:
    """Traces `length` steps after a few that warm up; all that are left where they are fewer."""

    def __init__(self, *, start: int, steps: int, length: int) -> None:
        self._first = start + min(_WARM_UP, max(0, steps - start - length))
        self._last = self._first + length
        self._running = False
        self.directory: epath.Path

    def due(self, step: int) -> bool:
        """Tells whether the trace starts or stops after `step`."""
        return self._first < self._last and step in (self._first, self._last)

    def reached(self, step: int) -> None:
        """Starts or stops the trace where that is due; the device has finished `step`."""
        if not self.due(step):
            return
        if step == self._first:
            self._outbox = stores.Outbox(self.directory)
            jax.profiler.start_trace(self._outbox.path)
            self._running = True
        else:
            self.stop()

    def stop(self) -> None:
        """Writes the trace, if one is running."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            self._outbox.close()


class _Lines:
    """Writes what a progress bar draws over and over as lines, for an stderr that is a file."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def _progress(*, total: int, done: int) -> tqdm.tqdm:
    terminal = sys.stderr.isatty()
    bar = " {percentage:3.0f}%|{bar}|" if terminal else ""
    return tqdm.tqdm(
        total=total,
        initial=done,
        desc="training",
        file=sys.stderr if terminal else _Lines(),
        dynamic_ncols=terminal,
        mininterval=0.2 if terminal else _LINE_EVERY,
        miniters=1,  # by the clock alone
        bar_format=f"{{desc}}:{bar} {{n_fmt}}/{{total_fmt}}{{postfix}}, ETA {{remaining}}",
    )


def _named(clip_ids: Sequence[object]) -> str:
    named = ", ".join(str(clip_id) for clip_id in clip_ids[:_IDS_TOLD])
    more = len(clip_ids) - _IDS_TOLD
    return f"{named} and {more} more" if more > 0 else named
