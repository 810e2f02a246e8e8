import dataclasses

import numpy as np
import pandas as pd
import pytest
from prediction_tables import make_meta, make_study, make_table
from simulated_trials import Trial, simulate

from mpjax.analysis import predictions
from mpjax.analysis.classification.calibration import Calibrated, calibrate
from mpjax.analysis.drug import reversal, trial
from mpjax.analysis.drug import sessions as drug_sessions
from mpjax.analysis.drug.summary import summarise
from mpjax.taxonomy import Taxonomy

TWO_CLASSES = Taxonomy(("sni@d1", "sham@d1"), ("no_pain", "neuropathic"), (1, 0))


def read(tmp_path, table, meta=None):
    path = tmp_path / "predictions.parquet"
    predictions.write_predictions(path, table, meta or make_meta(scheme="kfold"))
    return predictions.read_predictions(path)


def analyse(read_predictions, **options):
    return trial.analyse_drugs(read_predictions, calibrate(read_predictions), **options)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return read(tmp_path_factory.mktemp("study"), *make_study())


def test_sessions_average_clips_within_recordings_first(tmp_path):
    table, meta = make_study()
    found = read(tmp_path, table, meta)
    sessions = drug_sessions.score_sessions(found, found.p, outcome="pain")
    animal = table.loc[table["split"] == "drug", "animal"].iloc[0]
    rows = (found.table["animal"] == animal) & (found.table["drug"] == "")
    pain = 1 - found.taxonomy.coarse_probabilities(found.p)[:, 2]
    per_video = pd.Series(pain)[rows.to_numpy()].groupby(found.table["video"][rows]).mean()
    mine = sessions[(sessions["animal"] == animal) & (sessions["phase"] == "pre")]
    assert mine["p_pain"].item() == pytest.approx(per_video.mean())
    assert mine["clips"].item() == rows.sum()


def test_phases_are_told_by_day_and_dose(study):
    sessions = drug_sessions.score_sessions(study, study.p, outcome="pain")
    counted = sessions.groupby("phase")["animal"].nunique()
    assert counted.to_dict() == {"pre": 36, "post": 36}
    assert sessions.loc[sessions["phase"] == "pre", "minutes_post_dose"].isna().all()


def test_gabapentin_of_the_made_study_works_in_neuropathic_pain_alone(study):
    found = analyse(study)
    assert found["interaction"]["of"] == ["neuropathic", "inflammatory"]
    assert found["interaction"]["ci95"][1] < 0
    tops = {c: rows[-1] for c, rows in found["contrasts"].items()}
    assert tops["neuropathic"]["ci95"][1] < 0
    assert tops["inflammatory"]["ci95"][0] < 0 < tops["inflammatory"]["ci95"][1]
    assert found["interaction"]["method"].startswith("permutation")
    assert "4 in the smallest" in found["interaction"]["note"]
    assert "relieves neuropathic pain more than inflammatory pain" in found["summary"][0]


def test_mixed_model_shown_holds_the_interaction_that_is_reported():
    sessions = simulate(Trial(effect=(1.0, 0.4)), seed=3)
    found = trial.analyse_sessions(sessions)
    reported, model = found["interaction"], found["mixed_model"]
    assert reported["method"] == "mixed model"
    assert model["n"]["animals"] == reported["n"] == 32
    term = next(row for row in model["terms"] if row["term"].count("×") == 2)
    assert term["value"] == pytest.approx(reported["value"], rel=1e-4)
    assert term["ci95"] == pytest.approx(reported["ci95"], rel=1e-3)
    assert term["p"] == pytest.approx(reported["p"], rel=1e-2)


