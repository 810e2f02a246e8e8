import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
import small_dataset

from mpjax.config import ProjectorConfig
from mpjax.data import embeddings, records
from mpjax.embedding import dataset as embedding
from mpjax.embedding import single_frames
from mpjax.models.projector import Projector

CONFIG = ProjectorConfig(size=32, crops=1, batch_size=4)


def colour_projector():
    """Embeds a clip as its mean colour, its number of frames, and how much they differ."""

    def apply(params, clips):
        colour = clips.mean(axis=(1, 2, 3))
        differs = jnp.abs(jnp.diff(clips, axis=1)).sum(axis=(1, 2, 3))
        return jnp.concatenate([colour, differs, jnp.full_like(colour, clips.shape[1])], 1), None

    return Projector(
        name="colour",
        fingerprint="colour",
        embedding_dim=9,
        num_classes=None,
        params={},
        apply=apply,
        mean=(0.0, 0.0, 0.0),
        std=(1.0, 1.0, 1.0),
    )


@pytest.fixture
def dataset(tmp_path):
    return small_dataset.write(tmp_path / "dataset")


def embed(dataset, tmp_path, kind="frame", **options):
    out = tmp_path / f"stills_{kind}.parquet"
    return single_frames.embed(dataset, out, colour_projector(), CONFIG, kind=kind, **options)


def test_a_still_is_the_middle_frame_of_its_clip_repeated(dataset, tmp_path):
    found = embed(dataset, tmp_path)
    clips = tmp_path / "embeddings.parquet"
    embedding.embed(dataset, clips, colour_projector(), CONFIG)
    whole = embeddings.read(clips)
    assert found.table["clip_id"].tolist() == whole.table["clip_id"].tolist()
    assert found.table["animal"].tolist() == whole.table["animal"].tolist()
    number = found.table["clip_id"].str[-8:].astype(int)
    np.testing.assert_allclose(found.embedding[:, 0], 5 * number + 3 * 20, atol=1)
    np.testing.assert_allclose(found.embedding[:, 3:6], 0)
    assert (whole.embedding[:, 3:6] > 100).all()
    assert (found.embedding[:, 6:] == small_dataset.FRAMES).all()
    assert (found.table["motion"] == 0).all()


def moving_spot(i):
    """A white spot that is elsewhere in every frame, on grey that is the recording's own."""
    clip = np.full((small_dataset.FRAMES, 32, 48, 3), 40 * (i // 4) + 20, np.uint8)
    for t, frame in enumerate(clip):
        column = 4 * ((small_dataset.FRAMES * (i % 4) + t) % 12)
        frame[8:24, column : column + 4] = 255
    return small_dataset.encode_frames(clip)


def test_a_background_is_the_recording_without_what_moved_in_it(tmp_path):
    dataset = small_dataset.write(tmp_path / "dataset", encode=moving_spot)
    found = embed(dataset, tmp_path, "background")
    assert found.table["clip_id"].tolist() == found.table["video"].tolist()
    order = found.table["video"].str[1].astype(int)
    assert sorted(order) == [0, 1, 2]
    np.testing.assert_allclose(found.embedding[:, 0], 40 * order + 20, atol=2)


def test_stills_that_are_there_are_not_made_again_and_others_are(dataset, tmp_path, monkeypatch):
    first = embed(dataset, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(embedding, "embed_batches", None)
        patch.setattr(single_frames, "DatasetWriter", None)
        again = embed(dataset, tmp_path)
    np.testing.assert_array_equal(first.embedding, again.embedding)
    fewer = embed(dataset, tmp_path, most=6)
    assert len(fewer.table) == 6
    assert fewer.meta["fingerprint"] != first.meta["fingerprint"]
    assert fewer.meta["projector"]["fingerprint"] != colour_projector().fingerprint


def test_a_sample_takes_equally_many_of_each_recording_and_hangs_on_the_seed(dataset, tmp_path):
    first = embed(dataset, tmp_path, most=6)
    assert first.table["video"].value_counts().tolist() == [2, 2, 2]
    other = embed(dataset, tmp_path, most=6, seed=1)
    assert first.table["clip_id"].tolist() != other.table["clip_id"].tolist()


def test_clips_of_the_drug_part_have_no_stills(tmp_path):
    dataset = small_dataset.write(
        tmp_path / "dataset", split=lambda i: "drug" if i < 4 else "train"
    )
    assert set(embed(dataset, tmp_path).table["video"]) == {"v1.mp4", "v2.mp4"}
    treated = small_dataset.write(tmp_path / "treated", split=lambda i: "drug")
    with pytest.raises(ValueError, match="no clip of a class"):
        single_frames.write(treated, tmp_path / "none", kind="frame", most=9, seed=0)


def test_a_killed_writer_leaves_nothing_that_is_trusted(dataset, tmp_path, monkeypatch):
    def die(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(records, "index_bytes", die)
        with pytest.raises(KeyboardInterrupt):
            embed(dataset, tmp_path)
    with pytest.raises(records.RecordError, match="no finished dataset"):
        records.read_index(tmp_path / "stills_frame")
    assert len(embed(dataset, tmp_path).table) == 11


def test_views_in_time_of_a_still_are_one(dataset, tmp_path):
    config = dataclasses.replace(CONFIG, frames=2, views=3, crops=2)
    out = tmp_path / "stills.parquet"
    found = single_frames.embed(dataset, out, colour_projector(), config, kind="frame")
    assert found.table["view"].tolist() == [0, 1] * 11
    assert (found.embedding[:, 6:] == 2).all()


def test_an_unknown_kind_is_refused_with_the_choices(dataset, tmp_path):
    with pytest.raises(ValueError, match="choose frame, background"):
        embed(dataset, tmp_path, "median")
