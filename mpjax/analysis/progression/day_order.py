"""Do predictions put an animal's days in order, and are they consistent with each other?

The expected day of an animal is the mean of the recorded days of its own condition, weighted by
the predicted probabilities of that condition's classes. Days have an order without pain, too, as
animals age, grow or settle; so conditions without pain are reported as well.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from mpjax.analysis.stats.bootstrap import estimate_mean
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.permutation import shuffle_within
from mpjax.analysis.stats.units import Units
from mpjax.taxonomy import NO_PAIN, Taxonomy, parse_fine_name

LEAST_DAYS = 3  # of an animal, for their order to mean anything


def describe_day_order(
    units: Units | str,
    rows: pd.DataFrame,
    taxonomy: Taxonomy,
    *,
    weights: Int[np.ndarray, "resamples groups"],
    permutations: int,
    seed: int,
    unit: str,
) -> dict[str, Any]:
    """Correlates the expected day with the true one, within animals.

    Args:
        units: animal x day, or why there are none.
        rows: metadata of the evaluated clips, to which `units.row` points.
        taxonomy: of fine classes `<condition>@d<day>`.
        weights, unit: of the bootstrap, see `bootstrap.estimate_mean`.
        permutations, seed: of the days within every animal.

    Returns:
        {"all", "conditions": {name: …}}, each {"spearman", "kendall", "mean_absolute_error" (days;
        estimates over animals), "permutation": {"spearman": {"p", "null_mean"},
        "mean_absolute_error": …, "permutations"}, "animals", "too_few_days"}, or why there is none.

    Source: Kendall, Rank Correlation Methods (1948); p-values that count the observed order:
        Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.
    """
    if isinstance(units, str):
        return absent(units)
    parsed = [found for name in taxonomy.fine if (found := parse_fine_name(name))]
    if len(parsed) < len(taxonomy.fine):
        return absent("the classes are not of the form <condition>@d<day>")
    condition, day = np.array([c for c, _ in parsed]), np.array([d for _, d in parsed], float)
    named = condition[units.label]  # of the class, which p refers to
    own = np.where(named[:, None] == condition, units.p, 0.0)
    table = rows.iloc[units.row][["animal"]].assign(
        condition=named,
        day=day[units.label],
        expected=own @ day / np.maximum(own.sum(1), 1e-300),
        group=units.group,
    )

    def describe(part: pd.DataFrame) -> dict[str, Any]:
        """Describes the order of the days of some animals."""
        rng = np.random.default_rng(seed)
        animals = [animal for _, animal in part.groupby(["condition", "animal"])]
        kept = [animal for animal in animals if len(animal) >= LEAST_DAYS]
        if not kept:
            return absent(f"no animal has {LEAST_DAYS} recorded days")
        ranks, errors, tau = [], [], []  # of the true order, then of shuffled ones
        for animal in kept:
            day, expected = animal["day"].to_numpy(), animal["expected"].to_numpy()
            order = shuffle_within(np.zeros(len(day), int), permutations, rng)
            days = np.vstack([day, day[order]])
            ranks.append(_rank_correlation(days, expected))
            errors.append(np.abs(expected - days).mean(axis=1))
            tau.append(0.0 if np.ptp(expected) == 0 else stats.kendalltau(day, expected).statistic)
        group = np.array([animal["group"].iloc[0] for animal in kept])
        rank, error = np.array(ranks), np.array(errors)
        values = {"spearman": rank[:, 0], "kendall": tau, "mean_absolute_error": error[:, 0]}
        return {
            **{k: estimate_mean(np.array(v), group, weights, unit=unit) for k, v in values.items()},
            "permutation": {
                "permutations": permutations,
                "spearman": _test(rank.mean(0), sign=1),
                "mean_absolute_error": _test(error.mean(0), sign=-1),
            },
            "animals": len(kept),
            "too_few_days": len(animals) - len(kept),
        }

    return {
        "all": describe(table),
        "conditions": {str(name): describe(part) for name, part in table.groupby("condition")},
    }


def _rank_correlation(
    day: Float[np.ndarray, "draws days"], expected: Float[np.ndarray, " days"]
) -> Float[np.ndarray, " draws"]:
    """Returns Spearman's correlation; 0 where all expected days are alike."""
    ranks, other = stats.rankdata(day, axis=1), stats.rankdata(expected)
    ranks, other = ranks - ranks.mean(1, keepdims=True), other - other.mean()
    norm = np.sqrt((ranks**2).sum(1) * (other**2).sum())
    return np.divide(ranks @ other, norm, out=np.zeros(len(ranks)), where=norm > 0)


