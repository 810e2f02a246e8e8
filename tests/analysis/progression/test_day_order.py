import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mpjax.analysis.progression.day_order import describe_consistency, describe_day_order
from mpjax.analysis.stats import bootstrap
from mpjax.analysis.stats.units import Units
from mpjax.taxonomy import default_taxonomy, fine_name

DAYS = (1, 3, 7, 14, 21)
TAXONOMY = default_taxonomy(fine_name(c, d) for c in ("cfa", "sham", "sni") for d in DAYS)


def make_units(p, label, animal):
    """An animal x day per row."""
    animal = np.asarray(animal)
    rows = pd.DataFrame(
        {"animal": [f"m{a}" for a in animal],
         "condition": [TAXONOMY.fine[y].split("@")[0] for y in label],
         "day": [int(TAXONOMY.fine[y].split("@d")[1]) for y in label]}
    )  # fmt: skip
    units = Units(np.asarray(label), np.asarray(p, float), animal, np.arange(len(label)))
    return units, rows


def order(units, rows, *, permutations=199):
    groups = int(units.group.max()) + 1
    weights = bootstrap.draw_weights(groups, resamples=200, seed=0)
    return describe_day_order(
        units, rows, TAXONOMY, weights=weights, permutations=permutations, seed=0, unit="animal"
    )


def cohort(*, signal, seed=0, animals=6):
    """Each of `animals` sni animals on every day; logits favour days near the true one."""
    rng = np.random.default_rng(seed)
    label = np.tile(np.arange(10, 15), animals)
    rank = np.arange(15) % 5
    logits = -signal * np.abs(rank[None] - rank[label][:, None]) + rng.normal(
        0, 1, (len(label), 15)
    )
    p = np.exp(logits)
    return make_units(p / p.sum(1, keepdims=True), label, np.repeat(np.arange(animals), 5))


def test_the_expected_day_uses_only_the_classes_of_the_own_condition():
    p = np.zeros((3, 15))
    p[0, [10, 11]] = 0.1, 0.3  # sni@d1, sni@d3
    p[0, 4] = 0.6  # cfa@d21 counts nowhere
    p[1, 11] = p[2, 12] = 1.0
    units, rows = make_units(p, [10, 11, 12], [0, 0, 0])
    found = order(units, rows)["all"]
    # expected 2.5, 3 and 7 on the days 1, 3 and 7
    assert found["mean_absolute_error"]["value"] == pytest.approx(1.5 / 3)
    assert found["spearman"]["value"] == found["kendall"]["value"] == pytest.approx(1.0)


def test_correlations_equal_those_of_scipy():
    units, rows = cohort(signal=0.3)
    found = order(units, rows)["conditions"]["sni"]
    expected = (units.p[:, 10:] @ DAYS) / units.p[:, 10:].sum(1)
    pairs = [(rows["day"][rows["animal"] == a], expected[rows["animal"] == a])
             for a in rows["animal"].unique()]  # fmt: skip
    for name, of in (("spearman", stats.spearmanr), ("kendall", stats.kendalltau)):
        own = [of(*pair).statistic for pair in pairs]
        assert found[name]["value"] == pytest.approx(np.mean(own))
        assert found[name]["n"] == found["animals"] == 6


def test_days_that_are_told_are_significant_and_chance_is_not():
    told = order(*cohort(signal=2.0))["all"]["permutation"]
    assert told["spearman"]["p"] == told["mean_absolute_error"]["p"] == pytest.approx(1 / 200)
    p = [
        order(*cohort(signal=0.0, seed=s))["all"]["permutation"]["spearman"]["p"] for s in range(25)
    ]
    assert sum(each < 0.05 for each in p) <= stats.binom.ppf(0.99, 25, 0.05)
    assert abs(told["spearman"]["null_mean"]) < 0.1


def test_animals_of_two_days_are_counted_but_have_no_order():
    units, rows = make_units(np.full((5, 15), 1 / 15), [10, 11, 10, 11, 12], [0, 0, 1, 1, 1])
    found = order(units, rows)["all"]
    assert (found["animals"], found["too_few_days"]) == (1, 1)
    assert found["spearman"]["value"] == 0.0  # all expected days alike
    two = units.group == 0
    units = Units(units.label[two], units.p[two], units.group[two], np.arange(2))
    assert "no animal has 3 recorded days" in order(units, rows[two])["all"]["why"]


def agree(recordings, days, rows):
    weights = bootstrap.draw_weights(int(days.group.max()) + 1, resamples=100, seed=0)
    return describe_consistency(
        {"recording": recordings, "animal_day": days}, rows, TAXONOMY, weights=weights,
        unit="animal",
    )  # fmt: skip


def test_fine_and_coarse_answers_are_compared_by_the_group_of_the_fine_one():
    p = np.zeros((2, 15))
    p[0, :] = (
        [0.1] * 5 + [0.0] * 5 + [0.4, 0.03, 0.03, 0.03, 0.01]
    )  # largest sni@d1; cfa and sni .5
    p[0, 1] = 0.11
    p[1, 12] = 1.0
    units, rows = make_units(p, [10, 12], [0, 1])
    assert agree(units, units, rows)["fine_and_coarse"]["value"] == 0.5


def test_animals_called_two_types_of_pain_are_listed_with_their_days():
    called = [12, 2, 7, 12, 12, 12]  # sni, cfa, sham for m0; sni always for m1
    units, rows = make_units(np.eye(15)[called], [10, 11, 12, 10, 11, 12], [0, 0, 0, 1, 1, 1])
    found = agree(units, units, rows)
    groups = {"1": "sni", "3": "cfa", "7": "no_pain"}
    assert found["switching"] == [{"animal": "m0", "condition": "sni", "calls": groups}]
    assert found["over_days"]["value"] == pytest.approx(0.5)  # none of 3 pairs, all of 3
    assert found["over_days_by_condition"]["sni"]["n"] == 2


def test_days_of_another_true_group_are_not_expected_to_be_called_alike():
    taxonomy = default_taxonomy(["sni@d-1", "sni@d1", "sni@d3"])
    rows = pd.DataFrame({"animal": "a", "condition": "sni", "day": [-1, 1, 3]})
    units = Units(np.arange(3), np.eye(3), np.zeros(3, int), np.arange(3))
    weights = bootstrap.draw_weights(1, resamples=10, seed=0)
    found = describe_consistency(
        {"recording": units, "animal_day": units}, rows, taxonomy, weights=weights, unit="animal"
    )
    assert found["over_days"]["value"] == 1.0


def test_reasons_are_passed_on():
    units, rows = make_units(np.eye(15)[:2], [0, 1], [0, 0])
    assert order(units, rows)["all"]["value"] is None
    weights = bootstrap.draw_weights(1, resamples=10, seed=0)
    why = describe_day_order(
        "none there", rows, TAXONOMY, weights=weights, permutations=9, seed=0, unit="animal"
    )
    assert why == {"value": None, "why": "none there"}
    found = describe_consistency(
        {"recording": "no", "animal_day": "never"}, rows, TAXONOMY, weights=weights, unit="animal"
    )
    assert found["fine_and_coarse"]["why"] == "no"
    assert found["over_days"]["why"] == "never"
