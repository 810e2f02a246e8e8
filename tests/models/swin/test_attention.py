import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpjax.models.swin import attention
from mpjax.models.swin.windows import (
    fit_window,
    partition,
    relative_position_index,
    reverse,
    shift_regions,
)
from mpjax.models.weights.torch_reader import read_checkpoint

sizes = st.tuples(*[st.integers(1, 4)] * 3)


@settings(deadline=None, max_examples=30)
@given(window=sizes, count=sizes)
def test_reverse_undoes_partition(window, count):
    size = tuple(w * n for w, n in zip(window, count, strict=True))
    grid = np.arange(2 * np.prod(size) * 3, dtype="float32").reshape(2, *size, 3)
    windows = jnp.asarray(partition(grid, window))
    assert windows.shape == (2, np.prod(count), np.prod(window), 3)
    np.testing.assert_array_equal(reverse(windows, window, size), grid)


def test_a_window_holds_neighbouring_tokens_in_t_h_w_order():
    grid = np.arange(4 * 6 * 6).reshape(1, 4, 6, 6, 1)
    windows = partition(grid, (2, 3, 2))
    np.testing.assert_array_equal(windows[0, 0, :, 0], grid[0, :2, :3, :2, 0].ravel())
    np.testing.assert_array_equal(windows[0, 1, :, 0], grid[0, :2, :3, 2:4, 0].ravel())
    np.testing.assert_array_equal(windows[0, 6, :, 0], grid[0, 2:, :3, :2, 0].ravel())


@pytest.mark.parametrize(
    ("size", "fitted", "shift"),
    [
        ((16, 56, 56), (8, 7, 7), (4, 3, 3)),
        ((8, 56, 7), (8, 7, 7), (0, 3, 0)),  # an axis as long as the window is not shifted
        ((9, 8, 8), (8, 7, 7), (4, 3, 3)),  # nor rounded down: what is longer is padded
        ((2, 3, 1), (2, 3, 1), (0, 0, 0)),
    ],
)
def test_window_shrinks_to_axes_no_longer_than_it(size, fitted, shift):
    assert fit_window(size, (8, 7, 7), (4, 3, 3)) == (fitted, shift)


@settings(deadline=None, max_examples=20)
@given(window=sizes)
def test_bias_index_tells_offsets_apart_and_nothing_else(window):
    index = relative_position_index(window)
    tokens = np.indices(window).reshape(3, -1).T
    rows = {}
    for i, query in enumerate(tokens):
        for j, key in enumerate(tokens):
            rows.setdefault(tuple(query - key), set()).add(int(index[i, j]))
    assert all(len(found) == 1 for found in rows.values())
    assert sorted(row for (row,) in rows.values()) == list(range(np.prod(2 * np.array(window) - 1)))


def test_bias_index_equals_the_published_buffer(shared):
    state = read_checkpoint(shared / "parity" / "uas_xs.pth")["state_dict"]
    published = state["backbone.layers.0.blocks.0.attn.relative_position_index"]
    np.testing.assert_array_equal(relative_position_index((8, 7, 7)), published)


@settings(deadline=None, max_examples=40)
@given(window=sizes, count=sizes, data=st.data())
def test_regions_part_exactly_the_tokens_that_the_wrap_brought_together(window, count, data):
    shift = tuple(data.draw(st.integers(0, w - 1)) for w in window)
    size = tuple(w * n for w, n in zip(window, count, strict=True))
    where = np.moveaxis(np.indices(size), 0, -1)
    rolled = np.roll(where, [-p for p in shift], axis=(0, 1, 2))
    original = partition(rolled[None], window)[0]  # [windows, n, 3]
    local = np.moveaxis(np.indices(window), 0, -1).reshape(-1, 3)
    moved = original - local  # equal for two tokens that kept their distance
    together = (moved[:, :, None] == moved[:, None, :]).all(-1)
    regions = shift_regions(size, window, shift)
    np.testing.assert_array_equal(regions[:, :, None] == regions[:, None, :], together)


