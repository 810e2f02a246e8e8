import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpjax.config import ArchitectureConfig
from mpjax.models import swin
from mpjax.models.projector import load_projector
from mpjax.models.swin import SwinConfig, VideoSwin, network
from mpjax.models.weights.torch_port import load_checkpoint

SMALL = SwinConfig(embed_dim=16, depths=(2, 1), num_heads=(2, 4), window=(2, 3, 3), num_classes=5)
# Two blocks, the second with shifted windows: the least that compiles quickly and has every path.
ONE_STAGE = dataclasses.replace(SMALL, depths=(2,), num_heads=(2,))


@functools.cache
def _params(config):
    """Parameters with no zeros among them, so that every one of them matters."""
    shapes = jax.eval_shape(lambda key: network.init_params(config, key), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: rng.normal(size=p.shape, scale=0.2).astype("float32"), shapes)


def _clips(shape, seed=0):
    clips = np.random.default_rng(seed).standard_normal(shape).astype("float32")
    return jnp.asarray(clips)


@functools.cache
def _jitted(config):
    return jax.jit(lambda params, clips: VideoSwin(config).apply({"params": params}, clips))


def _run(config, clips):
    return _jitted(config)(_params(config), clips)


@functools.cache
def _checkpoint(path):
    return load_checkpoint(path)[:2]


@pytest.mark.parametrize("case", [0, 1, 2])
@pytest.mark.parametrize("name", ["torchvision_xs", "uas_xs"])
@pytest.mark.parametrize("form", ["xla", "blocked"])
def test_outputs_equal_the_pytorch_originals(shared, name, case, form):
    config, params = _checkpoint(shared / "parity" / f"{name}.pth")
    config = dataclasses.replace(config, attention_impl=form)
    expected = np.load(shared / "parity" / f"{name}.npz")
    shape, seed = expected[f"case{case}/shape"], int(expected[f"case{case}/seed"])
    outputs = _jitted(config)(params, _clips(tuple(shape), seed))
    got = {f"stage{i}": stage for i, stage in enumerate(outputs.stages)} | outputs._asdict()
    names = [key for key in expected if key.startswith(f"case{case}/")]
    compared = [key.split("/")[1] for key in names if key.split("/")[1] in got]
    assert {"embedding", "logits"} < set(compared)
    for key in compared:
        want = expected[f"case{case}/{key}"]
        assert got[key].shape == want.shape
        error = np.abs(got[key] - want).max() / np.abs(want).max()
        assert error <= 1e-5, f"{key}: {error}"


@pytest.mark.parametrize(
    ("config", "published"),
    [
        (SwinConfig.tiny(), 28_158_070),
        (SwinConfig.small(), 49_816_678),
        (SwinConfig.base(), 88_048_984),
    ],
)
def test_parameter_counts_are_the_published_ones(config, published):
    shapes = jax.eval_shape(lambda key: network.init_params(config, key), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes)) == published


