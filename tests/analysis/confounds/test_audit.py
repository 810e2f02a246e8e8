"""The audit of confounds: what turns it red, what does not, and what it says cannot be tested."""

import json

import audited_recordings
import numpy as np
import pandas as pd
import pytest

from mpjax.analysis.confounds import (
    Settings,
    audit_confounds,
    classifier,
    compare_single_frames,
)
from mpjax.analysis.confounds.audit import is_relevant
from mpjax.analysis.confounds.feature_tests import compare_means
from mpjax.analysis.stats import permutation
from mpjax.analysis.stats.estimates import NotEstimableError
from mpjax.formatting import percent

CAGES = Settings("cage", bootstrap=200, permutations=249)
ANIMALS = Settings("animal", bootstrap=200, permutations=249)
THOROUGH = Settings("animal", bootstrap=200, permutations=999)


def audit(settings=CAGES, change=None, **options):
    recordings, taxonomy = audited_recordings.draw(**options)
    if change is not None:
        recordings = change(recordings)
    return audit_confounds(recordings, taxonomy, settings)


# What turns it red


def test_a_brighter_chamber_of_one_condition_turns_the_audit_red_and_is_named():
    found = audit(shift={"brightness": 40.0, "grid": 40.0})
    assert found["status"] == "red"
    assert found["families"]["picture"]["status"] == "red"
    assert found["families"]["background"]["status"] == "red"
    told = found["families"]["picture"]["strongest"][0]["sentence"]
    assert told.startswith("neuropathic recordings are brighter: mean 1")
    assert told in " ".join(found["sentences"])


def test_three_cages_of_a_condition_are_enough_for_a_strong_confound():
    found = audit(animals=6, shift={"brightness": 40.0, "grid": 40.0})
    assert found["status"] == "red"


@pytest.mark.parametrize("settings", [CAGES, ANIMALS], ids=["cages", "animals"])
def test_without_a_confound_it_stays_green(settings):
    found = audit(settings, change=lambda r: r.assign(cage="") if settings is ANIMALS else r)
    assert found["status"] == "green", found["sentences"]
    assert len(found["sentences"]) == 1


@pytest.mark.slow
def test_of_cohorts_without_a_confound_few_turn_red():
    quick = Settings("cage", bootstrap=10, permutations=199)
    red = sum(audit(quick, seed=seed, days=(7,))["status"] == "red" for seed in range(30))
    assert red <= 4  # at 5 %: more than 4 of 30 in 1.6 % of such tests


@pytest.mark.parametrize(
    ("column", "values"),
    [("camera", ("A", "B")), ("date", ("2026-03-01", "2026-03-09")), ("sex", ("M", "F"))],
)
def test_a_camera_date_or_sex_of_one_condition_turns_it_red(column, values):
    def change(recordings):
        own = recordings["condition"] == "neuropathic"
        other = recordings["animal"].str[-1] == "0"  # one animal of each kind the other way round
        return recordings.assign(**{column: np.where(own ^ other, *values)}, cage="")

    found = audit(THOROUGH, change, animals=10)
    assert found["families"][column]["status"] == "red", found["families"][column]
    assert column in found["families"][column]["sentence"].lower()


def test_a_codec_of_one_condition_turns_it_red_though_all_else_is_alike():
    def change(recordings):
        own = recordings["condition"] == "neuropathic"
        return recordings.assign(codec=np.where(own, "mpeg4", "h264"), cage="")

    found = audit(ANIMALS, change)
    assert found["families"]["codec"]["status"] == "red"
    assert "neuropathic recordings" in found["families"]["codec"]["sentence"]
    assert "codec" in found["families"]["codec"]["sentence"]


def test_cage_mates_on_both_sides_of_a_split_by_animal_turn_it_red():
    assert audit(ANIMALS)["families"]["cage"]["status"] == "red"
    assert audit(CAGES)["families"]["cage"]["status"] == "green"


# What does not


@pytest.mark.parametrize("column", ["motion", "mouse_size", "bytes_per_frame", "noise"])
def test_what_the_animal_has_a_part_in_is_told_apart_and_never_red(column):
    found = audit(ANIMALS, lambda r: r.assign(cage=""), shift={column: 1000.0})
    family = found["families"]["coding" if column in ("bytes_per_frame", "noise") else "mouse"]
    assert found["status"] == "green"
    assert family["status"] == "apart"
    assert family["above_chance"] == ["coarse"] or "coarse" in family["above_chance"]


