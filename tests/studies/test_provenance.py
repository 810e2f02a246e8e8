"""A study's folder is one cohort's, and a report made with other settings says so."""

import dataclasses
import json

import pytest

from data_prep import synthetic
from mpjax.config import BaselineConfig, StudyConfig, SyntheticConfig
from mpjax.studies import provenance
from mpjax.studies.workdir import Workdir


def begun(tmp_path, config):
    workdir = Workdir(tmp_path / "out")
    provenance.claim(workdir, config)
    workdir.dataset.mkdir(parents=True, exist_ok=True)
    return workdir


def test_another_cohort_is_refused_in_a_study_that_has_begun_and_the_same_is_not(tmp_path):
    mine, other = (StudyConfig(cohort=str(tmp_path / name)) for name in ("a.csv", "b.csv"))
    workdir = begun(tmp_path, mine)
    provenance.claim(workdir, dataclasses.replace(mine, name="as often as one likes"))
    for config in (other, StudyConfig()):
        with pytest.raises(ValueError, match=r"holds a study of .*a\.csv, not of .*--workdir"):
            provenance.claim(workdir, config)
    assert provenance.differing(workdir, mine) == [
        "config.name was 'as often as one likes', is 'study'"
    ]


def test_settings_of_an_older_study_are_compared_by_their_new_names(tmp_path):
    workdir = begun(tmp_path, StudyConfig())
    note = json.loads(workdir.settings.read_text())
    motifs = note["config"]["motifs"]
    motifs["gallery"] = motifs.pop("exemplars") + 1
    note["config"]["baseline"] = "bsoid"
    workdir.settings.write_text(json.dumps(note))
    (line,) = provenance.differing(workdir, StudyConfig())
    assert line.startswith("config.motifs.exemplars was ")


def test_a_drawn_cohort_is_recognised_by_the_study_or_by_the_mark_beside_its_table(tmp_path):
    workdir, table = Workdir(tmp_path / "out"), tmp_path / "mice" / "cohort.csv"
    assert not provenance.is_synthetic(workdir, "")
    config = SyntheticConfig(
        animals_per_condition=1, animals_per_arm=0, days=(3,), seconds=0.4, size=64
    )
    assert synthetic.generate(table.parent, config, workers=1) == table
    assert provenance.is_synthetic(workdir, str(table))
    assert not provenance.is_synthetic(workdir, str(tmp_path / "cohort.csv"))
    provenance.claim(workdir, StudyConfig(cohort=str(tmp_path / "cohort.csv")))
    assert not provenance.is_synthetic(workdir, str(tmp_path / "cohort.csv"))
    assert provenance.is_synthetic(begun(tmp_path / "drawn", StudyConfig()), "/moved/cohort.csv")


def test_a_name_that_was_mistyped_does_not_keep_the_folder(tmp_path):
    workdir = Workdir(tmp_path)
    provenance.claim(workdir, StudyConfig(cohort="mistyped.csv"))
    provenance.claim(workdir, StudyConfig(cohort="right.csv"))
    workdir.dataset.mkdir(parents=True, exist_ok=True)
    provenance.claim(workdir, StudyConfig(cohort="right.csv"))


def test_settings_of_the_report_that_differ_are_named_and_others_are_not(tmp_path):
    workdir = begun(tmp_path, StudyConfig(baselines=BaselineConfig(random=False)))
    now = StudyConfig(require="fine.accuracy>=0.1")
    assert provenance.differing(workdir, now) == ["config.baselines.random was False, is True"]
    assert provenance.differing(Workdir(tmp_path), now) == []  # a folder without a note
