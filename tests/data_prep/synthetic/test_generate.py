"""The synthetic cohort: its plan, its truth, its files, and what the camera sees."""

import csv
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pandas as pd
import pytest

from data_prep import synthetic
from data_prep.synthetic import behaviour, render
from data_prep.synthetic import cohort as cohort_writer
from data_prep.synthetic import motion as mouse
from data_prep.synthetic import plan as synthetic_plan
from mpjax.config import SyntheticConfig
from tests.data_prep.synthetic.test_motion import film, motion_of

TINY = SyntheticConfig(
    animals_per_condition=1, animals_per_arm=1, days=(1, 21), doses_mg_per_kg=(100.0,),
    seconds=0.6, size=64,
)  # fmt: skip


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return Path(synthetic.generate(tmp_path_factory.mktemp("cohort"), TINY, workers=1)).parent


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def paw_directed_share(config, chosen, repeats=1):
    """Mean share of frames in paw-directed behaviours, over `repeats` seeds."""
    shares = []
    for seed in range(repeats):
        seeded = dataclasses.replace(config, seed=seed)
        for recording in filter(chosen, synthetic_plan.plan(seeded)):
            labels, _ = synthetic_plan.draw_behaviour(seeded, recording)
            paw = [behaviour.BEHAVIOURS.index(name) for name in behaviour.BEHAVIOURS[4:]]
            shares.append(np.isin(labels, paw).mean())
    return np.mean(shares)


# The plan


def test_every_animal_is_recorded_on_every_day_and_no_drug_animal_among_them():
    plan = pd.DataFrame(dataclasses.asdict(r) for r in synthetic_plan.plan(SyntheticConfig()))
    is_drug_part = plan.groupby("animal")["drug"].transform(lambda drug: (drug != "").any())
    days = plan[~is_drug_part].groupby("animal")["day"].apply(sorted)
    assert len(days) == 18
    assert all(d == [1, 3, 7, 14, 21] for d in days)
    sessions = plan[is_drug_part].groupby("animal")
    assert len(sessions) == 3 * 3 * 4
    assert all(list(group["day"]) == [-1, 14, 14] for _, group in sessions)
    assert all(list(group["drug"])[:2] == ["", ""] for _, group in sessions)
    assert not plan["stem"].duplicated().any()


def test_cages_hold_two_animals_of_one_condition_and_sex_with_arms_mixed():
    plan = pd.DataFrame(dataclasses.asdict(r) for r in synthetic_plan.plan(SyntheticConfig()))
    cages = plan.groupby("cage")
    assert (cages["animal"].nunique() == 2).all()
    assert all(len(group[["condition", "sex"]].drop_duplicates()) == 1 for _, group in cages)
    treated = plan[plan["drug"] != ""]
    assert (treated.groupby("cage")["dose"].nunique() == 2).all()
    arms = treated.groupby(["condition", "dose"])
    assert (arms["animal"].nunique() == 4).all()
    assert (arms["sex"].apply(lambda sex: (sex == "F").sum()) == 2).all()


def test_neuropathic_pain_rises_and_stays_while_inflammatory_pain_resolves():
    days = [1, 3, 7, 14, 21, 60]
    rising = [behaviour.pain_level("neuropathic", day) for day in days]
    falling = [behaviour.pain_level("inflammatory", day) for day in days]
    assert rising == sorted(rising)
    assert rising[0] == pytest.approx(0.4)
    assert rising[4] == rising[5] == pytest.approx(1.0)
    assert falling == sorted(falling, reverse=True)
    assert falling[0] == 1.0
    assert falling[4] == pytest.approx(0.25)
    for condition in behaviour.CONDITIONS:
        assert behaviour.pain_level(condition, -1) == 0.0
    assert all(behaviour.pain_level("none", day) == 0.0 for day in days)


