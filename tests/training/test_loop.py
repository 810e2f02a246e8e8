import json
import os
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest
import small_study

from mpjax.config import TrainConfig
from mpjax.studies import stages
from mpjax.training import artifacts, checkpoint_manager, loop
from mpjax.training.metric_writer import NotFinite

STEPS = 10  # of the small study: 5 epochs of 16 clips, 8 at a time


def read_log(workdir):
    lines = (workdir / "train" / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line) for line in lines]


def outcome(workdir):
    """All that must not depend on interruptions: the log's bytes and the last parameters."""
    params = checkpoint_manager.restore_params(workdir / "train" / "checkpoints", STEPS)
    leaves = {jax.tree_util.keystr(k): v for k, v in jax.tree_util.tree_leaves_with_path(params)}
    return (workdir / "train" / "metrics.jsonl").read_bytes(), leaves


def assert_same(a, b):
    assert a[0] == b[0]
    assert a[1].keys() == b[1].keys()
    for name in a[1]:
        np.testing.assert_array_equal(a[1][name], b[1][name], err_msg=name)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory):
    """A cache of compiled programs, so that every restart does not compile them again."""
    return str(tmp_path_factory.mktemp("compiled"))


def start(workdir, compiled, *changes, devices=1):
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
        "JAX_COMPILATION_CACHE_DIR": compiled,
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    return subprocess.Popen(
        [sys.executable, small_study.__file__, str(workdir), *changes],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process):
    out, err = process.communicate()
    assert process.returncode == 0, err
    return out


def wait_for_step(workdir, step):
    """Waits until the log has a line of `step`."""
    log = workdir / "train" / "metrics.jsonl"
    while not (log.exists() and f'{{"step": {step},' in log.read_text()):
        time.sleep(0.005)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, compiled):
    workdir = small_study.write(tmp_path_factory.mktemp("unbroken"))
    assert finish(start(workdir, compiled)).endswith("ended\n")
    return workdir


@pytest.mark.slow
def test_a_run_killed_again_and_again_ends_as_an_unbroken_one_bit_for_bit(
    unbroken, compiled, tmp_path
):
    workdir = small_study.write(tmp_path)
    # Long enough for the asynchronous save of the step to be somewhere on its way, or not begun.
    for step, pause in ((3, 0.0), (6, 0.02), (8, 0.05)):
        process = start(workdir, compiled)
        wait_for_step(workdir, step)
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    finish(start(workdir, compiled))
    assert_same(outcome(unbroken), outcome(workdir))


def stop(process, workdir, step):
    """Asks a run to stop once it has logged `step`, and waits until it has."""
    wait_for_step(workdir, step)
    process.terminate()
    assert "run the same command to resume" in finish(process)


@pytest.mark.slow
def test_averages_parts_drawn_classes_and_reading_processes_go_on_bit_for_bit_on_four_devices(
    compiled, tmp_path
):
    changes = (
        "mesh.fully_sharded=True", "train.optim.ema=0.9", "train.optim.accumulate=2",
        "train.optim.clip_norm=1.0", "train.balance='sampling'", "train.processes=1",
        "train.dropout=0.2", "train.drop_path=0.2", "train.save_every=1000",
    )  # fmt: skip
    straight, halted = (small_study.write(tmp_path / name) for name in ("straight", "halted"))
    finish(start(straight, compiled, *changes, devices=4))
    stop(start(halted, compiled, *changes, devices=4), halted, 2)
    finish(start(halted, compiled, *changes, devices=4))
    assert_same(outcome(straight), outcome(halted))


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_devices(unbroken, compiled, tmp_path):
    workdir = small_study.write(tmp_path)
    stop(start(workdir, compiled, "train.save_every=1000"), workdir, 2)
    finish(start(workdir, compiled, "mesh.fully_sharded=True", devices=4))
    for expected, got in zip(read_log(unbroken), read_log(workdir), strict=True):
        assert expected.keys() == got.keys()
        for name in expected.keys() - {"split"}:
            assert got[name] == pytest.approx(expected[name], rel=1e-4, abs=1e-5), name


