import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from mpjax.analysis.stats import bootstrap


@pytest.fixture
def units():
    rng = np.random.default_rng(1)
    label = rng.integers(0, 4, 300)
    predicted = np.where(rng.random(300) < 0.6, label, rng.integers(0, 4, 300))
    return label, predicted, np.sort(rng.permutation(np.arange(300) % 9))


def test_scores_of_a_resample_equal_those_of_the_repeated_units(units):
    label, predicted, group = units
    counts = bootstrap.count_by_group(label, predicted, group, classes=4)
    weights = bootstrap.draw_weights(9, resamples=20, seed=0)
    draws = bootstrap.resample_scores(counts, weights)
    for index, weight in enumerate(weights):
        rows = np.repeat(np.arange(300), weight[group])
        hit = label[rows] == predicted[rows]
        assert draws.accuracy[index] == pytest.approx(hit.mean())
        assert draws.mean_class_accuracy[index] == pytest.approx(
            balanced_accuracy_score(label[rows], predicted[rows])
        )
        assert draws.macro_f1[index] == pytest.approx(
            f1_score(label[rows], predicted[rows], average="macro", zero_division=0)
        )
        assert draws.recall[index, 2] == pytest.approx(hit[label[rows] == 2].mean())


def test_every_resample_draws_as_many_groups_as_there_are_and_the_seed_decides_which():
    weights = bootstrap.draw_weights(7, resamples=50, seed=3)
    assert (weights.sum(1) == 7).all()
    assert (weights == bootstrap.draw_weights(7, resamples=50, seed=3)).all()
    assert (weights != bootstrap.draw_weights(7, resamples=50, seed=4)).any()


def test_a_class_absent_from_a_resample_is_left_out_of_its_mean():
    total = np.array([[4, 0], [0, 2]])
    counts = bootstrap.Counts(correct=np.array([[4, 0], [0, 1]]), total=total, named=total)
    draws = bootstrap.resample_scores(counts, np.array([[2, 0], [1, 1]]))
    np.testing.assert_allclose(draws.mean_class_accuracy, [1.0, 0.75])
    assert np.isnan(draws.recall[0, 1])


def test_intervals_over_animals_cover_the_truth_where_intervals_over_clips_do_not():
    rng = np.random.default_rng(0)
    animals, clips, cohorts = 20, 15, 200
    covered = {"animals": 0, "clips": 0}
    for _ in range(cohorts):
        own = rng.beta(2, 2, animals)  # each animal's own accuracy; the truth is their mean, 0.5
        hits = (rng.random((animals, clips)) < own[:, None]).astype(int)
        for unit, correct in (("animals", hits.sum(1)), ("clips", hits.ravel())):
            total = np.full(len(correct), clips if unit == "animals" else 1)
            weights = bootstrap.draw_weights(len(correct), resamples=200, seed=1)
            group = np.repeat(np.arange(len(correct)), total)
            values = np.concatenate([np.arange(n) < k for k, n in zip(correct, total, strict=True)])
            draws = bootstrap.resample_mean(values, group, weights)
            interval = bootstrap.percentile_interval(draws, groups=20, unit="animal")
            covered[unit] += interval["ci95"][0] <= 0.5 <= interval["ci95"][1]
    assert 0.88 <= covered["animals"] / cohorts <= 0.99
    assert covered["clips"] / cohorts < 0.7


def test_a_single_animal_gives_no_interval_and_few_give_a_rough_one():
    draws = np.linspace(0, 1, 201)
    alone = bootstrap.percentile_interval(draws, groups=1, unit="animal")
    assert alone["ci95"] is None
    assert "single animal" in alone["why"]
    few = bootstrap.percentile_interval(draws, groups=5, unit="cage")
    assert few["ci95"] == pytest.approx([0.025, 0.975])
    assert "5 cages only" in few["note"]
    assert "note" not in bootstrap.percentile_interval(draws, groups=6, unit="cage")
    assert "alike" in bootstrap.percentile_interval(np.ones(9), groups=8, unit="cage")["note"]