def test_arms_given_by_cage_are_compared_by_cage():
    sessions = simulate(Trial(animals=8, doses=(100.0,)), seed=0)
    number = sessions["animal"].str.extract(r"(\d+)$")[0].astype(int)
    cage = sessions["condition"] + sessions["arm"] + (number // 8).astype(str)
    by_cage = trial.analyse_sessions(sessions.assign(cage=cage))
    assert by_cage["unit"] == "cage"
    assert by_cage["interaction"]["n"] == 8, "2 cages in each of 4 groups"
    assert by_cage["contrasts"]["neuropathic"][0]["n"] == {"arm": 2, "vehicle": 2}
    assert trial.analyse_sessions(sessions)["unit"] == "animal"
    one_each = trial.analyse_sessions(sessions.assign(cage=sessions["condition"] + sessions["arm"]))
    assert "has 1" in one_each["interaction"]["why"]


def test_relief_is_claimed_only_where_the_score_falls():
    worse = trial.analyse_sessions(simulate(Trial(animals=12, effect=(0.0, -1.5)), seed=0))
    assert worse["interaction"]["ci95"][1] < 0
    sentence = summarise(worse | {"specificity": {"locomotion": {}, "manifold": {}}})[0]
    assert "without clear relief in neuropathic pain" in sentence
    better = trial.analyse_sessions(simulate(Trial(animals=12, effect=(1.5, 0.0)), seed=0))
    sentence = summarise(better | {"specificity": {"locomotion": {}, "manifold": {}}})[0]
    assert "relieves neuropathic pain more" in sentence


def test_intervals_exclude_0_where_the_adjusted_p_is_small():
    for seed in range(8):
        sessions = simulate(Trial(effect=(0.6, 0.2)), seed=seed)
        later = sessions[sessions["phase"] == "post"].assign(minutes_post_dose=120.0)
        found = trial.analyse_sessions(pd.concat([sessions, later], ignore_index=True))
        rows = [row | {"p": row["p_adjusted"]} for r in found["contrasts"].values() for row in r]
        rows += [row for r in found["reversal"].values() for row in r.values() if row.get("ci95")]
        for row in rows:
            low, high = row["ci95"]
            assert (low <= 0 <= high) == (row["p"] > 0.05), row


def test_times_kept_for_single_animals_are_no_times_of_the_design():
    sessions = simulate(Trial(), seed=0)
    minutes = sessions["minutes_post_dose"] + np.arange(len(sessions)) % 7
    found = trial.analyse_sessions(sessions.assign(minutes_post_dose=minutes))
    assert {row["kind"] for row in found["contrasts"]["neuropathic"]} == {"dose"}


@pytest.mark.parametrize(
    ("lacks", "why"), [("before", "no session before"), ("dose", "neither a drug nor vehicle")]
)
def test_animals_that_no_test_counts_are_listed(tmp_path, lacks, why):
    table, meta = make_study()
    given = table["drug"] != ""
    lost = table.loc[(table["split"] == "drug") & given, "animal"].iloc[0]
    kept = table[(table["animal"] != lost) | (given if lacks == "before" else ~given)]
    found = analyse(read(tmp_path, kept, meta))
    (row,) = found["left_out"]
    assert row["animal"] == lost
    assert why in row["why"]


def test_reversal_is_the_share_of_the_injury_that_vehicle_does_not_take_away():
    sessions = simulate(Trial(animals=40, effect=(1.5, 0.0), session_sd=0.05, drift=0.3), seed=0)
    found = trial.analyse_sessions(sessions)["reversal"]
    top = found["neuropathic"]["gabapentin 100 mg/kg"]
    animals = drug_sessions.changes(sessions, "p_pain").query("condition == 'neuropathic'")
    relief = (animals["pre"] - animals["post"]).groupby(animals["arm"]).mean()
    injury = (animals["pre"] - animals["baseline"]).mean()
    expected = 100 * (relief["gabapentin 100 mg/kg"] - relief["vehicle"]) / injury
    assert top["value"] == pytest.approx(expected)
    assert 80 < top["value"] < 110
    assert top["ci95"][0] < expected < top["ci95"][1]
    none = found["inflammatory"]["gabapentin 100 mg/kg"]
    assert none["ci95"][0] < 0 < none["ci95"][1]
    assert "no_pain" not in found


def test_reversal_is_suppressed_without_an_injury_to_reverse():
    sessions = simulate(Trial(injury=0.0), seed=1)
    found = trial.analyse_sessions(sessions)["reversal"]["neuropathic"]["gabapentin 100 mg/kg"]
    assert found["value"] is None
    assert "too near 0" in found["why"]


def test_ed50_needs_three_doses_and_finds_the_dose_of_half_the_effect():
    two = trial.analyse_sessions(simulate(Trial(effect=(1.5, 0.5)), seed=0))
    assert (
        "at least 3 are needed" in two["dose_response"]["neuropathic"]["gabapentin"]["ed50"]["why"]
    )
    dose = np.repeat([10.0, 30.0, 100.0, 300.0], 5)
    effects = np.stack([2.0 * dose / (40.0 + dose), np.ones(20)])
    found = reversal.half_effective_dose(dose, effects, within=(10.0, 300.0))
    assert found[0] == pytest.approx(40.0, rel=1e-3)
    assert found[1] == -np.inf, "a flat effect is half reached below the doses"


def test_ed50_of_a_trial_with_four_doses_lies_between_them():
    doses = (10.0, 30.0, 100.0, 300.0)
    sessions = simulate(Trial(animals=12, doses=doses, session_sd=0.05), seed=0)
    dose = sessions["dose_mg_per_kg"]
    relief = 0.4 * dose / (60.0 + dose)
    given = (sessions["phase"] == "post") & (sessions["condition"] == "neuropathic")
    pain = sessions["p_pain"] - relief.where(given, 0.0)
    found = trial.analyse_sessions(sessions.assign(p_pain=pain))["dose_response"]["neuropathic"]
    found = found["gabapentin"]
    low, high = found["ed50"]["ci95"]
    assert low < 60.0 < high
    assert 30.0 < found["ed50"]["value"] < 120.0
    assert len(found["doses"]) == 4


def without_vehicle(table):
    return table[table["drug"] != "vehicle"]


def crossed_over(table):
    rows = table[(table["drug"] == "vehicle")]
    video = rows["video"] + "x"
    extra = rows.assign(drug="gabapentin", video=video, clip_id=rows["clip_id"] + "x")
    return pd.concat([table, extra.assign(dose_mg_per_kg=30.0)], ignore_index=True)


def no_drug_part(table):
    return table[table["split"] != "drug"]


def untreated(table):
    return table.assign(drug="")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (without_vehicle, "no vehicle arm"),
        (crossed_over, "cross-over"),
        (no_drug_part, "no drug part"),
        (untreated, "names a drug"),
    ],
)
def test_no_inference_without_a_fit_design(tmp_path, change, why):
    table, meta = make_study()
    found = analyse(read(tmp_path, change(table), meta))
    for part in (found, found["interaction"], found["reversal"]):
        assert part["value"] is None
        assert why in part["why"]


