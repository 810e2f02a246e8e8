"""Does a drug work differently in two pain types? The unit is the animal, by its change."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mpjax.analysis.stats.estimates import ALPHA, PERMUTATIONS
from mpjax.analysis.stats.permutation import shuffle_within
from mpjax.analysis.stats.t_test import t_test

# With fewer animals in a cell the interaction is judged by permutation, not by normal theory.
SMALL = 5
LEAST_FOR_POWER = 3  # animals in a cell
_SIGNS = np.array([1.0, -1.0, -1.0, 1.0])  # of the cells' means in the interaction


class Interaction(NamedTuple):
    """The difference between two drug effects, by the change per animal."""

    value: float  # (treated - vehicle) in the first pain type minus that in the second
    se: float  # from the variance pooled within the four cells
    df: int  # the number of animals minus four

    def t_test(self) -> dict[str, Any]:
        """Returns {"value", "ci95", "p"} by normal theory."""
        return t_test(*self)


def interaction(change: Float[np.ndarray, " n"], cell: Int[np.ndarray, " n"]) -> Interaction:
    """Estimates the drug x pain-type interaction.

    With one session before and one after the dose for every animal, this is what the mixed model
    score ~ drug * time * pain type + sex + (1|cage/animal) gives: what is constant in an animal
    or its cage cancels in a change.

    Args:
        change: post - pre of each animal.
        cell: 0 treated and 1 vehicle of the first pain type, 2 treated and 3 vehicle of the
            second; each has 2 animals or more.
    """
    values, se, df = _cell_contrast(change[None], cell)
    return Interaction(float(values[0]), float(se[0]), df)


def _cell_contrast(
    change: Float[np.ndarray, "draws n"], cell: Int[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, " draws"], Float[np.ndarray, " draws"], int]:
    size, df = np.bincount(cell), len(cell) - 4
    means = change @ np.eye(4)[cell] / size
    squares = np.square(change - means[:, cell]).sum(1)
    return means @ _SIGNS, np.sqrt(squares / df * (1 / size).sum()), df


def permute_interaction(
    change: Float[np.ndarray, " n"],
    cell: Int[np.ndarray, " n"],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> dict[str, Any]:
    """Tests the interaction by permuting residuals over the animals of a pain type.

    The residuals are those of the model without the interaction: a mean per pain type and one
    common drug effect (Freedman & Lane 1983, doi:10.1080/07350015.1983.10509354). The statistic is
    studentised, and the interval is that of the permuted statistics. With three animals in a cell
    the residuals are not quite exchangeable (500 simulated trials: 7 % false positives), so normal
    theory is used where it is more cautious. Arguments are as in `interaction`.

    Returns:
        {"value", "ci95", "p"}.
    """
    found = interaction(change, cell)
    second, vehicle = cell >= 2, cell % 2
    design = np.stack([~second, second, vehicle], axis=1).astype(float)
    fitted = design @ np.linalg.lstsq(design, change, rcond=None)[0]
    residual = change - fitted
    order = shuffle_within(second.astype(int), permutations, np.random.default_rng(seed))
    value, se, _ = _cell_contrast(fitted + residual[order], cell)
    drawn = np.abs(np.divide(value, se, out=np.full(len(se), np.inf), where=se > 0))
    # Rounding must not set a permutation apart from its mirror image.
    extreme = drawn >= abs(found.value) / found.se * (1 - 1e-9)
    theory = found.t_test()
    half = np.quantile(drawn[np.isfinite(drawn)], 1 - ALPHA) * found.se
    half = max(half, theory["ci95"][1] - found.value)
    return {
        "value": found.value,
        "ci95": [float(found.value - half), float(found.value + half)],
        "p": max(theory["p"], float((1 + extreme.sum()) / (1 + permutations))),
    }
