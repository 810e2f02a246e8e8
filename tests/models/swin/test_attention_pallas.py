import dataclasses
import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpjax.models import swin
from mpjax.models.swin import attention
from mpjax.models.swin.attention_pallas import fused_window_attention, group_heads

HIGHEST = jax.lax.Precision.HIGHEST

# clips, windows, n, heads, head_dim: a full window of Swin-B's stage 1; Swin-T's stages 1 and 2,
# whose heads do not fill whole vectors; two groups of heads; windows that fit no tile.
SIZES = [(1, 2, 392, 4, 32), (2, 3, 49, 3, 32), (2, 2, 18, 6, 32), (2, 3, 18, 8, 32)]


def _draw(size, dtype=jnp.float32):
    clips, windows, n, heads, head_dim = size
    generator = np.random.default_rng(0)
    qkv = generator.standard_normal((clips, windows, n, 3, heads, head_dim))
    bias = generator.standard_normal((heads, n, n))
    regions = generator.integers(0, 3, (windows, n)).astype(np.int32)
    towards = generator.standard_normal((clips, windows, n, heads * head_dim))
    return jnp.asarray(qkv, dtype), jnp.asarray(bias, "float32"), regions, jnp.asarray(towards)


def _plain(qkv, bias, regions, precision=HIGHEST):
    q, k, v = jnp.unstack(qkv, axis=3)
    out = attention.window_attention(q, k, v, bias, regions, precision=precision)
    return out.reshape(*out.shape[:3], -1)


def _fused(qkv, bias, regions, precision=HIGHEST):
    # A table with a row for every pair of tokens, so that the bias is its transpose.
    def look_up(table):
        return table.T.reshape(bias.shape)

    table = bias.reshape(len(bias), -1).T
    return fused_window_attention(
        group_heads(qkv), table, regions, look_up=look_up, precision=precision
    )


def _outputs(attend, qkv, bias, regions, towards, precision=HIGHEST):
    """Returns the attended values and the gradients of q, k, v and the bias."""

    @jax.jit
    def run(qkv, bias, towards):
        out, pull = jax.vjp(lambda x, y: attend(x, y, regions, precision=precision), qkv, bias)
        return out, *pull(towards.astype(out.dtype))

    out, qkv_gradient, bias_gradient = run(qkv, bias, towards)
    q, k, v = jnp.unstack(qkv_gradient, axis=3)
    return {"out": out, "q": q, "k": k, "v": v, "bias": bias_gradient}


def _error(got, expected):
    got, expected = np.asarray(got, "float64"), np.asarray(expected, "float64")
    return abs(got - expected).max() / abs(expected).max()


@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_values_and_gradients_equal_those_of_the_plain_form(size, shifted):
    qkv, bias, regions, towards = _draw(size)
    regions = regions if shifted else None
    expected = _outputs(_plain, qkv, bias, regions, towards)
    got = _outputs(_fused, qkv, bias, regions, towards)
    assert {name: e for name in got if (e := _error(got[name], expected[name])) > 1e-5} == {}


def test_bfloat16_is_as_near_to_the_truth_as_the_plain_form():
    qkv, bias, regions, towards = _draw((2, 2, 49, 4, 32), jnp.bfloat16)
    truth = _outputs(_plain, qkv.astype("float32"), bias, regions, towards)
    plain = _outputs(_plain, qkv, bias, regions, towards, precision=None)
    got = _outputs(_fused, qkv, bias, regions, towards, precision=None)
    assert got["out"].dtype == got["q"].dtype == jnp.bfloat16
    assert got["bias"].dtype == jnp.float32
    for name in got:
        # Half a unit in the last place of bfloat16 is 2^-9; both forms round a few times.
        error = _error(got[name], truth[name])
        assert error < max(2**-8, 1.5 * _error(plain[name], truth[name])), name


def test_tokens_of_different_regions_do_not_mix():
    qkv, bias, _, _ = _draw((1, 1, 18, 4, 32))
    regions = np.repeat([[0, 1]], 9, axis=1).astype(np.int32)
    changed = qkv.at[:, :, 9:].add(1.0)
    before, after = (_fused(x, bias, regions) for x in (qkv, changed))
    np.testing.assert_array_equal(before[:, :, :9], after[:, :, :9])
    assert (before[:, :, 9:] != after[:, :, 9:]).any()


@pytest.mark.parametrize("clips", [4, 3])
def test_devices_that_share_the_clips_give_what_one_device_gives(clips):
    # In a process of its own: the number of devices is fixed when JAX starts.
    code = f"""
        import functools, jax, numpy as np
        from jax.sharding import NamedSharding, PartitionSpec
        from mpjax.models.swin.windows import relative_position_bias
        from mpjax.models.swin.attention_pallas import fused_window_attention

        look_up = functools.partial(relative_position_bias, window=(2, 3, 3), fitted=(2, 3, 3))
        generator = np.random.default_rng(0)
        qkv = generator.standard_normal(({clips}, 2, 18, 3 * 64)).astype("float32")
        table = generator.standard_normal((75, 2)).astype("float32")
        regions = generator.integers(0, 3, (2, 18))

        @jax.jit
        def run(qkv, table):
            def loss(qkv, table):
                out = fused_window_attention(
                    qkv, table, regions, look_up=look_up, precision=None
                )
                return (out**2).sum(), out
            return jax.grad(loss, (0, 1), has_aux=True)(qkv, table)

        (one_qkv, one_table), one = run(qkv, table)
        mesh = jax.make_mesh((4, 1), ("data", "model"), (jax.sharding.AxisType.Auto,) * 2)
        with jax.set_mesh(mesh):
            if {clips} % 4 == 0:
                qkv = jax.device_put(qkv, NamedSharding(mesh, PartitionSpec("data")))
            (many_qkv, many_table), many = run(qkv, table)
        if {clips} % 4 == 0:
            assert many.sharding.spec[0] == many_qkv.sharding.spec[0] == "data", many.sharding
        assert many_table.sharding.is_fully_replicated
        for a, b in ((one, many), (one_qkv, many_qkv), (one_table, many_table)):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    """
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
    }
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_the_network_gives_the_same_in_both_forms():
    config = swin.SwinConfig(embed_dim=16, depths=(2,), num_heads=(2,), window=(2, 3, 3))
    clips = jnp.asarray(np.random.default_rng(0).standard_normal((1, 6, 20, 28, 3)), jnp.float32)
    shapes = jax.eval_shape(lambda key: swin.init_params(config, key), jax.random.key(0))
    rng = np.random.default_rng(1)
    params = jax.tree.map(lambda p: rng.normal(size=p.shape, scale=0.2).astype("float32"), shapes)

    def logits(form):
        model = swin.VideoSwin(dataclasses.replace(config, attention_impl=form))
        declared = jax.eval_shape(model.init, jax.random.key(0), clips)["params"]
        assert jax.tree.map(jnp.shape, declared) == jax.tree.map(jnp.shape, shapes)
        return jax.jit(lambda params: model.apply({"params": params}, clips).logits)(params)

    expected = logits("xla")
    assert abs(logits("pallas") - expected).max() <= 1e-5 * abs(expected).max()