def test_the_drug_relieves_neuropathic_pain_most_and_painless_animals_not_at_all():
    config = SyntheticConfig()
    effects = {c: synthetic_plan.drug_effect(config, c, 100.0) for c in behaviour.CONDITIONS}
    assert effects["neuropathic"] == pytest.approx((0.8, 0.1))
    assert effects["inflammatory"] == pytest.approx((0.25, 0.1))
    assert effects["none"] == pytest.approx((0.0, 0.1))
    low = synthetic_plan.drug_effect(config, "neuropathic", 30.0)
    assert 0 < low[0] < 0.8
    assert 0 < low[1] < 0.1
    assert synthetic_plan.drug_effect(config, "neuropathic", 0.0) == (0.0, 0.0)


# Behaviour


@pytest.mark.parametrize("condition", behaviour.CONDITIONS)
def test_long_run_time_shares_are_the_stated_profiles(condition):
    drive = behaviour.Drive(condition, 1.0)
    rng = np.random.default_rng(5)
    labels, _ = behaviour.simulate(drive, frames=200_000, fps=25.0, rng=rng)
    seen = np.bincount(labels, minlength=7) / len(labels)
    np.testing.assert_allclose(seen, behaviour.SHARES[condition], atol=0.015)


def test_paw_directed_behaviour_follows_the_pain():
    config = SyntheticConfig(animals_per_condition=20, animals_per_arm=0, days=(1, 21))

    def share(condition, day):
        return paw_directed_share(config, lambda r: (r.condition, r.day) == (condition, day))

    assert share("neuropathic", 21) > share("neuropathic", 1) + 0.2
    assert share("inflammatory", 1) > share("inflammatory", 21) + 0.2
    assert share("none", 1) == pytest.approx(share("none", 21), abs=0.06)
    assert share("neuropathic", 21) > share("none", 21) + 0.3


def test_the_drug_reduces_paw_directed_behaviour_by_dose():
    config = SyntheticConfig(animals_per_condition=1, animals_per_arm=30, days=(1,))

    def share(dose):
        return paw_directed_share(
            config, lambda r: r.condition == "neuropathic" and bool(r.drug) and r.dose == dose
        )

    assert share(0.0) > share(30.0) + 0.1
    assert share(30.0) > share(100.0) + 0.05


def test_sedation_slows_painless_animals():
    calm, sedated = (behaviour.Drive("none", 0.0, sedation=s) for s in (0.0, 0.5))
    walk = behaviour.BEHAVIOURS.index("walk")
    assert behaviour.time_shares(sedated)[walk] < behaviour.time_shares(calm)[walk]
    paths = [
        mouse.move(
            np.full(1000, walk), np.ones(1000, bool), drive, size=1.0, fps=25.0,
            rng=np.random.default_rng(6),
        ).spine[:, mouse.PELVIS]
        for drive in (calm, sedated)
    ]  # fmt: skip
    speeds = [np.linalg.norm(np.diff(path, axis=0), axis=-1).mean() for path in paths]
    assert speeds[1] < 0.8 * speeds[0]
    free = mouse.CHAMBER_CM - 2 * mouse.WALL_CM - mouse.BODY_CM  # for the pelvis, at its length
    assert (np.ptp(paths[0], axis=0) > 0.8 * free).all(), "stuck at a wall"


def test_null_leaves_nothing_of_condition_day_and_drug():
    config = SyntheticConfig(null=True)
    for recording in synthetic_plan.plan(config):
        as_untreated = dataclasses.replace(recording.drive, condition="none")
        assert recording.drive.pain == recording.drive.sedation == 0.0
        np.testing.assert_array_equal(
            behaviour.time_shares(recording.drive), behaviour.time_shares(as_untreated)
        )
        assert recording.drive.posture() == behaviour.Posture(0.0, 0.0, 0.0)
    many = dataclasses.replace(config, animals_per_condition=40, animals_per_arm=0, days=(1, 21))
    shares = [
        paw_directed_share(many, lambda r, c=c, d=d: (r.condition, r.day) == (c, d))
        for c in behaviour.CONDITIONS
        for d in (1, 21)
    ]
    assert max(shares) - min(shares) < 0.06


# Files


def test_the_same_config_gives_the_same_bytes_for_any_number_of_workers(cohort, tmp_path):
    synthetic.generate(tmp_path / "again", TINY, workers=2)
    assert contents(cohort) == contents(tmp_path / "again")


