import numpy as np
import pytest

from mpjax.analysis.drug import interaction, sessions


def draw(*means, n=8, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(mean, 1, n) for mean in means]


def test_interaction_is_the_difference_of_differences():
    change = np.array([-3.0, -1.0, 0.0, 2.0, -1.0, 1.0, 1.0, 3.0])
    cell = np.repeat([0, 1, 2, 3], 2)
    found = interaction.interaction(change, cell)
    assert found.value == pytest.approx((-2 - 1) - (0 - 2))
    assert found.df == 4


def test_permuted_interaction_agrees_with_normal_theory_on_normal_data():
    change = np.concatenate(draw(-1.2, 0, -0.2, 0, n=12))
    cell = np.repeat([0, 1, 2, 3], 12)
    by_theory = interaction.interaction(change, cell).t_test()
    permuted = interaction.permute_interaction(change, cell)
    assert permuted["p"] == pytest.approx(by_theory["p"], abs=0.02)
    assert permuted["ci95"] == pytest.approx(by_theory["ci95"], abs=0.1)


def test_permuted_interaction_ignores_a_common_drug_effect():
    change = np.concatenate(draw(0, 0, 0, 0, n=4))
    cell = np.repeat([0, 1, 2, 3], 4)
    shifted = change - 5.0 * (cell % 2 == 0) + 2.0 * (cell >= 2)
    plain = interaction.permute_interaction(change, cell)
    moved = interaction.permute_interaction(shifted, cell)
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
    assert why in sessions.why_not_compared(groups)
