"""The public face of the package: a study is run, opened and used from Python."""

import json
import subprocess
import sys
import zipfile

import full_study
import numpy as np
import pandas as pd
import prediction_tables
import pytest
import small_model

import mpjax
from mpjax.analysis import predictions
from mpjax.config import StudyConfig
from mpjax.studies import study

NAMES = {
    "Projector", "StudyConfig", "__version__", "load_projector", "open_study", "read_predictions",
    "run_study",
}  # fmt: skip


def test_dir_lists_the_public_names_and_nothing_else_even_after_imports():
    import mpjax.config
    import mpjax.io.files

    assert {name for name in dir(mpjax) if not name.startswith("__")} | {"__version__"} == NAMES
    assert set(mpjax.__all__) == NAMES
    assert all(getattr(mpjax, name) for name in NAMES)


def test_importing_the_package_loads_neither_jax_nor_pandas_nor_scipy_and_is_fast():
    code = (
        "import time; start = time.perf_counter(); import mpjax; "
        "took = time.perf_counter() - start; import sys; dir(mpjax); "
        "assert mpjax.__version__; assert took < 0.3, took; "
        "assert not {'jax', 'pandas', 'scipy', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """What a study leaves at its end; the report stands in for a page."""
    folder = tmp_path_factory.mktemp("finished")
    table, meta, _ = full_study.make_full_study()
    predictions.write_predictions(folder / "predictions.parquet", table, meta)
    read = predictions.read_predictions(folder / "predictions.parquet")
    figures = prediction_tables.evaluate(read, bootstrap=50, permutations=99, progression=False)
    (folder / "metrics.json").write_text(json.dumps(figures))
    (folder / "report.html").write_text("<!doctype html><p>a report</p>")
    return folder


def test_metrics_are_typed_on_the_fixed_paths_and_whole_as_a_dict(workdir):
    raw = json.loads((workdir / "metrics.json").read_text())
    metrics = mpjax.open_study(workdir).metrics
    assert metrics.to_dict() == raw
    for task in ("fine", "coarse"):
        of_task = getattr(metrics, task)
        assert list(of_task.classes) == raw[task]["classes"]
        for level in ("clip", "recording", "animal_day"):
            found, expected = getattr(of_task, level), raw[task][level]
            for figure in ("accuracy", "mean_class_accuracy"):
                assert getattr(found, figure).value == expected[figure]["value"]
                assert list(getattr(found, figure).ci95) == expected[figure]["ci95"]
            assert found.confusion == expected["confusion"]
            assert found.to_dict() == expected
    assert (metrics.n.clips, metrics.leak.animals) == (raw["n"]["clips"], 0)
    assert metrics.drug.interaction.value == raw["drug"]["interaction"]["value"]
    assert metrics.drug.interaction.p == raw["drug"]["interaction"]["p"]
    assert metrics.drug.reversal.keys() == raw["drug"]["reversal"].keys()
    for condition, arms in metrics.drug.reversal.items():
        for arm, estimate in arms.items():
            assert estimate.to_dict() == raw["drug"]["reversal"][condition][arm]
    metrics.to_dict()["n"]["clips"] = -1
    assert metrics.to_dict() == raw


def test_a_figure_that_cannot_be_estimated_says_why(tmp_path):
    table, meta = prediction_tables.make_study(drug=False)
    predictions.write_predictions(tmp_path / "predictions.parquet", table, meta)
    read = mpjax.read_predictions(tmp_path / "predictions.parquet")
    figures = prediction_tables.evaluate(read, bootstrap=20, permutations=20, progression=False)
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    drug = mpjax.open_study(tmp_path).metrics.drug
    assert drug.interaction.value is None
    assert "drug" in drug.interaction.why
    assert drug.reversal == {}
    del figures["leak"]
    (tmp_path / "metrics.json").write_text(json.dumps(figures))
    with pytest.raises(ValueError, match=r"lacks 'leak'.*run `python -m mpjax\.eval` again"):
        _ = mpjax.open_study(tmp_path).metrics


def test_a_folder_without_a_finished_study_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="gone: no such folder"):
        mpjax.open_study(tmp_path / "gone")
    with pytest.raises(FileNotFoundError, match=r"predictions\.parquet: no such file; run"):
        mpjax.open_study(tmp_path)


def test_a_study_that_does_not_succeed_raises(tmp_path, monkeypatch):
    monkeypatch.setattr(study.stages, "run", lambda config, workdir: 1)
    with pytest.raises(ValueError, match="the study did not succeed"):
        mpjax.run_study(StudyConfig(), tmp_path)


def test_new_videos_are_scored_as_by_the_binary(tmp_path_factory):
    from mpjax.studies import scoring

    folder = tmp_path_factory.mktemp("model")
    workdir = small_model.write(folder)
    (workdir / "metrics.json").write_text("{}")
    new = small_model.film(folder / "new.mp4", 90, seed=7)
    opened = mpjax.open_study(workdir)
    scores = opened.predict(new)
    assert scores.recordings["video"].tolist() == [str(new)]
    assert len(scores.clips) == small_model.CLIPS
    again = opened.predict([str(new), str(new)], out=folder / "kept")
    assert list((folder / "kept" / scoring.CACHE).iterdir())
    pd.testing.assert_frame_equal(again.clips, scores.clips)
    assert scoring.run(workdir, scoring.find_sources([new]), folder / "tables") == 0
    written = pd.read_csv(folder / "tables" / "clips.csv")
    np.testing.assert_allclose(written["pain"], scores.clips["pain"], rtol=1e-5)
    assert len(opened.predictions.table) > 0


def test_results_hold_every_clip_and_recording_with_all_probabilities(workdir):
    path = mpjax.open_study(workdir).pack_results()
    with zipfile.ZipFile(path) as archive:
        names = set(archive.namelist())
        clips, recordings = (
            pd.read_csv(archive.open(f"{name}.csv")) for name in ("predictions", "recordings")
        )
        assert archive.read("report.html") == (workdir / "report.html").read_bytes()
    assert names == {"report.html", "metrics.json", "predictions.csv", "recordings.csv"}
    read = predictions.read_predictions(workdir / "predictions.parquet")
    fine, coarse = read.taxonomy.fine, read.taxonomy.coarse
    np.testing.assert_allclose(clips[[f"p[{name}]" for name in fine]], read.p, rtol=1e-6)
    shares = recordings[[f"calibrated_coarse[{name}]" for name in coarse]]
    np.testing.assert_allclose(shares.sum(axis=1), 1)
    assert recordings["video"].is_unique
    assert recordings["clips"].sum() == len(clips) == len(read.table)
    one = recordings.iloc[3]
    of_it = clips[clips["video"] == one["video"]]
    assert one[f"p[{fine[2]}]"] == pytest.approx(of_it[f"p[{fine[2]}]"].mean())
    assert (of_it["animal"] == one["animal"]).all()


def test_results_of_a_study_without_a_report_are_refused(workdir, tmp_path):
    for name in ("predictions.parquet", "metrics.json"):
        (tmp_path / name).symlink_to(workdir / name)
    with pytest.raises(FileNotFoundError, match=r"report.html: no such file; run the study first"):
        mpjax.open_study(tmp_path).pack_results()
    assert not (tmp_path / "results.zip").exists()
