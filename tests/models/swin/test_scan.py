"""A stage as a loop gives what its blocks give one after the other."""

import dataclasses
import functools
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpjax.config import LoraConfig
from mpjax.models import lora, swin
from mpjax.models.swin import SwinConfig, VideoSwin

# Two pairs and a block, of windows that do not fit.
CONFIG = SwinConfig(
    embed_dim=8,
    depths=(5,),
    num_heads=(2,),
    window=(2, 2, 2),
    num_classes=None,
    attention_impl="xla",
)
# Numbers are compared here, for which nothing need be fast but the compiler.
jit = functools.partial(jax.jit, compiler_options={"xla_backend_optimization_level": 0})
LORA = LoraConfig(targets="all", rank=2, alpha=4.0)
# Parity in float32. Rounding alone gave 1.5e-6 under another setting of the compiler.
FLOAT32 = 1e-5


@functools.cache
def _weights():
    """Parameters and adapters with no zeros among them, so that every one of them matters."""
    shapes = jax.eval_shape(lambda key: swin.init_params(CONFIG, key), jax.random.key(0))
    adapters = jax.eval_shape(lambda key: lora.init(LORA, shapes, key), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(
        lambda p: rng.normal(size=p.shape, scale=0.2).astype("float32"), (shapes, adapters)
    )


def _features(params, **changes):
    clips = jnp.asarray(np.random.default_rng(2).standard_normal((3, 4, 12, 20, 3)), "float32")
    config = dataclasses.replace(CONFIG, drop_path_rate=0.3, **changes)
    rngs = {"drop_path": jax.random.key(3)}
    return VideoSwin(config).apply({"params": params}, clips, train=True, rngs=rngs).features


def _loss(params, **changes):
    features = _features(params, **changes)
    return (features**3).mean(), features


@functools.cache
def _results(**changes):
    """Returns the features, and the gradients of all weights with adapters merged."""
    run = jit(jax.grad(functools.partial(_loss, **changes), has_aux=True))
    gradients, features = run(lora.merge(*_weights(), LORA))
    return features, gradients


def _error(got, expected):
    got, expected = np.asarray(got, "float64"), np.asarray(expected, "float64")
    return abs(got - expected).max() / abs(expected).max()


@pytest.mark.parametrize("remat", [False, True])
def test_the_loop_gives_the_outputs_and_gradients_of_the_unrolled_blocks(remat):
    errors = jax.tree.map(_error, _results(scan=True, remat=remat), _results(scan=False))
    assert max(jax.tree.leaves(errors)) <= FLOAT32, errors


def test_in_bfloat16_the_loop_is_as_near_to_the_truth_as_the_unrolled_blocks():
    merged = lora.merge(*_weights(), LORA)
    truth = _results(scan=False)[0]
    looped, unrolled = (
        _error(jit(functools.partial(_features, scan=scan, dtype="bfloat16"))(merged), truth)
        for scan in (True, False)
    )
    assert 2**-9 < looped < 1.5 * unrolled


def test_adapters_have_the_gradients_of_the_unrolled_blocks():
    params, adapters = _weights()

    def loss(adapters, scan):
        return _loss(lora.merge(params, adapters, LORA), scan=scan)[0]

    by_loop, by_block = (
        jit(jax.grad(functools.partial(loss, scan=scan))) for scan in (True, False)
    )
    looped, unrolled = by_loop(adapters), by_block(adapters)
    assert min(abs(leaf).max() for leaf in jax.tree.leaves(unrolled)) > 0
    errors = jax.tree.map(_error, looped, unrolled)
    assert max(jax.tree.leaves(errors)) <= FLOAT32, errors
    # What the tolerance must not let through: two blocks in each other's place.
    first, second = "stage0_block0", "stage0_block2"
    swapped = adapters | {first: adapters[second], second: adapters[first]}
    wrong = jax.tree.map(_error, by_loop(swapped), unrolled)
    assert min(jax.tree.leaves(wrong)) > 1000 * FLOAT32, wrong


def test_the_program_does_not_grow_with_the_depth():
    def operations(depth, scan):
        config = dataclasses.replace(CONFIG, depths=(depth,), scan=scan)
        params = jax.eval_shape(lambda key: swin.init_params(config, key), jax.random.key(0))
        clips = jax.ShapeDtypeStruct((1, 2, 8, 8, 3), jnp.float32)
        apply = jax.jit(lambda p, x: VideoSwin(config).apply({"params": p}, x).embedding)
        text = apply.lower(params, clips).as_text()
        return text.count("stablehlo.while"), text.count("stablehlo.dot_general")

    assert operations(4, True) == operations(8, True)
    assert operations(4, True)[0] == 1
    assert operations(8, False)[1] > 1.5 * operations(4, False)[1]


def test_parameters_are_declared_alike():
    def declared(scan):
        config = dataclasses.replace(CONFIG, scan=scan)
        return jax.eval_shape(lambda key: swin.init_params(config, key), jax.random.key(0))

    assert declared(True) == declared(False)


@pytest.mark.parametrize(
    ("backend", "changes", "scans"),
    [
        ("tpu", {}, True),
        ("tpu", {"scan": False}, False),
        ("tpu", {"depths": (3,)}, False),
        ("cpu", {}, False),
        ("cpu", {"scan": True}, True),
    ],
)
def test_stages_of_four_blocks_are_loops_on_tpus_unless_it_is_said(
    monkeypatch, backend, changes, scans
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    assert dataclasses.replace(CONFIG, **changes).scans(stage=0) is scans


ON_A_MESH = """
    import dataclasses, functools, jax, numpy as np
    from mpjax.config import MeshConfig
    from mpjax.models import swin
    from mpjax.training import partitioning

    config = swin.SwinConfig(
        embed_dim=32, depths=(4,), num_heads=(2,), window=(2, 2, 2), num_classes=None,
        attention_impl="xla", drop_path_rate=0.3,
    )
    mesh = partitioning.make_mesh(MeshConfig(data=4, model=2))
    params = jax.jit(swin.init_params, static_argnums=0)(config, jax.random.key(0))
    places = partitioning.shardings(params, mesh, fully_sharded=True)
    assert any("data" in place.spec for place in jax.tree.leaves(places))
    rows = partitioning.batch_sharding(mesh)
    clips = np.random.default_rng(0).standard_normal((8, 2, 12, 20, 3)).astype("float32")

    def loss(params, clips, scan):
        model = swin.VideoSwin(dataclasses.replace(config, scan=scan))
        rngs = {"drop_path": jax.random.key(3)}
        return (model.apply({"params": params}, clips, train=True, rngs=rngs).embedding**2).sum()

    plain = jax.jit(jax.value_and_grad(functools.partial(loss, scan=False)))(params, clips)
    with jax.set_mesh(mesh):
        looped = jax.jit(
            jax.value_and_grad(functools.partial(loss, scan=True)),
            in_shardings=(places, rows), out_shardings=(None, places),
        )(jax.device_put(params, places), jax.device_put(clips, rows))
    for a, b in zip(jax.tree.leaves(looped), jax.tree.leaves(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * abs(b).max())
"""


@pytest.mark.slow
def test_on_a_mesh_with_everything_sharded_the_loop_gives_the_same():
    # In a process of its own: the number of devices is fixed when JAX starts.
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    command = [sys.executable, "-c", textwrap.dedent(ON_A_MESH)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