def test_another_seed_gives_another_cohort_and_replaces_the_earlier_one(tmp_path):
    config = dataclasses.replace(TINY, days=(1,), animals_per_arm=0)
    synthetic.generate(tmp_path, dataclasses.replace(config, days=(1, 2)), workers=1)
    (tmp_path / "videos" / "mine.mp4").write_text("not the generator's")
    before = contents(tmp_path)
    synthetic.generate(tmp_path, dataclasses.replace(config, seed=1), workers=1)
    after = contents(tmp_path)
    assert "videos/neu01_d02.mp4" in before
    assert "videos/neu01_d02.mp4" not in after
    assert "videos/mine.mp4" in after
    assert before["videos/neu01_d01.mp4"] != after["videos/neu01_d01.mp4"]


def test_a_killed_run_is_completed_and_a_complete_one_is_left_alone(cohort, tmp_path, capsys):
    out = tmp_path / "c"
    synthetic.generate(out, TINY, workers=1)
    (out / "truth.json").unlink()
    (out / "cohort.csv").unlink()
    (out / "videos" / "inf01_d01.mp4").unlink()
    (out / "videos" / ".inf01_d01.mp4.1234.part").write_bytes(b"half")
    kept = (out / "videos" / "neu01_d01.mp4").stat().st_mtime_ns
    synthetic.generate(out, TINY, workers=1)
    assert contents(out) == contents(cohort)
    assert (out / "videos" / "neu01_d01.mp4").stat().st_mtime_ns == kept
    written = (out / "truth.json").stat().st_mtime_ns
    synthetic.generate(out, TINY)
    assert "unchanged" in capsys.readouterr().err
    assert (out / "truth.json").stat().st_mtime_ns == written


def test_videos_decode_with_the_stated_frames_rate_and_size(cohort):
    videos = sorted((cohort / "videos").glob("*.mp4"))
    assert len(videos) == 3 * (2 + 2 * 3)
    with av.open(str(videos[0])) as container:
        stream = container.streams.video[0]
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 25
    assert len(frames) == 15
    assert frames[0].shape == (64, 64, 3)


def test_the_encoded_picture_is_the_rendered_one(tmp_path):
    frames, _ = film(motion_of("walk", frames=20))
    render.encode(str(tmp_path / "v"), frames, fps=25.0, size=128)
    with av.open(str(tmp_path / "v")) as container:
        decoded = np.stack([f.to_ndarray(format="rgb24") for f in container.decode(video=0)])
    assert np.abs(decoded.mean(-1) - frames).mean() < 4
    assert np.ptp(decoded.astype(int), axis=-1).max() <= 4  # gray