@settings(deadline=None, max_examples=10)
@given(size=st.tuples(st.integers(1, 9), st.integers(1, 40), st.integers(1, 40)))
def test_clips_of_any_size_are_embedded(size):
    outputs = jax.eval_shape(
        lambda params, clips: VideoSwin(SMALL).apply({"params": params}, clips),
        _params(SMALL),
        jax.ShapeDtypeStruct((2, *size, 3), jnp.float32),
    )
    tokens = [-(-n // patch) for n, patch in zip(size, SMALL.patch, strict=True)]
    assert outputs.stages[0].shape == (2, *tokens, 16)
    assert outputs.features.shape == (2, tokens[0], -(-tokens[1] // 2), -(-tokens[2] // 2), 32)
    assert outputs.embedding.shape == (2, 32)
    assert outputs.logits.shape == (2, 5)


def test_padding_to_whole_patches_by_hand_changes_nothing():
    clips = _clips((2, 3, 18, 22, 3))
    padded = np.pad(clips, [(0, 0), (0, 1), (0, 2), (0, 2), (0, 0)])
    np.testing.assert_allclose(
        _run(ONE_STAGE, clips).embedding, _run(ONE_STAGE, padded).embedding, rtol=1e-5
    )


def test_clips_of_a_batch_do_not_mix():
    clips = _clips((2, 4, 20, 24, 3))
    both = _run(ONE_STAGE, clips).features
    alone = _run(ONE_STAGE, np.stack([clips[1], clips[1]])).features
    np.testing.assert_allclose(both[1], alone[0], rtol=1e-4, atol=1e-5)


def test_merging_concatenates_neighbours_in_the_published_order():
    merging = network.PatchMerging(SMALL)
    x = _clips((1, 1, 3, 2, 4))  # an odd height, padded
    variables = merging.init(jax.random.key(0), x)
    kernel = np.eye(16, 8, k=-4, dtype="float32")  # passes channels 4 to 11 on
    variables["params"]["reduction"]["kernel"] = kernel
    bottom = np.zeros(4)
    tokens = [
        np.concatenate([x[0, 0, 0, 0], x[0, 0, 1, 0], x[0, 0, 0, 1], x[0, 0, 1, 1]]),
        np.concatenate([x[0, 0, 2, 0], bottom, x[0, 0, 2, 1], bottom]),
    ]
    got = merging.apply(variables, x)
    for token, row in zip(tokens, got[0, 0, :, 0], strict=True):
        normed = (token - token.mean()) / np.sqrt(token.var() + 1e-5)
        np.testing.assert_allclose(row, normed[4:12], rtol=1e-5, atol=1e-6)


def test_bfloat16_embeddings_point_where_float32_ones_do(shared):
    config, params = _checkpoint(shared / "parity" / "torchvision_xs.pth")
    clips = _clips((1, 4, 32, 48, 3))  # a size that the parity test has compiled
    full = _jitted(config)(params, clips).embedding
    half = _jitted(dataclasses.replace(config, dtype="bfloat16"))(params, clips)
    assert half.stages[0].dtype == jnp.bfloat16
    assert half.embedding.dtype == half.logits.dtype == jnp.float32
    norms = np.linalg.norm(full, axis=1) * np.linalg.norm(half.embedding, axis=1)
    assert ((full * half.embedding).sum(1) / norms).min() >= 0.999


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_parameters_are_plain_float32_arrays(dtype):
    config = dataclasses.replace(SMALL, dtype=dtype)
    params = jax.eval_shape(lambda key: network.init_params(config, key), jax.random.key(0))
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    assert type(params) is dict


def test_remat_changes_neither_outputs_nor_gradients():
    clips = _clips((2, 4, 16, 20, 3))
    key = jax.random.key(3)

    def value_and_gradient(config):
        def loss(params):
            outputs = VideoSwin(config).apply(
                {"params": params}, clips, train=True, rngs={"drop_path": key}
            )
            return (outputs.logits**2).sum()

        return jax.jit(jax.value_and_grad(loss))(_params(ONE_STAGE))

    config = dataclasses.replace(ONE_STAGE, drop_path_rate=0.5)
    plain = value_and_gradient(config)
    remat = value_and_gradient(dataclasses.replace(config, remat=True))
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5 * np.abs(a).max()),
        plain,
        remat,
    )


def test_drop_path_keeps_or_drops_whole_branches_and_is_unbiased():
    rates = np.float32([0.0, 0.25])
    scales = np.asarray(network.drop_path_scales(jax.random.key(0), rates, 4000))
    assert scales.shape == (2, 2, 4000)
    assert (scales[0] == 1).all()
    kept = scales[1] != 0
    np.testing.assert_allclose(scales[1][kept], 1 / 0.75, rtol=1e-6)
    shares = kept.mean(axis=1)  # so the mean of `scales` is 1: share / 0.75
    assert (abs(shares - 0.75) < 4 * np.sqrt(0.25 * 0.75 / 4000)).all()
    assert (kept[0] != kept[1]).any()  # attention and MLP are dropped apart


@functools.partial(jax.jit, static_argnums=0)
def _trained(rate, seed):
    config = dataclasses.replace(ONE_STAGE, drop_path_rate=rate)
    rngs = {"drop_path": jax.random.key(seed)}
    params, clips = _params(ONE_STAGE), _clips((4, 4, 16, 16, 3))
    return VideoSwin(config).apply({"params": params}, clips, train=True, rngs=rngs).embedding


def test_training_drops_paths_at_random_and_not_at_rate_zero():
    evaluated = _run(ONE_STAGE, _clips((4, 4, 16, 16, 3))).embedding
    np.testing.assert_allclose(_trained(0.0, 0), evaluated, rtol=1e-5, atol=1e-6)
    first = _trained(0.5, 0)
    assert np.abs(first - evaluated).max() > 1e-3
    assert np.abs(first - _trained(0.5, 1)).max() > 1e-3
    np.testing.assert_array_equal(first, _trained(0.5, 0))


def test_drop_path_rates_grow_linearly_over_all_blocks(monkeypatch):
    rates = []
    drawn = network.drop_path_scales
    monkeypatch.setattr(
        network, "drop_path_scales", lambda key, r, clips: rates.extend(r) or drawn(key, r, clips)
    )
    config = dataclasses.replace(SMALL, depths=(2, 3), drop_path_rate=0.2)
    jax.eval_shape(
        lambda params, clips: VideoSwin(config).apply(
            {"params": params}, clips, train=True, rngs={"drop_path": jax.random.key(0)}
        ),
        _params(config),
        _clips((1, 2, 8, 8, 3)),
    )
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.15, 0.2])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_heads": (3, 6)}, r"depths \(2, 2, 6, 2\) and num_heads \(3, 6\)"),
        ({"num_heads": (5, 6, 12, 24)}, "width 96 of stage 0: not 5 heads"),
        ({"window": (7, 7)}, r"window \(7, 7\) needs 3 numbers"),
        ({"window": (8, 7, 0)}, r"window \(8, 7, 0\): every number must be 1 or more"),
        ({"embed_dim": 0}, "embed_dim 0: every number must be 1 or more"),
        ({"num_heads": (3, 6, 0, 24)}, r"num_heads \(3, 6, 0, 24\): every number must be 1"),
        ({"depths": (), "num_heads": ()}, r"depths \(\): every number must be 1"),
        ({"dtype": "float16"}, "dtype 'float16': choose float32 or bfloat16"),
    ],
)
def test_contradictory_hyperparameters_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        SwinConfig(**changes)


