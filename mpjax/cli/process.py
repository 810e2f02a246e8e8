"""How a binary's process starts quietly, and ends in one line at Ctrl-C, SIGTERM or a closed pipe.

Only what is imported in milliseconds is imported here: a signal may come at any moment.
"""

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

_GRACE = 2.0  # s for Python to stop by itself; a compiler or a worker may not notice the signal
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupted(KeyboardInterrupt):
    """A signal to end; its number is the argument."""


def prepare() -> None:
    """Sets up signals and the libraries' logs, before they are imported; again: does nothing."""
    if threading.current_thread() is not threading.main_thread() or _is_ours(signal.SIGTERM):
        return
    read, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    os.register_at_fork(after_in_child=_forget)
    threading.Thread(target=_watch, args=(read,), daemon=True).start()
    for number in _SIGNALS:
        signal.signal(number, _raise)
    sys.unraisablehook = _report
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # XLA's banners about slow compilation


def skip_absent_tpu() -> None:
    """Keeps JAX from asking libtpu, which prints a page, where only a CPU can be there."""
    from importlib import util
    from pathlib import Path

    if "JAX_PLATFORMS" in os.environ or util.find_spec("libtpu") is None:
        return
    vendors = Path("/sys/bus/pci/devices").glob("*/vendor")
    google = any(vendor.read_text().strip() == "0x1ae0" for vendor in vendors)
    if not google and util.find_spec("jax_plugins") is None:  # those of GPUs
        os.environ["JAX_PLATFORMS"] = "cpu"


def leave(error: KeyboardInterrupt) -> NoReturn:
    """Ends the process after a signal: one line, no process left behind, status 130 or 143."""
    number = error.args[0] if isinstance(error, Interrupted) else signal.SIGINT
    _write("\ninterrupted; the same command continues where it stopped\n")
    multiprocessing = sys.modules.get("multiprocessing")
    for child in multiprocessing.active_children() if multiprocessing else ():
        child.kill()
    exit_at_once(128 + number)  # native threads may crash while Python shuts down


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Processes started within get no Ctrl-C or SIGTERM of their group: this one ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def leave_closed_pipe() -> None:
    """Ends the process in silence where nobody reads its output any more, as after `| head`.

    It returns where the pipe that broke is another one, such as a connection to a store.
    """
    poll = select.poll()
    poll.register(1, 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        os._exit(128 + signal.SIGPIPE)


def exit_at_once(status: int) -> NoReturn:
    """Ends the process without waiting for threads or other processes."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:  # a closed pipe
            continue
    os._exit(status)


def _raise(number: int, frame: FrameType | None) -> None:
    raise Interrupted(number)


def _report(failure: "sys.UnraisableHookArgs") -> None:
    # A signal may arrive within a callback of JAX, which swallows it; `_watch` then ends the run.
    if not isinstance(failure.exc_value, Interrupted):
        sys.__unraisablehook__(failure)


def _is_ours(number: int) -> bool:
    return signal.getsignal(number) is _raise


def _forget() -> None:
    # A forked process shares the pipe; its signals are not this process's.
    signal.set_wakeup_fd(-1)


def _watch(read: int) -> None:
    while True:
        number = os.read(read, 1)[0]
        if number in _SIGNALS and _is_ours(number):  # not where training on clips saves first
            time.sleep(_GRACE)
            leave(Interrupted(number))


def _write(text: str) -> None:
    try:
        os.write(2, text.encode())
    except OSError:
        return
