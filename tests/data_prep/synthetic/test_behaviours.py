"""The synthetic cohort of labelled behaviours, from which an action space can be learned."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from data_prep import cohort as cohorts
from data_prep import synthetic
from data_prep.synthetic import behaviour
from data_prep.synthetic import cohort as cohort_writer
from data_prep.synthetic import motion as mouse
from data_prep.synthetic import plan as synthetic_plan
from mpjax.config import SplitConfig, SyntheticConfig

TINY = SyntheticConfig(
    task="behaviours", animals=4, clips_per_behaviour=1, seconds=0.4, size=64
)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return Path(synthetic.generate(tmp_path_factory.mktemp("cohort"), TINY, workers=1)).parent


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def motions(name, *, seconds=2.0):
    """Two animals' motions, as filmed, while they do one thing."""
    config = dataclasses.replace(TINY, animals=2, seconds=seconds)
    for recording in synthetic_plan.plan(config):
        if recording.label == name:
            drawn = synthetic_plan.draw_behaviour(config, recording)
            yield cohort_writer.draw_motion(config, recording, *drawn)


# Animals and labels


def test_every_animal_shows_every_behaviour_equally_often(folder):
    config = dataclasses.replace(TINY, animals=6, clips_per_behaviour=3)
    plan = pd.DataFrame(dataclasses.asdict(r) for r in synthetic_plan.plan(config))
    counts = pd.crosstab(plan["animal"], plan["label"])
    assert counts.shape == (6, len(behaviour.BEHAVIOURS))
    assert (counts == 3).all(axis=None)
    assert (plan.groupby("cage")["animal"].nunique() == 2).all()
    assert not plan["stem"].duplicated().any()
    table = pd.read_csv(folder / "cohort.csv")
    assert list(table.columns) == list(synthetic_plan.LABEL_COLUMNS)
    assert sorted(table["label"]) == sorted(behaviour.BEHAVIOURS * 4)
    assert (table["fps"] == 25).all()


def test_no_animal_cage_recording_or_coat_is_in_the_pain_cohort_of_the_same_seed():
    pain, behaviours = (
        synthetic_plan.plan(SyntheticConfig(task=task)) for task in ("pain", "behaviours")
    )
    for name in ("stem", "animal", "cage", "coat"):
        of_pain, of_behaviours = ({getattr(r, name) for r in part} for part in (pain, behaviours))
        assert not of_pain & of_behaviours, name
    assert len({r.coat for r in behaviours}) == SyntheticConfig().animals


def test_the_animals_are_free_of_pain():
    for recording in synthetic_plan.plan(TINY):
        assert recording.drive.posture() == behaviour.Posture(0.0, 0.0, 0.0)
        assert recording.drive.pain == recording.drive.sedation == 0.0


# What is filmed


def test_every_recording_shows_its_behaviour_and_no_other(folder):
    table = pd.read_csv(folder / "cohort.csv")
    truth = json.loads((folder / "truth.json").read_text())
    assert set(truth["recordings"]) == {Path(video).stem for video in table["video"]}
    for row in table.itertuples():
        stem = Path(row.video).stem
        seen = pd.read_csv(folder / "labels" / f"{stem}.csv")["behaviour"]
        assert len(seen) == 10
        assert set(seen) == {row.label}
        shares = truth["recordings"][stem]["time_share"]
        assert shares == {name: float(name == row.label) for name in behaviour.BEHAVIOURS}


def test_bodies_do_from_the_first_frame_on_what_the_label_says():
    def contact(name):
        return np.stack([motion.contact for motion in motions(name)])

    def path_cm(name):
        steps = [np.diff(motion.spine[:, mouse.PELVIS], axis=0) for motion in motions(name)]
        return np.linalg.norm(steps, axis=-1).sum(axis=1)

    assert (path_cm("walk") > 3).all()
    assert (path_cm("still") < 0.1).all()
    assert contact("still").all()
    for name in ("rear", "groom"):
        assert contact(name)[..., :2].max() < 0.01, "the fore paws are off the floor"
        assert contact(name)[:, 0, 2:].min() > 0.9, "the hind paws stand"
    for name in ("guard_hind_paw", "lick_hind_paw"):
        assert contact(name)[:, 0, 2:].min(axis=-1).max() < 0.01, "one hind paw is up"
    for kicks in contact("flinch")[..., 2:].min(axis=-1):
        assert kicks.min() < 0.1
        assert kicks.max() > 0.7, "and down again"


