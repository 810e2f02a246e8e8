"""What a study refuses, it refuses at once: before anything is drawn, decoded, built or written."""

import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from absl import app, flags
from prediction_tables import make_study

from data_prep import synthetic
from mpjax import config as configs
from mpjax import notebook, study
from mpjax.analysis import predictions
from mpjax.studies import evaluation, stages

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


SWIN = {"projector__kind": "swin", "projector__weights": "random"}
TRAINED = {**SWIN, "split__scheme": "fixed", "synthetic__animals_per_condition": 4}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"projector__kind": "i3d", "projector__attention_impl": "xla"}, "no attention_impl 'xla'"),
        ({**SWIN, "projector__attention_impl": "fast"}, "no attention_impl 'fast'; choose auto, "),
        ({"projector__weights": "swin3d_x"}, "swin3d_x: no such checkpoint; give its path"),
        ({"projector__kind": "swim"}, "there is no module mpjax.models.swim"),
        ({"projector__dtype": "float16"}, "dtype 'float16': choose float32 or bfloat16"),
        ({**SWIN, "projector__architecture__num_heads": (3,)}, "width 8 of stage 0: not 3 heads"),
        ({"projector__rotations": 3}, "rotations must be 1, 2 or 4, got 3"),
        ({"projector__frames": 32}, "a clip of 16 frames is shorter than the 32"),
        ({"video__mask": ("10:20:30",)}, "config.video.mask: box '10:20:30': expected x:y:w:h"),
        ({"eval__against": "gone.parquet"}, "config.eval.against: gone.parquet: no such file"),
        ({"require": "fine.accuracy"}, "config.require: 'fine.accuracy': expected a figure"),
        ({"mesh__model": 64}, "config.mesh.model = 1 x 64 does not fit"),
        ({"saliency__run": True, "saliency__grid": (2, 65, 4)}, "grid (2, 65, 4) is finer than"),
        ({"exclude": ("sham",)}, "out/cohort/cohort.csv: exclude: no class sham; the classes are"),
        ({"synthetic__seconds": 0.1}, "config.synthetic.seconds=0.1: expected 2 frames or more"),
        ({"synthetic__confound": "cold"}, "config.synthetic.confound='cold': expected"),
        ({"split__scheme": "fixed"}, "too few for train, val and test; use kfold"),
        ({"train__what": "all"}, "trains one model, but the split is kfold"),
        ({**TRAINED, "train__what": "head", "train__batch_size": 3,
          "train__optim__accumulate": 2}, "config.train.batch_size 3 cannot be cut over"),
        ({"head__coarse": True, "synthetic__task": "behaviours"}, "this cohort has none"),
    ],
)  # fmt: skip
def test_what_no_stage_can_do_is_refused_before_anything_is_written(tmp_path, changes, told):
    assert told in refuse(tmp_path, load(**changes))


def test_adapters_of_a_network_without_attention_are_refused(tmp_path):
    config = load(
        "ci", split__scheme="fixed", synthetic__animals_per_condition=6, train__what="lora"
    )
    assert "trains a Video Swin (config.projector.kind=swin), not 'i3d'" in refuse(tmp_path, config)


def test_a_checkpoint_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "net.pth").write_bytes(b"not a checkpoint")
    plain = configs.to_config_dict(configs.ArchitectureConfig()).to_dict()
    changes = {f"projector__architecture__{name}": value for name, value in plain.items()}
    config = load(**changes, projector__weights=str(tmp_path / "net.pth"))
    assert "net.pth" in refuse(tmp_path, config)


def test_other_predictions_of_other_classes_are_refused(tmp_path):
    table, meta = make_study(drug=False)
    predictions.write_predictions(tmp_path / "p.parquet", table, meta)
    told = refuse(tmp_path, load(eval__against=str(tmp_path / "p.parquet")))
    assert told.startswith("the two methods have different classes: ")


def test_packages_that_are_not_installed_are_named_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.metadata, "version", _absent)
    told = refuse(tmp_path, load(baselines__bsoid=True))
    assert told == "the baseline B-SOiD needs umap-learn; pip install 'mpjax[baselines]'"


def _absent(name):
    raise importlib.metadata.PackageNotFoundError(name)


def test_pose_files_that_a_cohort_lacks_are_refused(tmp_path):
    config = load("tiny", synthetic__seconds=0.4, synthetic__days=(3,))
    table = synthetic.generate(tmp_path / "mice", config.synthetic, workers=1)
    rows = pd.read_csv(table)
    rows.assign(pose="").to_csv(table, index=False)
    told = refuse(tmp_path, load(baselines__bsoid=True, cohort=str(table)))
    assert told.count("column pose is empty; name its pose file") == 20
    assert told.endswith(f"... and {len(rows) - 20} more")


@pytest.mark.parametrize("name", ["file", "file/out"])
def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path, name):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file.*: is a file, not a folder"):
        stages.run(load(), tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


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


def test_a_stage_whose_folder_is_missing_does_not_make_it(tmp_path):
    workdir, config = tmp_path / "mistyped", load()
    for stage in (stages.embed, stages.train, stages.explain, evaluation.run):
        with pytest.raises(ValueError, match="no finished dataset"):
            stage(config, workdir)
        assert not workdir.exists()
