"""Onset, peak and resolution: definitions, and simulated cohorts with a known truth."""

import dataclasses

import bench_onset as simulated
import numpy as np
import pytest
from scipy import stats
from simulated_courses import DELAYED, NONE, Course, simulate, taxonomy_of

from mpjax.analysis.progression import daily_scores, onset

STUDIES = 100
FULL, FADING = (1.0,) * 5, (1.0, 0.8, 0.45, 0.0, 0.0)


def at_least(rate):
    """The least share of the studies that a true rate leaves likely (99 %)."""
    return stats.binom.ppf(0.01, STUDIES, rate) / STUDIES


def describe(course, *, seed=0, condition="neuropathic", group="animal", change=None):
    sessions = simulate(course, seed=seed)
    if change is not None:
        sessions = change(sessions)
    courses = daily_scores.arrange(sessions, taxonomy_of(course), group=group)
    compared = onset.compare(courses, condition)
    if isinstance(compared, str):
        return compared, None
    found = onset.describe_condition(compared, kind=courses.kind, resamples=400, seed=seed)
    return compared, found


@pytest.fixture(scope="module")
def delayed():
    return simulated.run(Course(), studies=STUDIES, resamples=200)


def test_a_delayed_onset_is_recovered_within_one_recorded_day_with_8_animals(delayed):
    assert delayed.near >= 0.9
    assert delayed.covered >= at_least(0.95)


def test_simultaneous_intervals_hold_the_truth_on_all_days(delayed):
    assert delayed.band >= at_least(0.95)


def test_cohorts_without_pain_report_an_onset_in_at_most_5_per_cent():
    null = simulated.run(Course(levels=(NONE, NONE)), studies=STUDIES, resamples=200)
    assert null.false <= stats.binom.ppf(0.99, STUDIES, 0.05) / STUDIES
    assert null.band >= at_least(0.95)


def test_few_animals_and_shared_cages_do_not_make_onsets_of_chance():
    course = Course(animals=8, levels=(NONE, NONE), cage_sd=0.8)
    null = simulated.run(course, studies=STUDIES, group="cage", resamples=200)
    assert null.false <= stats.binom.ppf(0.99, STUDIES, 0.05) / STUDIES


def test_the_peak_is_found_and_its_set_of_days_holds_it():
    rates = simulated.run(
        Course(animals=12, levels=(simulated.RISING, NONE)), studies=STUDIES, resamples=200
    )
    assert rates.peak >= 0.8
    assert rates.peak_covered >= at_least(0.95)


def test_pain_from_the_first_recorded_day_on_is_said_to_begin_on_or_before_it():
    _, found = describe(Course(levels=(FULL, NONE), injury=3.0))
    assert found["onset"]["value"] == 1
    assert found["onset"]["at_first"]
    _, found = describe(Course(levels=(DELAYED, NONE), injury=3.0))
    assert found["onset"]["value"] == 7
    assert not found["onset"]["at_first"]


def test_pain_that_fades_is_resolved_and_pain_that_stays_is_not():
    fading = Course(levels=(FADING, NONE), injury=4.0, animal_sd=0.3)
    _, found = describe(fading)
    assert found["resolution"]["value"] == 14
    assert found["resolution"]["days95"] == [14]
    _, found = describe(dataclasses.replace(fading, levels=(FULL, NONE)))
    assert found["resolution"]["value"] is None
    assert found["resolution"]["persists"]
    assert "still there on the last recorded day, 21" in found["resolution"]["why"]


def test_no_onset_leaves_no_peak_and_says_why():
    _, found = describe(Course(), condition="inflammatory")
    for name in ("onset", "peak", "resolution"):
        assert found[name]["value"] is None
        assert "is the excess found" in found[name]["why"]
        assert 0 <= found[name]["without"] <= 1


def test_turning_points_follow_their_definitions():
    value = np.array([[0.2, 1.0, 2.0, 1.0, 0.1], [0.0] * 5, [2.0, 0.1, 0.1, 2.1, 0.1]])
    margin = np.full(value.shape, 0.5)
    found = onset.locate(value, value > 0.5, margin)
    assert found.onset.tolist() == [1, -1, 0]
    assert found.peak.tolist() == [2, -1, 3]
    assert found.resolution.tolist() == [4, -1, 4]
    still = onset.locate(value, value > 0.05, margin)
    assert still.resolution[0] == -1  # surely below half, but found to be above none
    assert onset.locate(value, value > 0.5, 2 * margin).resolution[0] == -1  # perhaps above half


