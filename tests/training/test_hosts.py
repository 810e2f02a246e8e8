"""Two processes with four devices each, over real sockets, against one process with one device."""

import json
import os
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import small_study

from mpjax.analysis import predictions
from mpjax.data import embeddings

CONFIG = small_study.__file__
HELPERS = os.path.dirname(CONFIG)  # which the config imports from

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def start(binary, workdir, *flags, devices=1, cache):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": cache,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "PYTHONPATH": os.pathsep.join(filter(None, [HELPERS, os.environ.get("PYTHONPATH")])),
    }
    return subprocess.Popen(
        [sys.executable, "-m", binary, f"--config={CONFIG}", f"--workdir={workdir}", *flags],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(binary, workdir, *flags, cache):
    address = f"--config.mesh.coordinator=127.0.0.1:{free_port()}"
    hosts = (address, "--config.mesh.processes=2", *flags)
    return [
        start(binary, workdir, *hosts, f"--config.mesh.process={p}", devices=4, cache=cache)
        for p in range(2)
    ]


def finish(*processes):
    for process in processes:
        out, err = process.communicate(timeout=300)
        assert process.returncode == 0, out + err


def read_log(workdir):
    lines = (workdir / "train" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("compiled"))


def test_two_processes_train_embed_and_evaluate_to_the_numbers_of_one(tmp_path, cache):
    one, two = (small_study.write(tmp_path / name) for name in ("one", "two"))
    for binary in ("mpjax.train", "mpjax.embed"):
        finish(start(binary, one, "--config.projector.attention_impl=xla", cache=cache))
        finish(*start_two(binary, two, "--config.mesh.fully_sharded=true", cache=cache))
    for workdir in (one, two):
        finish(start("mpjax.eval", workdir, cache=cache))

    logs = read_log(one), read_log(two)
    assert len(logs[0]) == len(logs[1]) == 13  # 10 steps and 3 evaluations
    for expected, got in zip(*logs, strict=True):
        assert expected.keys() == got.keys()
        for name in expected.keys() - {"split"}:
            assert got[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name
    a, b = (embeddings.read(workdir / "embeddings.parquet") for workdir in (one, two))
    assert a.table["clip_id"].tolist() == b.table["clip_id"].tolist()
    np.testing.assert_allclose(b.embedding, a.embedding, rtol=1e-3, atol=1e-3)
    a, b = (predictions.read_predictions(w / "predictions.parquet") for w in (one, two))
    np.testing.assert_allclose(b.p, a.p, rtol=1e-3, atol=1e-4)


def test_a_process_that_dies_ends_the_other_with_a_message_within_a_minute(tmp_path, cache):
    workdir = small_study.write(tmp_path / "study")
    flags = ("--config.train.epochs=100000.0", "--config.mesh.timeout=10")
    first, second = start_two("mpjax.train", workdir, *flags, cache=cache)
    log = workdir / "train" / "metrics.jsonl"
    while not (log.exists() and '{"step": 3,' in log.read_text()):
        assert first.poll() is None, first.communicate()
        time.sleep(0.05)
    second.kill()
    _, err = first.communicate(timeout=60)
    assert first.returncode != 0
    assert "another task died" in err, err


def test_a_request_to_one_process_stops_all_at_one_step_with_the_status_asked_for(tmp_path, cache):
    workdir = small_study.write(tmp_path / "study")
    flags = ("--config.train.epochs=100000.0", "--stopped_status=75")
    processes = start_two("mpjax.train", workdir, *flags, cache=cache)
    log = workdir / "train" / "metrics.jsonl"
    while not (log.exists() and '{"step": 3,' in log.read_text()):
        assert processes[0].poll() is None, processes[0].communicate()
        time.sleep(0.05)
    processes[1].terminate()
    told = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [75, 75], told
    stopped = {out.split("stopped on request after step ")[1].split(" ")[0] for out in told}
    assert len(stopped) == 1
    assert (workdir / "train" / "checkpoints" / stopped.pop()).is_dir()


def test_an_error_in_one_process_is_its_last_word_and_ends_the_other(tmp_path, cache):
    workdir = small_study.write(tmp_path / "study")
    address = f"--config.mesh.coordinator=127.0.0.1:{free_port()}"
    hosts = (address, "--config.mesh.processes=2", "--config.mesh.timeout=10")
    places = (workdir, tmp_path / "elsewhere")
    first, second = (
        start("mpjax.train", place, *hosts, f"--config.mesh.process={p}", cache=cache)
        for p, place in enumerate(places)
    )
    _, err = second.communicate(timeout=60)
    assert second.returncode == 1, err
    assert "no finished dataset here" in err.splitlines()[-1], err
    first.communicate(timeout=60)
    assert first.returncode != 0
