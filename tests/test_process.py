"""Binaries start quietly and end in one line, at whatever moment a signal comes."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mpjax.cli import commands, process

ROOT = Path(__file__).resolve().parents[1]
LINE = "interrupted; the same command continues where it stopped"


def start(*words, **options):
    return subprocess.Popen(
        [sys.executable, "-m", "mpjax", *words],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT,
        start_new_session=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}, **options,
    )  # fmt: skip


def assert_ended(run, number, seen=""):
    told = seen + run.communicate(timeout=30)[0]
    assert run.returncode == 128 + number, told
    assert told.count(LINE) == 1, told
    assert "Traceback" not in told, told
    for _ in range(50):  # multiprocessing's own tracker ends by itself, a little later
        if not alive(run.pid):
            return
        time.sleep(0.1)
    raise AssertionError(f"left behind: {alive(run.pid)}")


def alive(group):
    """Lists the processes of a group that still run."""
    listed = subprocess.run(["ps", "axo", "pgid=,stat=,args="], capture_output=True, text=True)
    rows = [line.split(maxsplit=2) for line in listed.stdout.splitlines()]
    return [row for row in rows if row[0] == str(group) and not row[1].startswith("Z")]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("seconds", [0.5, 1.5])
def test_a_signal_while_python_still_imports_ends_in_one_line(tmp_path, number, seconds):
    run = start("study", "--config=tiny", f"--workdir={tmp_path / 'out'}")
    time.sleep(seconds)
    run.send_signal(number)
    assert_ended(run, number)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("stage", [1, 2, 3, 4, 5, 6])
def test_a_signal_amid_a_stage_ends_in_one_line_and_leaves_no_process(tmp_path, number, stage):
    run = start("study", "--config=tiny", f"--workdir={tmp_path / 'out'}")
    seen = ""
    while f"[stage {stage} of 6" not in seen:
        seen += (line := run.stdout.readline())
        assert line, seen
    time.sleep(0.3)
    os.killpg(run.pid, number)  # as a terminal does
    assert_ended(run, number, seen)


@pytest.mark.parametrize("name", [*commands.MODULES, ""])
def test_help_into_a_closed_pipe_ends_in_silence(name):
    words = [name, "--help"] if name else ["--help"]
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "mpjax", *words], stdout=write, stderr=subprocess.PIPE, cwd=ROOT
    )
    os.close(write)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, b"")


def test_only_where_no_accelerator_can_be_is_jax_kept_to_the_cpu(monkeypatch):
    found = {"libtpu": object()}
    monkeypatch.setattr(importlib.util, "find_spec", found.get)
    monkeypatch.setattr(Path, "glob", lambda self, pattern: [])
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    process.skip_absent_tpu()
    assert os.environ["JAX_PLATFORMS"] == "tpu"
    monkeypatch.delenv("JAX_PLATFORMS")
    found["jax_plugins"] = object()
    process.skip_absent_tpu()
    assert "JAX_PLATFORMS" not in os.environ
    del found["jax_plugins"]
    process.skip_absent_tpu()
    assert os.environ["JAX_PLATFORMS"] == "cpu"
    monkeypatch.delenv("JAX_PLATFORMS")
    del found["libtpu"]
    process.skip_absent_tpu()
    assert "JAX_PLATFORMS" not in os.environ
