"""The form for CPUs equals the plain one, in the outputs, the gradients and the dropped paths."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpjax.models import swin
from mpjax.models.swin import SwinConfig, VideoSwin, attention_blocked

# Two blocks, the second with shifted windows.
CONFIG = SwinConfig(embed_dim=8, depths=(2,), num_heads=(2,), window=(2, 3, 3), num_classes=5)
WHOLE, PADDED, SMALL = (4, 24, 24), (6, 28, 20), (2, 8, 16)  # SMALL: than a window


def _params(config):
    """Parameters with no zeros among them, so that every one of them matters."""
    shapes = jax.eval_shape(lambda key: swin.init_params(config, key), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: rng.normal(size=p.shape, scale=0.2).astype("float32"), shapes)


@functools.cache
def _loss_and_gradients(form, size, *, train):
    clips = jnp.asarray(np.random.default_rng(2).standard_normal((3, *size, 3)), jnp.float32)
    model = VideoSwin(dataclasses.replace(CONFIG, attention_impl=form, drop_path_rate=0.5))
    weights = np.random.default_rng(1).normal(size=5)

    def loss(params, clips):
        rngs = {"drop_path": jax.random.key(3)}
        outputs = model.apply({"params": params}, clips, train=train, rngs=rngs)
        return (outputs.logits @ weights).sum() + (outputs.features**3).mean()

    return jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(_params(CONFIG), clips)


def _relative_errors(got, expected):
    return jax.tree.map(lambda a, b: float(abs(a - b).max() / abs(b).max()), got, expected)


@pytest.mark.parametrize(("size", "train"), [(WHOLE, False), (PADDED, True), (SMALL, False)])
def test_outputs_and_gradients_equal_the_plain_form(size, train, monkeypatch):
    monkeypatch.setattr(attention_blocked, "ROWS", 20)  # several steps and a remainder
    monkeypatch.setattr(attention_blocked, "KEPT_WIDTH", 0 if train else 1000)
    expected = _loss_and_gradients("xla", size, train=train)
    got = _loss_and_gradients("blocked", size, train=train)
    errors = _relative_errors(got, expected)
    assert max(jax.tree.leaves(errors)) <= 1e-5, errors


def test_paths_are_dropped_in_training():
    dropped = _loss_and_gradients("blocked", PADDED, train=True)[0]
    assert abs(dropped - _loss_and_gradients("blocked", PADDED, train=False)[0]) > 1e-3


def test_the_logits_of_many_windows_are_never_in_memory_at_once():
    config = dataclasses.replace(CONFIG, window=(8, 7, 7), depths=(1,))
    clips = jax.ShapeDtypeStruct((6, 16, 112, 112, 3), jnp.float32)
    logits_bytes = 6 * 16 * 2 * 392**2 * 4  # clips, windows, heads

    def temporaries(form):
        model = VideoSwin(dataclasses.replace(config, attention_impl=form))
        loss = jax.jit(jax.grad(lambda p, x: model.apply({"params": p}, x).embedding.sum()))
        compiled = loss.lower(_params(config), clips).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    assert temporaries("xla") > logits_bytes
    assert temporaries("blocked") < logits_bytes / 2


def test_blocked_needs_float32():
    with pytest.raises(ValueError, match="'blocked' computes in float32, not in bfloat16"):
        SwinConfig.tiny(attention_impl="blocked", dtype="bfloat16")
    with pytest.raises(ValueError, match="attention_impl 'fast': choose auto, xla"):
        SwinConfig.tiny(attention_impl="fast")