def _layer(window, shift, heads=2):
    return attention.WindowAttention(
        num_heads=heads, window=window, shift=shift, dtype="float32", precision=None
    )


def _random_variables(layer, x):
    shapes = jax.eval_shape(lambda x: layer.init(jax.random.key(0), x), x)
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda p: rng.standard_normal(p.shape).astype("float32"), shapes)


def _receptive_field(shift, token):
    """Returns which tokens of a 4x6x6 grid the output at `token` depends on."""
    layer = _layer((2, 3, 3), shift)
    x = np.random.default_rng(0).standard_normal((1, 4, 6, 6, 4)).astype("float32")
    variables = _random_variables(layer, x)
    gradient = jax.jit(jax.grad(lambda x: (layer.apply(variables, x)[(0, *token)] ** 2).sum()))(x)
    return np.abs(gradient).sum(-1)[0] > 0


def test_shifted_windows_do_not_mix_across_the_wrap():
    expected = np.zeros((4, 6, 6), bool)
    expected[:1, :1, :1] = True  # the first corner: a shift of 1 leaves it alone in its window
    np.testing.assert_array_equal(_receptive_field((1, 1, 1), (0, 0, 0)), expected)
    expected = np.zeros((4, 6, 6), bool)
    expected[1:3, 1:4, 4:6] = True  # in the last window along w, before the wrap
    np.testing.assert_array_equal(_receptive_field((1, 1, 1), (2, 2, 5)), expected)


def test_unshifted_windows_see_themselves_alone():
    expected = np.zeros((4, 6, 6), bool)
    expected[2:4, 0:3, 3:6] = True
    np.testing.assert_array_equal(_receptive_field((0, 0, 0), (3, 1, 4)), expected)


def _attend_naively(params, x, window, shift):
    """One query at a time; padding attends, tokens across the wrap weigh e^-100."""
    size, full = np.array(x.shape[:3]), np.array(window)
    fits = size <= full
    window, shift = np.where(fits, size, full), np.where(fits, 0, shift)
    padded = -(-size // window) * window
    grid = np.zeros((*padded, x.shape[3]))
    grid[: size[0], : size[1], : size[2]] = x
    qkv = np.einsum("thwc,csnk->sthwnk", grid, params["qkv"]["kernel"])
    qkv = qkv + params["qkv"]["bias"][:, None, None, None]
    n = int(np.prod(window))
    index = relative_position_index(tuple(int(w) for w in full))[:n, :n]
    bias = params["relative_position_bias_table"][index]
    out = np.zeros_like(grid)
    local = np.indices(window).reshape(3, -1).T
    for corner in np.ndindex(*(padded // window)):
        rolled = np.array(corner) * window + local
        tokens = (rolled + shift) % padded
        wraps = rolled + shift >= padded
        q, k, v = (part[tuple(tokens.T)] for part in qkv)  # [n, heads, k]
        for i in range(n):
            logits = (q[i] * k).sum(-1) / np.sqrt(q.shape[-1]) + bias[i]
            logits = logits - 100.0 * (wraps != wraps[i]).any(-1)[:, None]
            weights = np.exp(logits - logits.max(0))
            mixed = (weights / weights.sum(0))[..., None] * v
            out[tuple(tokens[i])] = np.einsum("hk,hkc->c", mixed.sum(0), params["proj"]["kernel"])
    return (out + params["proj"]["bias"])[: size[0], : size[1], : size[2]]


@pytest.mark.parametrize("size", [(4, 6, 6), (3, 7, 4), (1, 2, 5)])
def test_layer_equals_attention_written_out_one_query_at_a_time(size):
    layer = _layer((2, 3, 3), (1, 1, 1))
    x = np.random.default_rng(0).standard_normal((2, *size, 4)).astype("float32")
    variables = _random_variables(layer, x)
    got = jax.jit(layer.apply)(variables, x)
    for clip, result in zip(x, np.asarray(got), strict=True):
        expected = _attend_naively(variables["params"], clip, (2, 3, 3), (1, 1, 1))
        np.testing.assert_allclose(result, expected, atol=1e-5 * np.abs(expected).max())