def test_an_arm_with_one_animal_is_not_estimable_and_the_others_are():
    sessions = simulate(Trial(animals=3), seed=0)
    top = (sessions["arm"] == "gabapentin 100 mg/kg") & (sessions["coarse"] == "neuropathic")
    one = sorted(set(sessions.loc[top, "animal"]))[1:]
    found = trial.analyse_sessions(sessions[~sessions["animal"].isin(one)])
    assert "has 1" in found["interaction"]["why"]
    low, high = found["contrasts"]["neuropathic"]
    assert low["value"] is not None
    assert "has 1" in high["why"]
    assert found["reversal"]["neuropathic"]["gabapentin 100 mg/kg"]["value"] is None


def test_constant_scores_give_no_p_value():
    sessions = simulate(Trial(), seed=0).assign(score=0.7, p_pain=0.5)
    found = trial.analyse_sessions(sessions)
    assert found["interaction"]["value"] is None
    assert "no variance" in found["interaction"]["why"]
    assert found["mixed_model"]["value"] is None


def test_treated_clips_outside_the_drug_split_are_refused(study):
    table = study.table.copy()
    rows = (table["split"] == "drug") & (table["drug"] == "gabapentin")
    table.loc[rows, "split"] = "test"
    moved = dataclasses.replace(study, table=table)
    with pytest.raises(ValueError, match="would not be zero-shot"):
        trial.analyse_drugs(moved, Calibrated(study.p, {}))


def test_times_after_the_dose_are_compared_one_by_one():
    sessions = simulate(Trial(effect=(1.5, 0.5)), seed=2)
    later = sessions[sessions["phase"] == "post"].assign(minutes_post_dose=120.0)
    later = later.assign(score=later["score"] + 0.1)
    found = trial.analyse_sessions(pd.concat([sessions, later], ignore_index=True))
    timed = [row for row in found["contrasts"]["neuropathic"] if row["kind"] == "time"]
    assert {row["minutes_post_dose"] for row in timed} == {60.0, 120.0}
    assert all(row["p_adjusted"] >= row["p"] for row in timed)
    assert len([row for row in found["contrasts"]["neuropathic"] if row["primary"]]) == 1


def test_own_type_scores_the_animals_own_condition(study):
    pain = drug_sessions.score_sessions(study, study.p, outcome="pain")
    own = drug_sessions.score_sessions(study, study.p, outcome="own_type")
    ill = pain["coarse"] != "no_pain"
    assert (own["score"][ill] < pain["score"][ill]).all()
    assert (own["score"][~ill] == pain["score"][~ill]).all()


def test_sessions_before_and_after_the_dose_stand_in_the_arm_their_animal_receives(tmp_path):
    given = {"split": "drug", "drug": "gabapentin", "dose_mg_per_kg": 30.0}
    control = {"split": "drug", "drug": "vehicle", "minutes_post_dose": 60.0}
    rows = [
        {"animal": "a", "video": "a1", "split": "drug"},
        {"animal": "a", "video": "a2", **given, "minutes_post_dose": 60.0},
        {"animal": "b", "video": "b1", "split": "drug"},
        {"animal": "b", "video": "b2", **control},
        {"animal": "b", "video": "b3", **control, "minutes_post_dose": -5.0},
    ]
    pain = np.array([0.8, 0.3, 0.7, 0.6, 0.9])
    rows = [{"condition": "sni", "day": 1, "label": 0} | row for row in rows]
    table = make_table(rows, np.log(np.stack([pain, 1 - pain], 1)))
    found = read(tmp_path, table, make_meta(TWO_CLASSES))
    phases = trial.describe_phases(drug_sessions.score_sessions(found, found.p, outcome="pain"))
    values = {(row["arm"], row["phase"]): row["value"] for row in phases}
    assert values == pytest.approx({
        ("vehicle", "pre"): 0.8, ("vehicle", "post"): 0.6,
        ("gabapentin 30 mg/kg", "pre"): 0.8, ("gabapentin 30 mg/kg", "post"): 0.3,
    }, rel=1e-6)  # fmt: skip
    assert phases[-1]["minutes_post_dose"] == [60.0, 60.0]


def test_arms_come_in_the_order_of_dose_vehicle_first(study):
    found = analyse(study)
    arms = ["vehicle", "gabapentin 30 mg/kg", "gabapentin 100 mg/kg"]
    assert list(found["arms"]) == arms
    assert list(dict.fromkeys(row["arm"] for row in found["rows"])) == arms
    assert {row["n"] for row in found["rows"]} == {4}
    assert len(found["rows"]) == 3 * 3 * 2
