import jax.numpy as jnp
import numpy as np
import pytest

from mpjax.config import ArchitectureConfig
from mpjax.interpret import attribution
from mpjax.models import swin
from mpjax.models.projector import Projector, load_projector

T, H, W = 4, 12, 12
SHAPE = (T, H, W)


def quadrant_projector(nonlinear=False):
    """Embeds a clip as the mean brightness of its four quadrants."""

    def apply(params, clips):
        b, t, h, w, _ = clips.shape
        parts = clips.reshape(b, t, 2, h // 2, 2, w // 2, 3).mean(axis=(1, 3, 5, 6))
        flat = parts.reshape(b, 4)
        return (jnp.tanh(3 * flat**2) if nonlinear else flat), None

    return Projector(
        name="quadrants",
        fingerprint="quadrants",
        embedding_dim=4,
        num_classes=None,
        params={},
        apply=apply,
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
    )


def head(width=4, classes=3, seed=0):
    """Class k listens to quadrant k; the rest of the weights is zero."""
    kernel = 10 * np.eye(width, classes, dtype=np.float32)
    scaler = {"mean": np.full(width, 0.1, np.float32), "std": np.full(width, 0.5, np.float32)}
    return {"params": {"linear": {"kernel": kernel, "bias": np.zeros(classes, np.float32)}}} | {
        "scaler": scaler
    }


def random_clip(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*SHAPE, 3), np.uint8)


def subject(projector, clip, background, grid=(2, 4, 4), **options):
    explainer = attribution.Explainer(projector, **options)
    return attribution.Subject(explainer, head(), clip, background, grid)


FIRST = np.array([True, False, False])
EMPTY = np.full((H, W, 3), 20, np.uint8)


def test_a_contrast_is_the_mean_of_its_classes_minus_that_of_the_others():
    logits = np.array([3.0, 1.0, 5.0, 4.0])
    members = np.array([True, False, True, False])
    assert attribution.contrast(members) @ logits == pytest.approx(4.0 - 2.5)
    one = np.array([False, False, False, True])
    assert attribution.contrast(one) @ logits == pytest.approx(4.0 - 3.0)
    with pytest.raises(ValueError, match="4 of 4 classes form no contrast"):
        attribution.contrast(np.ones(4, bool))


@pytest.mark.parametrize("shape", [(4, 12, 12), (5, 7, 13), (2, 4, 4)])
def test_cells_share_the_clip_out_evenly_and_none_is_empty(shape):
    index = attribution.cell_index(shape, (2, 4, 4))
    counts = np.bincount(index.ravel(), minlength=32)
    assert index.shape == shape
    assert counts.min() > 0
    for axis in range(3):
        assert (np.diff(index, axis=axis) >= 0).all()
    with pytest.raises(ValueError, match="finer than the clip"):
        attribution.cell_index((4, 3, 9), (2, 4, 4))


