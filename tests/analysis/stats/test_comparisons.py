import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.power import TTestIndPower

from mpjax.analysis.stats import comparisons


def draw(*means, n=8, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(mean, 1, n) for mean in means]


def test_dunnett_with_one_arm_is_the_t_test():
    vehicle, arm = draw(0, 1)
    found = comparisons.dunnett(vehicle, {"arm": arm})["arm"]
    test = stats.ttest_ind(arm, vehicle)
    interval = test.confidence_interval()
    assert found["p"] == pytest.approx(test.pvalue)
    assert found["p_adjusted"] == pytest.approx(test.pvalue, abs=1e-3)
    assert found["ci95"] == pytest.approx([interval.low, interval.high], abs=1e-3)


def test_dunnett_adjusts_for_the_number_of_arms():
    vehicle, low, high = draw(0, 0.5, 1.2)
    found = comparisons.dunnett(vehicle, {"low": low, "high": high})
    for row in found.values():
        assert row["p"] < row["p_adjusted"] < 2 * row["p"] + 1e-3
        assert (row["ci95"][0] > 0) == (row["p_adjusted"] < 0.05)


def test_holm_steps_down():
    assert comparisons.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_hedges_g_is_the_small_sample_corrected_difference():
    vehicle, arm = draw(0, 1, n=10)
    sd = np.sqrt((vehicle.var(ddof=1) + arm.var(ddof=1)) / 2)
    approximate = (1 - 3 / (4 * 18 - 1)) * (arm.mean() - vehicle.mean()) / sd
    found = comparisons.hedges_g(arm, vehicle)
    assert found["value"] == pytest.approx(approximate, rel=1e-3)
    low, high = found["ci95"]
    assert low < found["value"] < high


def test_hedges_g_interval_holds_the_truth_in_95_per_cent_of_trials():
    held = 0
    for seed in range(400):
        vehicle, arm = draw(0, 1, n=6, seed=seed)
        low, high = comparisons.hedges_g(arm, vehicle)["ci95"]
        held += low <= 1 <= high
    assert 0.92 <= held / 400 <= 0.98


def test_detectable_difference_has_the_power_it_states():
    for n in (3, 8, 30):
        found = comparisons.detectable(np.sqrt(2 / n), 2 * n - 2)
        assert TTestIndPower().power(found["value"], n, 0.05) == pytest.approx(0.8, abs=2e-3)


def test_interaction_is_the_difference_of_differences():
    change = np.array([-3.0, -1.0, 0.0, 2.0, -1.0, 1.0, 1.0, 3.0])
    cell = np.repeat([0, 1, 2, 3], 2)
    found = comparisons.interaction(change, cell)
    assert found.value == pytest.approx((-2 - 1) - (0 - 2))
    assert found.df == 4


def test_permuted_interaction_agrees_with_normal_theory_on_normal_data():
    change = np.concatenate(draw(-1.2, 0, -0.2, 0, n=12))
    cell = np.repeat([0, 1, 2, 3], 12)
    by_theory = comparisons.interaction(change, cell).t_test()
    permuted = comparisons.permute_interaction(change, cell)
    assert permuted["p"] == pytest.approx(by_theory["p"], abs=0.02)
    assert permuted["ci95"] == pytest.approx(by_theory["ci95"], abs=0.1)


def test_permuted_interaction_ignores_a_common_drug_effect():
    change = np.concatenate(draw(0, 0, 0, 0, n=4))
    cell = np.repeat([0, 1, 2, 3], 4)
    shifted = change - 5.0 * (cell % 2 == 0) + 2.0 * (cell >= 2)
    plain = comparisons.permute_interaction(change, cell)
    moved = comparisons.permute_interaction(shifted, cell)
    assert moved["p"] == pytest.approx(plain["p"])
    assert moved["ci95"] == pytest.approx(plain["ci95"])


@pytest.mark.parametrize(
    ("groups", "why"),
    [
        ({"vehicle": np.zeros(3), "arm": np.ones(1)}, "arm has 1"),
        ({"vehicle": np.zeros(3), "arm": np.ones(3)}, "no variance"),
    ],
)
def test_what_cannot_be_compared_says_why(groups, why):
    assert why in comparisons.why_not_compared(groups)
