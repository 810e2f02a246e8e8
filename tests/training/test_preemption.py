import os
import signal
import socket
import subprocess
import sys

import pytest

from mpjax.training import preemption


def test_the_first_sigterm_is_a_request_and_the_old_handler_comes_back():
    def before(number, frame):
        raise AssertionError

    outer = signal.signal(signal.SIGTERM, before)
    try:
        with preemption.StopRequest() as stop:
            assert not stop.requested(1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert stop.requested(2)
            assert stop.requested(3)
        assert signal.getsignal(signal.SIGTERM) is before
    finally:
        signal.signal(signal.SIGTERM, outer)


def test_the_second_sigterm_ends_the_process():
    code = (
        "import os, signal\n"
        "from mpjax.training import preemption\n"
        "with preemption.StopRequest() as stop:\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print(stop.requested(1), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n"
    assert done.returncode == -signal.SIGTERM


PROCESS = """
import sys, time
import jax
jax.distributed.initialize("localhost:" + sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from mpjax.training import preemption
print("ready", flush=True)
with preemption.StopRequest() as stop:
    # Steps of different length, as on two hosts; no step waits for the other process.
    for step in range(1, 10_000):
        time.sleep(0.004 if sys.argv[2] == "0" else 0.006)
        if stop.requested(step):
            print("stopped at", step, flush=True)
            break
jax.distributed.shutdown()
"""


@pytest.mark.slow
def test_two_processes_stop_at_the_same_step_when_one_of_them_is_told():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESS, port, str(number)],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
        )
        for number in range(2)
    ]
    try:
        assert [process.stdout.readline() for process in processes] == ["ready\n"] * 2
        processes[1].send_signal(signal.SIGTERM)
        told = [process.communicate(timeout=60)[0] for process in processes]
        assert told[0] == told[1]
        assert told[0].startswith("stopped at ")
        assert [process.returncode for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
