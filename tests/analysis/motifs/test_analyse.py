import json

import numpy as np
import pandas as pd
import pytest
from motif_cohorts import (
    MOTIFS,
    TAXONOMY,
    make_codebook,
    make_cohort,
    make_labelled,
)
from scipy import stats

from mpjax.analysis.motifs import analyse as motifs
from mpjax.analysis.motifs import contrasts
from mpjax.analysis.motifs import usage as motif_usage
from mpjax.analysis.motifs.codebook import Assigned
from mpjax.analysis.motifs.contrasts import Setting
from mpjax.config import MotifConfig
from mpjax.taxonomy import Taxonomy

CONFIG = MotifConfig(permutations=999, penalties=(1.0, 0.3, 0.1))
PAIN = {"neuropathic": {6: 1.5, 0: -0.8}, "inflammatory": {7: 1.5}}


def analyse(windows, assigned, *, taxonomy=TAXONOMY, group="animal", **more):
    options = {"bootstrap": 100, "config": CONFIG, "codebook": make_codebook()} | more
    found = motifs.analyse(windows, assigned, taxonomy=taxonomy, group=group, **options)
    return json.loads(json.dumps(found, allow_nan=False))


def select(found, **wanted):
    return [row for row in found["tests"] if all(row[k] == v for k, v in wanted.items())]


def contrast(windows, assigned, *, taxonomy=TAXONOMY, group="animal", permutations=999, seed=0):
    recordings, _ = motif_usage.measure_recordings(windows, assigned, motifs=MOTIFS)
    setting = Setting(group, permutations, seed)
    return contrasts.contrast_all(recordings, taxonomy=taxonomy, setting=setting)


@pytest.fixture(scope="module")
def planted():
    windows, assigned = make_cohort(shift=PAIN, drug=5, drug_shift={6: -2.0}, animals=7)
    return windows, assigned, analyse(windows, assigned)


def test_a_planted_effect_is_found_with_its_sign_in_its_condition(planted):
    found = planted[2]
    [raised] = select(found, contrast="neuropathic against no_pain", measure="usage", motif=6)
    assert raised["q"] < 0.05
    assert raised["difference"] > 0.05
    assert raised["effect"]["ci95"][0] > 0
    assert raised["n"] == {"group": 7, "reference": 7}
    [lowered] = select(found, contrast="neuropathic against no_pain", measure="usage", motif=0)
    assert lowered["difference"] < 0
    [other] = select(found, contrast="inflammatory against no_pain", measure="usage", motif=6)
    assert other["difference"] < raised["difference"] / 2
    assert "neuropathic" in found["motifs"][6]["more_in"]
    assert "inflammatory" in found["motifs"][7]["more_in"]
    assert "neuropathic" not in found["motifs"][6]["less_in"]


def test_a_drug_that_takes_a_motif_away_is_found_against_vehicle(planted):
    found = planted[2]
    rows = select(found, kind="drug", measure="usage", motif=6)
    assert [row["condition"] for row in rows] == ["inflammatory", "neuropathic", "sham"]
    assert all(row["difference"] < 0 and row["n"]["group"] == 5 for row in rows)
    assert rows[1]["p"] < 0.05
    assert rows[1]["contrast"] == "neuropathic: gabapentin 100 mg/kg against vehicle"


def test_every_test_is_listed_and_adjusted_within_its_family(planted):
    found = planted[2]
    for family in found["families"]:
        own = select(found, family=family["family"])
        assert len(own) == family["tests"]
        expected = stats.false_discovery_control([row["p"] for row in own])
        np.testing.assert_allclose([row["q"] for row in own], expected)
        assert family["found"] == sum(row["q"] <= 0.05 for row in own)
    assert sum(family["tests"] for family in found["families"]) == len(found["tests"])
    named = {(row["contrast"], row["measure"], row["motif"], row["to"]) for row in found["tests"]}
    assert len(named) == len(found["tests"])


def test_the_answers_are_told_in_words_with_their_intervals(planted):
    text = " ".join(planted[2]["summary"])
    assert "fall into 8 motifs" in text
    assert "In neuropathic, the usage of" in text
    assert "motif 6: +" in text
    assert "95 % CI" in text
    assert "q\u00a0=\u00a00.0" in text or "q\u00a0<\u00a00.001" in text
    assert "No score from motif usage alone" in text


