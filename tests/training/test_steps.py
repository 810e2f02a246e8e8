import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import small_study

from mpjax.config import LoraConfig, OptimConfig, TrainConfig
from mpjax.models.projector import Projector
from mpjax.studies.projector import projector_of
from mpjax.training import compiled_steps, steps

KEY = jax.random.key(7)
CLASSES = 3


def brightness(params, clips):
    return params["scale"] * jnp.mean(clips, axis=(1, 2, 3)), None


PROJECTOR = Projector(
    name="brightness",
    fingerprint="",
    embedding_dim=3,
    num_classes=None,
    params={"scale": np.float32([1.0, 2.0, 3.0])},
    apply=brightness,
    mean=(128.0,) * 3,
    std=(64.0,) * 3,
)


def make_batch(n=8, seed=0):
    rng = np.random.default_rng(seed)
    return {
        "clips": jnp.asarray(rng.integers(0, 256, (n, 2, 4, 4, 3), np.uint8)),
        "label": jnp.asarray(rng.integers(0, CLASSES, n, np.int32)),
    }


def make_task(config, projector=PROJECTOR, weight=(1.0, 1.0, 1.0)):
    return compiled_steps.make_task(
        config,
        projector,
        class_weight=np.float32(weight),
        total_steps=10,
        steps_per_epoch=2.0,
    )


def plain(what="head", **changes):
    optim = OptimConfig(learning_rate=0.1, warmup_epochs=0.0, **changes.pop("optim", {}))
    return TrainConfig(what=what, dropout=0.0, drop_path=0.0, optim=optim, **changes)


def start(task, projector=PROJECTOR):
    frozen = projector.params
    return steps.init_state(task, jax.random.key(0), frozen), frozen


def take(task, state, frozen, batch, key=KEY):
    return jax.jit(lambda s, f, b: steps.train_step(s, f, b, key, task))(state, frozen, batch)


def by_hand(head, batch, *, smoothing, weight):
    """Loss and accuracy of a batch in numpy."""
    clips = (np.asarray(batch["clips"], np.float64) - 128) / 64
    logits = clips.mean((1, 2, 3)) * [1, 2, 3] @ np.float64(head["kernel"]) + head["bias"]
    log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    label = np.asarray(batch["label"])
    target = np.eye(CLASSES)[label] * (1 - smoothing) + smoothing / CLASSES
    losses = -(target * log_p).sum(1) * np.asarray(weight)[label]
    return losses.mean(), (logits.argmax(1) == label).mean()


