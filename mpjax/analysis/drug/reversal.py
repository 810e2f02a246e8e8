"""How much of the pain does an arm reverse, in per cent, and which dose has half the effect?"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from mpjax.analysis.drug.sessions import VEHICLE, dose_arms, split_arms, why_not_compared
from mpjax.analysis.stats.dunnett import Dunnett, pool
from mpjax.analysis.stats.estimates import absent
from mpjax.formatting import signed

DOSES_FOR_ED50 = 3
_BOOTSTRAP = 1000
_GRID = 400  # doses tried, evenly on the log scale


def reversals(animals: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Computes the vehicle-subtracted reversal of each arm of one condition.

    100 * (mean of (pre - post) in the arm - the same under vehicle) / mean of (pre - baseline)
    over the condition's animals: 100 % brings an animal back to before its injury. The interval
    is Fieller's (1954, doi:10.1111/j.2517-6161.1954.tb00159.x), with the variances pooled over
    the arms; the p-value is Dunnett's, of the numerator. `animals` is of `sessions.changes` on a
    probability, in one condition.

    Returns:
        Per arm {"value", "ci95", "p", "n", "animals": {name: per cent}}, or why there is none.
    """
    counted = animals["arm"].value_counts()
    single = [arm for arm in dose_arms(animals) if counted[arm] < 2]
    alone = {arm: absent("the arm has 1 animal (or cage); it needs 2") for arm in single}
    animals = animals[~animals["arm"].isin(single)]
    arms = dose_arms(animals)
    if not arms:
        return alone
    animals = animals.assign(
        relief=animals["pre"] - animals["post"], injury=animals["pre"] - animals["baseline"]
    )
    relief = split_arms(animals, "relief")
    why = why_not_compared(relief)
    if VEHICLE not in relief:
        why = "no vehicle arm in this condition"
    elif not why and (missing := int(animals["baseline"].isna().sum())):
        why = f"{missing} of {len(animals)} animals have no session before induction (day < 0)"
    if why:
        return alone | {arm: absent(why) for arm in arms}
    vehicle = relief[VEHICLE]
    tests = Dunnett(vehicle, {arm: relief[arm] for arm in arms})
    injury = float(animals["injury"].mean())
    injury_se = pool(split_arms(animals, "injury").values()).sd / np.sqrt(len(animals))
    half = tests.critical * injury_se
    if injury <= half:
        rise, low, high = (signed(x, 3) for x in (injury, injury - half, injury + half))
        why = (
            "the rise from baseline to before the dose is too near 0 to divide by: "
            f"{rise} (95 % CI {low} to {high})"
        )
        return alone | {arm: absent(why) for arm in arms}
    result = alone
    for arm in arms:
        test = tests.test(arm)
        ends = fieller(test["value"], injury, tests.se(arm) ** 2, injury_se**2, tests.critical)
        rows = animals[animals["arm"] == arm]
        own = 100 * (rows["relief"] - vehicle.mean()) / injury
        result[arm] = {
            "value": 100 * test["value"] / injury,
            "ci95": [100 * end for end in ends],
            "p": test["p_adjusted"],
            "n": len(rows) + len(vehicle),
            "animals": dict(zip(rows["animal"].astype(str), own.astype(float), strict=True)),
        }
    return result


def fieller(
    numerator: float,
    denominator: float,
    numerator_variance: float,
    denominator_variance: float,
    critical: float,
) -> tuple[float, float]:
    """Returns the interval of a ratio of two independent normal estimates.

    The denominator must be more than `critical` (a quantile of Student's t) standard errors from 0,
    else the interval has no ends.
    """
    a = denominator**2 - critical**2 * denominator_variance
    b = numerator * denominator
    c = numerator**2 - critical**2 * numerator_variance
    root = np.sqrt(b**2 - a * c)
    return (b - root) / a, (b + root) / a


