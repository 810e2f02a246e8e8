import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict

from mpjax.config import StudyConfig
from mpjax.models import lora
from mpjax.models.lora import LoraConfig
from mpjax.models.swin import SwinConfig, VideoSwin
from mpjax.models.swin import network as swin
from mpjax.models.weights.torch_port import load_checkpoint

NETWORK = SwinConfig(
    embed_dim=8, depths=(1, 1), num_heads=(2, 4), window=(2, 3, 3), num_classes=3, mlp_ratio=2.0
)
LAYERS = {
    "qv": {"q", "v"},
    "qkv": {"q", "k", "v"},
    "qkvo": {"q", "k", "v", "o"},
    "mlp": {"fc1", "fc2"},
    "all": {"q", "k", "v", "o", "fc1", "fc2"},
}


def _random_like(tree, seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.normal(size=x.shape, scale=0.5).astype("float32"), tree)


@functools.cache
def _params():
    """Parameters with no zeros among them, so that every one of them matters."""
    return _random_like(
        jax.eval_shape(lambda key: swin.init_params(NETWORK, key), jax.random.key(0)), seed=0
    )


def _adapters(config):
    """Adapters whose B is not zero."""
    shapes = jax.eval_shape(lambda key: lora.init(config, _params(), key), jax.random.key(0))
    return _random_like(shapes, seed=1)


@jax.jit
def _embedding(params):
    """Runs the first stage alone, which compiles quickly."""
    network = dataclasses.replace(NETWORK, depths=(1,), num_heads=(2,), num_classes=None)
    params = {name: params[name] for name in ("patch_embed", "stage0_block0")}
    norm = {"scale": jnp.ones(8), "bias": jnp.zeros(8)}
    clips = np.random.default_rng(2).standard_normal((1, 4, 12, 8, 3)).astype("float32")
    outputs = VideoSwin(network).apply({"params": params | {"norm": norm}}, jnp.asarray(clips))
    return outputs.embedding


def test_outputs_equal_the_published_ones(shared):
    converted = load_checkpoint(shared / "parity" / "uas_lora_xs.pth", lora_alpha=8.0)
    expected = np.load(shared / "parity" / "uas_lora_xs.npz")
    rng = np.random.default_rng(int(expected["case0/seed"]))
    clips = rng.standard_normal(tuple(expected["case0/shape"])).astype("float32")
    outputs = jax.jit(VideoSwin(converted.config).apply)({"params": converted.params}, clips)
    for name in ("features", "embedding", "logits"):
        want = expected[f"case0/{name}"]
        error = np.abs(getattr(outputs, name) - want).max() / np.abs(want).max()
        assert error <= 1e-5, f"{name}: {error}"


@pytest.mark.parametrize("targets", LAYERS)
def test_fresh_adapters_leave_the_outputs_exactly_as_they_are(targets):
    config = LoraConfig(targets, rank=2, alpha=2.0)
    merged = lora.merge(_params(), lora.init(config, _params(), jax.random.key(0)), config)
    np.testing.assert_array_equal(_embedding(merged), _embedding(_params()))


def test_a_is_standard_normal_and_of_its_own_in_every_adapter():
    config = LoraConfig("all", rank=64, alpha=1.0)
    adapters = flatten_dict(lora.init(config, _params(), jax.random.key(3)), sep="/")
    a = [np.ravel(value) for path, value in adapters.items() if path.endswith("/a")]
    assert all(not value.any() for path, value in adapters.items() if path.endswith("/b"))
    assert len({value[0].item() for value in a}) == len(a) == 12
    numbers = np.concatenate(a)
    assert abs(numbers.mean()) < 4 / np.sqrt(len(numbers))
    assert abs(numbers.var() - 1) < 4 * np.sqrt(2 / len(numbers))