@pytest.mark.parametrize(("smoothing", "weight"), [(0.0, (1, 1, 1)), (0.1, (0.5, 1.0, 2.0))])
def test_loss_and_accuracy_are_those_of_the_batch_before_the_step(smoothing, weight):
    task = make_task(plain(label_smoothing=smoothing), weight=weight)
    state, frozen = start(task)
    _, metrics = take(task, state, frozen, make_batch())
    expected = by_hand(state.params["head"], make_batch(), smoothing=smoothing, weight=weight)
    np.testing.assert_allclose(
        [metrics["loss"], metrics["accuracy"]], expected, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("parts", [2, 4])
def test_parts_of_a_batch_one_after_the_other_give_the_step_of_the_whole(parts):
    whole, cut = (make_task(plain(optim={"accumulate": n})) for n in (1, parts))
    state, frozen = start(whole)
    expected, got = (take(task, state, frozen, make_batch()) for task in (whole, cut))
    assert jax.tree.structure(expected) == jax.tree.structure(got)
    for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(got), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_a_step_depends_on_its_number_and_on_nothing_that_ran_before():
    config = dataclasses.replace(plain(), dropout=0.5)
    task = make_task(config)
    state, frozen = start(task)
    again = take(task, state, frozen, make_batch())[0]
    first = take(task, state, frozen, make_batch())[0]
    later = take(task, state.replace(step=state.step + 1), frozen, make_batch())[0]
    other_run = take(task, state, frozen, make_batch(), jax.random.key(8))[0]
    kernel = [np.asarray(s.params["head"]["kernel"]) for s in (first, again, later, other_run)]
    np.testing.assert_array_equal(kernel[0], kernel[1])
    assert (kernel[0] != kernel[2]).any()
    assert (kernel[0] != kernel[3]).any()


def test_the_average_follows_the_weights_and_is_what_is_evaluated():
    task = make_task(plain(optim={"ema": 0.9}))
    state, frozen = start(task)
    after = take(task, state, frozen, make_batch())[0]
    old, new, average = (
        np.asarray(tree["head"]["kernel"]) for tree in (state.params, after.params, after.ema)
    )
    np.testing.assert_allclose(average, 0.1 * old + 0.9 * new, rtol=1e-5, atol=1e-7)
    assert after.evaluated is after.ema
    assert start(make_task(plain()))[0].evaluated.keys() == {"head"}


def test_a_bound_on_the_gradient_leaves_its_reported_norm_and_shortens_the_step():
    free, bound = (
        make_task(dataclasses.replace(plain(optim={"clip_norm": c}))) for c in (0.0, 1e-9)
    )
    state, frozen = start(free)
    (a, m), (b, n) = (take(task, state, frozen, make_batch()) for task in (free, bound))
    assert float(m["gradient_norm"]) == float(n["gradient_norm"]) > 0.01
    moved = [optax.tree.norm(jax.tree.map(jnp.subtract, s.params, state.params)) for s in (a, b)]
    assert moved[1] < 0.7 * moved[0]


@pytest.mark.parametrize(
    ("what", "trained"), [("lora", {"head", "adapters"}), ("all", {"head", "projector"})]
)
def test_what_is_trained_changes_and_what_is_not_is_no_part_of_the_state(what, trained):
    one_stage = ("projector.architecture.depths=(1,)", "projector.architecture.num_heads=(2,)")
    config = small_study.study_config(*one_stage)
    projector = projector_of(config)
    train = dataclasses.replace(plain(what), lora=LoraConfig(rank=2))
    task = make_task(train, projector)
    state, frozen = start(task, projector)
    rng = np.random.default_rng(0)
    batch = make_batch() | {"clips": jnp.asarray(rng.integers(0, 256, (8, 4, 8, 8, 3), np.uint8))}
    after, metrics = take(task, state, frozen, batch)
    assert set(after.params) == trained
    changed = jax.tree.map(lambda a, b: bool((a != b).any()), state.params, after.params)
    assert changed["head"]["kernel"]
    assert any(jax.tree.leaves(changed))
    if what == "lora":  # with B = 0, the gradient of A is 0: decay alone moves it
        assert all(pair["b"] for block in changed["adapters"].values() for pair in block.values())
    assert np.isfinite(float(metrics["loss"]))


def test_an_evaluation_counts_every_clip_once_and_no_filling():
    task = make_task(plain())
    state, frozen = start(task)
    batch = make_batch(8)
    mask = jnp.asarray([True] * 5 + [False] * 3)
    sums = steps.eval_step(state.params, frozen, batch | {"mask": mask}, task)
    real = {name: value[:5] for name, value in batch.items()}
    loss, accuracy = by_hand(state.params["head"], real, smoothing=0, weight=(1, 1, 1))
    np.testing.assert_array_equal(
        sums["count"], np.bincount(np.asarray(real["label"]), minlength=CLASSES)
    )
    np.testing.assert_allclose(sums["loss"].sum() / 5, loss, rtol=1e-5)
    np.testing.assert_allclose(sums["correct"].sum() / 5, accuracy, rtol=1e-5)


def test_a_projector_that_is_no_swin_is_frozen_or_refused():
    with pytest.raises(ValueError, match="config.train.what=all trains a Video Swin"):
        make_task(plain("all"))
