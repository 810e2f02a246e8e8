import numpy as np
import pytest

from mpjax.models.weights.inflation import (
    Inflation,
    bicubic_weights,
    inflate_bias_table,
    inflate_patch_kernel,
    is_square,
)

# What torch 2.14 gives for a[i, j] = sin(3.4 * (5 i + j)), i, j = 0 … 4:
# torch.nn.functional.interpolate(a[None, None], size=…, mode="bicubic", align_corners=False)
SMALLER = [
    [-0.1844437, -0.0236269, 0.1758402],
    [0.2511213, 0.0406933, -0.2363033],
    [-0.1866612, -0.0365092, 0.1733667],
]
LARGER = [
    [0.0982629, -0.3585849, 0.3374478, -0.0081998, -0.5656951, 1.0790947],
    [-0.7836865, 0.4219124, -0.0062474, -0.243665, 0.279653, -0.109975],
    [-0.7581239, 0.6615178, -0.28509, -0.2035973, 0.7103478, -0.9893729],
    [0.5723441, -0.1434103, -0.1768541, 0.1988361, 0.0817013, -0.4937386],
    [0.9638723, -0.7130715, 0.2215139, 0.2750757, -0.6809775, 0.8118819],
    [0.0399478, -0.2355564, 0.2360623, -0.0147147, -0.3858207, 0.7515688],
    [-1.121279, 0.6149185, -0.0213362, -0.3472028, 0.419661, -0.1965792],
]


@pytest.mark.parametrize("expected", [SMALLER, LARGER], ids=["smaller", "larger"])
def test_resizing_equals_torch_bicubic(expected):
    table = np.sin(3.4 * np.arange(25.0)).reshape(5, 5)
    expected = np.array(expected)
    height, width = expected.shape
    resized = bicubic_weights(5, height) @ table @ bicubic_weights(5, width).T
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(("old", "new"), [(13, 13), (13, 23), (23, 13), (1, 5), (7, 2)])
def test_resizing_equals_torch_where_it_is_installed(old, new):
    torch = pytest.importorskip("torch")
    table = np.random.default_rng(0).standard_normal((old, old))
    theirs = torch.nn.functional.interpolate(
        torch.tensor(table)[None, None], size=(new, new), mode="bicubic", align_corners=False
    )
    ours = bicubic_weights(old, new) @ table @ bicubic_weights(old, new).T
    np.testing.assert_allclose(ours, theirs[0, 0].numpy(), rtol=0, atol=1e-5)


def test_resizing_to_the_same_size_changes_nothing():
    np.testing.assert_array_equal(bicubic_weights(13, 13), np.eye(13))


@pytest.mark.parametrize("window", [(8, 3, 3), (2, 3, 5), (1, 7, 4)])
def test_bias_tables_are_repeated_over_every_offset_in_time(window):
    table = np.random.default_rng(0).standard_normal((25, 2)).astype("float32")
    inflated = inflate_bias_table(table, window)
    t, h, w = (2 * tokens - 1 for tokens in window)
    assert inflated.shape == (t * h * w, 2)
    assert inflated.dtype == np.float32
    for head in range(2):
        grid = table[:, head].reshape(5, 5)
        resized = bicubic_weights(5, h) @ grid @ bicubic_weights(5, w).T
        for offset in inflated[:, head].reshape(t, h, w):
            np.testing.assert_allclose(offset, resized, rtol=0, atol=1e-6)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_a_patch_of_a_still_clip_embeds_as_that_of_its_frame(frames):
    rng = np.random.default_rng(0)
    kernel, image = rng.standard_normal((8, 3, 4, 2)), rng.standard_normal((3, 4, 2))
    clip = np.repeat(image[:, None], frames, axis=1)
    embedded = np.einsum("octhw,cthw->o", inflate_patch_kernel(kernel, frames), clip)
    np.testing.assert_allclose(embedded, np.einsum("ochw,chw->o", kernel, image))


def test_only_square_windows_of_odd_offsets_are_square():
    assert [rows for rows in range(1, 200) if is_square(rows)] == [1, 9, 25, 49, 81, 121, 169]


@pytest.mark.parametrize("fields", [{"window": (8, 7)}, {"window": (0, 7, 7)}, {"patch_frames": 0}])
def test_empty_windows_and_patches_are_refused(fields):
    with pytest.raises(ValueError, match=r"window \(.*\) needs 3|a patch of 0 frames"):
        Inflation(**fields)