def dose_response(animals: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Fits the reversal of one condition against the dose of one drug.

    The curve is E(dose) = E_max * dose / (ED50 + dose), by least squares over animals; the
    interval comes from resampling animals within their arms. `animals` is as in `reversals`, of
    vehicle and one drug; the doses and the ED50 are in mg/kg.
    """
    found, dose = reversals(animals), animals.groupby("arm")["dose_mg_per_kg"].first()
    rows = [
        {"dose_mg_per_kg": float(dose[arm])}
        | {key: found[arm][key] for key in ("value", "ci95", "n", "why") if key in found[arm]}
        for arm in dose_arms(animals)
    ]
    return {"doses": rows, "ed50": _ed50(animals, found, dose, seed)}


def _ed50(
    animals: pd.DataFrame, found: dict[str, dict[str, Any]], dose: pd.Series, seed: int
) -> dict[str, Any]:
    arms = dose_arms(animals)
    if len(arms) < DOSES_FOR_ED50:
        return absent(f"{len(arms)} dose(s); at least {DOSES_FOR_ED50} are needed")
    if why := next((found[arm]["why"] for arm in arms if "why" in found[arm]), None):
        return absent(why)
    if found[arms[-1]]["ci95"][0] <= 0:
        return absent("no effect of the top dose to take half of: its interval includes 0")
    relief = split_arms(animals.assign(relief=animals["pre"] - animals["post"]), "relief")
    within = float(dose[arms[0]]), float(dose[arms[-1]])
    doses = np.concatenate([np.full(len(relief[arm]), dose[arm]) for arm in arms])

    def fit(values: dict[str, np.ndarray]) -> np.ndarray:
        control = values[VEHICLE].mean(-1, keepdims=True)
        effects = np.concatenate([values[arm] - control for arm in arms], axis=-1)
        return half_effective_dose(doses, effects, within=within)

    rng = np.random.default_rng(seed)
    resampled = {
        arm: values[rng.integers(0, len(values), (_BOOTSTRAP, len(values)))]
        for arm, values in relief.items()
    }
    value = float(fit({arm: values[None] for arm, values in relief.items()})[0])
    if not np.isfinite(value):
        return absent(
            f"half of the effect lies {'below' if value < 0 else 'above'} the doses given "
            f"({within[0]:g} to {within[1]:g} mg/kg)"
        )
    ends = np.quantile(fit(resampled), [0.025, 0.975], method="inverted_cdf").tolist()
    estimate = {"value": value, "ci95": ends, "n": sum(map(len, relief.values()))}
    if sides := [side for side, i in (("below", 0), ("above", 1)) if not np.isfinite(ends[i])]:
        why = f"the doses given do not bound it {' and '.join(sides)}"
        estimate |= {"ci95": None, "why": why}
    return estimate


def half_effective_dose(
    dose: Float[np.ndarray, " n"],
    effect: Float[np.ndarray, "draws n"],
    *,
    within: tuple[float, float],
) -> Float[np.ndarray, " draws"]:
    """Returns the dose of half the greatest effect; -inf or inf below or above the doses.

    `dose` and `effect` are per animal; `within` is the least and the greatest dose. Half of the
    least dose is the lowest answer.
    """
    log_half = np.linspace(np.log(within[0] / 10), np.log(within[1] * 10), _GRID)
    share = dose / (np.exp(log_half)[:, None] + dose)
    # Given the dose of half effect, the greatest effect is a least-squares slope, and what the
    # curve explains of the squares is this.
    explained = np.square(effect @ share.T) / np.square(share).sum(1)
    best = explained.argmax(1)
    inner = np.clip(best, 1, _GRID - 2)
    before, at, after = (
        np.take_along_axis(explained, (inner + i)[:, None], 1)[:, 0] for i in (-1, 0, 1)
    )
    curvature = before - 2 * at + after
    offset = np.divide(before - after, 2 * curvature, out=np.zeros(len(at)), where=curvature < 0)
    found = np.exp(log_half[inner] + offset * (log_half[1] - log_half[0]))
    found = np.where((best < inner) | (found < within[0] / 2), -np.inf, found)
    return np.where((best > inner) | (found > within[1]), np.inf, found)
