import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from mpjax.config import OptimConfig
from mpjax.models import swin
from mpjax.training import optim

CONFIG = OptimConfig(learning_rate=1e-2, weight_decay=0.1)
SHAPES = {
    "head": {"kernel": (4, 3), "bias": (3,)},
    "adapters": {"stage0_block0": {"q": {"a": (4, 2), "b": (2, 4)}}},
    "projector": {
        "patch_embed": {"norm": {"scale": (4,), "bias": (4,)}, "proj": {"kernel": (2, 4)}},
        "stage0_block1": {
            "norm1": {"scale": (4,), "bias": (4,)},
            "attn": {"relative_position_bias_table": (5, 2), "qkv": {"bias": (3,)}},
        },
        "stage0_merging": {"norm": {"scale": (4,), "bias": (4,)}},
        "norm": {"scale": (4,), "bias": (4,)},
    },
}


def draw(seed):
    rng = np.random.default_rng(seed)
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.standard_normal(shape), jnp.float32),
        SHAPES,
        is_leaf=lambda node: isinstance(node, tuple),
    )


def flatten(tree):
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(entry.key for entry in path): np.asarray(leaf) for path, leaf in leaves}


def is_spared(name):
    return "norm" in name or name.endswith("relative_position_bias_table")


def train(config, schedule, gradients, *, params=None, state=None):
    params = params or draw(0)
    optimizer = optim.make_optimizer(config, schedule, params)
    state = state or optimizer.init(params)

    @jax.jit
    def step(params, state, gradient):
        updates, state = optimizer.update(gradient, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    for gradient in gradients:
        params, state = step(params, state, gradient)
    return params, state


def adamw(name, gradients, config, schedule, *, dtype=np.float64):
    """AdamW of one leaf by the book (arXiv 1711.05101, algorithm 2)."""
    p = flatten(draw(0))[name].astype(dtype)
    m, v = np.zeros_like(p), np.zeros_like(p)
    b1, b2 = config.betas
    for t, gradient in enumerate(gradients, start=1):
        g = flatten(gradient)[name].astype(dtype)
        m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
        rate = float(schedule(t - 1)) * (
            config.projector_scale if name.startswith("projector/") else 1
        )
        decay = 0.0 if is_spared(name) else config.weight_decay
        p = p - rate * ((m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + 1e-8) + decay * p)
    return p


def test_steps_are_those_of_decoupled_adamw_with_the_published_groups():
    schedule = optim.make_schedule(CONFIG, steps=10, steps_per_epoch=1)
    gradients = [draw(seed) for seed in range(1, 11)]
    params, _ = train(CONFIG, schedule, gradients)
    for name, leaf in flatten(params).items():
        expected = adamw(name, gradients, CONFIG, schedule)
        np.testing.assert_allclose(leaf, expected, rtol=1e-5, atol=1e-6, err_msg=name)


def test_steps_are_those_of_torch_adamw_with_the_same_groups():
    torch = pytest.importorskip("torch")
    schedule = optim.make_schedule(CONFIG, steps=20, steps_per_epoch=2)
    gradients = [draw(seed) for seed in range(1, 21)]
    params, _ = train(CONFIG, schedule, gradients)
    leaves = {n: torch.nn.Parameter(torch.tensor(leaf)) for n, leaf in flatten(draw(0)).items()}
    groups = [
        {
            "params": [leaf],
            "scale": CONFIG.projector_scale if name.startswith("projector/") else 1.0,
            "weight_decay": 0.0 if is_spared(name) else CONFIG.weight_decay,
        }
        for name, leaf in leaves.items()
    ]
    theirs = torch.optim.AdamW(groups, lr=1.0, betas=CONFIG.betas)
    for step, gradient in enumerate(gradients):
        for name, g in flatten(gradient).items():
            leaves[name].grad = torch.tensor(g)
        for group in theirs.param_groups:
            group["lr"] = group["scale"] * float(schedule(step))
        theirs.step()
    for name, leaf in flatten(params).items():
        np.testing.assert_allclose(leaf, leaves[name].detach().numpy(), atol=1e-6, err_msg=name)


def test_without_gradients_all_shrink_but_norms_and_bias_tables():
    zero = jax.tree.map(jnp.zeros_like, draw(0))
    params, _ = train(CONFIG, lambda step: 0.5, [zero] * 2)
    before = flatten(draw(0))
    for name, leaf in flatten(params).items():
        rate = 0.5 * (0.1 if name.startswith("projector/") else 1)
        shrunk = 1.0 if is_spared(name) else (1 - rate * 0.1) ** 2
        np.testing.assert_allclose(leaf, before[name] * shrunk, rtol=1e-6, err_msg=name)


def test_of_video_swin_exactly_layer_norms_and_tables_are_spared():
    config = swin.SwinConfig(embed_dim=8, depths=(1, 2), num_heads=(1, 2), window=(2, 2, 2))
    shapes = jax.eval_shape(lambda key: swin.init_params(config, key), jax.random.key(0))
    leaves = jax.tree_util.tree_leaves_with_path(optim.decayed({"projector": shapes}))
    names = {"/".join(entry.key for entry in path): leaf for path, leaf in leaves}
    spared = {name.removeprefix("projector/") for name, leaf in names.items() if not leaf}
    blocks = [f"stage{stage}_block{block}" for stage, block in ((0, 0), (1, 0), (1, 1))]
    norms = [f"{block}/norm{i}" for block in blocks for i in (1, 2)]
    norms += ["patch_embed/norm", "stage0_merging/norm", "norm"]
    tables = {f"{block}/attn/relative_position_bias_table" for block in blocks}
    assert spared == tables | {f"{norm}/{leaf}" for norm in norms for leaf in ("scale", "bias")}


def test_the_schedule_rises_linearly_then_falls_as_a_cosine_to_zero():
    config = OptimConfig(learning_rate=3e-4, warmup_epochs=2.5)
    schedule = jax.jit(optim.make_schedule(config, steps=120, steps_per_epoch=8))
    values = [float(schedule(step)) for step in (0, 5, 10, 20, 70, 120, 130)]
    expected = [0, 0.75e-4, 1.5e-4, 3e-4, 1.5e-4, 0, 0]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-10)
    quarter = 3e-4 * (1 + np.cos(np.pi / 4)) / 2
    np.testing.assert_allclose(float(schedule(45)), quarter, rtol=1e-5)


