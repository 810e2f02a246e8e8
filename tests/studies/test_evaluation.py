import json
import shutil

import metrics_schema
import pytest
from prediction_tables import make_meta, make_study

from mpjax.analysis import predictions
from mpjax.config import EvalConfig, StudyConfig
from mpjax.report import page
from mpjax.studies import evaluation, provenance
from mpjax.studies.workdir import Workdir

QUICK = EvalConfig(bootstrap=100, permutations=100)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("study")
    table, meta = make_study()
    predictions.write_predictions(folder / "predictions.parquet", table, meta)
    return folder


def test_a_table_of_predictions_alone_is_evaluated_once(workdir, capsys):
    before = (workdir / "predictions.parquet").read_bytes()
    assert evaluation.run(StudyConfig(eval=QUICK), workdir) == 0
    assert "evaluated as they are" in capsys.readouterr().out
    assert (workdir / "predictions.parquet").read_bytes() == before
    figures = json.loads((workdir / "metrics.json").read_text())
    assert figures["fine"]["recording"]["accuracy"]["value"] > 0.2
    assert figures["drug"]["interaction"]["ci95"][1] < 0
    for part in ("motifs", "saliency", "confounds"):
        assert "mpjax.explain` has not been run" in figures[part]["why"]
    assert [row["name"] for row in figures["methods"]["rows"]] == ["this model", "majority"]
    metrics_schema.check(figures)
    assert (workdir / "report.html").stat().st_size > 10_000
    assert evaluation.run(StudyConfig(eval=QUICK), workdir) == 0
    assert "unchanged" in capsys.readouterr().out


def test_another_content_to_compare_with_or_another_version_makes_the_report_anew(
    tmp_path, capsys, monkeypatch
):
    # Whether, not what, is asked.
    monkeypatch.setattr(evaluation, "put_together", lambda *args, **kwargs: {"drug": {}})
    monkeypatch.setattr(
        page, "write_report", lambda path, *args, title, pictures: path.write_text(title)
    )
    table, meta = make_study(drug=False)
    predictions.write_predictions(tmp_path / "predictions.parquet", table, meta)
    other = tmp_path / "other.parquet"
    config = StudyConfig(eval=EvalConfig(against=str(other)))

    def says_unchanged():
        assert evaluation.run(config, tmp_path) == 0
        return "unchanged" in capsys.readouterr().out

    with pytest.raises(FileNotFoundError, match=r"config\.eval\.against: .*other\.parquet"):
        evaluation.run(config, tmp_path)
    other.write_bytes(b"one")
    assert not says_unchanged()
    assert says_unchanged()
    other.write_bytes(b"two")
    assert not says_unchanged()
    (tmp_path / "explain").mkdir()
    (tmp_path / "explain" / "windows.parquet").write_bytes(b"other motifs")
    assert not says_unchanged()
    (tmp_path / "raters.json").write_text("{}")
    assert not says_unchanged()
    monkeypatch.setattr(evaluation, "SCHEMA", evaluation.SCHEMA + "-next")
    assert not says_unchanged()
    monkeypatch.setattr(evaluation.importlib.metadata, "version", lambda name: "next")
    assert not says_unchanged()
    assert says_unchanged()


def test_a_study_of_drawn_mice_says_so_at_the_top_of_its_report_and_in_its_figures(
    workdir, tmp_path
):
    shutil.copy(workdir / "predictions.parquet", tmp_path)
    provenance.claim(Workdir(tmp_path), StudyConfig())
    for folder, drawn in ((workdir, False), (tmp_path, True)):
        evaluation.run(StudyConfig(eval=QUICK), folder)
        figures = json.loads((folder / "metrics.json").read_text())
        assert figures["synthetic"] is drawn
        metrics_schema.check(figures)
        body = (folder / "report.html").read_text().partition("<main>")[2]
        assert body.lstrip().startswith('<p class="flag" role="note"><strong>SYNTHETIC.') is drawn


def test_requirements_decide_the_exit_status(workdir, capsys):
    held = StudyConfig(eval=QUICK, require="fine.accuracy>=0.2,leak.animals==0")
    assert evaluation.run(held, workdir) == 0
    broken = StudyConfig(eval=QUICK, require="coarse.accuracy>1,leak.animals==0")
    assert evaluation.run(broken, workdir) == 1
    assert "requirement not met: coarse.accuracy is" in capsys.readouterr().out
    with pytest.raises(ValueError, match="no such|has no"):
        evaluation.run(StudyConfig(eval=QUICK, require="fine.f1>0"), workdir)


def test_a_bad_requirement_stops_before_anything_is_written(tmp_path):
    table, _ = make_study()
    predictions.write_predictions(
        tmp_path / "predictions.parquet", table, make_meta(scheme="kfold")
    )
    with pytest.raises(ValueError, match="config.require"):
        evaluation.run(StudyConfig(eval=QUICK, require="fine.accuracy"), tmp_path)
    assert not (tmp_path / "metrics.json").exists()


def test_a_damaged_note_of_the_study_stops_before_anything_is_written(tmp_path):
    predictions.write_predictions(tmp_path / "predictions.parquet", *make_study())
    (tmp_path / "study.json").write_text('{"cohort": ')
    with pytest.raises(ValueError, match=r"study\.json: not JSON"):
        evaluation.run(StudyConfig(eval=QUICK), tmp_path)
    assert not (tmp_path / "metrics.json").exists()
    assert not (tmp_path / "report.html").exists()
