import json
import os
import random
import socket
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from mpjax.training import checkpoint_manager
from mpjax.training.artifacts import CheckpointError

CONFIG = {"train": {"batch_size": 4, "keep": 3, "optim": {"betas": (0.9, 0.999)}}, "mesh": {"d": 1}}


def _state(value):
    params = {"head": {"kernel": jnp.full((4, 3), value, jnp.float32), "bias": jnp.zeros(3)}}
    state = {"params": params, "opt_state": optax.adamw(1e-3).init(params), "ema": None}
    return {**state, "step": jnp.int32(value)}


def _abstract(state):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), state
    )


def _open(directory, **options):
    return checkpoint_manager.Checkpoints(directory, **{"keep": 3, "config": CONFIG, **options})


def _save(directory, steps, **options):
    with _open(directory, **options) as saved:
        for step in steps:
            saved.save(step, _state(step), {"position": step})


def _steps(directory):
    return sorted(int(path.name) for path in directory.iterdir() if path.name.isdigit())


def test_a_run_goes_on_from_the_state_and_position_that_were_saved(tmp_path):
    _save(tmp_path / "c", [1, 2])
    with _open(tmp_path / "c") as opened:
        assert opened.latest() == 2
        state, data = opened.restore(2, _abstract(_state(0)))
    assert data == {"position": 2}
    assert jax.tree.structure(state) == jax.tree.structure(_state(2))
    jax.tree.map(np.testing.assert_array_equal, state, _state(2))


def test_there_is_nothing_to_go_on_from_in_a_new_directory(tmp_path):
    with _open(tmp_path / "deep" / "new") as opened:
        assert opened.latest() is None
        assert opened.best() is None


def test_the_state_may_be_donated_while_it_is_written(tmp_path):
    spoil = jax.jit(lambda x: x * 0 - 1, donate_argnums=0)
    with _open(tmp_path, keep=6) as opened:
        for step in range(1, 7):
            weights = jnp.full((1000, 1000), step, jnp.float32)
            opened.save(step, {"params": weights}, {})
            spoil(weights).block_until_ready()
        opened.wait()
        for step in range(1, 7):
            assert (checkpoint_manager.restore_params(tmp_path, step) == step).all()


def test_the_best_and_the_latest_are_kept(tmp_path):
    with _open(tmp_path, best="accuracy") as opened:
        for step, accuracy in enumerate([0.5, 0.9, None, 0.1, float("nan"), 0.2], start=1):
            metrics = None if accuracy is None else {"accuracy": accuracy}
            opened.save(step, _state(step), {}, metrics)
        assert opened.best() == 2
    assert _steps(tmp_path) == [2, 5, 6]
    with _open(tmp_path, best="accuracy") as opened:  # metrics are found again on disk
        assert opened.best() == 2
        opened.save(7, _state(7), {}, {"accuracy": 0.95})
        assert opened.best() == 7
        opened.save(8, _state(8), {}, {"accuracy": 0.1})
    assert _steps(tmp_path) == [7, 8]


def test_without_a_metric_the_latest_are_kept(tmp_path):
    _save(tmp_path, range(1, 6), keep=2)
    assert _steps(tmp_path) == [4, 5]


def test_the_latest_is_kept_beside_the_best_even_where_one_is_asked_for(tmp_path):
    with _open(tmp_path, best="accuracy", keep=1) as opened:
        for step in (1, 2, 3):
            opened.save(step, _state(step), {}, {"accuracy": -step})
    assert _steps(tmp_path) == [1, 3]


def test_a_step_saved_already_stays_as_it_is(tmp_path):
    with _open(tmp_path) as opened:
        assert opened.save(1, _state(1), {"position": 1})
        assert not opened.save(1, _state(2), {"position": 2})
        opened.wait()
        assert opened.restore(1, _abstract(_state(0)))[1] == {"position": 1}


def test_parameters_are_read_without_the_optimiser_state(tmp_path):
    _save(tmp_path, [1])
    (tmp_path / "2.orbax-checkpoint-tmp").mkdir()  # a save of the run that goes on: not touched
    params = checkpoint_manager.restore_params(tmp_path, 1)
    assert set(params) == {"head"}
    assert isinstance(params["head"]["kernel"], np.ndarray)
    np.testing.assert_array_equal(params["head"]["kernel"], np.ones((4, 3)))
    assert (tmp_path / "2.orbax-checkpoint-tmp").exists()
    with pytest.raises(CheckpointError, match="3: no such checkpoint"):
        checkpoint_manager.restore_params(tmp_path, 3)


