import pytest

from mpjax import formatting


@pytest.mark.parametrize(
    ("value", "shown"), [(-0.004, "0.00"), (-1.5, "−1.50"), (0.005001, "0.01"), (None, "–")]
)
def test_numbers_have_a_true_minus_sign_and_no_negative_zero(value, shown):
    assert formatting.number(value) == shown


@pytest.mark.parametrize(("p", "shown"), [(0.0004, "< 0.001"), (0.001, "0.001"), (1.0, "1.000")])
def test_a_p_value_is_never_shown_as_zero(p, shown):
    assert formatting.p_value(p) == shown


def test_an_estimate_says_its_interval_and_p_or_why_it_is_missing():
    found = {"value": -1.5, "ci95": [-2.0, -1.0], "p": 0.0002, "n": 9}
    assert formatting.estimate(found).replace("\u00a0", " ") == (
        "−1.50 (95 % CI −2.00 to −1.00), p < 0.001"
    )
    assert formatting.estimate({"value": 2.0, "ci95": None, "why": "x", "n": 1}) == "2.00"
    assert formatting.estimate({"value": None, "why": "one animal"}) == "not estimable: one animal"


def test_shares_and_their_intervals_have_a_true_minus_sign():
    assert formatting.percent(-0.034) == "−3.4 %"
    assert formatting.interval({"ci95": [-0.034, 0.148]}) == "−3.4 to 14.8 %"
    assert formatting.interval({"ci95": [0.034, 0.148]}) == "3.4–14.8 %"
    assert formatting.interval({"ci95": None}) == formatting.percent(None) == "–"
