import dataclasses
import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_dataset

from mpjax.config import MeshConfig, ProjectorConfig
from mpjax.data import embeddings, pipeline
from mpjax.embedding import dataset as embedding
from mpjax.models import i3d
from mpjax.models.projector import Projector
from mpjax.training import partitioning

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
    whole_batches = pipeline.eval_batches
    projector = brightness_projector()

    class Killed(Exception):
        pass

    def five_batches(*args, **options):
        """The machine goes down at the sixth batch."""
        for number, batch in enumerate(whole_batches(*args, **options)):
            if number == 5:
                raise Killed
            yield batch

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "eval_batches", five_batches)
        with pytest.raises(Killed):
            embedding.embed(dataset, out, projector, CONFIG)
    assert not out.exists()
    parts = list(tmp_path.glob(".embeddings.parquet.*.part/*.parquet"))
    assert len(parts) == 4, "the fifth batch was still on the device"
    starts = []

    def note_start(*args, **options):
        starts.append(options["start"])
        return whole_batches(*args, **options)

    monkeypatch.setattr(pipeline, "eval_batches", note_start)
    embedding.embed(dataset, out, projector, CONFIG)
    assert starts == [4]
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
    statistics = read.table[list(embeddings.STATISTICS)].to_numpy()
    view = read.table["view"].to_numpy()
    table = embeddings.to_arrow(read.table, view, spoiled, statistics=statistics)
    embeddings.write(out, table, read.meta)
    with pytest.raises(embeddings.EmbeddingsError, match=read.table["clip_id"][5]):
        embeddings.read(out)


def test_pixel_statistics_are_motion_and_brightness_on_0_to_1():
    clips = np.zeros((3, 4, 8, 8, 3), np.uint8)
    clips[1] = 255
    clips[2, 1::2, :4] = 255  # half of the picture flickers in each of the three steps
    found = np.asarray(embedding.pixel_statistics(jnp.asarray(clips)))
    np.testing.assert_allclose(found, [[0, 0], [0, 1], [0.5, 0.25]], atol=1e-6)
    single = np.asarray(embedding.pixel_statistics(jnp.asarray(clips[:, :1])))
    np.testing.assert_allclose(single[:, 0], 0)


def test_a_file_that_is_not_ours_is_refused(tmp_path):
    path = tmp_path / "embeddings.parquet"
    with pytest.raises(embeddings.EmbeddingsError, match="no embeddings here"):
        embeddings.read(path)
    path.write_bytes(b"PAR1 but not really")
    with pytest.raises(embeddings.EmbeddingsError, match="not an embeddings file"):
        embeddings.read(path)


ON_FOUR_DEVICES = """
import os
import sys

import jax.numpy as jnp
import numpy as np

from mpjax.config import MeshConfig, ProjectorConfig
from mpjax.embedding import dataset as embedding
from mpjax.models.projector import Projector
from mpjax.training import partitioning

dataset, folder = sys.argv[1:]
mix = np.random.default_rng(0).normal(size=(3, 8)).astype(np.float32)
projector = Projector(
    name="brightness",
    fingerprint="brightness",
    embedding_dim=8,
    num_classes=None,
    params={"mix": mix},
    apply=lambda params, clips: (jnp.mean(clips, axis=(1, 2, 3)) @ params["mix"], None),
    mean=(0.0, 0.0, 0.0),
    std=(1.0, 1.0, 1.0),
)
shapes, to_global = [], partitioning.to_global


def note_shapes(mesh, clips):
    batch = to_global(mesh, clips)
    shapes.append((len(batch.sharding.device_set), batch.addressable_shards[0].data.shape[0]))
    return batch


partitioning.to_global = note_shapes
config = ProjectorConfig(size=32, crops=3, batch_size=8)
embedding.embed(dataset, f"{folder}/one.parquet", projector, config)
assert set(shapes) == {(1, 8)}, shapes
shapes.clear()
mesh = partitioning.make_mesh(MeshConfig())
embedding.embed(dataset, f"{folder}/four.parquet", projector, config, mesh=mesh)
assert set(shapes) == {(4, 2)}, shapes
assert not embedding.embed(dataset, f"{folder}/one.parquet", projector, config, mesh=mesh)
odd = ProjectorConfig(size=32, crops=3, batch_size=6)
shapes.clear()
embedding.embed(dataset, f"{folder}/odd.parquet", projector, odd, mesh=mesh)
assert set(shapes) == {(4, 2)}, shapes
os._exit(0)  # native threads may crash while Python shuts down
"""


def test_four_devices_share_every_batch_and_give_what_one_gives(dataset, tmp_path):
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "JAX_PLATFORMS": "cpu",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }
    ran = subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES, str(dataset), str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    one, four, odd = (
        embeddings.read(tmp_path / f"{name}.parquet") for name in ("one", "four", "odd")
    )
    assert four.table.equals(one.table)
    np.testing.assert_array_equal(odd.embedding, four.embedding)  # 6 rounded up to 8
    assert one.embedding.shape == (33, 8)
    np.testing.assert_allclose(four.embedding, one.embedding, rtol=1e-5, atol=1e-5)
    assert not list(tmp_path.glob(".*.part"))


class Device(SimpleNamespace):
    """As many as a mesh is made of, each on some process; hashable, as a mesh needs."""

    __hash__ = object.__hash__


@pytest.mark.parametrize(
    ("processes", "process", "part"),
    [
        ([[0], [0], [1], [1]], 1, pipeline.Part((2, 3), 4)),
        ([[0], [1], [0], [1]], 0, pipeline.Part((0, 2), 4)),  # hosts interleave in the mesh
        ([[0, 1], [0, 1]], 1, pipeline.Part((0, 1), 2)),  # only the model is cut over them
    ],
)
def test_a_process_reads_the_rows_of_its_devices(monkeypatch, processes, process, part):
    devices = np.empty(np.shape(processes), object)
    for place in np.ndindex(devices.shape):
        devices[place] = Device(process_index=processes[place[0]][place[1]], id=place)
    monkeypatch.setattr(jax, "process_index", lambda: process)
    assert partitioning.local_part(jax.sharding.Mesh(devices, ("data", "model"))) == part


def test_projectors_that_differ_in_their_weights_share_a_program():
    mesh = partitioning.make_mesh(MeshConfig(), devices=jax.local_devices()[:1])
    one, other = (
        i3d.load("random", seed=0, dtype="float32"),
        i3d.load("random", seed=1, dtype="float32"),
    )
    assert one.fingerprint != other.fingerprint
    program = embedding.embed_program(one, mesh)
    assert embedding.embed_program(other, mesh) is program
    for change in (
        {"mean": (0.0, 0.0, 0.0)},
        {"apply": i3d.load("random", seed=0, dtype="bfloat16").apply},
    ):
        assert embedding.embed_program(dataclasses.replace(one, **change), mesh) is not program