def _test(draws: Float[np.ndarray, " draws"], *, sign: int) -> dict[str, Any]:
    """Returns the one-sided p of the first value against the others, and the others' mean."""
    # The tolerance keeps a permutation that equals the observed order from counting as less.
    p = (sign * (draws - draws[0]) >= -1e-9).mean()
    return {"p": float(p), "null_mean": float(draws[1:].mean())}


def describe_consistency(
    levels: Mapping[str, Units | str],
    rows: pd.DataFrame,
    taxonomy: Taxonomy,
    *,
    weights: Int[np.ndarray, "resamples groups"],
    unit: str,
) -> dict[str, Any]:
    """Describes how often class and group agree, and the predictions for an animal's days.

    Args: as in `describe_day_order`; `levels` has `recording` and `animal_day`.

    Returns:
        `fine_and_coarse` (share of recordings where the most probable group is that of the most
        probable class), `over_days` (mean over animals of the share of pairs of their days with
        the same predicted group, among days of one true group) and `over_days_by_condition`,
        estimates; and `switching`: [{"animal", "condition", "calls": {day: group}}], the animals
        with two types of pain predicted on two days.
    """
    to_coarse = np.asarray(taxonomy.fine_to_coarse)
    recordings, days = levels["recording"], levels["animal_day"]
    if isinstance(recordings, str):
        agreement: dict[str, Any] = absent(recordings)
    else:
        group = taxonomy.coarse_probabilities(recordings.p).argmax(1)
        alike = group == to_coarse[recordings.predicted]
        agreement = estimate_mean(alike, recordings.group, weights, unit=unit)
    if isinstance(days, str):
        why = dict.fromkeys(("over_days", "over_days_by_condition"), absent(days))
        return {"fine_and_coarse": agreement, **why, "switching": []}
    table = rows.iloc[days.row][["animal", "condition", "day"]].assign(
        true=to_coarse[days.label],
        called=taxonomy.coarse_probabilities(days.p).argmax(1),
        group=days.group,
    )
    shares, switching = [], []
    for (condition, animal), own in table.groupby(["condition", "animal"]):
        if pairs := _pairs(own, ["true"]):
            share = _pairs(own, ["true", "called"]) / pairs
            shares.append({"condition": condition, "group": own["group"].iloc[0], "share": share})
        calls = {str(d): taxonomy.coarse[c] for d, c in zip(own["day"], own["called"], strict=True)}
        if len(set(calls.values()) - {NO_PAIN}) > 1:
            switching.append({"animal": str(animal), "condition": str(condition), "calls": calls})
    found = pd.DataFrame(shares, columns=["condition", "group", "share"])

    def mean(part: pd.DataFrame) -> dict[str, Any]:
        if part.empty:
            return absent("no animal has 2 recorded days of one group")
        group = part["group"].to_numpy(int)
        return estimate_mean(part["share"].to_numpy(), group, weights, unit=unit)

    by_condition = {str(name): mean(part) for name, part in found.groupby("condition")}
    return {
        "fine_and_coarse": agreement,
        "over_days": mean(found),
        "over_days_by_condition": by_condition,
        "switching": switching,
    }


def _pairs(own: pd.DataFrame, by: list[str]) -> int:
    """Counts the pairs of days that agree in `by`."""
    count = own.groupby(by).size()
    return int((count * (count - 1) // 2).sum())
