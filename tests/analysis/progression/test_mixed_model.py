import numpy as np
import pytest
from simulated_courses import DELAYED, NONE, Course, simulate

from mpjax.analysis.progression.mixed_model import fit_course


def by_cell(means):
    return {(row["condition"], row["day"]): row for row in means}


def test_the_model_finds_the_course_that_was_put_in():
    course = Course(animals=12, levels=(DELAYED, NONE), injury=2.0)
    found = fit_course(simulate(course, seed=3), reference="sham")
    assert found["formula"] == "score ~ condition * day (categorical) + sex + (1|cage/animal)"
    terms = {row["term"]: row for row in found["terms"]}
    for day, level in zip(course.days[1:], DELAYED[1:], strict=True):
        row = terms[f"condition neuropathic × day {day}"]
        assert row["ci95"][0] < 2.0 * level < row["ci95"][1]
        assert row["df"] == 33  # 36 animals less 3 conditions
    tests = {row["term"]: row for row in found["tests"]}
    assert tests["condition × day"]["p"] < 1e-6
    assert found["sd"]["residual"] == pytest.approx(course.session_sd, rel=0.2)


def test_estimated_means_of_balanced_cohorts_are_the_means_of_the_animals():
    sessions = simulate(Course(animals=8), seed=0)
    found = by_cell(fit_course(sessions, reference="sham")["means"])
    means = sessions.groupby(["condition", "day"])["score"].mean()
    assert {cell: row["value"] for cell, row in found.items()} == pytest.approx(
        means.to_dict(), abs=1e-6
    )
    assert {row["n"] for row in found.values()} == {8}


def test_both_sexes_count_alike_in_the_means_however_many_animals_each_has():
    sessions = simulate(Course(animals=8, animal_sd=0.01, session_sd=0.01, injury=0.0), seed=0)
    sessions["score"] += 2.0 * (sessions["sex"] == "m")
    few = sessions[~sessions["animal"].isin(["sham2", "sham3", "neuropathic2"])]
    found = by_cell(fit_course(few, reference="sham")["means"])
    for condition in ("sham", "neuropathic", "inflammatory"):
        drift = dict(zip((1, 3, 7, 14, 21), Course().drift, strict=True))
        for day in drift:
            expected = -0.5 + 1.0 + drift[day]
            assert found[condition, day]["value"] == pytest.approx(expected, abs=0.05)


def test_days_that_a_condition_lacks_are_left_out_and_named():
    sessions = simulate(Course(animals=6), seed=0)
    sessions = sessions[(sessions["condition"] != "sham") | (sessions["day"] != 3)]
    found = fit_course(sessions, reference="sham")
    assert found["days"] == [1, 7, 14, 21]
    assert found["left_out_days"] == [3]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows[rows["condition"] == "sham"], "at least 2 conditions"),
        (lambda rows: rows[rows["day"] == 3], "on 1 such day"),
        (lambda rows: rows.assign(score=1.0), "all scores are alike"),
        (lambda rows: rows[rows["animal"].str.endswith("0")], "too few animals"),
        (
            lambda rows: rows.assign(sex=np.where(rows["condition"] == "sham", "m", "f"), cage=""),
            "not determined",
        ),
    ],
)
def test_what_cannot_be_fitted_is_told(change, why):
    found = fit_course(change(simulate(Course(animals=4), seed=0)), reference="sham")
    assert found["value"] is None
    assert why in found["why"]


def test_names_of_conditions_may_hold_anything():
    sessions = simulate(Course(animals=4), seed=0)
    name = "C(a):C(b)[T.x]'\"$"
    sessions["condition"] = sessions["condition"].replace("neuropathic", name)
    found = fit_course(sessions, reference="sham")
    assert (name, 7) in by_cell(found["means"])