def test_cohort_csv_has_the_formats_columns_and_names_files_that_exist(cohort):
    with open(cohort / "cohort.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(synthetic_plan.COLUMNS)
    assert all((cohort / row["video"]).exists() and (cohort / row["pose"]).exists() for row in rows)
    treated = [row for row in rows if row["drug"]]
    assert {row["drug"] for row in treated} == {"vehicle", "gabapentin"}
    assert {(row["route"], row["minutes_post_dose"]) for row in treated} == {("i.p.", "60")}
    assert all(not row["dose_mg_per_kg"] for row in rows if not row["drug"])


def test_pose_labels_and_keypoints_agree_with_each_other(cohort):
    pose = pd.read_csv(cohort / "pose" / "neu01_d21.csv", header=[0, 1, 2], index_col=0)
    truth = np.load(cohort / "keypoints" / "neu01_d21.npz")
    labels = pd.read_csv(cohort / "labels" / "neu01_d21.csv")
    assert list(pose.columns.get_level_values(1)[::3]) == list(truth["names"])
    values = pose.to_numpy().reshape(len(pose), 6, 3)
    assert len(labels) == len(pose) == len(truth["keypoints"]) == 15
    sure = values[..., 2] > 0.5
    assert np.abs(values[..., :2] - truth["keypoints"])[sure].max() < 5 * 2 * 0.7 / 2
    assert set(labels["behaviour"]) <= set(behaviour.BEHAVIOURS)


def test_pose_outliers_are_rare_unlikely_and_more_often_in_the_air():
    rng = np.random.default_rng(8)
    points, contact = np.full((20_000, 6, 2), 60.0), np.tile([1.0, 1.0, 0.0, 1.0], (20_000, 1))
    estimated, likelihood = cohort_writer.estimate_pose(points, contact, size=128, rng=rng)
    unlikely = (likelihood < 0.3).mean(axis=0)
    assert unlikely[3] == pytest.approx(cohort_writer.OUTLIER_IN_AIR, abs=0.01)
    assert unlikely[4] == pytest.approx(cohort_writer.OUTLIER_ON_FLOOR, abs=0.003)
    spread = [estimated[likelihood[:, k] > 0.5, k].std() for k in (3, 4)]
    assert spread == pytest.approx([1.4, 0.7], rel=0.05)


def test_truth_holds_config_pain_effects_and_the_time_budget_of_the_label_files(cohort):
    truth = json.loads((cohort / "truth.json").read_text())
    assert truth["config"]["days"] == [1, 21]
    assert truth["recordings"]["neu01_d21"]["pain"] == pytest.approx(1.0)
    assert truth["drug"]["neuropathic"]["gabapentin 100"]["pain_removed"] == pytest.approx(0.8)
    assert set(truth["animals"]["neu01"]["log_rate_effect"]) == set(behaviour.BEHAVIOURS)
    for stem, recording in truth["recordings"].items():
        labels = pd.read_csv(cohort / "labels" / f"{stem}.csv")["behaviour"]
        share = labels.value_counts(normalize=True).reindex(behaviour.BEHAVIOURS, fill_value=0.0)
        assert recording["time_share"] == pytest.approx(share.to_dict())


# Bad input


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("size", 62), ("size", 129), ("days", ()), ("days", (1, 1)), ("drug_neuropathic", -0.1),
        ("drug_inflammatory", 1.5), ("sedation", -1.0), ("severity", -1.0), ("animal_sd", -0.1),
        ("doses_mg_per_kg", (-30.0,)), ("doses_mg_per_kg", (30.0, 30.0)), ("days", (-1,)),
        ("seconds", 0.0), ("fps", float("nan")), ("seed", -1), ("animals_per_condition", 0),
        ("animals_per_arm", -1), ("drug_day", -1), ("nuisance", 2.5),
    ],
)  # fmt: skip
def test_a_bad_config_is_refused_by_name_and_value(field, value):
    with pytest.raises(ValueError) as error:
        dataclasses.replace(TINY, **{field: value})
    assert re.fullmatch(
        rf"SyntheticConfig\.{field} must be .*, got {re.escape(repr(value))}", str(error.value)
    )


def test_all_faults_of_a_config_are_named_at_once():
    with pytest.raises(ValueError, match=r"size must be .*got 32; .*severity must be .*got -1"):
        SyntheticConfig(size=32, severity=-1.0)


def test_fields_that_make_no_cohort_together_are_refused_before_anything_is_written(tmp_path):
    config = dataclasses.replace(TINY, seconds=0.1, fps=10.0, confound="sham")
    with pytest.raises(ValueError, match=r"confound='sham': expected .*; .*seconds=0.1: expected"):
        synthetic.generate(tmp_path / "out", config, workers=1)
    assert not (tmp_path / "out").exists()
    assert synthetic_plan.plan(dataclasses.replace(TINY, doses_mg_per_kg=())), "vehicle alone"


def test_a_folder_with_somebody_elses_cohort_is_refused_and_left_alone(tmp_path):
    (tmp_path / "cohort.csv").write_text("video\n")
    with pytest.raises(ValueError, match=r"cohort\.csv"):
        synthetic.generate(tmp_path, TINY, workers=1)
    assert contents(tmp_path) == {"cohort.csv": b"video\n"}


def test_the_binary_says_in_one_line_why_it_cannot_write_and_fails(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "data_prep.synthetic", f"--out={tmp_path}/file/out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"{tmp_path}/file" in done.stderr
