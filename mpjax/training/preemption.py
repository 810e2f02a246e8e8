"""SIGTERM as a request: the run saves, says so and exits with 0."""

import signal
from types import FrameType

import jax
from jax.experimental import multihost_utils


class StopRequest:
    """Notes the first SIGTERM instead of dying of it; a second one ends the process at once.

    Schedulers send SIGTERM some time before they take a machine away. A run of several processes
    must stop at the same step in all of them, although one may hear of it alone. There JAX's
    preemption service listens (since `jax.distributed.initialize`), passes the notice on and lets
    all processes agree on a step to come; it takes every SIGTERM until that step.

    To be entered in the main thread, after `jax.distributed.initialize`::

        with StopRequest() as stop:
            for step in ...:
                ...
                if stop.requested(step):
                    ...  # save, and leave the loop
    """

    def __enter__(self) -> "StopRequest":
        self._noted = False
        self._alone = jax.process_count() == 1
        if self._alone:
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        if self._alone:
            # None stands for a handler that is not Python's, which cannot be put back.
            signal.signal(signal.SIGTERM, self._previous or signal.SIG_DFL)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._noted = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def requested(self, step: int) -> bool:
        """Tells whether to stop after this step.

        Args:
            step: the step just made; every process asks after every step.

        Returns:
            The same in all processes. With several of them, True once, at the agreed step, which
            comes up to a few seconds after the signal.
        """
        if self._alone:
            return self._noted
        reached = bool(multihost_utils.reached_preemption_sync_point(step))
        if reached:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the next one ends the process
        return reached