def test_gradients_of_a_linear_network_are_its_weights_times_the_difference():
    clip = random_clip()
    explainer = attribution.Explainer(quadrant_projector())
    weights = attribution.contrast(FIRST)
    found = explainer.integrated_gradients(head(), clip, EMPTY, weights=weights, steps=1)
    # d score / d pixel: 10 / 0.5 per unit of the quadrant's mean, in its own quadrant; minus half
    # of that for either other class.
    per_pixel = (clip.astype(float) - EMPTY).sum(-1) / 255 / (3 * T * (H // 2) * (W // 2)) * 20
    expected = np.zeros(SHAPE)
    expected[:, : H // 2, : W // 2] = per_pixel[:, : H // 2, : W // 2]
    expected[:, : H // 2, W // 2 :] = -per_pixel[:, : H // 2, W // 2 :] / 2
    expected[:, H // 2 :, : W // 2] = -per_pixel[:, H // 2 :, : W // 2] / 2
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("gradient_batch", [1, 3, 64])
def test_gradients_sum_to_the_difference_of_the_scores_whatever_the_batch(gradient_batch):
    clip = random_clip(1)
    clip[:, H // 2 :], clip[:, :, W // 2 :] = 20, 20
    target = subject(quadrant_projector(True), clip, EMPTY, gradient_batch=gradient_batch)
    found = attribution.attribute(target, FIRST, None, steps=64)
    difference = found.figures["score"] - found.figures["score_background"]
    assert abs(difference) > 1
    assert abs(found.figures["gap"]) < 1e-3 * abs(difference)
    np.testing.assert_allclose(found.cells["gradients"].sum(), difference, rtol=2e-3)


def bright_spot():
    """A bright patch in the first quadrant of the first half of the time; all else is empty."""
    clip = np.repeat(EMPTY[None], T, axis=0)
    clip[:2, :3, :3] = 250
    return clip


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_occlusion_finds_the_one_cell_that_counts_and_tries_no_empty_one(batch_size):
    target = subject(quadrant_projector(True), bright_spot(), EMPTY, batch_size=batch_size)
    found = attribution.attribute(target, FIRST, None, steps=4)
    assert found.figures["erased"] == 1
    drop = found.cells["occlusion"]
    assert drop[0] == pytest.approx(
        found.figures["score"] - found.figures["score_background"], rel=1e-5
    )
    assert (drop[1:] == 0).all()
    for kind in ("occlusion", "gradients"):
        place = np.unravel_index(np.abs(found.maps[kind]).argmax(), SHAPE)
        assert place < (2, 3, 3)


def test_the_map_of_pain_is_of_the_logit_of_its_probability():
    pain = np.array([True, True, False])
    target = subject(quadrant_projector(), bright_spot(), EMPTY)
    found = attribution.attribute(target, FIRST, pain, steps=1)
    odds = [np.logaddexp(*ends[:2]) - ends[2] for ends in found.ends.astype(float)]
    spread = attribution.smooth_cells(
        np.eye(32)[0] * (odds[0] - odds[1]), target.index, target.grid
    )
    np.testing.assert_allclose(found.maps["pain"], spread * target.visible, rtol=1e-4, atol=1e-6)
    assert (found.maps["pain"][:, 8:] == 0).all(), "nothing there differs from the background"
    assert "pain" not in attribution.attribute(target, FIRST, None, steps=1).maps


def test_an_order_erases_its_first_cells_first_and_ever_more():
    orders = [np.array([3, 0, 2, 1, 4]), np.arange(5)]
    keep = attribution.deletion_masks(orders, 5)
    assert keep.shape == (2, 4, 5)
    assert keep.sum(-1).tolist() == [[4, 3, 2, 1]] * 2
    assert keep[0, 0].tolist() == [True, True, True, False, True]
    assert keep[0, 3].tolist() == [False, False, False, False, True]
    assert (np.diff(keep.astype(int), axis=1) <= 0).all()


def test_the_area_of_a_straight_line_is_its_middle():
    assert attribution.area_under(np.linspace(1, 0, 7)) == pytest.approx(0.5)
    np.testing.assert_allclose(attribution.area_under(np.array([[1.0, 1.0], [0.0, 1.0]])), [1, 0.5])


def test_a_clip_smaller_than_the_grid_has_a_cell_for_each_frame():
    clip = random_clip()[:1]
    target = subject(quadrant_projector(), clip, EMPTY, grid=(4, 4, 4))
    assert target.grid == (1, 4, 4)
    assert np.unique(target.index).size == 16


TINY = ArchitectureConfig(
    embed_dim=8, depths=(1,), num_heads=(2,), patch=(2, 4, 4), window=(2, 3, 3)
)


def test_gradients_reach_the_pixels_of_a_video_swin():
    projector = swin.load("random", seed=0, dtype="float32", architecture=TINY)
    check_network(projector, (4, 24, 24))


@pytest.mark.slow
def test_gradients_reach_the_pixels_of_an_i3d():
    check_network(load_projector("random"), (8, 32, 32))


def check_network(projector, shape):
    """Gradients agree with the change of the score along the path, occlusion with the logits."""
    rng = np.random.default_rng(0)
    clip = rng.integers(0, 256, (*shape, 3), np.uint8)
    background = rng.integers(0, 256, (*shape[1:], 3), np.uint8)
    explainer = attribution.Explainer(projector, batch_size=3, gradient_batch=2)
    width = projector.embedding_dim
    kernel = rng.normal(0, 1, (width, 3)).astype(np.float32)
    scaler = {"mean": np.zeros(width, np.float32), "std": np.ones(width, np.float32)}
    own = {"params": {"linear": {"kernel": kernel, "bias": np.zeros(3, np.float32)}}}
    target = attribution.Subject(explainer, own | {"scaler": scaler}, clip, background, (2, 2, 2))
    found = attribution.attribute(target, FIRST, None, steps=24)
    difference = found.figures["score"] - found.figures["score_background"]
    np.testing.assert_allclose(
        found.ends[0], np.asarray(projector(clip[None]))[0] @ kernel, rtol=1e-4, atol=1e-4
    )
    assert found.figures["erased"] == 8
    assert abs(found.figures["gap"]) < 0.1 * abs(difference) + 0.02