def test_sessions_hold_what_each_animal_did(planted):
    windows, _, found = planted
    # The drug part has a session before and one after the dose on its day.
    assert len(found["sessions"]) == 3 * (7 * 3 + 10 * 2)
    first = found["sessions"][0]
    assert sum(first["usage"]) + first["unlike"][0] == pytest.approx(1, abs=1e-4)
    assert len(first["usage"]) == len(first["bout_length"]) == MOTIFS
    assert len(first["transition"]) == len(found["transitions"]["pairs"])
    assert found["n"]["windows"] == len(windows)
    assert len(found["profile"]["usage"]) == MOTIFS


def test_the_ethogram_shows_held_out_recordings_of_every_class(planted):
    shown = planted[2]["ethogram"]
    assert {row["class"] for row in shown} == {"inflammatory", "neuropathic", "no_pain"}
    assert len({row["animal"] for row in shown}) == len(shown)
    for row in shown:
        ends = [bout[1] for bout in row["bouts"]]
        assert [bout[0] for bout in row["bouts"]][1:] == ends[:-1]


def test_the_same_input_gives_the_same_figures(planted):
    windows, assigned, found = planted
    assert analyse(windows, assigned) == found


def test_a_trend_over_days_is_found_in_its_condition_and_against_no_pain():
    windows, assigned = make_cohort(course={"neuropathic": {5: 2.0}}, animals=8)
    found = analyse(windows, assigned)
    [own] = select(found, contrast="neuropathic over days", measure="usage", motif=5)
    assert own["q"] < 0.05
    assert own["effect"]["ci95"][0] > 0
    [none] = select(found, contrast="sham over days", measure="usage", motif=5)
    assert none["q"] > 0.05
    [against] = select(
        found, contrast="trend of neuropathic against that of no_pain", measure="usage", motif=5
    )
    assert against["q"] < 0.05
    assert "over the days" in " ".join(found["summary"]).lower()


@pytest.mark.slow
def test_a_cohort_without_any_effect_yields_a_discovery_in_5_per_cent_of_families():
    """200 cohorts with effects of animal and recording: binomial bounds (99 %) of every family."""
    cohorts = 200
    bound = stats.binom.ppf(0.995, cohorts, 0.05)
    hits, p = {}, []
    for seed in range(cohorts):
        windows, assigned = make_cohort(
            seed=seed, animals=5, windows=25, recordings=1, days=(1, 7), drug=3
        )
        rows, _ = contrast(windows, assigned, permutations=499, seed=seed)
        for row in rows:
            hits.setdefault(row["family"], set())
            if row["q"] <= 0.05:
                hits[row["family"]].add(seed)
        p += [row["p"] for row in rows if row["family"] == "pain: usage"]
    assert len(hits) >= 9
    assert {family: len(found) for family, found in hits.items() if len(found) > bound} == {}
    for alpha in (0.05, 0.2):
        assert np.mean(np.array(p) <= alpha) <= alpha * 1.15


def test_windows_are_not_the_unit_however_many_there_are():
    """Animals differ among themselves; ten times the windows must not make that a finding."""
    found = 0
    for seed in range(12):
        windows, assigned = make_cohort(
            seed=seed, animals=4, windows=300, recordings=1, days=(1,), animal_sd=1.0
        )
        rows, _ = contrast(windows, assigned, permutations=199)
        found += any(row["q"] <= 0.05 for row in rows if row["family"] == "pain: usage")
    assert found <= stats.binom.ppf(0.99, 12, 0.05)


def test_cages_are_exchanged_where_they_are_divided_by():
    windows, assigned = make_cohort(animals=8, cages=True, shift=PAIN)
    by_cage = analyse(windows, assigned, group="cage")
    [row] = select(by_cage, contrast="neuropathic against no_pain", measure="usage", motif=6)
    assert (row["unit"], row["n"]) == ("cage", {"group": 4, "reference": 4})
    assert row["least_p"] == pytest.approx(2 / 70)
    [row] = select(
        analyse(windows, assigned), contrast="neuropathic against no_pain", measure="usage", motif=6
    )
    assert (row["unit"], row["n"]) == ("animal", {"group": 8, "reference": 8})


def test_conditions_are_compared_on_the_days_on_which_both_were_filmed():
    """Motif 5 rises with the day in all alike; sham has no last day."""
    course = {condition: {5: 3.0} for condition in ("neuropathic", "inflammatory", "sham")}
    windows, assigned = make_cohort(course=course, animals=6)
    kept = ~((windows["condition"] == "sham") & (windows["day"] == 14)).to_numpy()
    windows, assigned = windows[kept].reset_index(drop=True), Assigned(*(a[kept] for a in assigned))
    rows, _ = contrast(windows, assigned)
    [row] = [
        row for row in rows
        if (row["contrast"], row["measure"], row["motif"])
        == ("neuropathic against no_pain", "usage", 5)
    ]  # fmt: skip
    assert row["p"] > 0.05


