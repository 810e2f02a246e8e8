"""Whether p-values, intervals and power mean what they say: simulated trials with a known truth."""

import bench_drug_statistics as simulated
import pytest
from scipy import stats
from simulated_trials import Trial

STUDIES = 250  # tests/benchmarks/bench_drug_statistics.py runs 500
pytestmark = pytest.mark.slow


def bounds(rate: float) -> tuple[float, float]:
    """The 99 % binomial bounds of a rate over the studies."""
    low, high = stats.binom.ppf([0.005, 0.995], STUDIES, rate) / STUDIES
    return float(low), float(high)


@pytest.fixture(scope="module", params=[4, 8], ids=["permutation", "mixed_model"])
def null(request):
    return simulated.run(Trial(animals=request.param), studies=STUDIES)


def test_null_trials_are_called_positive_in_5_per_cent(null):
    for name, rates in null.items():
        assert bounds(0.05)[0] <= rates.found <= bounds(0.05)[1], name


def test_intervals_cover_the_truth_and_power_is_as_promised():
    trial = Trial(animals=10, effect=(0.8, 0.3))
    rates = simulated.run(trial, studies=STUDIES)
    for name, rate in rates.items():
        assert bounds(0.95)[0] <= rate.covered <= bounds(0.95)[1], name
    low, high = bounds(simulated.promised_power(trial))
    assert low <= rates["interaction"].found <= high
