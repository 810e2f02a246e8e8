"""Metrics of a training run: a log, TensorBoard events and a progress line.

The log holds what the run computed and no clock times: a run that is killed and resumed ends with
the same bytes as an uninterrupted one. Speed goes to TensorBoard and to the progress line.
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
from mpjax.training.profiler import Profiler

_CLIPS_NAMED = 8  # clips of a batch that an error names
_LINE_EVERY = 30.0  # s between progress lines if stderr is no terminal
_SEND_EVERY = 60.0  # s between copies of log and events to an object store


class NotFinite(ValueError):
    """A loss or another metric that is NaN or infinite."""


class MetricLog:
    """A file of JSON lines `{"step", "split", metric: value, …}`, cut back on resume."""

    def __init__(self, path: epath.PathLike, *, start: int) -> None:
        """Opens the log at `path` and drops every line of a step after `start`.

        Raises:
            ValueError: a line other than the last is not one of this log.
        """
        self._path = epath.Path(path)
        # Object stores cannot append: there `flush` writes the whole object again.
        self._remote = stores.is_remote(path)
        self._unwritten = ""
        text = self._path.read_text() if self._path.exists() else ""
        lines = text.splitlines(keepends=True)
        whole = [line for line in lines if line.endswith("\n")]  # the last may have been cut off
        kept = "".join(line for line in whole if self._step_of(line) <= start)
        if kept != text:
            with files.write_aside(self._path) as aside:
                aside.write_text(kept)

    def _step_of(self, line: str) -> int:
        try:
            return int(json.loads(line)["step"])
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{self._path}: not a line of a metric log: {line.strip()[:80]!r}; delete the line"
            ) from error

    def write(self, step: int, split: str, metrics: Mapping[str, float]) -> None:
        """Adds a line; floats are written so that they are read back exactly."""
        record = {"step": step, "split": split, **metrics}
        self._unwritten += json.dumps(record, allow_nan=False) + "\n"
        if not self._remote:
            self.flush()

    def flush(self) -> None:
        """Writes all lines to the file."""
        if self._remote and self._unwritten:
            before = self._path.read_text() if self._path.exists() else ""
            self._path.write_text(before + self._unwritten)
        elif self._unwritten:
            with self._path.open("a") as file:
                file.write(self._unwritten)
        self._unwritten = ""


class MetricWriter:
    """Writes the metrics of one run; the training loop reports every step and evaluation.

    The metrics of a step are read when the next step is reported, so that the device always has
    work queued and is never waited for; `flush` reads the last one before a checkpoint. On
    leaving it by an exception nothing is flushed: a step that was not yet read is dropped.
    Reading a metric that is NaN or infinite raises `NotFinite`.
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
        """Sets up the writer; files are opened on entering it.

        Args:
            directory: of `metrics.jsonl`, `tensorboard` and `profile`.
            steps, epochs: of the whole run.
            batch_size: clips per step, over all processes.
            start: steps taken before: 0, or the step of the checkpoint resumed from.
            log_every: steps between lines of the log; the last step is logged too.
            writer: whether this process writes. One does; all check that metrics are finite.
            profile: steps to trace, after a few to warm up; 0: none.
            last_checkpoint: returns the folder of the checkpoint to go back to after an error.
        """
        self._directory = directory
        self._steps, self._epochs, self._batch_size = steps, epochs, batch_size
        self._start, self._log_every, self._writer = start, log_every, writer
        self._last_checkpoint = last_checkpoint
        self._pending: tuple[int, Mapping[str, Any], Sequence[object]] | None = None
        # Step and time from which speed is measured: not before the first step, which compiles.
        self._clock: tuple[int, float] | None = None
        self._sent = time.monotonic()
        folder = files.absolute(directory) / "profile"
        length = profile if writer else 0
        self._profiler = Profiler(folder, start=start, steps=steps, length=length)

    def __enter__(self) -> "MetricWriter":
        if self._writer:
            import tensorboardX  # imports PyTorch if it is installed: only where it is needed

            directory = make_directory(self._directory)
            self._log = MetricLog(directory / "metrics.jsonl", start=self._start)
            self._board = stores.Outbox(directory / "tensorboard")
            self._events = tensorboardX.SummaryWriter(
                self._board.path, purge_step=self._start + 1 if self._start else None
            )
            self._bar = _progress_bar(total=self._steps, done=self._start)
        self._profiler.reached(self._start)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.ExitStack() as stack:
            if self._writer:
                stack.callback(self._bar.close)
                stack.callback(self._board.close)
                stack.callback(self._events.close)
                stack.callback(self._log.flush)
            stack.callback(self._profiler.stop)
            if kind is None:
                self.flush()

    def step(self, step: int, metrics: Mapping[str, jax.Array], clip_ids: Sequence[object]) -> None:
        """Takes the metrics of a step (from 1), and reads those of the step before.

        Args:
            metrics: scalars on the device, which may not be computed yet; the same in all
                processes. With the gradient's norm among them, a bad step is refused before its
                update reaches a checkpoint.
            clip_ids: of this process's part of the batch, named if the step fails.
        """
        for value in metrics.values():
            value.copy_to_host_async()
        self._read_pending()
        self._pending = (step, metrics, clip_ids)
        if self._profiler.due(step):
            self._read_pending()
            self._profiler.reached(step)

    def flush(self) -> None:
        """Waits for the last reported step, reads it and writes the log to its file.

        Called before a checkpoint is saved, so that a run resumed from it finds its log complete.
        """
        self._read_pending()
        if self._writer:
            self._send()

    def _send(self) -> None:
        self._log.flush()
        self._board.send()
        self._sent = time.monotonic()

    def _read_pending(self) -> None:
        if self._pending is None:
            return
        (step, metrics, clip_ids), self._pending = self._pending, None
        values = {name: float(value) for name, value in jax.device_get(dict(metrics)).items()}
        named = ", ".join(str(clip_id) for clip_id in clip_ids[:_CLIPS_NAMED])
        if (more := len(clip_ids) - _CLIPS_NAMED) > 0:
            named += f" and {more} more"
        self._check_finite(step, values, what=f"batch: clips {named}")
        if self._writer:
            logged = step % self._log_every == 0 or step == self._steps
            speed = self._speed(step) if logged or self._clock is None else {}
            if logged:
                self._write(step, "train", values, speed)
            self._bar.update(step - self._bar.n)

    def evaluated(self, step: int, metrics: Mapping[str, float]) -> None:
        """Writes the metrics, the same in all processes, of an evaluation on the split `val`."""
        self._read_pending()
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
            shown = [f"epoch {self._epochs * step / self._steps:.2f}/{self._epochs:g}"]
            shown += [f"{k} {values[k]:.4g}" for k in ("loss", "accuracy") if k in values]
            shown += [f"{value:.4g} clips/s" for value in speed.values()]
            self._bar.set_postfix_str(", ".join(shown), refresh=False)

    def _speed(self, step: int) -> dict[str, float]:
        """Returns the clips per second since the last call; at the first one, nothing."""
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


class _Lines:
    """Writes each state of a progress bar as a line of its own, for an stderr that is a file."""

    def write(self, text: str) -> None:
        if text.strip():
            sys.stderr.write(text.strip() + "\n")

    def flush(self) -> None:
        sys.stderr.flush()


def _progress_bar(*, total: int, done: int) -> tqdm.tqdm:
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
