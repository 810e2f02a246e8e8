import dataclasses
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from mpjax.config import ProjectorConfig
from mpjax.data import embeddings
from mpjax.models.projector import Projector
from mpjax.training import embedding

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
import small_dataset

CONFIG = ProjectorConfig(size=32, crops=3, batch_size=4)


def brightness_projector(fingerprint="brightness"):
    """Embeds a clip as its mean colour: what comes out tells what went in."""
    return Projector(
        name="brightness",
        fingerprint=fingerprint,
        embedding_dim=3,
        num_classes=None,
        params={},
        apply=lambda params, clips: (jnp.mean(clips, axis=(1, 2, 3)), None),
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


@pytest.fixture
def dataset(tmp_path):
    return small_dataset.write(tmp_path / "dataset")


def test_every_view_of_every_clip_is_embedded_beside_its_metadata(dataset, tmp_path):
    out = tmp_path / "embeddings.parquet"
    assert embedding.embed(dataset, out, brightness_projector(), CONFIG)
    read = embeddings.read(out)
    assert read.embedding.shape == (11 * 3, 3)
    assert read.table["view"].tolist() == [0, 1, 2] * 11
    number = read.table["clip_id"].str[-8:].astype(int)
    assert sorted(set(number)) == list(range(11))
    np.testing.assert_allclose(read.embedding[:, 0], 50 + 5 * number, atol=1)
    assert read.meta["projector"] == {"name": "brightness", "fingerprint": "brightness"}


def test_unchanged_embeddings_are_left_alone_and_changed_ones_made_anew(dataset, tmp_path):
    out = tmp_path / "embeddings.parquet"
    one_crop = ProjectorConfig(size=32, crops=1)
    assert embedding.embed(dataset, out, brightness_projector(), CONFIG)
    assert not embedding.embed(dataset, out, brightness_projector(), CONFIG)
    assert embedding.embed(dataset, out, brightness_projector("other"), CONFIG)
    assert embedding.embed(dataset, out, brightness_projector("other"), one_crop)


def test_a_killed_run_goes_on_where_it_stopped(dataset, tmp_path, monkeypatch):
    whole, out = tmp_path / "whole.parquet", tmp_path / "embeddings.parquet"
    embedding.embed(dataset, whole, brightness_projector(), CONFIG)
    monkeypatch.setattr(embedding, "_SECONDS_PER_PART", -1.0)
    calls = []
    projector = brightness_projector()

    class Killed(Exception):
        pass

    class Dying(Projector):
        """The machine goes down at the sixth batch."""

        def __call__(self, clips):
            calls.append(len(clips))
            if len(calls) == 6:
                raise Killed
            return super().__call__(clips)

    dying = Dying(**{f.name: getattr(projector, f.name) for f in dataclasses.fields(projector)})
    with pytest.raises(Killed):
        embedding.embed(dataset, out, dying, CONFIG)
    assert not out.exists()
    parts = list(tmp_path.glob(".embeddings.parquet.*.part/*.parquet"))
    assert parts, "nothing was kept"
    embedding.embed(dataset, out, projector, CONFIG)
    resumed, expected = embeddings.read(out), embeddings.read(whole)
    np.testing.assert_allclose(resumed.embedding, expected.embedding, rtol=1e-6)
    assert resumed.table.equals(expected.table)
    assert not list(tmp_path.glob(".embeddings*"))


def test_embeddings_that_are_not_finite_name_their_clip(dataset, tmp_path):
    out = tmp_path / "embeddings.parquet"
    embedding.embed(dataset, out, brightness_projector(), CONFIG)
    read = embeddings.read(out)
    spoiled = read.embedding.copy()
    spoiled[5] = np.nan
    table = embeddings.to_arrow(read.table, read.table["view"].to_numpy(), spoiled)
    embeddings.write(out, table, read.meta)
    with pytest.raises(embeddings.EmbeddingsError, match=read.table["clip_id"][5]):
        embeddings.read(out)


def test_a_file_that_is_not_ours_is_refused(tmp_path):
    path = tmp_path / "embeddings.parquet"
    with pytest.raises(embeddings.EmbeddingsError, match="no embeddings here"):
        embeddings.read(path)
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(embeddings.EmbeddingsError, match="not an embeddings file"):
        embeddings.read(path)