def test_a_warm_up_longer_than_the_run_ends_with_it():
    schedule = optim.make_schedule(
        OptimConfig(learning_rate=1.0, warmup_epochs=100.0), steps=10, steps_per_epoch=2
    )
    np.testing.assert_allclose([float(schedule(t)) for t in range(10)], np.arange(10) / 10)


def test_without_warm_up_the_first_step_takes_the_peak():
    config = OptimConfig(learning_rate=1.0, warmup_epochs=0.0)
    assert float(optim.make_schedule(config, steps=10, steps_per_epoch=2)(0)) == 1.0


def test_gradients_are_clipped_by_their_global_norm():
    config = dataclasses.replace(CONFIG, clip_norm=2.0)
    gradients = [jax.tree.map(lambda g, k=k: g * 10.0**k, draw(k + 3)) for k in (-3, 0, 1)]
    norms = [np.sqrt(sum(np.sum(leaf**2) for leaf in flatten(g).values())) for g in gradients]
    assert norms[0] < 2 < norms[1]
    clipped = [
        jax.tree.map(lambda leaf, n=n: leaf * min(1.0, 2.0 / n), gradient)
        for gradient, n in zip(gradients, norms, strict=True)
    ]
    ours, _ = train(config, lambda step: 0.1, gradients)
    by_hand, _ = train(CONFIG, lambda step: 0.1, clipped)
    unclipped, _ = train(CONFIG, lambda step: 0.1, gradients)
    for name, leaf in flatten(ours).items():
        np.testing.assert_allclose(leaf, flatten(by_hand)[name], rtol=1e-5, atol=1e-6)
    assert np.abs(flatten(ours)["head/bias"] - flatten(unclipped)["head/bias"]).max() > 1e-3


def test_moments_are_laid_out_as_the_parameters_whatever_is_trained():
    for parts in (("head",), ("head", "adapters"), ("head", "projector")):
        params = {part: draw(0)[part] for part in parts}
        optimizer = optim.make_optimizer(CONFIG, lambda step: 0.1, params)
        arrays = [leaf for leaf in jax.tree.leaves(optimizer.init(params)) if leaf.ndim]
        shapes = [leaf.shape for leaf in jax.tree.leaves(params)]
        assert [leaf.shape for leaf in arrays] == shapes * 2


def test_a_run_resumed_from_an_orbax_checkpoint_equals_an_unbroken_one(tmp_path):
    schedule = optim.make_schedule(CONFIG, steps=6, steps_per_epoch=1)
    gradients = [draw(seed) for seed in range(6)]
    whole, _ = train(CONFIG, schedule, gradients)
    params, state = train(CONFIG, schedule, gradients[:3])
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state", jax.eval_shape(lambda: state))
    resumed, _ = train(CONFIG, schedule, gradients[3:], params=params, state=restored)
    for name, leaf in flatten(resumed).items():
        np.testing.assert_array_equal(leaf, flatten(whole)[name], err_msg=name)


def test_the_average_of_weights_forgets_the_first_ones_quickly():
    update = jax.jit(functools.partial(optim.update_ema, decay=0.6))
    ema = {"w": jnp.array([100.0])}
    expected = 100.0
    for step in range(50):
        ema = update(ema, {"w": jnp.array([1.0])}, step=step)
        kept = min(0.6, (1 + step) / (10 + step))
        expected = kept * expected + (1 - kept) * 1.0
        np.testing.assert_allclose(ema["w"], [expected], rtol=1e-5)
        if step == 0:
            np.testing.assert_allclose(ema["w"], [10.9], rtol=1e-5)
