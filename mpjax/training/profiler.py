"""A profile of a few training steps, for TensorBoard's profile viewer."""

import jax
from etils import epath

from mpjax.io import stores

_WARM_UP = 3  # steps before the trace: it is not about compilation and the first reads


class Profiler:
    """Traces `length` steps after a few that warm up; if the run is shorter, what is left of it."""

    def __init__(self, directory: epath.PathLike, *, start: int, steps: int, length: int) -> None:
        """Plans a trace of `length` steps (0: none) of a run of `steps`, `start` of them done."""
        self._directory = directory
        self._first = start + min(_WARM_UP, max(0, steps - start - length))
        self._last = self._first + length
        self._running = False

    def due(self, step: int) -> bool:
        """Returns whether the trace starts or stops after `step`."""
        return self._first < self._last and step in (self._first, self._last)

    def reached(self, step: int) -> None:
        """Starts or stops the trace if that is due; the device has finished `step`."""
        if not self.due(step):
            return
        if self._running:
            self.stop()
        else:
            self._outbox = stores.Outbox(self._directory)
            jax.profiler.start_trace(self._outbox.path)
            self._running = True

    def stop(self) -> None:
        """Writes the trace, if one is running."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
            self._outbox.close()