def test_light_that_changes_from_day_to_day_is_not_told_as_a_condition():
    def change(recordings):
        return recordings.assign(brightness=recordings["brightness"] + 10 * recordings["day"])

    found = audit(THOROUGH, lambda r: change(r).assign(cage=""), days=(1, 7, 14))
    picture = found["families"]["picture"]["tasks"]
    assert picture["coarse"]["p_holm"] > 0.05
    assert picture["fine"]["p_holm"] <= 0.05  # but the fine classes it does tell


@pytest.mark.parametrize(
    ("more", "relevant"),
    [
        ({}, False),
        ({"ci95": [0.36, 0.5]}, True),
        ({"best": {"class": "sni", "value": 0.7}}, True),
        ({"best": {"class": "sni", "value": 0.6}}, False),
        ({"means": {"p": 0.001, "p_holm": 0.01}}, True),
    ],
)
def test_what_is_above_chance_by_a_trace_only_is_not_red(more, relevant):
    task = {"value": 0.4, "ci95": [0.3, 0.5], "chance": 1 / 3, "p": 0.001, "p_holm": 0.004} | more
    assert is_relevant(task) is relevant


def test_drug_recordings_and_those_of_no_class_are_left_out():
    recordings, taxonomy = audited_recordings.draw()
    spoiled = recordings.assign(brightness=1e4, label=-1)
    dosed = recordings.assign(brightness=-1e4, split="drug")
    both = pd.concat([recordings, spoiled, dosed], ignore_index=True)
    found, alone = (audit_confounds(r, taxonomy, CAGES) for r in (both, recordings))
    assert found == alone


# What cannot be tested


def test_a_class_of_a_single_cage_is_amber_and_its_cage_is_recognised():
    recordings, taxonomy = audited_recordings.draw_labels(lonely="still")
    found = audit_confounds(recordings, taxonomy, CAGES)
    assert found["status"] == "amber"
    (case,) = found["by_construction"]
    assert (case["column"], case["class"], case["value"]) == ("cage", "still", "cage0")
    assert case["recognised"]["value"] > 0.9
    assert found["families"]["background"]["tasks"]["fine"]["classes"] == ["groom", "rear", "walk"]
    assert any(sentence.startswith("still occurs in one cage only") for sentence in
               found["sentences"])  # fmt: skip


def test_the_day_tells_fine_classes_by_design_and_is_not_red():
    day = audit()["day"]
    assert day["status"] == "green"
    assert day["fine_from_day"] == pytest.approx(2 / 6)
    assert "by design" in day["why"]


def test_conditions_on_different_days_are_amber():
    def change(recordings):
        return recordings[(recordings["condition"] != "none") | (recordings["day"] != 1)]

    found = audit(change=change, seed=1)
    assert found["day"]["status"] == "amber"
    assert found["status"] == "amber"


def test_too_few_animals_are_amber_with_the_reason():
    found = audit(animals=2, days=(1,), per_cage=1)
    assert found["status"] == "amber"
    assert "Even a perfect accuracy" in found["families"]["background"]["sentence"]
    alone = audit(animals=1, days=(1,))
    assert "fewer than two classes" in " ".join(alone["sentences"])


def test_a_test_says_what_it_could_have_found_and_finds_it():
    found = audit(animals=12)
    least = found["families"]["picture"]["tasks"]["coarse"]["detectable"]["value"]
    assert 0.4 < least < 0.9
    assert percent(least) in found["families"]["picture"]["sentence"]


def test_what_is_not_known_is_said_and_changes_no_colour():
    found = audit()
    assert found["families"]["camera"]["status"] == "unknown"
    assert "no recording has a known camera" in found["families"]["camera"]["sentence"]


def test_the_files_date_serves_where_the_cohort_gives_none():
    def change(recordings):
        own = recordings["condition"] == "neuropathic"
        late = np.where(own, "2026-03-09T10:00:00.000000Z", "2026-03-01T10:00:00.000000Z")
        return recordings.assign(created=late, cage="")

    assert audit(ANIMALS, change)["families"]["date"]["status"] == "red"


def test_timers_are_joined_over_recordings_and_the_mask_is_spelled_out():
    def change(recordings):
        boxes = ['["330:320:40:18"]'] * 3 + ['["331:321:38:16"]'] * 2
        return recordings.assign(timers=boxes + ["[]"] * (len(recordings) - 5))

    found = audit(change=change)
    assert found["status"] == "amber"
    (place,) = found["burned_in"]["places"]
    assert place == {"kind": "timer", "box": "330:320:40:18", "recordings": 5}
    assert "--config.video.mask=" in found["sentences"][-1]
    assert "330:320:40:18" in found["sentences"][-1]


