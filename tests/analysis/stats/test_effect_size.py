import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from mpjax.analysis.stats import effect_size


def draw(*means, n=8, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(mean, 1, n) for mean in means]


def test_hedges_g_is_the_small_sample_corrected_difference():
    vehicle, arm = draw(0, 1, n=10)
    sd = np.sqrt((vehicle.var(ddof=1) + arm.var(ddof=1)) / 2)
    approximate = (1 - 3 / (4 * 18 - 1)) * (arm.mean() - vehicle.mean()) / sd
    found = effect_size.hedges_g(arm[:, None], vehicle[:, None])[0]
    assert found["value"] == pytest.approx(approximate, rel=1e-3)
    low, high = found["ci95"]
    assert low < found["value"] < high


def test_hedges_g_interval_holds_the_truth_in_95_per_cent_of_trials():
    arms = [draw(0, 1, n=6, seed=seed) for seed in range(400)]
    vehicle, arm = (np.stack(sides, axis=1) for sides in zip(*arms, strict=True))
    ends = [each["ci95"] for each in effect_size.hedges_g(arm, vehicle)]
    held = sum(low <= 1 <= high for low, high in ends)
    assert 0.92 <= held / 400 <= 0.98


def test_detectable_difference_has_the_power_it_states():
    for n in (3, 8, 30):
        found = effect_size.detectable(np.sqrt(2 / n), 2 * n - 2)
        assert TTestIndPower().power(found["value"], n, 0.05) == pytest.approx(0.8, abs=2e-3)


def test_standardised_effects_hold_the_truth_in_95_per_cent():
    rng = np.random.default_rng(0)
    draws = 2000
    one = effect_size.standardised_mean(rng.normal(0.8, 1, (6, draws)))
    a, b = rng.normal(1.2, 1, (5, draws)), rng.normal(0, 1, (7, draws))
    two = effect_size.hedges_g(a, b)
    low, high = stats.binom.ppf([0.005, 0.995], draws, 0.95)
    for found, truth in ((one, 0.8), (two, 1.2)):
        covered = sum(each["ci95"][0] <= truth <= each["ci95"][1] for each in found)
        assert low <= covered <= high
        assert all(each["ci95"][0] < each["value"] < each["ci95"][1] for each in found)
        # Hedges' correction takes the bias away.
        values = np.array([each["value"] for each in found])
        assert values.mean() == pytest.approx(truth, abs=3 * values.std() / np.sqrt(draws))


def test_an_effect_without_enough_animals_or_variance_says_so():
    few, alike = effect_size.standardised_mean(np.array([[1.0, 2.0], [2.0, 2.0], [np.nan, 2.0]]))
    assert "3 animals" in few["why"]
    assert "alike" in alike["why"]
    found = effect_size.hedges_g(np.ones((1, 1)), np.ones((4, 1)))[0]
    assert "2 animals" in found["why"]


def test_missing_values_are_left_out():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, (7, 1)), rng.normal(0, 1, (6, 1))
    a[2] = np.nan
    found = effect_size.hedges_g(a, b)[0]
    expected = effect_size.hedges_g(np.delete(a, 2, axis=0), b)[0]
    assert found["value"] == pytest.approx(expected["value"])
    assert found["ci95"] == pytest.approx(expected["ci95"])


def test_the_interval_ends_where_t_is_an_outer_quantile():
    a, b = np.array([1.0, 2.0, 4.0, 3.0]), np.array([0.5, 1.0, -1.0])
    t, scale = stats.ttest_ind(a, b).statistic, np.sqrt(1 / 4 + 1 / 3)
    low, high = effect_size.hedges_g(a[:, None], b[:, None])[0]["ci95"]
    assert stats.nct.sf(t, 5, low / scale) == pytest.approx(0.025)
    assert stats.nct.cdf(t, 5, high / scale) == pytest.approx(0.025)
