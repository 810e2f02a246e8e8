"""What a study refuses, it refuses at once: before anything is drawn, decoded, built or written."""

import subprocess
import sys
from pathlib import Path

import pytest
from absl import app, flags

from mpjax import config as configs
from mpjax import notebook, study
from mpjax.studies import stages

ROOT = Path(__file__).resolve().parents[2]


def load(name="tiny", **changes):
    """Returns a shipped config with changed fields, `train__what` for `train.what`."""
    return notebook.load_config(name, {k.replace("__", "."): v for k, v in changes.items()})


def refuse(folder, config):
    """Returns why a study is refused; nothing of it may be on disk."""
    workdir = folder / "out"
    with pytest.raises((ValueError, OSError, ImportError)) as caught:
        stages.run(config, workdir)
    assert not workdir.exists()
    return str(caught.value)


def test_a_study_without_a_cohort_is_refused_and_says_how_to_draw_one(tmp_path):
    told = refuse(tmp_path, load("lab"))
    assert told.startswith("no cohort: name its table")
    assert "--synthetic or --config=demo" in told
    done = subprocess.run(
        [sys.executable, "-m", "mpjax", "study", f"--workdir={tmp_path / 'out'}"],
        capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: no cohort: name its table (`mpjax study COHORT.csv")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("name", ["ci", "demo", "tiny", "sweep", "synthetic_behaviours"])
def test_a_config_that_draws_mice_says_so_itself(name):
    assert load(name).synthetic.run
    assert not configs.StudyConfig().synthetic.run


def test_a_cohort_goes_before_one_that_a_config_draws_and_contradicts_the_flag(
    tmp_path, monkeypatch, capsys
):
    values = flags.FlagValues()
    flags.DEFINE_string("workdir", str(tmp_path / "out"), "", flag_values=values)
    flags.DEFINE_bool("synthetic", False, "", flag_values=values)
    values(["mpjax"])
    monkeypatch.setattr(study.flags, "FLAGS", values)
    ran = []
    monkeypatch.setattr(study.stages, "run", lambda config, workdir: ran.append(config) or 0)
    study.main(load("demo"), "mine.csv")
    assert stages.cohort_table(ran[-1], stages.Workdir(tmp_path)).name == "mine.csv"
    values.synthetic = True
    study.main(load("lab"))
    assert ran[-1].synthetic.run
    table = stages.cohort_table(ran[-1], stages.Workdir(tmp_path))
    assert table == stages.Workdir(tmp_path).synthetic_table
    with pytest.raises(app.UsageError, match=r"a cohort or --synthetic; got both, mine\.csv"):
        study.main(load("lab"), "mine.csv")


def test_a_study_whose_mice_were_drawn_goes_on_without_the_config_that_drew_them(tmp_path):
    workdir = stages.Workdir(tmp_path)
    workdir.synthetic_cohort.mkdir()
    workdir.synthetic_table.touch()
    assert stages.cohort_table(load("lab"), workdir) == workdir.synthetic_table