def test_the_figures_are_plain_json_and_the_same_each_time():
    first, again = audit(), audit()
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)
    assert [each["class"] for each in first["backgrounds"]] == [
        "inflammatory", "neuropathic", "no_pain",
    ]  # fmt: skip


# Its parts


def test_the_classifier_is_the_nearest_mean_of_the_other_groups():
    rng = np.random.default_rng(0)
    points, label = rng.normal(size=(30, 4)), rng.integers(0, 3, 30)
    group = np.arange(30) // 5
    points[label == 1] += 1.5
    named = classifier.predict(points, label[None], group, classes=3)[0]
    for i in range(30):
        others = group != group[i]
        means = [points[others & (label == c)].mean(0) for c in range(3)]
        assert named[i] == np.argmin([np.square(points[i] - mean).sum() for mean in means])


def test_no_recording_is_named_with_the_help_of_its_own_group():
    rng = np.random.default_rng(1)
    points, group = rng.normal(size=(24, 3)), np.arange(24) // 4
    label = group % 2
    named = classifier.predict(points, label[None], group, classes=2)[0]
    changed = np.where(group == 2, 1 - label, label)
    again = classifier.predict(points, changed[None], group, classes=2)[0]
    assert (named[group == 2] == again[group == 2]).all()


def test_exchanged_labels_keep_animals_whole_and_days_in_place():
    recordings, taxonomy = audited_recordings.draw()
    coarse = np.asarray(taxonomy.fine_to_coarse)[recordings["label"]]
    drawn, unit = permutation.draw_labels(
        recordings, coarse, group="cage", by_condition=True, count=50, seed=0
    )
    assert unit == "cage"
    cages = recordings["cage"].to_numpy()
    assert all((drawn[:, cages == cage][:, 0] == drawn[:, cages == cage].T).all()
               for cage in set(cages))  # fmt: skip
    assert (np.sort(drawn, axis=1) == np.sort(coarse)).all()


def test_labels_that_can_hardly_be_exchanged_are_refused():
    recordings, taxonomy = audited_recordings.draw(animals=1, days=(1,))
    coarse = np.asarray(taxonomy.fine_to_coarse)[recordings["label"]]
    with pytest.raises(NotEstimableError, match=r"in 6 way\(s\) only"):
        permutation.draw_labels(
            recordings, coarse, group="animal", by_condition=True, count=99, seed=0
        )


def test_means_are_tested_as_by_analysis_of_variance():
    from scipy import stats

    rng = np.random.default_rng(2)
    values, group = rng.normal(size=(36, 1)), np.repeat(np.arange(9), 4)
    label = group // 3
    means = values[:, 0].reshape(9, 4).mean(1)
    expected = stats.f_oneway(means[:3], means[3:6], means[6:]).pvalue
    assert compare_means(values, label, group) == pytest.approx(expected)
    assert compare_means(values, np.arange(36) % 3, group) is None  # groups of several classes


def embedded(recordings, label, *, told, seed, clips=3, width=20):
    rng = np.random.default_rng(seed)
    row = np.repeat(np.arange(len(recordings)), clips)
    axes = np.eye(width)[:3]
    return row, rng.normal(size=(len(row), width)) + told * axes[label[row]]


def test_clips_that_tell_more_than_stills_are_told_as_motion():
    recordings, taxonomy = audited_recordings.draw(animals=10)
    label = np.asarray(taxonomy.fine_to_coarse)[recordings["label"]]
    found = compare_single_frames(
        recordings, taxonomy, CAGES,
        clip=embedded(recordings, label, told=4.0, seed=0),
        still=embedded(recordings, label, told=0.0, seed=1),
    )  # fmt: skip
    low, high = found["coarse"]["difference"]["ci95"]
    assert 0 < low < found["coarse"]["difference"]["value"] < high
    assert found["coarse"]["sentence"].endswith("Motion carries part of it.")
    same = compare_single_frames(
        recordings, taxonomy, CAGES,
        clip=embedded(recordings, label, told=4.0, seed=0),
        still=embedded(recordings, label, told=4.0, seed=2),
    )  # fmt: skip
    assert same["coarse"]["sentence"].endswith("unclear whether motion adds anything.")


def test_recordings_without_stills_are_left_out_of_the_comparison():
    recordings, taxonomy = audited_recordings.draw()
    label = np.asarray(taxonomy.fine_to_coarse)[recordings["label"]]
    row, values = embedded(recordings, label, told=1.0, seed=0)
    found = compare_single_frames(
        recordings, taxonomy, CAGES, clip=(row, values), still=(row[row < 0], values[row < 0])
    )
    assert "no recording has embeddings" in found["fine"]["why"]