def test_the_fingerprint_follows_what_decides_the_embeddings_alone():
    def of(**changes):
        return swin.make_projector(
            dataclasses.replace(SMALL, **changes), _params(SMALL)
        ).fingerprint

    assert of(drop_path_rate=0.3, remat=True, scan=True) == of()
    assert of(dtype="bfloat16") != of()


def test_a_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"absent\.pth: no such checkpoint"):
        swin.load(str(tmp_path / "absent.pth"), seed=0, dtype="float32")


def test_a_pth_loads_as_a_projector(shared):
    projector = swin.load(str(shared / "parity" / "uas_xs.pth"), seed=0, dtype="float32")
    assert (projector.embedding_dim, projector.num_classes) == (128, 15)


@pytest.mark.slow
def test_random_weights_follow_their_seed():
    first, again, other = (swin.load("random", seed=s, dtype="float32") for s in (0, 0, 1))
    assert first.embedding_dim == 768
    assert first.num_classes is None
    assert first.fingerprint == again.fingerprint != other.fingerprint


NARROW = ArchitectureConfig(embed_dim=8, depths=(1, 2), num_heads=(1, 2), window=(2, 3, 3))


def test_random_weights_are_of_the_architecture_asked_for():
    projector = load_projector("random", kind="swin", seed=3, architecture=NARROW)
    config = SwinConfig(
        embed_dim=8, depths=(1, 2), num_heads=(1, 2), window=(2, 3, 3), num_classes=None
    )
    assert projector.config == config
    assert (projector.embedding_dim, projector.num_classes) == (16, None)
    expected = jax.jit(network.init_params, static_argnums=0)(config, jax.random.key(3))
    jax.tree.map(np.testing.assert_array_equal, projector.params, expected)


def test_an_architecture_leaves_other_hyperparameters_at_their_defaults():
    assert swin.config_of(ArchitectureConfig()) == SwinConfig.tiny()
    changed = swin.config_of(NARROW, num_classes=None, window=(1, 3, 3))
    assert (changed.depths, changed.num_classes, changed.window) == ((1, 2), None, (1, 3, 3))


def test_an_architecture_that_would_have_no_effect_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"embed_dim=8.* is for random weights; \S+a\.pth has its"):
        load_projector(str(tmp_path / "a.pth"), architecture=NARROW)
    with pytest.raises(ValueError, match=r"'i3d' has one architecture, got .*embed_dim=8"):
        load_projector("random", architecture=NARROW)
    assert load_projector("random", architecture=ArchitectureConfig()).name == "i3d"


@pytest.mark.parametrize(
    ("backend", "devices", "dtype", "form"),
    [
        ("tpu", 4, "bfloat16", "xla"),
        ("tpu", 4, "float32", "xla"),
        ("cpu", 1, "float32", "blocked"),
        ("cpu", 1, "bfloat16", "xla"),
        ("cpu", 8, "float32", "xla"),
        ("gpu", 1, "bfloat16", "xla"),
    ],
)
def test_the_form_follows_the_machine_unless_it_is_named(
    monkeypatch, backend, devices, dtype, form
):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    assert SwinConfig(dtype=dtype).chosen_attention() == form
    assert SwinConfig(dtype=dtype, attention_impl="xla").chosen_attention() == "xla"
    by_kernel = SwinConfig(dtype=dtype, attention_impl="pallas")
    if backend == "gpu":
        with pytest.raises(ValueError, match="'pallas' is a kernel for TPUs; on a GPU choose auto"):
            by_kernel.chosen_attention()
    else:
        assert by_kernel.chosen_attention() == "pallas"
