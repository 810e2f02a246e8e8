import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpjax.models.projector import Projector, fingerprint_params, load_projector

MEAN, STD = (100.0, 110.0, 120.0), (50.0, 60.0, 70.0)


def mean_colour(params, clips):
    colour = clips.mean((1, 2, 3)) * params["scale"]
    return colour, None


def with_head(params, clips):
    colour, _ = mean_colour(params, clips)
    return colour, colour @ jnp.ones((3, 2))


def projector(apply=mean_colour, num_classes=None):
    params = {"scale": np.float32(2.0)}
    return Projector("colour", fingerprint_params(params), 3, num_classes, params, apply, MEAN, STD)


def pixels(seed=0, shape=(2, 4, 5, 6, 3)):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def test_uint8_clips_are_normalised_and_float_clips_are_taken_as_they_are():
    clips = pixels()
    normalised = ((clips - np.array(MEAN)) / np.array(STD)).astype(np.float32)
    expected = 2 * normalised.mean((1, 2, 3))
    np.testing.assert_allclose(projector()(clips), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(projector()(normalised), expected, rtol=1e-5, atol=1e-6)


def test_numpy_and_jax_clips_give_the_same_float32_embedding():
    clips = pixels()
    from_numpy, from_jax = projector()(clips), projector()(jnp.asarray(clips))
    assert isinstance(from_numpy, jax.Array)
    assert from_numpy.dtype == jnp.float32
    np.testing.assert_array_equal(from_numpy, from_jax)


def test_embed_depends_on_the_weights_it_is_given_within_jit():
    loaded = projector()
    doubled = jax.tree.map(lambda leaf: 2 * leaf, loaded.params)
    got = jax.jit(loaded.embed)(doubled, pixels())
    np.testing.assert_allclose(got, 2 * loaded(pixels()), rtol=1e-6)


def test_a_shape_seen_before_is_not_compiled_again():
    traces = []

    def counted(params, clips):
        traces.append(clips.shape)
        return mean_colour(params, clips)

    loaded = projector(counted)
    for seed in range(3):
        loaded(pixels(seed))
    loaded(pixels(0, (1, 4, 5, 6, 3)))
    assert len(traces) == 2


def test_logits_come_from_the_head_and_their_absence_is_an_error():
    loaded = projector(with_head, num_classes=2)
    expected = np.asarray(loaded(pixels())).sum(1)
    np.testing.assert_allclose(loaded.logits(pixels())[:, 0], expected, rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="'colour' carry no classification head"):
        projector().logits(pixels())


def spoilt(value):
    clips = np.zeros((1, 4, 5, 6, 3), np.float32)
    clips[0, 1, 2, 3, 1] = value
    return clips


@pytest.mark.parametrize("wrap", [np.asarray, jnp.asarray])
@pytest.mark.parametrize(
    ("clips", "message"),
    [
        (np.zeros((1, 4, 5, 6, 1), np.uint8), r"shape \(1, 4, 5, 6, 1\).*\[b, t, h, w, 3\]"),
        (np.zeros((1, 4, 5, 6, 4), np.float32), r"shape \(1, 4, 5, 6, 4\).*\[b, t, h, w, 3\]"),
        (np.zeros((4, 5, 6, 3), np.uint8), r"shape \(4, 5, 6, 3\)"),
        (np.zeros((0, 4, 5, 6, 3), np.uint8), "none empty"),
        (np.zeros((1, 4, 5, 6, 3), np.int32), "int32.*uint8"),
        (spoilt(np.nan), "NaN or infinite"),
        (spoilt(-np.inf), "NaN or infinite"),
        (spoilt(255.0), "255.*not normalised.*uint8"),
        (spoilt(-20.5), "20.5.*not normalised"),
    ],
)
def test_faulty_clips_are_refused(clips, message, wrap):
    with pytest.raises(ValueError, match=message):
        projector()(wrap(clips))
    with pytest.raises(ValueError, match=message):
        projector(with_head, 2).logits(wrap(clips))


def test_any_other_finite_float_input_is_taken():
    assert np.isfinite(projector()(spoilt(19.9))).all()
    assert np.isfinite(projector()(spoilt(-3.0).astype(jnp.bfloat16))).all()


def test_a_fingerprint_changes_with_value_place_shape_type_and_config():
    base = {"a": np.arange(6, dtype=np.float32), "b": np.zeros(2, np.float32)}
    variants = [
        base,
        base | {"a": base["a"] + np.eye(6, dtype=np.float32)[3]},
        {"a": base["a"], "c": base["b"]},
        base | {"a": base["a"].reshape(2, 3)},
        base | {"a": base["a"].view(np.int32)},
    ]
    prints = [fingerprint_params(variant) for variant in variants]
    prints.append(fingerprint_params(base, "bfloat16"))
    assert len(set(prints)) == len(prints)
    assert fingerprint_params(jax.tree.map(jnp.asarray, base)) == prints[0]


def test_a_third_projector_needs_one_new_file(tmp_path, monkeypatch):
    (tmp_path / "third_party").mkdir()
    (tmp_path / "third_party" / "brightness.py").write_text(
        textwrap.dedent(
            """
            from mpjax.models.projector import Projector

            def load(weights, *, seed, dtype):
                name = f"{weights} {seed} {dtype}"
                apply = lambda params, clips: (clips.mean((1, 2, 3)), None)
                return Projector(name, "f" * 16, 3, None, {}, apply, (0.0,) * 3, (1.0,) * 3)
            """
        )
    )
    monkeypatch.syspath_prepend(tmp_path)
    loaded = load_projector("some.pth", kind="third_party.brightness", seed=5, dtype="bfloat16")
    assert loaded.name == "some.pth 5 bfloat16"
    np.testing.assert_allclose(loaded(pixels()), pixels().mean((1, 2, 3)), rtol=1e-5)


def test_a_fault_inside_a_projectors_module_is_not_taken_for_a_wrong_kind(tmp_path, monkeypatch):
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "lacking.py").write_text("import package.no_such_part\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_part"):
        load_projector("random", kind="package.lacking")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": "resnet"}, r"'resnet'.*no module mpjax.models.resnet.*i3d, swin"),
        ({"kind": "no.such.module"}, r"no module no.such.module"),
        ({"kind": "projector"}, r"mpjax.models.projector defines no load"),
        ({"dtype": "float16"}, "'float16'.*float32 or bfloat16"),
        ({"kind": "i3d", "weights": "imagenet"}, "'imagenet'.*kinetics400.*random"),
    ],
)
def test_a_projector_that_does_not_exist_is_refused_with_the_choices(arguments, message):
    with pytest.raises(ValueError, match=message):
        load_projector(**arguments)


def test_the_interface_imports_no_network():
    code = "import sys, mpjax.models.projector; print('flax' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"
