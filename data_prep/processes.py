"""Processes of this machine that share out work which is independent per item."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection
from typing import Any

from mpjax.cli import process

Each = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


class WorkerError(ValueError):
    """A worker process was killed."""


@contextlib.contextmanager
def share(workers: int, *, flag: str) -> Iterator[Each]:
    """Yields a function like `map`: calls on other processes, results as they become ready.

    What is called, its items and its results must be picklable. The processes are spawned (forking
    one in which JAX runs its threads can hang) and import only what they are given. They end at
    once when the block is left by an error or Ctrl-C, or when this process is killed.

    Args:
        workers: processes; 0: one per core; 1: all is called in this process, in order.
        flag: the flag that sets `workers`, for the error.

    Raises:
        WorkerError: a worker was killed.
    """
    workers = workers or os.cpu_count() or 1
    if workers == 1:
        yield map
        return
    context = multiprocessing.get_context("spawn")
    life, our_end = context.Pipe(duplex=False)
    with life, our_end:
        pool = concurrent.futures.ProcessPoolExecutor(
            workers, mp_context=context, initializer=_live_while, initargs=(life,)
        )

        def each(function: Callable[[Any], Any], items: Iterable[Any]) -> Iterator[Any]:
            with _spawning():  # which `submit` does
                futures = [pool.submit(function, item) for item in items]
            for future in concurrent.futures.as_completed(futures):
                yield future.result()

        try:
            yield each
        except BaseException as error:
            our_end.close()
            # Without a cause: a process is gone, not a result that cannot be unpickled.
            if isinstance(error, BrokenProcessPool) and error.__cause__ is None:
                raise WorkerError(
                    "a worker process was killed, as happens when memory runs out; run the same "
                    "command again, which keeps what is done, with fewer workers "
                    f"({flag}={workers // 2})"
                ) from error
            raise
        finally:
            pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _spawning() -> Iterator[None]:
    """A process that is spawned here gets no Ctrl-C and does not import the caller's `__main__`.

    Scripts then need no guard around their main part.
    """
    main, sys.modules["__main__"] = sys.modules["__main__"], types.ModuleType("__main__")
    try:
        with process.shielded():
            yield
    finally:
        sys.modules["__main__"] = main


def _live_while(life: Connection) -> None:
    """Ends this process once the other end of `life` is closed, by hand or by a kill."""

    def watch() -> None:
        life.poll(None)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
