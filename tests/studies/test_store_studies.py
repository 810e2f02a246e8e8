"""A whole study in a bucket, and what its stages hand on in another store."""

import json

import emulators
import numpy as np
import pandas as pd
import pytest
import small_dataset
import small_study
from etils import epath
from prediction_tables import make_study

from mpjax import config as configs
from mpjax.analysis import predictions
from mpjax.data import embeddings, records
from mpjax.io import stores
from mpjax.studies import stages
from mpjax.studies.projector import projector_of
from mpjax.training import artifacts, checkpoint_manager


@pytest.fixture(scope="module")
def s3():
    with emulators.s3() as counter:
        yield counter


@pytest.fixture(scope="module")
def gs():
    with emulators.gs():
        yield


def tiny_config():
    """Two conditions' days, a drug, and a Video Swin of toy width."""
    config = configs.to_config_dict(configs.StudyConfig(name="tiny"))
    synthetic = config.synthetic
    synthetic.run = True
    synthetic.animals_per_condition, synthetic.animals_per_arm = 2, 1
    synthetic.days, synthetic.doses_mg_per_kg = (3, 14), (100.0,)
    synthetic.seconds, synthetic.size = 1.3, 64
    config.video.frames, config.video.stride = 8, 8
    config.video.fps, config.video.short_side = 12.5, 32
    config.split.group, config.split.scheme, config.build.workers = "animal", "kfold", 1
    with config.projector.unlocked() as projector:
        projector.kind, projector.weights = "swin", "random"
        projector.size, projector.crops, projector.batch_size = 16, 1, 32
    architecture = config.projector.architecture
    architecture.embed_dim, architecture.depths, architecture.num_heads = 8, (1, 1), (2, 4)
    architecture.window = (2, 2, 2)
    config.head.l2, config.baselines.random = (0.1,), False
    config.motifs.candidates, config.motifs.stability_draws = (3,), 2
    config.motifs.permutations, config.motifs.exemplars = 99, 1
    config.saliency.incorrect_per_class, config.saliency.random_clips, config.saliency.max_clips = (
        0,
        0,
        1,
    )
    config.saliency.grid, config.saliency.steps = (2, 2, 2), 2
    config.saliency.levels, config.saliency.random = 2, 1
    config.confounds.run = False  # its stills are embedded as the clips are
    config.eval.bootstrap, config.eval.permutations = 20, 99
    return configs.from_config_dict(config)


@pytest.mark.slow
def test_a_study_runs_whole_in_a_bucket_and_a_second_time_writes_nothing(s3, capfd):
    workdir = epath.Path("s3://lab/studies/tiny")
    assert stages.run(tiny_config(), workdir) == 0
    figures = json.loads((workdir / "metrics.json").read_text())
    read = predictions.read_predictions(workdir / "predictions.parquet", embedding=True)
    index = records.read_index(workdir / "dataset")
    assert figures["n"]["clips"] == int((index["split"] == "test").sum())
    assert set(read.table["clip_id"]) == set(index["clip_id"])
    page = (workdir / "report.html").read_text()
    assert page.count("data:image/webp;base64,") >= 4  # three motifs and a map
    names = [path.rpartition("/")[2] for path in stores.filesystem(workdir).find(str(workdir))]
    assert not [name for name in names if name.endswith(".part")]
    capfd.readouterr()
    s3.clear()
    assert stages.run(tiny_config(), workdir) == 0
    written = {path for method, path in s3.requests if method in ("PUT", "POST")}
    assert not {path for path in written if path.endswith((".mp4", ".parquet-0", ".html", ".webp"))}
    told = capfd.readouterr().out
    assert "aws s3 cp s3://lab/studies/tiny/report.html ." in told
    for stage in ("embeddings", "trained", "report"):
        assert f"{stage} s3://lab/studies/tiny" in told
    assert told.count("unchanged") >= 5


def test_records_embeddings_predictions_and_heads_come_back_from_gs(gs, tmp_path):
    folder = epath.Path("gs://lab/study")
    local = small_dataset.write(tmp_path / "dataset")
    stores.put_folder(local, folder / "dataset")
    here, there = records.RecordSource(local), records.RecordSource(folder / "dataset")
    assert [bytes(there[i]) for i in range(11)] == [bytes(here[i]) for i in range(11)]
    embedding = np.arange(33, dtype=np.float32).reshape(11, 3)
    table = embeddings.to_arrow(
        here.index, np.zeros(11, int), embedding, statistics=np.zeros((11, 2))
    )
    embeddings.write(folder / "embeddings.parquet", table, {"dataset": "small", "x": 1})
    found = embeddings.read(folder / "embeddings.parquet", dataset="small")
    np.testing.assert_array_equal(found.embedding, embedding)
    predicted, meta = make_study()
    for path in (folder / "predictions.parquet", tmp_path / "predictions.parquet"):
        predictions.write_predictions(path, predicted, meta)
    read = [predictions.read_predictions(each / "predictions.parquet").table
            for each in (folder, tmp_path)]  # fmt: skip
    pd.testing.assert_frame_equal(*read)
    artifacts.save(folder / "heads", {"final": {"bias": np.ones(3)}}, {"fingerprint": "x"})
    np.testing.assert_array_equal(artifacts.restore(folder / "heads")["final"]["bias"], [1, 1, 1])


@pytest.mark.slow
def test_training_on_clips_keeps_its_checkpoints_in_gs(gs, tmp_path, monkeypatch):
    monkeypatch.setenv("GCE_METADATA_ROOT", "127.0.0.1:1")  # or TensorStore waits for Google's
    workdir = epath.Path("gs://lab/trained")
    stores.put_folder(small_study.write(tmp_path), workdir)
    config = small_study.study_config("train.epochs=1.0")
    assert stages.train(config, workdir)
    kept = [path.name for path in (workdir / "train" / "checkpoints").iterdir()]
    assert "2" in kept
    params = checkpoint_manager.restore_params(workdir / "train" / "checkpoints", 2)
    trained = artifacts.restore(workdir / "heads")["final"]["params"]["linear"]
    np.testing.assert_array_equal(trained["kernel"], params["head"]["kernel"])
    assert [path.name[:6] for path in (workdir / "train" / "tensorboard").iterdir()] == ["events"]
    assert projector_of(config, workdir / "projector").name