@pytest.mark.slow
def test_sigterm_saves_and_exits_with_0_and_the_same_command_goes_on(unbroken, compiled, tmp_path):
    workdir = small_study.write(tmp_path)
    process = start(workdir, compiled, "train.save_every=1000", "train.log_every=1")
    wait_for_step(workdir, 2)
    process.terminate()
    out = finish(process)
    stopped = int(out.split("after step ")[1].split(" of ")[0])
    assert f"saved in {workdir}/train/checkpoints/{stopped}; run the same command to resume" in out
    assert not (workdir / "heads").exists()
    unrelated = ("eval.bootstrap=30", "projector.batch_size=4", "name='another'")
    finish(start(workdir, compiled, *unrelated))
    assert_same(outcome(unbroken), outcome(workdir))


@pytest.mark.slow
def test_the_best_parameters_on_val_are_what_is_exported(unbroken):
    scores = {r["step"]: r[loop.BEST] for r in read_log(unbroken) if r["split"] == "val"}
    assert sorted(scores) == [4, 8, STEPS]
    exported = artifacts.read_metadata(unbroken / "heads")["training"]["step"]
    assert scores[exported] == max(scores.values())
    head = artifacts.restore(unbroken / "heads")["final"]["params"]["linear"]
    kept = checkpoint_manager.restore_params(unbroken / "train" / "checkpoints", exported)["head"]
    np.testing.assert_array_equal(head["kernel"], kept["kernel"])


def test_a_loss_that_is_not_finite_ends_the_run_with_step_clips_and_way_out(tmp_path):
    workdir = small_study.write(tmp_path)
    changes = ("train.optim.learning_rate=1e30", "train.what='head'", "train.save_every=1")
    with pytest.raises(NotFinite, match=r"step \d+: .*clips v\d.mp4#.*learning_rate") as caught:
        stages.train(small_study.study_config(*changes), workdir)
    step = int(str(caught.value).split(":")[0].split()[1])
    left = [int(p.name) for p in (workdir / "train" / "checkpoints").iterdir() if p.name.isdigit()]
    assert max(left, default=0) < step


def test_one_model_is_not_trained_for_many_folds(tmp_path):
    workdir = small_study.write(tmp_path)
    path = workdir / "dataset" / "division.json"
    path.write_text(path.read_text().replace('"fixed"', '"kfold"'))
    with pytest.raises(ValueError, match="build with config.split.scheme=fixed"):
        stages.train(small_study.study_config(), workdir)


def test_a_batch_that_cannot_be_cut_is_refused(tmp_path):
    workdir = small_study.write(tmp_path)
    with pytest.raises(ValueError, match="batch_size 8 cannot be cut .* multiple of 3"):
        stages.train(small_study.study_config("train.optim.accumulate=3"), workdir)


def test_steps_are_whole_batches_of_all_epochs():
    assert loop.count_steps(267, TrainConfig(epochs=30.0, batch_size=16)) == 500
    assert loop.count_steps(3, TrainConfig(epochs=0.1, batch_size=16)) == 1


def test_class_weights_give_every_class_its_share_and_1_on_average():
    label = np.array([0] * 6 + [1] * 3 + [2])
    weight = loop.class_weights(label, 3, "weights")
    np.testing.assert_allclose(np.bincount(label, weights=weight[label]), 10 / 3, rtol=1e-6)
    np.testing.assert_array_equal(loop.class_weights(label, 3, "sampling"), 1)
    with pytest.raises(ValueError, match=r"no clip to train on for class\(es\) \[3\]"):
        loop.class_weights(label, 4, "none")


def test_an_evaluation_reports_classes_that_were_seen():
    totals = {"loss": [2.0, 0, 2], "correct": [1.0, 0, 0], "count": [2.0, 0, 2]}
    scores = loop.summarise({name: np.array(values) for name, values in totals.items()})
    assert scores == {"loss": 1.0, "accuracy": 0.25, "mean_class_accuracy": 0.25}
