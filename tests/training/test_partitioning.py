import os
import subprocess
import sys
import textwrap

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec

from mpjax.config import MeshConfig
from mpjax.models import swin
from mpjax.training import partitioning

SWIN = swin.SwinConfig(embed_dim=32, depths=(1, 1), num_heads=(2, 4), num_classes=None)


def shapes():
    return jax.eval_shape(lambda key: swin.init_params(SWIN, key), jax.random.key(0))


def specs(tree, data, model, **options):
    """Where the arrays of a tree lie on a mesh that need not be there."""
    mesh = jax.sharding.AbstractMesh((data, model), partitioning.AXES)
    placed = partitioning.shardings(tree, mesh, **options)
    return jax.tree.map(lambda place: place.spec, placed)


def test_heads_and_hidden_units_are_cut_over_the_model_axis_and_the_rest_is_whole():
    block = specs(shapes(), 1, 2)["stage0_block0"]
    assert block["attn"]["qkv"]["kernel"] == PartitionSpec(None, None, "model", None)
    assert block["attn"]["proj"]["kernel"] == PartitionSpec("model", None, None)
    assert block["fc1"]["kernel"] == PartitionSpec(None, "model")
    assert block["fc2"]["kernel"] == PartitionSpec("model", None)
    assert block["norm1"]["scale"] == PartitionSpec(None)


def test_what_the_devices_do_not_divide_stays_whole():
    kernel = specs(shapes(), 1, 4)["stage0_block0"]["attn"]["qkv"]["kernel"]
    assert kernel == PartitionSpec(None, None, None, None)  # 2 heads over 4 devices
    kernel = specs(shapes(), 1, 4)["stage1_block0"]["attn"]["qkv"]["kernel"]
    assert kernel == PartitionSpec(None, None, "model", None)


def test_the_optimisers_moments_lie_where_their_parameters_do():
    params = {"projector": shapes()}
    state = jax.eval_shape(optax.adamw(1e-3).init, params)
    placed = specs(state, 2, 2, fully_sharded=True)
    assert placed[0].mu == placed[0].nu == specs(params, 2, 2, fully_sharded=True)
    assert placed[0].count == PartitionSpec()


def test_fully_sharded_every_large_array_is_cut_over_all_devices_that_divide_it():
    sizes = jax.tree.map(lambda leaf: np.prod(leaf.shape), shapes())
    placed = specs(shapes(), 8, 1, fully_sharded=True)
    cut = jax.tree.map(lambda spec: "data" in spec, placed)
    large = jax.tree.map(lambda size: size >= 2**12, sizes)
    tables = jax.tree.map(lambda leaf: leaf.shape[0] % 8 != 0 and leaf.ndim == 2, shapes())
    for is_cut, is_large, is_odd in zip(*map(jax.tree.leaves, (cut, large, tables)), strict=True):
        assert is_cut == (is_large and not is_odd)


def test_a_mesh_that_does_not_fit_the_devices_is_refused_with_both_numbers():
    with pytest.raises(ValueError, match="2 x 3 does not fit 1 device"):
        partitioning.make_mesh(MeshConfig(data=2, model=3), jax.devices()[:1])


def test_a_process_that_is_none_of_the_processes_is_refused():
    with pytest.raises(ValueError, match=r"process 2 is not among the config.mesh.processes 2"):
        partitioning.start_hosts(MeshConfig(coordinator="localhost:1", processes=2, process=2))


def test_a_process_numbered_without_a_coordinator_does_not_run_alone():
    with pytest.raises(ValueError, match=r"processes 2 .* without config.mesh.coordinator"):
        partitioning.start_hosts(MeshConfig(processes=2, process=1))


def test_a_cluster_that_tells_only_a_part_is_refused():
    code = (
        "from mpjax.config import MeshConfig\n"
        "from mpjax.training import partitioning\n"
        "partitioning.start_hosts(MeshConfig())"
    )
    environment = os.environ | {"JAX_COORDINATOR_ADDRESS": "localhost:1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "ValueError: the cluster does not describe all of its processes" in done.stderr


@pytest.mark.slow
def test_ten_steps_give_the_same_losses_on_every_mesh():
    # In a process of its own: the number of devices is fixed when JAX starts.
    code = """
        import jax, numpy as np
        import small_study
        from mpjax.config import MeshConfig
        from mpjax.studies.projector import projector_of
        from mpjax.training import compiled_steps, partitioning

        config = small_study.study_config(
            "train.optim.ema=0.9", "train.dropout=0.2"
        )
        projector = projector_of(config)
        weights = compiled_steps.trainable(jax.device_get(projector.params))
        task = compiled_steps.make_task(
            config.train, projector, class_weight=np.ones(3, np.float32), total_steps=10,
            steps_per_epoch=5,
        )
        rng = np.random.default_rng(0)
        clips = rng.integers(0, 256, (10, 8, 6, 16, 16, 3), np.uint8)
        label = rng.integers(0, 3, (10, 8), np.int32)

        def losses(data, model, fully_sharded=False):
            mesh_config = MeshConfig(data=data, model=model, fully_sharded=fully_sharded)
            mesh = partitioning.make_mesh(mesh_config, jax.devices()[: data * model])
            with jax.set_mesh(mesh):
                state, frozen = compiled_steps.layout(
                    task, mesh, weights, fully_sharded=fully_sharded
                )
                step = compiled_steps.train_program(task, mesh, state, frozen)
                now = compiled_steps.make_state(task, state, weights)
                held = compiled_steps.place_frozen(task, frozen, weights)
                seen = []
                for i in range(10):
                    batch = partitioning.to_global(mesh, {"clips": clips[i], "label": label[i]})
                    now, metrics = step(now, held, batch, jax.random.key(0))
                    seen.append(float(metrics["loss"]))
            return np.array(seen)

        one = losses(1, 1)
        assert np.ptp(one) > 5e-3, one
        for mesh in [(8, 1), (4, 2), (4, 2, True)]:
            difference = abs(losses(*mesh) - one).max()
            assert difference <= 1e-5, (mesh, difference)
    """
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_layout_says_what_is_cut_over_which_axis():
    params = {
        "attn": {"qkv": {"kernel": np.zeros((32, 3, 2, 16))}},
        "norm": {"scale": np.zeros(32)},
    }
    table = partitioning.layout_table(params, {"data": 4, "model": 2}).set_index("parameter")
    assert table.loc["attn/qkv/kernel", "cut over"] == "–, –, model, –"
    assert table.loc["attn/qkv/kernel", "per device"] == "50 %"
    assert table.loc["norm/scale", "per device"] == "100 %"
    cut = partitioning.layout_table({"w": np.zeros((128, 64))}, {"data": 4}, fully_sharded=True)
    assert cut.loc[0, "cut over"] == "data, –"
    assert cut.loc[0, "per device"] == "25 %"
