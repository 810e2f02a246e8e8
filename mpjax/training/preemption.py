"""SIGTERM as a request to stop: the run saves, says so and exits with 0."""

import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Records the first SIGTERM instead of ending the process; a second one ends it at once.

    Schedulers send SIGTERM some time before they take a machine away. A run of several processes
    must stop at the same step in all of them, even if only one gets the signal. There JAX's
    preemption service listens (since `jax.distributed.initialize`), passes the notice on and lets
    all processes agree on a coming step; it catches every SIGTERM until that step.

    Enter it in the main thread, after `jax.distributed.initialize`, and ask after every step.
    """

    def __enter__(self) -> "StopRequest":
        self._requested = False
        self._alone = jax.process_count() == 1
        if self._alone:
            self._previous = signal.signal(signal.SIGTERM, self._record)
        return self

    def __exit__(self, *_: object) -> None:
        if self._alone:
            # None: the handler was not Python's and cannot be restored.
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)

    def _record(self, number: int, frame: FrameType | None) -> None:
        self._requested = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def requested(self, step: int) -> bool:
        """Returns whether to stop after this step, the same in all processes.

        With several of them, it is True once, at the agreed step, up to a few seconds after the
        signal.
        """
        if self._alone:
            return self._requested
        reached = bool(multihost_utils.reached_preemption_sync_point(step))
        if reached:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the next one ends the process
        return reached
