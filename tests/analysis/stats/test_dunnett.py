import numpy as np
import pytest
from scipy import stats

from mpjax.analysis.stats.dunnett import Dunnett


def draw(*means, n=8, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(mean, 1, n) for mean in means]


def test_dunnett_with_one_arm_is_the_t_test():
    vehicle, arm = draw(0, 1)
    found = Dunnett(vehicle, {"arm": arm}).test("arm")
    test = stats.ttest_ind(arm, vehicle)
    interval = test.confidence_interval()
    assert found["p"] == pytest.approx(test.pvalue)
    assert found["p_adjusted"] == pytest.approx(test.pvalue, abs=1e-3)
    assert found["ci95"] == pytest.approx([interval.low, interval.high], abs=1e-3)


def test_dunnett_adjusts_for_the_number_of_arms():
    vehicle, low, high = draw(0, 0.5, 1.2)
    found = Dunnett(vehicle, {"low": low, "high": high})
    for row in map(found.test, found.arms):
        assert row["p"] < row["p_adjusted"] < 2 * row["p"] + 1e-3
        assert (row["ci95"][0] > 0) == (row["p_adjusted"] < 0.05)


def test_dunnett_agrees_with_scipy_over_unequal_arms():
    rng = np.random.default_rng(0)
    control, arms = rng.normal(0, 1, 9), [rng.normal(mean, 1, n) for mean, n in ((1, 6), (0.4, 12))]
    test = stats.dunnett(*arms, control=control, rng=np.random.default_rng(0))
    interval = test.confidence_interval()
    found = Dunnett(control, dict(zip("ab", arms, strict=True)))
    for i, row in enumerate(map(found.test, "ab")):
        assert row["p_adjusted"] == pytest.approx(test.pvalue[i], abs=2e-4)
        assert row["ci95"] == pytest.approx([interval.low[i], interval.high[i]], abs=2e-3)