@pytest.mark.parametrize("targets", LAYERS)
def test_merged_weights_equal_a_branch_computed_apart(targets):
    config = LoraConfig(targets, rank=2, alpha=6.0)
    adapters = _adapters(config)
    merged = lora.merge(_params(), adapters, config)
    rng = np.random.default_rng(4)
    for name in ("stage0_block0", "stage1_block0"):
        old, new, pairs = _params()[name], merged[name], adapters[name]

        def branch(layer, x, pairs=pairs):
            return 3 * (x @ pairs[layer]["a"]) @ pairs[layer]["b"] if layer in pairs else 0

        width = old["fc1"]["kernel"].shape[0]
        x = rng.standard_normal((5, width)).astype("float32")
        for place, layer in enumerate("qkv"):
            want = _linear(x, old["attn"]["qkv"], place) + branch(layer, x)
            np.testing.assert_allclose(_linear(x, new["attn"]["qkv"], place), want, **_within(want))
        projected = _project(x, old["attn"]["proj"])
        want = projected + branch("o", projected)  # as published, of the layer's output
        np.testing.assert_allclose(_project(x, new["attn"]["proj"]), want, **_within(want))
        for layer in ("fc1", "fc2"):
            x = rng.standard_normal((5, old[layer]["kernel"].shape[0])).astype("float32")
            want = x @ old[layer]["kernel"] + old[layer]["bias"] + branch(layer, x)
            got = x @ new[layer]["kernel"] + new[layer]["bias"]
            np.testing.assert_allclose(got, want, **_within(want))


def _linear(x, qkv, place):
    """Queries, keys or values of tokens, heads side by side."""
    kernel, bias = np.asarray(qkv["kernel"])[:, place], np.asarray(qkv["bias"])[place]
    return x @ kernel.reshape(len(kernel), -1) + bias.reshape(-1)


def _project(x, proj):
    return x @ np.reshape(proj["kernel"], (x.shape[1], -1)) + proj["bias"]


def _within(want):
    return {"rtol": 0, "atol": 1e-5 * np.abs(want).max()}


@pytest.mark.parametrize("targets", LAYERS)
def test_merging_changes_the_named_layers_alone(targets):
    config = LoraConfig(targets, rank=2, alpha=2.0)
    merged = lora.merge(_params(), _adapters(config), config)
    assert jax.tree.structure(merged) == jax.tree.structure(_params())
    old, new = flatten_dict(_params(), sep="/"), flatten_dict(merged, sep="/")
    changed = {path for path in old if not np.array_equal(old[path], new[path])}
    of = {"o": ("attn/proj/kernel", "attn/proj/bias"), "fc1": ("fc1/kernel",)}
    of |= {"fc2": ("fc2/kernel",)} | dict.fromkeys("qkv", ("attn/qkv/kernel",))
    blocks = ("stage0_block0", "stage1_block0")
    assert changed == {
        f"{b}/{end}" for b in blocks for layer in LAYERS[targets] for end in of[layer]
    }


@pytest.mark.parametrize("targets", ["qv", "all"])
def test_gradients_reach_the_adapters_of_the_named_layers_alone(targets):
    config = LoraConfig(targets, rank=2, alpha=2.0)

    @jax.jit
    @jax.grad
    def gradient(adapters):
        return (jnp.arange(8.0) * _embedding(lora.merge(_params(), adapters, config))).sum()

    adapters = _adapters(config)
    gradients = gradient({"stage0_block0": adapters["stage0_block0"]})["stage0_block0"]
    assert set(gradients) == LAYERS[targets]
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))


@pytest.mark.parametrize(
    ("stages", "blocks"),
    [
        ("all", {"stage0_block0", "stage1_block0"}),
        ("first", {"stage0_block0"}),
        ("last", {"stage1_block0"}),
    ],
)
def test_adapters_sit_in_the_named_stages(stages, blocks):
    config = LoraConfig("qv", rank=2, alpha=2.0, stages=stages)
    assert set(_adapters(config)) == blocks


