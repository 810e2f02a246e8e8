import numpy as np
import pytest
from prediction_tables import CONDITIONS, make_meta, make_study, make_table
from simulated_courses import Course, simulate, taxonomy_of

from mpjax.analysis.drug import sessions as drug_sessions
from mpjax.analysis.progression import daily_scores
from mpjax.analysis.stats import bootstrap
from mpjax.analysis.stats.estimates import NotEstimableError
from mpjax.taxonomy import default_taxonomy


def test_a_day_is_scored_as_the_drug_test_scores_a_session(check):
    table, meta = make_study()
    predictions = check(table, meta)
    sessions = drug_sessions.score_sessions(predictions, predictions.p, outcome="pain")
    pre = sessions[sessions["phase"] == "pre"].set_index("animal")["score"]
    untreated = table[(table["split"] == "drug") & (table["drug"] == "")]
    held_out = check(untreated.assign(split="test", fold=0), meta)
    scores = daily_scores.score_days(held_out, held_out.p).set_index("animal")["score"]
    assert scores.to_dict() == pytest.approx(pre.to_dict(), rel=1e-12)


def test_days_before_induction_belong_to_the_condition_that_follows(check):
    taxonomy = default_taxonomy(["naive@d-1", "sni@d3", "sham@d3"])
    rows = [
        {"animal": "a", "video": "a0", "condition": "naive", "day": -1, "label": 0},
        {"animal": "a", "video": "a1", "condition": "sni", "day": 3, "label": 1},
        {"animal": "b", "video": "b1", "condition": "sham", "day": 3, "label": 2},
    ]
    predictions = check(make_table(rows, np.zeros((3, 3))), make_meta(taxonomy))
    sessions = daily_scores.score_days(predictions, predictions.p)
    assert sessions[["animal", "condition", "day"]].values.tolist() == [
        ["b", "sham", 3], ["a", "sni", -1], ["a", "sni", 3],
    ]  # fmt: skip
    assert daily_scores.painful_conditions(taxonomy) == {"sni": True, "sham": False}


def test_an_animal_of_two_conditions_has_no_course(check):
    table, meta = make_study(drug=False)
    table["animal"] = table["animal"].str.replace("n0", "i0")
    table["fold"] = table["animal"].str[1].astype(int)
    predictions = check(table, meta)
    with pytest.raises(NotEstimableError, match="animal 'i0' has several conditions"):
        daily_scores.score_days(predictions, predictions.p)


def test_cages_of_one_condition_are_the_unit_where_the_split_keeps_them():
    course = Course(animals=6)
    sessions, taxonomy = simulate(course, seed=0), taxonomy_of(course)
    courses = daily_scores.arrange(sessions, taxonomy, group="cage")
    assert (courses.kind, courses.score.shape) == ("cage", (9, 5))
    own = sessions[(sessions["cage"] == "sham-cage0") & (sessions["day"] == 3)]
    row = courses.name.index("sham-cage0")
    assert courses.score[row, 1] == pytest.approx(own["score"].mean())
    assert daily_scores.arrange(sessions, taxonomy, group="animal").kind == "animal"
    shared = sessions.assign(cage="cage" + sessions["animal"].str[-1])
    assert daily_scores.arrange(shared, taxonomy, group="cage").kind == "animal"


def test_resamples_equal_repeated_rows_and_missing_scores_count_nowhere():
    rng = np.random.default_rng(0)
    values = rng.normal(5, 1, (6, 3))
    values[0, 1] = values[3, 1] = np.nan
    weights = np.array([[1] * 6, [2, 0, 1, 0, 3, 0]])
    found = bootstrap.moments(values, weights)
    for i, each in enumerate(weights):
        repeated = np.repeat(values, each, axis=0)
        n = np.isfinite(repeated).sum(0)
        squares = np.nansum((repeated - np.nanmean(repeated, axis=0)) ** 2)
        assert found.n[i] == pytest.approx(n)
        assert found.mean[i] == pytest.approx(np.nanmean(repeated, axis=0))
        assert found.spread[i] == pytest.approx(squares / (n - 1).sum())
        assert found.variance[i] == pytest.approx(found.spread[i] / n)


def test_spread_and_correlation_of_the_days_are_recovered():
    course = Course(animals=4000, levels=((0.0,) * 5, (0.0,) * 5))
    courses = daily_scores.arrange(simulate(course, seed=0), taxonomy_of(course), group="animal")
    found = bootstrap.moments(courses.of("sham"), np.ones((1, 4000), int))
    total = course.animal_sd**2 + course.session_sd**2
    assert found.spread[0] == pytest.approx(total, rel=0.05)
    assert found.correlation[0] == pytest.approx(course.animal_sd**2 / total, abs=0.03)


def test_days_that_are_alike_add_no_degrees_of_freedom_and_independent_ones_do():
    rng = np.random.default_rng(0)
    ones = np.ones((1, 50), int)
    alike = bootstrap.moments(np.repeat(rng.normal(0, 1, (50, 1)), 5, axis=1), ones)
    apart = bootstrap.moments(rng.normal(0, 1, (50, 5)), ones)
    assert alike.df[0] == pytest.approx(49)
    assert 200 < apart.df[0] <= 5 * 49


def test_a_single_unit_has_a_mean_but_no_interval():
    course = Course(animals=1)
    courses = daily_scores.arrange(simulate(course, seed=0), taxonomy_of(course), group="animal")
    rows = daily_scores.describe_means(courses, resamples=50, seed=0)
    assert len(rows) == 15
    assert {row["n"] for row in rows} == {1}
    assert all(row["ci95"] is None and "single animal" in row["why"] for row in rows)


def test_the_interval_of_a_single_day_is_the_t_interval():
    course = Course(animals=5)
    sessions = simulate(course, seed=0)
    courses = daily_scores.arrange(
        sessions[sessions["day"] == 7], taxonomy_of(course), group="animal"
    )
    row = daily_scores.describe_means(courses, resamples=300, seed=0)[1]
    score = courses.of("neuropathic")[:, 0]
    half = 2.7764451 * score.std(ddof=1) / np.sqrt(5)  # t of 4 degrees of freedom
    assert row["value"] == pytest.approx(score.mean())
    assert row["ci95"] == pytest.approx([row["value"] - half, row["value"] + half], rel=1e-6)
    assert row["band95"] == pytest.approx(row["ci95"])


def test_the_band_over_all_days_is_wider_than_the_interval_of_one():
    course = Course(animals=5)
    courses = daily_scores.arrange(simulate(course, seed=0), taxonomy_of(course), group="animal")
    for row in daily_scores.describe_means(courses, resamples=300, seed=0):
        assert row["band95"][0] < row["ci95"][0] < row["ci95"][1] < row["band95"][1]


def test_conditions_are_those_of_the_study(check):
    table, meta = make_study(drug=False)
    predictions = check(table, meta)
    sessions = daily_scores.score_days(predictions, predictions.p)
    courses = daily_scores.arrange(sessions, predictions.taxonomy, group="animal")
    assert courses.pain == CONDITIONS[:2]
    assert courses.no_pain == ("sham",)
    assert sessions["clips"].sum() == len(table)
