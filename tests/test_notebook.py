import html
import json
import re
import sys
from pathlib import Path

import full_study
import prediction_tables
import pytest
from absl import flags
from ml_collections import config_flags

from mpjax import notebook
from mpjax.analysis import predictions

ROOT = Path(__file__).resolve().parents[1]
TINY = ROOT / "configs" / "tiny.py"


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """What a study leaves that a notebook reads; the report stands in for a page."""
    folder = tmp_path_factory.mktemp("finished")
    table, meta, _ = full_study.make_full_study()
    predictions.write_predictions(folder / "predictions.parquet", table, meta)
    read = predictions.read_predictions(folder / "predictions.parquet")
    figures = prediction_tables.evaluate(read, bootstrap=50, permutations=99, progression=False)
    (folder / "metrics.json").write_text(json.dumps(figures, default=str))
    (folder / "report.html").write_text('<!doctype html><p class="x">5 < 6 & "7"</p>')
    return folder


def test_a_config_is_read_with_single_fields_changed():
    changes = {"cohort": "mine.csv", "projector.architecture.depths": (2, 4), "eval.seed": 3}
    config = notebook.load_config(TINY, changes)
    assert (config.cohort, config.projector.architecture.depths) == ("mine.csv", (2, 4))
    assert config.eval.seed == 3
    plain = notebook.load_config("tiny")
    assert (plain.eval.seed, plain.synthetic) == (0, config.synthetic)


def test_a_config_field_that_does_not_exist_is_named():
    with pytest.raises(ValueError, match=r"config.head.speed: no such field; config.head has"):
        notebook.load_config(TINY, {"head.speed": 3})
    with pytest.raises(ValueError, match=r"config.heads: no such field"):
        notebook.load_config(TINY, {"heads.seed": 3})
    with pytest.raises(FileNotFoundError, match="absent.py: no such config file"):
        notebook.load_config("absent.py")


def test_flags_say_what_changes_say(monkeypatch):
    values = flags.FlagValues()
    config_flags.DEFINE_config_file("config", flag_values=values)
    changes = {"eval.seed": 3, "projector.architecture.depths": (2,), "mesh.fully_sharded": True}
    argv = ["binary", f"--config={TINY}", *notebook.as_flags(changes)]
    monkeypatch.setattr(sys, "argv", argv)  # which ml_collections reads for the fields
    values(argv)
    assert values.config.eval.seed == 3
    assert values.config.projector.architecture.depths == (2,)
    assert values.config.mesh.fully_sharded is True


def test_bad_input_ends_a_cell_with_one_message_and_no_traceback():
    with pytest.raises(notebook.Stop) as stopped, notebook.plain_errors():
        raise FileNotFoundError("cohort.csv: no such file")
    assert stopped.value._render_traceback_() == ["error: cohort.csv: no such file"]
    with pytest.raises(KeyError), notebook.plain_errors():  # a fault of ours keeps its traceback
        raise KeyError("x")


def test_a_study_of_no_cohort_stops_with_the_message(tmp_path):
    config = notebook.load_config(TINY, {"cohort": str(tmp_path / "cohort.csv")})
    with pytest.raises(notebook.Stop, match=r"cohort.csv: no such file"):
        notebook.run_study(config, tmp_path / "out")


def test_the_frame_holds_the_page_unchanged(workdir):
    shown = notebook.report_frame(workdir / "report.html", height=321).data
    assert "height:321px" in shown
    page = re.search(r'srcdoc="([^"]*)"', shown)[1]
    assert html.unescape(page) == (workdir / "report.html").read_text()
    with pytest.raises(FileNotFoundError, match="run the study first"):
        notebook.report_frame(workdir / "absent.html")


def test_key_figures_are_those_of_the_metrics(workdir):
    figures = json.loads((workdir / "metrics.json").read_text())
    table = notebook.key_figures(figures)
    assert len(table) == 5
    score = figures["coarse"]["recording"]["accuracy"]
    row = table[table["figure"] == "accuracy, 3 classes"].iloc[0]
    assert row["value"] == f"{100 * score['value']:.1f} %"
    assert row["n"] == f"{score['n']} recordings"
    assert row["chance"] == "33.3 %"
    drug = table.iloc[-1]
    assert drug["value"] == f"{figures['drug']['interaction']['value']:.2f}".replace("-", "−")
    figures["drug"]["interaction"] = {"value": None, "why": "no vehicle arm"}
    assert notebook.key_figures(figures).iloc[-1]["value"] == "–"