def test_adapters_of_another_rank_are_refused():
    adapters = _adapters(LoraConfig("qv", rank=3, alpha=2.0))
    with pytest.raises(ValueError, match=r"adapter stage\d_block0/[qv] has rank 3.* says 2"):
        lora.merge(_params(), adapters, LoraConfig("qv", rank=2, alpha=2.0))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"rank": 0}, "LoraConfig.rank must be 1 or more, got 0"),
        ({"alpha": 0.0}, "LoraConfig.alpha must be above 0 and finite, got 0.0"),
        ({"alpha": float("nan")}, "LoraConfig.alpha must be above 0 and finite, got nan"),
        ({"targets": "qo"}, "LoraConfig.targets must be qv or qkv or qkvo or mlp or all, got 'qo'"),
        ({"stages": "middle"}, "LoraConfig.stages must be all or first or last, got 'middle'"),
        ({"alpha": float("inf")}, "LoraConfig.alpha must be above 0 and finite, got inf"),
    ],
)
def test_impossible_numbers_are_refused(fields, message):
    with pytest.raises(ValueError) as caught:
        LoraConfig(**fields)
    assert str(caught.value) == message


def test_the_choices_of_the_config_are_those_of_the_network():
    for targets in lora.TARGETS:
        for stages in ("all", "first", "last"):
            assert lora.init(LoraConfig(targets, stages=stages), _params(), jax.random.key(0))


def test_the_study_configures_the_adapters():
    assert lora.LoraConfig is type(StudyConfig().train.lora)


@pytest.mark.parametrize("targets", LAYERS)
def test_training_changes_adapters_and_head_and_no_bit_of_the_frozen_weights(targets):
    config = LoraConfig(targets, rank=2, alpha=2.0)
    frozen = jax.tree.map(jnp.asarray, _params())
    optimizer = optax.adamw(1e-2, weight_decay=0.1)
    head = {"kernel": 0.1 * jnp.ones((8, 3)), "bias": jnp.zeros(3)}
    adapters = lora.init(config, frozen, jax.random.key(5))
    adapters = {"stage0_block0": adapters["stage0_block0"]}  # the stage that `_embedding` runs
    start = {"head": head, "adapters": adapters}

    @jax.jit
    def step(trained, state, frozen):
        def loss(trained):
            embedding = _embedding(lora.merge(frozen, trained["adapters"], config))
            logits = embedding @ trained["head"]["kernel"] + trained["head"]["bias"]
            return optax.softmax_cross_entropy_with_integer_labels(logits, jnp.array([1])).mean()

        updates, state = optimizer.update(jax.grad(loss)(trained), state, trained)
        return optax.apply_updates(trained, updates), state

    trained, state = start, optimizer.init(start)
    for _ in range(3):
        trained, state = step(trained, state, frozen)

    jax.tree.map(np.testing.assert_array_equal, frozen, _params())
    sizes = sum(leaf.size for leaf in jax.tree.leaves(start))
    assert sum(leaf.size for leaf in jax.tree.leaves(state[0].mu)) == sizes  # no frozen moments
    assert set(trained["adapters"]["stage0_block0"]) == LAYERS[targets]
    for pair in trained["adapters"]["stage0_block0"].values():
        assert np.abs(pair["b"]).max() > 0
    for name, before in head.items():
        assert np.abs(trained["head"][name] - before).max() > 0
    merged = lora.merge(frozen, trained["adapters"], config)
    want = _with_branches(frozen, trained["adapters"])
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, **_within(want)), merged, want
    )
    assert np.abs(_embedding(merged) - _embedding(frozen)).max() > 1e-4


def _with_branches(frozen, adapters):
    """Adds alpha / rank = 1 times A B to frozen weights, in float64, with NumPy alone."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), frozen)
    for name, layers in adapters.items():
        block = params[name]
        for layer, pair in layers.items():
            delta = np.asarray(pair["a"], np.float64) @ np.asarray(pair["b"], np.float64)
            if layer in ("fc1", "fc2"):
                block[layer]["kernel"] += delta
            elif layer == "o":
                for weight in block["attn"]["proj"].values():
                    weight += weight @ delta
            else:
                kernel = block["attn"]["qkv"]["kernel"][:, "qkv".index(layer)]
                kernel += delta.reshape(kernel.shape)
    return params
