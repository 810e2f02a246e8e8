import itertools

import numpy as np
import pytest

from mpjax.analysis.stats import permutation


def test_p_is_that_of_all_arrangements_written_out():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(7, 3))
    values[1, 2] = np.nan
    treated = np.array([True, True, True, False, False, False, False])
    found = permutation.compare_groups(values, treated, permutations=100, seed=0)
    for column in range(3):
        y = values[:, column]

        def gap(chosen, y=y):
            side = np.isin(np.arange(7), chosen)
            return abs(np.nanmean(y[side]) - np.nanmean(y[~side]))

        drawn = [gap(chosen) for chosen in itertools.combinations(range(7), 3)]
        expected = np.mean(np.array(drawn) >= gap((0, 1, 2)) - 1e-12)
        assert found.p[column] == pytest.approx(expected)
    assert found.least_p == pytest.approx(1 / 35)


def test_drawn_arrangements_give_the_p_of_all_of_them():
    rng = np.random.default_rng(1)
    values, treated = rng.normal(size=(13, 6)), np.arange(13) < 5
    values[treated, 0] += 1.0
    exact = permutation.compare_groups(values, treated, permutations=1287, seed=0)
    one_place, gap = np.zeros(13, int), permutation._gap(values)
    drawn = permutation._exchange(values, treated, one_place, gap, 20_000, 0)
    np.testing.assert_allclose(drawn.p, exact.p, atol=0.01)
    assert (exact.least_p, drawn.least_p) == pytest.approx((1 / 1287, 1 / 1287))


def test_blocks_that_bound_the_memory_change_nothing(monkeypatch):
    rng = np.random.default_rng(0)
    values, treated = rng.normal(size=(20, 5)), np.arange(20) < 9
    place = np.repeat(np.arange(5), 4)
    time = np.tile(np.arange(4.0), 5)

    def all_p():
        options = {"permutations": 500, "seed": 3}
        return np.concatenate(
            [
                permutation.compare_groups(values, treated, **options).p,
                permutation.compare_within(values, treated, place, **options).p,
                permutation.judge_trend(values, time, place, **options).p,
            ]
        )

    whole = all_p()
    monkeypatch.setattr(permutation, "_CELLS", 35)
    np.testing.assert_array_equal(all_p(), whole)


def test_a_trend_is_judged_by_the_days_of_each_animal_written_out():
    """Two animals of three days: all 36 orders."""
    values = np.array([0.0, 1.0, 3.0, 5.0, 5.5, 7.0])[:, None]
    place, time = np.repeat([0, 1], 3), np.tile(np.arange(3.0), 2)

    def slope(orders):
        return sum(
            np.polyfit(np.array(order, float), values[place == a, 0], 1)[0]
            for a, order in enumerate(orders)
        )

    orders = list(itertools.product(itertools.permutations(range(3)), repeat=2))
    drawn = np.abs([slope(each) for each in orders])
    expected = np.mean(drawn >= abs(slope(((0, 1, 2), (0, 1, 2)))) - 1e-9)
    found = permutation.judge_trend(values, time, place, permutations=20_000, seed=0)
    assert found.p[0] == pytest.approx(expected, abs=0.01)
    assert found.least_p == pytest.approx(1 / 36)


def test_slopes_are_those_of_least_squares_with_missing_days_left_out():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 2))
    values[1, 0] = values[4:7, 1] = np.nan
    place, time = np.repeat([0, 1], 4), np.tile([0.0, 0.2, 0.5, 1.0], 2)
    found = permutation.slopes(values, time, place)
    kept = np.array([0, 2, 3])
    assert found[0, 0] == pytest.approx(np.polyfit(time[kept], values[kept, 0], 1)[0])
    assert found[1, 0] == pytest.approx(np.polyfit(time[4:], values[4:, 0], 1)[0])
    assert np.isnan(found[1, 1])


def test_what_differs_between_animals_only_is_no_difference_within_them():
    rng = np.random.default_rng(0)
    place = np.repeat(np.arange(6), 6)
    treated = np.tile([True, True, False, False, False, False], 6)
    values = np.stack([5.0 * place, treated + rng.normal(0, 0.3, 36)], axis=1)
    values[:, 0] += rng.normal(0, 1e-3, 36)
    found = permutation.compare_within(values, treated, place, permutations=999, seed=0)
    assert found.p[0] > 0.05
    assert found.p[1] == pytest.approx(0.001)


@pytest.mark.parametrize("kind", ["groups", "within", "trend"])
def test_p_values_are_valid_where_nothing_differs(kind):
    """P(p <= a) <= a; 4,000 figures, bound by three standard errors."""
    rng = np.random.default_rng(5)
    place = np.repeat(np.arange(6), 3)
    values = rng.gamma(0.5, size=(18, 4000))
    if kind != "groups":
        values += rng.normal(0, 1, (6, 4000))[place]
    options = {"permutations": 499, "seed": 0}
    if kind == "groups":
        p = permutation.compare_groups(values[::2], np.arange(9) < 4, **options).p
    elif kind == "within":
        p = permutation.compare_within(values, np.tile([True, False, False], 6), place, **options).p
    else:
        p = permutation.judge_trend(values, np.tile([0.0, 0.5, 1.0], 6), place, **options).p
    for alpha in (0.05, 0.1, 0.3):
        assert (p <= alpha).mean() <= alpha + 3 * np.sqrt(alpha / 4000)
    assert (p <= 0.5).mean() > 0.4  # and not so cautious as to find nothing


def test_a_side_without_a_value_has_no_p():
    values = np.array([[np.nan, 1.0], [np.nan, 2.0], [1.0, 3.0], [2.0, 5.0]])
    found = permutation.compare_groups(
        values, np.array([True, True, False, False]), permutations=10, seed=0
    )
    assert np.isnan(found.p[0])
    assert found.p[1] == pytest.approx(2 / 6)
