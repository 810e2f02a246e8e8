"""A method against raters on the same clips: paired over animals, with two cross-checks."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from mpjax.analysis.stats.crossed_bootstrap import Crossed
from mpjax.analysis.stats.estimates import absent

_TRY_ALL = 12  # groups; up to so many, all sign flips are tried


def compare(
    method: Float[np.ndarray, " clips"],
    raters: Float[np.ndarray, "raters clips"],
    crossed: Crossed,
    *,
    names: Sequence[str],
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Compares a method with all raters together and with each.

    Args:
        method: 1 where it named the class of a clip, else 0.
        raters: the same by rater; NaN where a clip was not answered.
        crossed: how animals and raters are resampled, both sides alike.
        names: of the raters.
        permutations: sign flips drawn where there are too many to try all.
        seed: of the drawing.

    Returns:
        `accuracy` of the method; `difference`, the method minus the raters, {"value", "ci95", "n"};
        `permutation`, see `flip_signs`; `raters`, each with `name`, `difference` (its interval over
        animals), `permutation` and `mcnemar`, see `mcnemar`.
    """
    minus = method - raters

    def flip(difference: np.ndarray) -> dict[str, Any]:
        return flip_signs(difference, crossed, permutations=permutations, seed=seed)

    return {
        "accuracy": crossed.estimate_one(method),
        "difference": crossed.estimate(minus),
        "permutation": flip(minus),
        "raters": [
            {
                "name": name,
                "difference": crossed.estimate_one(row),
                "permutation": flip(row[None]),
                "mcnemar": mcnemar(row),
            }
            for name, row in zip(names, minus, strict=True)
        ],
    }


def flip_signs(
    difference: Float[np.ndarray, "raters clips"],
    crossed: Crossed,
    *,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Tests the mean difference by exchanging method and raters within whole animals.

    Args:
        difference: method minus rater, by rater and clip; NaN where a clip was not answered.
        crossed: names the animal (cage) of each clip.
        permutations: sign flips drawn where there are too many to try all.
        seed: of the drawing.

    Returns:
        {"p", "permutations", "unit", "exact"}, p being two-sided; or {"value": None, "why"}.

    Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), ch. 3; the p of
    drawn flips: Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.
    """
    sums = np.bincount(crossed.group, np.nansum(difference, axis=0))
    sums = sums[sums != 0]  # an animal without a difference has nothing to exchange
    if len(sums) < 2:
        return absent(f"{len(sums)} {crossed.unit}s were told differently; at least 2 are needed")
    exact = len(sums) <= _TRY_ALL
    if exact:
        signs = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
    else:
        rng = np.random.default_rng(seed)
        signs = rng.choice((-1, 1), size=(permutations, len(sums)))
    reached = np.abs(signs @ sums) >= abs(sums.sum()) - 1e-9
    p = reached.mean() if exact else (1 + reached.sum()) / (1 + len(signs))
    return {"p": float(p), "permutations": len(signs), "unit": crossed.unit, "exact": exact}


def mcnemar(difference: Float[np.ndarray, " clips"]) -> dict[str, Any]:
    """Tests method against one rater by McNemar's exact test, which takes clips as independent.

    They are not, so that its p is too small where an animal's clips are alike: a cross-check.

    Args:
        difference: method minus rater by clip: 1 where the method alone is right, -1 where the
            rater alone is, 0 where both or neither are; NaN where not answered.

    Returns:
        {"p", "method_only", "rater_only"}, in clips.

    Source: McNemar (1947), doi:10.1007/BF02295996; exact by the binomial distribution.
    """
    method, rater = int((difference == 1).sum()), int((difference == -1).sum())
    p = stats.binomtest(method, method + rater).pvalue if method + rater else 1.0
    return {"p": float(p), "method_only": method, "rater_only": rater}
