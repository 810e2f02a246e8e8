"""A method compared with raters on the same clips: paired over animals, with two cross-checks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy import stats

from mpjax.analysis.stats import permutation
from mpjax.analysis.stats.crossed_bootstrap import Crossed
from mpjax.analysis.stats.estimates import absent

_PERMUTATIONS = 2000


def compare(
    method: Float[np.ndarray, " clips"],
    raters: Float[np.ndarray, "raters clips"],
    crossed: Crossed,
    *,
    names: Sequence[str],
    seed: int,
) -> dict[str, Any]:
    """Compares a method with all raters together and with each, all on the same resamples.

    Args:
        method: 1 where it predicted the class of a clip, else 0.
        raters: the same by rater; NaN where a clip was not answered.

    Returns:
        `accuracy` of the method; `difference`, the method minus the raters, {"value", "ci95", "n"};
        `permutation`, see `flip_signs`; `raters`, each with `name`, `difference` (its interval over
        animals), `permutation` and `mcnemar`, see `mcnemar`.
    """
    minus = method - raters
    return {
        "accuracy": crossed.estimate_one(method),
        "difference": crossed.estimate(minus),
        "permutation": flip_signs(minus, crossed, seed=seed),
        "raters": [
            {
                "name": name,
                "difference": crossed.estimate_one(row),
                "permutation": flip_signs(row[None], crossed, seed=seed),
                "mcnemar": mcnemar(row),
            }
            for name, row in zip(names, minus, strict=True)
        ],
    }


def flip_signs(
    difference: Float[np.ndarray, "raters clips"],
    crossed: Crossed,
    *,
    permutations: int = _PERMUTATIONS,
    seed: int,
) -> dict[str, Any]:
    """Tests the mean difference by exchanging method and raters within whole animals (cages).

    Args:
        difference: method minus rater, by rater and clip; NaN where a clip was not answered.
        permutations: sign flips drawn where there are too many to try all.

    Returns:
        {"p", "permutations", "unit", "exact"}, p being two-sided; or {"value": None, "why"}.

    Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), ch. 3; the p of
    drawn flips: Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.
    """
    sums = np.bincount(crossed.group, np.nansum(difference, axis=0))
    sums = sums[sums != 0]  # an animal without a difference has nothing to exchange
    if len(sums) < 2:
        return absent(
            f"method and raters differ in {len(sums)} {crossed.unit}s; at least 2 are needed"
        )
    test = permutation.flip_signs(sums, permutations, np.random.default_rng(seed))
    return test._asdict() | {"unit": crossed.unit}


def mcnemar(difference: Float[np.ndarray, " clips"]) -> dict[str, Any]:
    """Tests a method against one rater by McNemar's exact test; `difference` is method minus rater.

    A cross-check only: it treats clips as independent, so its p is too small where the clips of an
    animal are similar.

    Source: McNemar (1947), doi:10.1007/BF02295996; exact by the binomial distribution.
    """
    method, rater = int((difference == 1).sum()), int((difference == -1).sum())
    p = stats.binomtest(method, method + rater).pvalue if method + rater else 1.0
    return {"p": float(p), "method_only": method, "rater_only": rater}
