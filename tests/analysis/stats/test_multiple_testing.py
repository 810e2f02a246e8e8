import pytest

from mpjax.analysis.stats import multiple_testing


def test_holm_steps_down():
    assert multiple_testing.holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_adjusted_p_values_are_benjamini_and_hochbergs_own_example():
    """The 15 p-values of their section 3.2: four are significant at 5 %."""
    p = [0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262,
         0.5719, 0.6528, 0.7590, 1.0]  # fmt: skip
    assert sum(q <= 0.05 for q in multiple_testing.false_discovery_rate(p)) == 4
