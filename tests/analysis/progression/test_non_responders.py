import dataclasses

import numpy as np
from scipy import stats
from simulated_courses import NONE, Course, simulate, taxonomy_of

from mpjax.analysis.progression import daily_scores, onset
from mpjax.analysis.progression.non_responders import flag_non_responders

FULL = (1.0,) * 5
COURSE = Course(levels=(FULL, NONE), injury=3.0, animal_sd=0.4)


def flag(course=COURSE, *, seed=0, condition="neuropathic", period=(1, None), change=None):
    sessions = simulate(course, seed=seed)
    if change is not None:
        change(sessions)
    courses = daily_scores.arrange(sessions, taxonomy_of(course), group="animal")
    compared = onset.compare(courses, condition)
    return flag_non_responders(compared, period=period, seed=seed), sessions


def test_an_animal_without_pain_among_animals_in_pain_is_flagged_with_its_scores():
    def spare(sessions):
        sessions.loc[sessions["animal"] == "neuropathic3", "score"] -= 3.0

    found, sessions = flag(change=spare)
    assert [row["animal"] for row in found["flagged"]] == ["neuropathic3"]
    own = sessions[sessions["animal"] == "neuropathic3"].set_index("day")["score"]
    assert found["flagged"][0]["scores"] == {str(day): value for day, value in own.items()}
    assert all(
        found["flagged"][0]["scores"][day] <= limit for day, limit in found["limits"].items()
    )
    assert found["n"] == 8  # it still counts


def test_animals_without_pain_are_flagged_with_95_per_cent():
    flagged = total = 0
    for seed in range(30):
        found, _ = flag(seed=seed, condition="inflammatory")
        flagged, total = flagged + len(found["flagged"]), total + found["n"]
    assert flagged >= stats.binom.ppf(0.001, total, 0.95)


def test_the_number_expected_by_chance_is_that_of_like_animals():
    weak = dataclasses.replace(COURSE, injury=1.5, animal_sd=0.6)
    flagged, expected = [], []
    for seed in range(30):
        found, _ = flag(weak, seed=seed)
        flagged.append(len(found["flagged"]))
        expected.append(found["expected_by_chance"]["value"])
    error = np.std(np.subtract(flagged, expected), ddof=1) / np.sqrt(30)
    assert abs(np.mean(flagged) - np.mean(expected)) < 3 * error
    assert np.mean(expected) > 1


def test_only_days_from_the_onset_until_the_resolution_are_looked_at():
    def late(sessions):
        rows = (sessions["animal"] == "neuropathic0") & sessions["day"].isin([1, 21])
        sessions.loc[sessions["animal"] == "neuropathic0", "score"] -= 3.0
        sessions.loc[rows, "score"] += 9.0

    assert flag(period=(3, 21), change=late)[0]["days"] == [3, 7, 14]
    assert [r["animal"] for r in flag(period=(3, 21), change=late)[0]["flagged"]] == [
        "neuropathic0"
    ]
    assert flag(period=(1, None), change=late)[0]["flagged"] == []


def test_without_a_range_of_no_pain_there_is_a_reason():
    found, _ = flag(dataclasses.replace(COURSE, animals=2))
    assert "3 no-pain animals" in found["why"]
    course = dataclasses.replace(COURSE, before=(-1,))
    sessions = simulate(course, seed=0)
    sessions = sessions[sessions["condition"] != "sham"]
    courses = daily_scores.arrange(sessions, taxonomy_of(course), group="animal")
    compared = onset.compare(courses, "neuropathic")
    found = flag_non_responders(compared, period=(1, None), seed=0)
    assert "no animals without pain" in found["why"]