def test_bouts_differ_in_place_heading_and_paw():
    config = dataclasses.replace(TINY, animals=8, clips_per_behaviour=4)
    recordings = [r for r in synthetic_plan.plan(config) if r.label == "guard_hind_paw"]
    places, headings, left = [], [], []
    for recording in recordings:
        labels, sides = synthetic_plan.draw_behaviour(config, recording)
        motion = cohort_writer.draw_motion(config, recording, labels, sides)
        places.append(motion.spine[0, mouse.PELVIS])
        headings.append(motion.direction[0, mouse.PELVIS])
        left.append(sides[0])
    assert (np.std(places, axis=0) > 1.25).all()  # cm; 1.0 and 1.1 where all mice begin
    assert abs(np.exp(1j * np.array(headings)).mean()) < 0.5
    assert 0.2 < np.mean(left) < 0.8, "either paw is guarded"


# Files


def test_the_same_config_gives_the_same_bytes_for_any_number_of_workers(folder, tmp_path):
    synthetic.generate(tmp_path, TINY, workers=2)
    assert contents(folder) == contents(tmp_path)


def test_a_killed_run_is_completed_and_the_other_task_replaces_it(folder, tmp_path):
    synthetic.generate(tmp_path, TINY, workers=1)
    for name in ("truth.json", "cohort.csv", "videos/act02_groom_01.mp4"):
        (tmp_path / name).unlink()
    kept = (tmp_path / "videos" / "act01_walk_01.mp4").stat().st_mtime_ns
    synthetic.generate(tmp_path, TINY, workers=1)
    assert contents(tmp_path) == contents(folder)
    assert (tmp_path / "videos" / "act01_walk_01.mp4").stat().st_mtime_ns == kept
    pain = dataclasses.replace(
        TINY, task="pain", animals_per_condition=1, animals_per_arm=0, days=(1,)
    )
    synthetic.generate(tmp_path, pain, workers=1)
    assert {path.stem for path in (tmp_path / "videos").iterdir()} == {
        "neu01_d01", "inf01_d01", "non01_d01"
    }  # fmt: skip


def test_the_cohort_reads_back_and_its_division_keeps_cages_apart(folder):
    for scheme in ("kfold", "leave_one_group_out"):
        cohort = cohorts.read_cohort(
            folder / "cohort.csv", split=SplitConfig(scheme=scheme, folds=2)
        )
        assert cohort.taxonomy.fine == tuple(sorted(behaviour.BEHAVIOURS))
        assert not cohort.taxonomy.coarse
        sides = cohort.table[["fold", "cage"]].drop_duplicates()
        assert sorted(sides["fold"]) == [0, 1]
        assert sorted(sides["cage"]) == ["act-cage01", "act-cage02"]


def test_the_default_cohort_is_large_enough_for_a_fixed_division(tmp_path):
    config = SyntheticConfig(task="behaviours")
    table = pd.DataFrame(r.row(config.fps) for r in synthetic_plan.plan(config))
    table.to_csv(tmp_path / "cohort.csv", index=False)
    cohort = cohorts.read_cohort(tmp_path / "cohort.csv", check_files=False)
    assert cohort.scheme == "fixed"
    sides = cohort.table.groupby("split")
    assert set(sides.groups) == {"train", "val", "test"}
    assert (sides["label"].nunique() == len(behaviour.BEHAVIOURS)).all()
    assert sides["cage"].nunique().sum() == SyntheticConfig().animals / 2, "a cage on two sides"


# Bad input


@pytest.mark.parametrize(
    ("field", "value"), [("task", "tricks"), ("animals", 0), ("clips_per_behaviour", 0)]
)
def test_a_bad_config_is_refused_by_name_and_value(field, value):
    with pytest.raises(ValueError, match=rf"^SyntheticConfig\.{field} must be .*, got {value!r}$"):
        dataclasses.replace(TINY, **{field: value})


def test_a_wrong_task_is_answered_with_the_right_ones():
    with pytest.raises(ValueError, match="task must be pain or behaviours, got 'tricks'"):
        dataclasses.replace(TINY, task="tricks")
