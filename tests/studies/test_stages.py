"""The whole path on the smallest synthetic cohort, and what a user sees when something is wrong."""

import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pandas as pd
import pytest

import mpjax
from mpjax import config as configs
from mpjax.analysis import predictions
from mpjax.data import embeddings, records
from mpjax.studies import evaluation, stages
from mpjax.studies.explain import training_masks

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.slow


def load_config(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return configs.from_config_dict(module.get_config())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A finished study; the working directory keeps the worker processes' imports in order."""
    os.chdir(ROOT)
    workdir = tmp_path_factory.mktemp("study")
    assert stages.run(load_config("ci"), workdir) == 0
    return workdir


def test_every_config_is_valid():
    for path in (ROOT / "configs").glob("*.py"):
        assert load_config(path.stem).name


def test_the_study_ends_in_figures_for_15_and_3_classes_on_unseen_animals(finished):
    metrics = json.loads((finished / "metrics.json").read_text())
    assert len(metrics["fine"]["classes"]) == 15
    assert sorted(metrics["coarse"]["classes"]) == ["inflammatory", "neuropathic", "no_pain"]
    assert metrics["n"]["animals"] == 9
    assert metrics["leak"]["animals"] == 0
    for kind in ("fine", "coarse"):
        for level in ("clip", "recording", "animal_day"):
            figure = metrics[kind][level]["accuracy"]
            assert 0 <= figure["ci95"][0] <= figure["value"] <= figure["ci95"][1] <= 1
            assert np.sum(metrics[kind][level]["confusion"]) == figure["n"]
    page = (finished / "report.html").read_text()
    assert "<svg" in page
    assert "http-equiv" not in page


def test_no_animal_of_the_drug_part_is_trained_on_and_all_are_scored(finished):
    read = predictions.read_predictions(finished / "predictions.parquet")
    table = read.table
    treated = set(table.loc[table["drug"] != "", "animal"])
    assert set(table.loc[table["split"] == "drug", "animal"]) == treated
    assert len(treated) == 9
    assert (table.loc[table["split"] == "drug", "fold"] == -1).all()
    truth = json.loads((finished / "cohort" / "truth.json").read_text())
    assert len(truth["recordings"]) == table["video"].nunique()


def test_a_finished_study_is_skipped_stage_by_stage(finished, capfd):
    before = {p.name: p.stat().st_mtime_ns for p in finished.glob("*.parquet")}
    metrics = (finished / "metrics.json").read_bytes()
    assert stages.run(load_config("ci"), finished) == 0
    told = "".join(capfd.readouterr())
    done = ("synthetic cohort", "dataset", "embeddings", "trained", "motifs", "gallery", "report")
    for stage in done:
        assert re.search(rf"^{stage} .*unchanged", told, re.MULTILINE), stage
    after = {p.name: p.stat().st_mtime_ns for p in finished.glob("*.parquet")}
    assert after == before
    assert (finished / "metrics.json").read_bytes() == metrics


def test_what_the_study_saw_stands_in_its_figures_and_its_report(finished):
    import metrics_schema

    metrics = json.loads((finished / "metrics.json").read_text())
    metrics_schema.check(metrics)
    windows = pd.read_parquet(finished / "explain" / "windows.parquet")
    assert metrics["motifs"]["n"]["windows"] == len(windows)
    assert set(windows["motif[final]"]) == {each["motif"] for each in metrics["motifs"]["motifs"]}
    assert len(metrics["saliency"]["clips"]) == 3
    assert metrics["confounds"]["status"] in ("red", "amber", "green")
    assert set(metrics["confounds"]["stills"]) == {"frame", "background"}
    names = [row["name"] for row in metrics["methods"]["rows"]]
    assert names[0] == "this model"
    assert set(names[1:]) == {
        "majority", "nearest centroid of pixels", "locomotion", "random weights",
    }  # fmt: skip
    page = (finished / "report.html").read_text()
    for section in ("baselines", "confounds", "motifs", "saliency", "days"):
        assert f'<h2 id="{section}"' in page
    assert page.count("data:image/webp") >= 4 + 2  # motifs' galleries and explained clips
    assert "Most similar human actions" in page


def test_a_study_runs_from_python_and_its_results_are_attributes(finished):
    study = mpjax.run_study(load_config("ci"), finished)
    assert study.metrics.n.animals == 9
    assert 0 <= study.metrics.coarse.recording.accuracy.value <= 1
    assert study.pack_results().exists()


def test_no_codebook_saw_an_animal_of_the_drug_part_or_of_its_own_fold(finished):
    windows = pd.read_parquet(finished / "explain" / "windows.parquet")
    masks = training_masks(windows, "kfold")
    assert set(masks) == {"final", *(f"fold_{k}" for k in range(3))}
    assert not windows.loc[masks["final"], "split"].eq("drug").any()
    for k in range(3):
        trained = set(windows.loc[masks[f"fold_{k}"], "animal"])
        tested = set(windows.loc[windows["fold"] == k, "animal"])
        assert trained
        assert not trained & tested


def test_the_heads_logits_are_reproduced_by_hand(finished):
    """p of a clip is the softmax of its embedding through the head of its own fold."""
    from mpjax.data.splits import read_splits
    from mpjax.training import artifacts

    embedded = embeddings.read(finished / "embeddings.parquet")
    heads = artifacts.restore(finished / "heads")
    folds = read_splits(finished / "dataset").folds
    read = predictions.read_predictions(finished / "predictions.parquet")
    by_clip = {clip: i for i, clip in enumerate(read.table["clip_id"])}
    for i in (0, 17, len(embedded.table) - 1):
        row = embedded.table.iloc[i]
        head = heads["final" if row["split"] == "drug" else f"fold_{folds[row['video']]}"]
        scaled = (embedded.embedding[i] - head["scaler"]["mean"]) / head["scaler"]["std"]
        linear = head["params"]["linear"]
        logits = (scaled @ linear["kernel"] + linear["bias"]).astype(np.float64)
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        np.testing.assert_allclose(read.p[by_clip[row["clip_id"]]], expected, atol=1e-5)


def test_stages_refuse_a_workdir_that_lacks_what_they_need(tmp_path):
    config = load_config("ci")
    with pytest.raises(ValueError, match="no finished dataset"):
        stages.embed(config, tmp_path)
    with pytest.raises(ValueError, match="no finished dataset"):
        stages.train(config, tmp_path)
    with pytest.raises(ValueError, match="no finished dataset"):
        evaluation.run(config, tmp_path)


def run_binary(module, *flags):
    return subprocess.run(
        [sys.executable, "-m", module, *flags], capture_output=True, text=True, cwd=ROOT
    )


def assert_one_clear_error(process, *words):
    assert process.returncode == 1
    assert "Traceback" not in process.stderr
    message = process.stderr[process.stderr.index("error: ") :]
    for word in words:
        assert word in message


def test_bad_input_to_the_study_is_one_clear_error(tmp_path):
    csv = tmp_path / "cohort.csv"
    pd.DataFrame({"video": ["gone.mp4"], "animal": ["a"], "label": ["x"]}).to_csv(csv, index=False)
    flags = ("--config=configs/ci.py", f"--config.cohort={csv}")
    process = run_binary("mpjax.study", *flags, f"--workdir={tmp_path / 'w'}")
    assert_one_clear_error(process, "cohort.csv", "row 2", "video", "gone.mp4")
    assert not (tmp_path / "w" / "dataset").exists()


def test_a_wrong_config_field_is_one_clear_error(tmp_path):
    flags = ("--config=configs/ci.py", "--config.head.l2=(-1.0,)", f"--workdir={tmp_path}")
    assert_one_clear_error(run_binary("mpjax.train", *flags), "head.l2", "-1.0")


@pytest.mark.parametrize(
    "flags", [("--config=configs/ci.py", "--config.bogus=1"), ("--config=configs/bogus.py",)]
)
def test_a_config_that_does_not_exist_is_one_clear_error(flags, tmp_path):
    process = run_binary("mpjax.train", *flags, f"--workdir={tmp_path}")
    assert_one_clear_error(process, "bogus")


def test_a_video_swin_takes_the_projectors_place_by_one_field(finished, tmp_path):
    from mpjax.models import swin
    from mpjax.models.swin import checkpoint as swin_files

    narrow = swin.SwinConfig(embed_dim=8, depths=(2, 2), num_heads=(1, 2), num_classes=None)
    params = swin.init_params(narrow, jax.random.key(0))
    swin_files.save(tmp_path / "projector", narrow, params, provenance={"source": "random"})
    shutil.copytree(finished, tmp_path / "study")
    config = load_config("ci")
    field = dataclasses.replace(config.projector, weights=str(tmp_path / "projector"))
    few = dataclasses.replace(config.saliency, max_clips=1)
    none = dataclasses.replace(config.confounds, run=False)
    trained_only = dataclasses.replace(config.baselines, random=False)
    config = dataclasses.replace(
        config, projector=field, saliency=few, confounds=none, baselines=trained_only
    )
    assert stages.run(config, tmp_path / "study") == 0
    read = embeddings.read(tmp_path / "study" / "embeddings.parquet")
    assert read.embedding.shape[1] == narrow.embedding_dim
    figures = json.loads((tmp_path / "study" / "metrics.json").read_text())
    assert figures["n"] == json.loads((finished / "metrics.json").read_text())["n"]


def test_a_damaged_shard_stops_the_embedding_and_names_the_place(finished, tmp_path):
    shutil.copytree(finished / "dataset", tmp_path / "dataset")
    shard = sorted((tmp_path / "dataset").glob("*.tfrecord-*"))[0]
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    shard.write_bytes(damaged)
    with pytest.raises(records.RecordError, match=f"{shard.name} at byte"):
        stages.embed(load_config("ci"), tmp_path)
    assert not (tmp_path / "embeddings.parquet").exists()