VALUES = np.arange(64, dtype=np.float32).reshape(8, 8)

ON_8_DEVICES = """
import sys
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
from mpjax.training import checkpoint_manager

def sharding(data, model):
    return NamedSharding(jax.make_mesh((data, model), ("data", "model")), P("data", "model"))

values = np.arange(64, dtype=np.float32).reshape(8, 8)
with checkpoint_manager.Checkpoints(sys.argv[1], keep=1, config={}) as opened:
    opened.save(1, {"params": jax.device_put(values, sharding(8, 1))}, {})
    opened.wait()
    abstract = {"params": jax.ShapeDtypeStruct((8, 8), np.float32, sharding=sharding(4, 2))}
    restored = opened.restore(1, abstract)[0]["params"]
    assert restored.sharding == sharding(4, 2), restored.sharding
    assert restored.addressable_shards[0].data.shape == (2, 4)
    np.testing.assert_array_equal(np.asarray(restored), values)
"""


@pytest.mark.slow
def test_what_8_devices_saved_is_restored_on_a_4x2_mesh_and_on_1_device(tmp_path):
    flags = "--xla_force_host_platform_device_count=8"
    subprocess.run(
        [sys.executable, "-c", ON_8_DEVICES, str(tmp_path)],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    with _open(tmp_path, config={}) as opened:
        restored = opened.restore(1, _abstract({"params": jnp.zeros((8, 8))}))[0]["params"]
        np.testing.assert_array_equal(restored, VALUES)
        np.testing.assert_array_equal(checkpoint_manager.restore_params(tmp_path, 1), VALUES)


TWO_PROCESSES = """
import sys
import jax, numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P
jax.distributed.initialize("localhost:" + sys.argv[1], num_processes=2, process_id=int(sys.argv[2]))
from mpjax.training import checkpoint_manager
values = np.arange(64, dtype=np.float32).reshape(8, 8)

def sharding(data, model):
    return NamedSharding(jax.make_mesh((data, model), ("data", "model")), P("data", "model"))

for step in (1, 2, 3):
    with checkpoint_manager.Checkpoints(sys.argv[3], keep=2, config={"a": 1}, best="acc") as opened:
        assert opened.latest() == (None if step == 1 else step - 1)
        array = jax.make_array_from_callback((8, 8), sharding(4, 2), lambda at: step * values[at])
        opened.save(step, {"params": array}, {"position": step}, {"acc": -float(step)})
        opened.wait()
        abstract = {"params": jax.ShapeDtypeStruct((8, 8), np.float32, sharding=sharding(2, 4))}
        state, data = opened.restore(step, abstract)
        assert data == {"position": step}
        for shard in state["params"].addressable_shards:
            np.testing.assert_array_equal(shard.data, step * values[shard.index])
        params = checkpoint_manager.restore_params(sys.argv[3], step)
        np.testing.assert_array_equal(params, step * values)
        assert opened.best() == 1
"""


@pytest.mark.slow
def test_two_processes_save_and_restore_their_parts_of_one_checkpoint(tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = str(free.getsockname()[1])
    flags = "--xla_force_host_platform_device_count=4"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", TWO_PROCESSES, port, str(number), str(tmp_path)],
            env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        )
        for number in range(2)
    ]
    try:
        assert [process.wait(timeout=120) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert _steps(tmp_path) == [1, 3]
    np.testing.assert_array_equal(checkpoint_manager.restore_params(tmp_path, 3), 3 * VALUES)


def test_another_config_is_refused_with_every_field_that_differs(tmp_path):
    _save(tmp_path, [1])
    other = {"train": {"batch_size": 8, "keep": 3, "optim": {"betas": (0.9, 0.95)}}, "new": True}
    with pytest.raises(CheckpointError) as caught:
        _open(tmp_path, config={**other, "mesh": {"d": 1}})
    for part in (
        str(tmp_path),
        "new was absent, is True; ",
        "train.batch_size was 4, is 8; ",
        "train.optim.betas was [0.9, 0.999], is [0.9, 0.95]; ",
    ):
        assert part in str(caught.value)
    assert "keep" not in str(caught.value)


def test_fields_that_do_not_affect_learning_may_change(tmp_path):
    _save(tmp_path, [1])
    other = {**CONFIG, "train": {**CONFIG["train"], "keep": 9}}
    with _open(tmp_path, config=other):
        pass
    other["mesh"] = {"d": 4, "timeout": 3}
    with pytest.raises(CheckpointError, match=r"mesh\.d was 1, is 4; mesh\.timeout was absent"):
        _open(tmp_path, config=other)


def test_fields_that_came_or_went_since_a_run_began_do_not_stop_it(tmp_path):
    _save(tmp_path, [1])
    now = {"train": {**CONFIG["train"], "remedy": 0.5}}  # and no "mesh"
    with _open(tmp_path, config=now, defaults={"train": {"remedy": 0.5}}):
        pass
    with pytest.raises(CheckpointError, match=r"train\.remedy was 0\.1, is 0\.5;"):
        _open(tmp_path, config=now, defaults={"train": {"remedy": 0.1}})


# Orbax leaves the reads of other arrays unawaited when one fails.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("victim", ["state/d", "state/ocdbt.process_0/d", "state/_METADATA"])
def test_a_damaged_checkpoint_is_told_with_its_folder_and_the_way_out(tmp_path, victim):
    # Large enough that Orbax keeps the values in a file of their own.
    state = {"params": jax.random.normal(jax.random.key(0), (300, 300))}
    with _open(tmp_path) as opened:
        for step in (1, 2):
            opened.save(step, state, {"position": step})
    path = tmp_path / "2" / victim
    for file in path.iterdir() if path.is_dir() else [path]:
        os.truncate(file, file.stat().st_size // 2)
    with _open(tmp_path) as opened:
        with pytest.raises(CheckpointError) as caught:
            opened.restore(2, _abstract(state))
        message = str(caught.value)
        assert message.startswith(f"{tmp_path / '2'}: the checkpoint is damaged")
        assert "delete this folder to resume from the one before" in message
        assert "\n" not in message
    checkpoint_manager.epath.Path(tmp_path / "2").rmtree()
    with _open(tmp_path) as opened:
        assert opened.latest() == 1
        assert opened.restore(1, _abstract(state))[1] == {"position": 1}


@pytest.mark.parametrize("victim", ["config/metadata", "metrics/metrics"])
def test_damaged_json_is_told_when_the_run_is_opened(tmp_path, victim):
    _save(tmp_path, [1], best="accuracy")
    os.truncate(tmp_path / "1" / victim, 1)
    with pytest.raises(CheckpointError, match="damaged"):
        _open(tmp_path, best="accuracy")


def test_a_partial_folder_is_no_checkpoint_and_is_cleared_away(tmp_path):
    _save(tmp_path, [1, 2])
    partial = tmp_path / "2.orbax-checkpoint-tmp"
    (tmp_path / "2").rename(partial)
    (partial / "commit_success.txt").unlink()
    with _open(tmp_path) as opened:
        assert opened.latest() == 1
        opened.save(3, _state(3), {"position": 3})
    assert _steps(tmp_path) == [1, 3]
    assert not partial.exists()


def test_a_directory_that_cannot_be_made_is_told_at_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/checkpoints: cannot be written"):
        _open(tmp_path / "file" / "checkpoints")


SAVE_FOR_EVER = """
import json, sys
import jax.numpy as jnp
from mpjax.training import checkpoint_manager

config = json.loads(sys.argv[2])
with checkpoint_manager.Checkpoints(sys.argv[1], keep=3, config=config, best="accuracy") as opened:
    step = opened.latest() or 0
    while True:
        step += 1
        weights = {"params": jnp.full((400, 400), step, jnp.float32), "step": jnp.int32(step)}
        opened.save(step, weights, {"position": step}, {"accuracy": step % 5})
"""


@pytest.mark.slow
def test_a_process_killed_while_it_saves_leaves_whole_checkpoints_alone(tmp_path):
    command = [sys.executable, "-c", SAVE_FOR_EVER, str(tmp_path), json.dumps(CONFIG)]
    draw = random.Random(0)
    latest = 0
    for _ in range(4):
        process = subprocess.Popen(command)
        deadline = time.monotonic() + 60
        while not any(step > latest for step in _steps(tmp_path)):  # it saves by now
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.3))
        process.kill()
        process.wait()
        with _open(tmp_path, best="accuracy") as opened:
            latest = opened.latest()
            abstract = {"params": jnp.zeros((400, 400)), "step": jnp.int32(0)}
            state, data = opened.restore(latest, _abstract(abstract))
            assert data == {"position": latest}
            assert int(state["step"]) == latest
            assert (state["params"] == latest).all()
            assert opened.best() % 5 == 4 or latest < 4