def test_days_that_cannot_be_compared_are_neither_onset_nor_peak():
    value = np.array([[np.nan, 1.0, 2.0]])
    found = onset.locate(value, value > 0.5, np.zeros((1, 3)))
    assert (found.onset[0], found.peak[0]) == (1, 2)


def test_days_are_tested_among_those_that_are_not_found_yet():
    deviation = np.random.default_rng(0).standard_normal((4000, 4))
    criteria = onset.Criteria(deviation, df=1e9)
    of_four, of_one = (criteria.among(np.arange(4) < n) for n in (4, 1))
    assert of_one == pytest.approx(1.96, abs=0.07)
    assert of_four == pytest.approx(2.49, abs=0.08)
    found = onset.step_down(np.array([[2.2, 9.0, 9.0, 9.0], [2.2, 9.0, 0.0, np.nan]]), criteria)
    assert found.tolist() == [[True] * 4, [False, True, False, False]]
    assert not onset.step_down(np.array([[2.2] * 4]), criteria).any()
    # What lies far below 0 is no pain, and stays among the days that are tested.
    assert not onset.step_down(np.array([[2.2, -9.0, -9.0, -9.0]]), criteria).any()


def test_every_day_whose_simultaneous_interval_lies_above_0_is_found():
    for seed in range(20):
        _, found = describe(Course(), seed=seed)
        assert all(row["above"] for row in found["excess"] if row["band95"][0] > 0)
        assert not any(row["above"] for row in found["excess"] if row["ci95"][0] < 0)


def test_the_interval_of_a_single_day_is_welchs():
    def one_day(sessions):
        return sessions[sessions["day"] == 7]

    compared, found = describe(Course(animals=6), change=one_day)
    [row] = found["excess"]
    test = stats.ttest_ind(compared.own[:, 0], compared.other[:, 0], equal_var=False)
    interval = test.confidence_interval()
    assert row["ci95"] == pytest.approx([interval.low, interval.high], rel=1e-9)
    # Nothing is to be shared out over one day: its simultaneous interval is no narrower.
    assert row["band95"][0] <= row["ci95"][0] + 1e-9


def test_animals_filmed_before_induction_are_taken_from_their_own_level():
    course = Course(before=(-3, -1), animal_sd=3.0, injury=1.5)
    compared, found = describe(course)
    assert "each less its own days before induction" in compared.reference
    assert found["onset"]["value"] == 7  # lost in the spread between animals otherwise
    _, raw = describe(course, change=lambda rows: rows[rows["day"] > 0])
    assert raw["onset"]["value"] is None


def test_without_animals_without_pain_the_days_before_induction_stand_in():
    def without_sham(sessions):
        return sessions[sessions["condition"] != "sham"]

    course = Course(before=(-1,), drift=(0.0,) * 5, injury=3.0)
    compared, found = describe(course, change=without_sham)
    assert compared.reference == "its own days before induction"
    assert found["onset"]["value"] == 7
    assert found["excess"][0]["n_reference"] == 0
    why, _ = describe(dataclasses.replace(course, before=()), change=without_sham)
    assert "condition without pain" in why


def test_a_day_without_animals_without_pain_is_named_and_left_out():
    def one_day_short(sessions):
        return sessions[(sessions["condition"] != "sham") | (sessions["day"] != 7)]

    _, found = describe(Course(injury=4.0), change=one_day_short)
    row = found["excess"][2]
    assert (row["day"], row["value"]) == (7, None)
    assert "fewer than 2 animals" in row["why"]
    assert found["onset"]["value"] == 14


def test_single_animals_and_equal_scores_give_reasons():
    why, _ = describe(Course(), change=lambda rows: rows[rows["animal"] != ""].groupby(
        ["condition", "day"], as_index=False).first())  # fmt: skip
    assert "1 animal(s) of neuropathic held out" in why
    _, found = describe(Course(), change=lambda rows: rows.assign(score=0.0))
    assert found["onset"]["value"] is None
    assert "2 different scores on either side" in found["onset"]["why"]


def test_the_same_seed_gives_the_same_figures_and_another_others():
    _, first = describe(Course())
    _, second = describe(Course())
    assert first == second
    compared, _ = describe(Course())
    other = onset.describe_condition(compared, kind="animal", resamples=400, seed=5)
    assert other["onset"]["shares"] != first["onset"]["shares"]
