import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mpjax.models import swin
from mpjax.models.projector import load_projector
from mpjax.models.swin import SwinConfig, VideoSwin, checkpoint
from mpjax.models.swin.projector import MEAN, STD

SMALL = SwinConfig(embed_dim=16, depths=(2,), num_heads=(2,), window=(2, 3, 3), num_classes=5)


@functools.cache
def _params(config):
    """Parameters with no zeros among them, so that every one of them matters."""
    shapes = jax.eval_shape(lambda key: swin.init_params(config, key), jax.random.key(0))
    rng = np.random.default_rng(0)
    return jax.tree.map(lambda p: rng.normal(size=p.shape, scale=0.2).astype("float32"), shapes)


def _run(config, clips):
    return jax.jit(VideoSwin(config).apply)({"params": _params(config)}, jnp.asarray(clips))


def test_a_saved_projector_gives_the_same_embeddings(tmp_path):
    clips = np.random.default_rng(0).integers(0, 256, (1, 2, 12, 12, 3), np.uint8)
    checkpoint.save(tmp_path / "new", SMALL, _params(SMALL), provenance={"source": "test"})
    projector = swin.load(str(tmp_path / "new"), seed=0, dtype="float32")
    normalised = ((clips - np.array(MEAN)) / np.array(STD)).astype("float32")
    expected = _run(SMALL, normalised)
    np.testing.assert_allclose(projector(clips), expected.embedding, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(projector.logits(clips), expected.logits, rtol=1e-4, atol=1e-5)
    assert projector.fingerprint == swin.make_projector(SMALL, _params(SMALL)).fingerprint
    assert projector.num_classes == 5
    assert projector.embedding_dim == 16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "i3d"}, "does not describe a Video Swin"),
        ({"classes": ["only one"]}, "names 1 classes for a head of 5"),
        ({"config": {"num_classes": 7}}, "parameters are not those of projector.json's config"),
    ],
)
def test_a_projector_that_contradicts_itself_is_refused(tmp_path, change, message):
    checkpoint.save(tmp_path / "new", SMALL, _params(SMALL), provenance={})
    about = json.loads((tmp_path / "new" / "projector.json").read_text())
    change = {"config": about["config"] | change["config"]} if "config" in change else change
    (tmp_path / "new" / "projector.json").write_text(json.dumps(about | change))
    with pytest.raises(ValueError, match=message):
        checkpoint.restore(tmp_path / "new")


def test_a_projector_whose_files_were_cut_is_told_with_its_path(tmp_path):
    checkpoint.save(tmp_path / "new", SMALL, _params(SMALL), provenance={})
    for path in (tmp_path / "new" / "params").rglob("*"):
        if path.is_file() and path.stat().st_size > 2000:
            path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(ValueError, match="new: its parameters are damaged or cut short"):
        checkpoint.restore(tmp_path / "new")


def test_the_attention_is_a_field_of_the_config_and_changes_no_embedding(tmp_path):
    checkpoint.save(tmp_path / "new", SMALL, _params(SMALL), provenance={})
    clips = np.random.default_rng(0).integers(0, 256, (1, 2, 12, 12, 3), np.uint8)
    plain, blocked = (
        load_projector(str(tmp_path / "new"), attention_impl=form) for form in ("xla", "blocked")
    )
    np.testing.assert_allclose(plain(clips), blocked(clips), rtol=1e-4, atol=1e-5)
    assert plain.fingerprint == blocked.fingerprint
    with pytest.raises(
        ValueError, match="attention_impl 'fast'; choose auto, xla, blocked, pallas"
    ):
        load_projector(str(tmp_path / "new"), attention_impl="fast")
    with pytest.raises(ValueError, match="'i3d' has no attention_impl 'xla'; choose auto"):
        load_projector("random", attention_impl="xla")


def test_a_projector_that_an_older_version_wrote_is_read(tmp_path):
    checkpoint.save(tmp_path / "new", SMALL, _params(SMALL), provenance={})
    new = load_projector(str(tmp_path / "new")).fingerprint
    about = json.loads((tmp_path / "new" / "projector.json").read_text())
    about["config"]["form"] = about["config"].pop("attention_impl")
    (tmp_path / "new" / "projector.json").write_text(json.dumps(about))
    assert load_projector(str(tmp_path / "new")).fingerprint == new


def test_a_half_written_projector_is_refused(tmp_path):
    checkpoint.save(tmp_path / "new", SMALL, _params(SMALL), provenance={})
    (tmp_path / "new" / "projector.json").unlink()
    with pytest.raises(ValueError, match=r"new: no projector\.json"):
        swin.load(str(tmp_path / "new"), seed=0, dtype="float32")
