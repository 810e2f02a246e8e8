"""Worker processes: what they import, and how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep import processes

ROOT = Path(__file__).resolve().parents[2]
LISTS_MODULES = """
import jax
from data_prep import processes
with processes.share(2, flag="--workers") as each:
    codes = ["'jax' in __import__('sys').modules", "hasattr(__import__('__main__'), 'processes')"]
    print(sorted(each(eval, codes)))
"""
SLEEPS = r"""
import os, signal, sys
from data_prep import processes
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it
try:
    with processes.share(2, flag="--workers") as each:
        write = "__import__('os').write(1, b'%d\\n' % __import__('os').getpid())"  # one whole line
        list(each(eval, [f"{write} and __import__('time').sleep(600)"] * 4))
except KeyboardInterrupt:
    print("interrupted")
"""


def share_and_call(codes, *, workers=2):
    with processes.share(workers, flag="--workers") as each:
        return list(each(eval, codes))


@pytest.mark.parametrize("workers", [1, 2])
def test_every_item_gives_its_result_once(workers):
    assert sorted(share_and_call([f"{i} ** 2" for i in range(20)], workers=workers)) == [
        i**2 for i in range(20)
    ]


@pytest.mark.parametrize("how", ["script", "option", "input"])
def test_workers_import_neither_jax_nor_the_main_script(tmp_path, how):
    script = tmp_path / "script.py"
    script.write_text(LISTS_MODULES)
    words, text = {
        "script": ([str(script)], ""),
        "option": (["-c", LISTS_MODULES], ""),
        "input": (["-"], LISTS_MODULES),  # no file, as in a notebook
    }[how]
    done = subprocess.run(
        [sys.executable, *words],
        input=text,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert (done.stdout, done.stderr) == ("[False, False]\n", "")


def test_an_error_arrives_as_it_is_and_does_not_wait_for_the_others():
    begin = time.monotonic()
    with pytest.raises(FileNotFoundError, match="/no/such"):
        share_and_call(["__import__('time').sleep(600)", "open('/no/such')"])
    assert time.monotonic() - begin < 60


def test_a_killed_worker_is_one_clear_error():
    kill = "__import__('os').kill(__import__('os').getpid(), 9)"
    with pytest.raises(processes.WorkerError, match=r"memory .*same command .*\(--workers=2\)"):
        share_and_call(["1", kill, "__import__('time').sleep(600)"], workers=4)


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL])
def test_workers_end_at_once_and_quietly_with_the_process_that_shares(sent):
    process = subprocess.Popen(
        [sys.executable, "-c", SLEEPS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    pids = [int(process.stdout.readline()) for _ in range(2)]
    if sent == signal.SIGINT:
        os.killpg(process.pid, sent)  # as a terminal's Ctrl-C does
    else:
        process.kill()
    out, err = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert (out, err) == ("interrupted\n", "")
    deadline = time.monotonic() + 20
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))