def test_a_single_animal_per_condition_says_why_nothing_is_tested():
    windows, assigned = make_cohort(animals=1, days=(1,))
    found = analyse(windows, assigned)
    assert found["tests"] == []
    whys = {row["contrast"]: row["why"] for row in found["not_tested"]}
    assert "neuropathic has 1" in whys["neuropathic against no_pain"]
    assert "fewer than 2 animals" in whys["neuropathic over days"]
    assert any("Not tested, neuropathic against no_pain" in each for each in found["summary"])


def test_too_few_animals_to_find_anything_are_told_so():
    windows, assigned = make_cohort(animals=3, days=(1,), shift=PAIN)
    found = analyse(windows, assigned)
    family = next(f for f in found["families"] if f["family"] == "pain: usage")
    assert not family["could_find_one"]
    assert family["least_p"] == pytest.approx(0.1)
    assert any("none could be found" in sentence for sentence in found["summary"])


def test_labels_are_compared_within_animals_in_a_label_cohort():
    windows, assigned = make_labelled()
    taxonomy = Taxonomy(("groom", "rear", "walk"))
    found = analyse(windows, assigned, taxonomy=taxonomy)
    for index, name in enumerate(taxonomy.fine):
        [row] = select(found, contrast=f"{name} against the others", measure="usage", motif=index)
        assert row["q"] < 0.05
        assert row["difference"] > 0.1
        assert (row["unit"], row["n"]["group"]) == ("recording", 6)
        assert found["motifs"][index]["more_in"] == [name]
    assert {row["kind"] for row in found["tests"]} == {"label"}
    assert {row["class"] for row in found["ethogram"]} == set(taxonomy.fine)


def test_labels_of_whole_animals_are_compared_between_animals():
    windows, assigned = make_labelled(effect=2.5)
    windows["animal"] = windows["animal"] + windows["label"].astype(str)
    found = analyse(windows, assigned, taxonomy=Taxonomy(("groom", "rear", "walk")))
    [row] = select(found, contrast="groom against the others", measure="usage", motif=0)
    assert (row["unit"], row["n"]) == ("animal", {"group": 6, "reference": 12})
    assert row["q"] < 0.05


def test_clips_of_one_window_have_usage_only():
    windows, assigned = make_labelled(windows=1, recordings=12)
    found = analyse(windows, assigned, taxonomy=Taxonomy(("groom", "rear", "walk")))
    assert {row["measure"] for row in found["tests"]} == {"usage"}
    assert "single window" in found["bouts"]["why"]
    assert found["profile"]["value"] is None
    assert found["ethogram"] == []


def test_a_drug_part_without_vehicle_says_so(planted):
    windows, assigned, _ = planted
    kept = (windows["drug"] != "vehicle").to_numpy()
    rows, absences = contrast(windows[kept].reset_index(drop=True),
                              Assigned(*(each[kept] for each in assigned)))  # fmt: skip
    assert not [row for row in rows if row["kind"] == "drug"]
    assert "no vehicle arm" in next(row["why"] for row in absences if row["kind"] == "drug")


def test_animals_of_the_drug_part_are_in_no_other_contrast(planted):
    windows, assigned, found = planted
    kept = (windows["split"] != "drug").to_numpy()
    alone = analyse(windows[kept].reset_index(drop=True),
                    Assigned(*(each[kept] for each in assigned)))  # fmt: skip

    def usage(found):
        return {
            (row["contrast"], row["motif"]): row["p"]
            for row in found["tests"] if row["measure"] == "usage" and row["kind"] != "drug"
        }  # fmt: skip

    assert usage(alone) == usage(found)


def test_bad_windows_are_refused(planted):
    windows, assigned, _ = planted
    with pytest.raises(ValueError, match=r"column\(s\) missing: seconds"):
        analyse(windows.drop(columns="seconds"), assigned)
    with pytest.raises(ValueError, match="windows, but 5 assigned"):
        analyse(windows, Assigned(*(each[:5] for each in assigned)))
    broken = windows.assign(start_s=np.where(np.arange(len(windows)) == 3, np.nan, 0.0))
    with pytest.raises(ValueError, match="column start_s, row 3"):
        analyse(broken, assigned)
    assert analyse(windows[:0], Assigned(*(each[:0] for each in assigned)))["value"] is None
    assert isinstance(windows, pd.DataFrame)
