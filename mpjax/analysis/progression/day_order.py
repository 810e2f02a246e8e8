"""Whether predictions put an animal's days in their order, and whether they agree with themselves.

The expected day of an animal on a day is sum_d d p(d | condition): the mean of the recorded days of
its own condition under the predicted probabilities of that condition's classes. Days are ordered
without pain, too, where animals age, grow or settle; so the conditions without pain stand beside.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy import stats

from mpjax.analysis.stats import bootstrap
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.units import Units
from mpjax.taxonomy import NO_PAIN, Taxonomy, parse_fine_name

LEAST_DAYS = 3  # of an animal whose days have an order worth the name


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
        weights: how often each group occurs in each bootstrap resample.
        permutations: of the days within every animal.
        seed: of the permutations.
        unit: what a group is called, `animal` or `cage`.

    Returns:
        {"all", "conditions": {name: …}}, each {"spearman", "kendall", "mean_absolute_error" (days;
        estimates over animals), "permutation": {"spearman": {"p", "null_mean"},
        "mean_absolute_error": …, "permutations"}, "animals", "too_few_days"}, or {"value": None,
        "why"}.

    Source: Kendall, Rank Correlation Methods (1948); p-values that count the observed order:
        Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.
    """
    if isinstance(units, str):
        return absent(units)
    first = rows.iloc[units.row].reset_index(drop=True)
    parsed = [parse_fine_name(name) for name in taxonomy.fine]
    if not all(parsed):
        return absent("the classes are not of the form <condition>@d<day>")
    of_class = np.array([found[0] for found in parsed if found])
    day_of_class = np.array([found[1] for found in parsed if found], float)
    named = of_class[units.label]  # of the class, which is what p speaks of
    expected = np.empty(len(named))
    for condition in np.unique(named):
        own, mine = of_class == condition, named == condition
        p = units.p[np.ix_(mine, own)]
        expected[mine] = p @ day_of_class[own] / np.maximum(p.sum(1), 1e-300)
    table = pd.DataFrame(
        {"animal": first["animal"], "condition": named, "day": day_of_class[units.label],
         "expected": expected, "group": units.group}
    )  # fmt: skip

    def describe(part: pd.DataFrame) -> dict[str, Any]:
        return _order(part, weights=weights, permutations=permutations, seed=seed, unit=unit)

    return {
        "all": describe(table),
        "conditions": {str(name): describe(part) for name, part in table.groupby("condition")},
    }


def _order(
    table: pd.DataFrame,
    *,
    weights: Int[np.ndarray, "resamples groups"],
    permutations: int,
    seed: int,
    unit: str,
) -> dict[str, Any]:
    """Describes the order of the days of some animals."""
    rng = np.random.default_rng(seed)
    own: list[tuple[float, float, float, int]] = []
    null = {"spearman": np.zeros(permutations), "mean_absolute_error": np.zeros(permutations)}
    short = 0
    for _, animal in table.groupby(["condition", "animal"]):
        day, expected = animal["day"].to_numpy(), animal["expected"].to_numpy()
        if len(day) < LEAST_DAYS:
            short += 1
            continue
        tau = 0.0 if np.ptp(expected) == 0 else stats.kendalltau(day, expected).statistic
        error = np.abs(expected - day).mean()
        own.append((_rank_correlation(day[None], expected)[0], tau, error, animal["group"].iloc[0]))
        shuffled = rng.permuted(np.tile(day, (permutations, 1)), axis=1)
        null["spearman"] += _rank_correlation(shuffled, expected)
        null["mean_absolute_error"] += np.abs(expected - shuffled).mean(axis=1)
    if not own:
        return absent(f"no animal has {LEAST_DAYS} recorded days")
    group = np.array([each[3] for each in own])
    described: dict[str, Any] = {
        name: bootstrap.estimate_mean(
            np.array([each[i] for each in own]), group, weights, unit=unit
        )
        for i, name in enumerate(("spearman", "kendall", "mean_absolute_error"))
    }
    described["permutation"] = {"permutations": permutations} | {
        name: _judge(described[name]["value"], null[name] / len(own), greater=name == "spearman")
        for name in null
    }
    return described | {"animals": len(own), "too_few_days": short}


def _rank_correlation(
    day: Float[np.ndarray, "draws days"], expected: Float[np.ndarray, " days"]
) -> Float[np.ndarray, " draws"]:
    """Returns Spearman's correlation; 0 where all expected days are alike."""
    ranks, other = stats.rankdata(day, axis=1), stats.rankdata(expected)
    ranks, other = ranks - ranks.mean(1, keepdims=True), other - other.mean()
    norm = np.sqrt((ranks**2).sum(1) * (other**2).sum())
    return np.divide(ranks @ other, norm, out=np.zeros(len(ranks)), where=norm > 0)


def _judge(value: float, null: Float[np.ndarray, " draws"], *, greater: bool) -> dict[str, Any]:
    """Returns the one-sided p of a value against its permutations, and their mean."""
    # Rounding must not tell a permutation from the order observed.
    extreme = null >= value - 1e-9 if greater else null <= value + 1e-9
    return {"p": float((1 + extreme.sum()) / (1 + len(null))), "null_mean": float(null.mean())}


def describe_consistency(
    levels: Mapping[str, Units | str],
    rows: pd.DataFrame,
    taxonomy: Taxonomy,
    *,
    weights: Int[np.ndarray, "resamples groups"],
    unit: str,
) -> dict[str, Any]:
    """Says how often fine and coarse answers agree, and an animal's answers over its days.

    Args:
        levels: `recording` and `animal_day`, of fine classes, or why there are none.
        rows: metadata of the evaluated clips, to which `row` points.
        taxonomy: with coarse groups.
        weights: how often each group occurs in each bootstrap resample.
        unit: what a group is called, `animal` or `cage`.

    Returns:
        `fine_and_coarse` (share of recordings where the largest group is that of the largest fine
        class), `over_days` (mean over animals of the share of pairs of their days that are called
        alike, among days of one true group) and `over_days_by_condition`, estimates; and
        `switching`: [{"animal", "condition", "calls": {day: group}}], the animals called two
        different types of pain on two days.
    """
    to_coarse = np.asarray(taxonomy.fine_to_coarse)
    recordings, days = levels["recording"], levels["animal_day"]
    if isinstance(recordings, str):
        agreement: dict[str, Any] = absent(recordings)
    else:
        pooled = taxonomy.coarse_probabilities(recordings.p).argmax(1)
        alike = pooled == to_coarse[recordings.predicted]
        agreement = bootstrap.estimate_mean(alike, recordings.group, weights, unit=unit)
    if isinstance(days, str):
        nothing = absent(days)
        return {"fine_and_coarse": agreement, "over_days": nothing,
                "over_days_by_condition": nothing, "switching": []}  # fmt: skip
    first = rows.iloc[days.row].reset_index(drop=True)
    called = taxonomy.coarse_probabilities(days.p).argmax(1)
    table = first[["animal", "condition", "day"]].assign(
        true=to_coarse[days.label], called=called, group=days.group
    )
    shares = [
        {"condition": condition, "group": own["group"].iloc[0], "share": share}
        for (condition, _), own in table.groupby(["condition", "animal"])
        if (share := _pairs_alike(own)) is not None
    ]
    alone = absent("no animal has 2 recorded days of one group")
    found = pd.DataFrame(shares, columns=["condition", "group", "share"])

    def mean(part: pd.DataFrame) -> dict[str, Any]:
        group = part["group"].to_numpy(int)
        return bootstrap.estimate_mean(part["share"].to_numpy(), group, weights, unit=unit)

    return {
        "fine_and_coarse": agreement,
        "over_days": mean(found) if shares else alone,
        "over_days_by_condition": {
            str(name): mean(part) for name, part in found.groupby("condition")
        },
        "switching": _switching(table, taxonomy),
    }


def _pairs_alike(own: pd.DataFrame) -> float | None:
    """Returns the share of pairs of an animal's days of one true group that are called alike."""
    pairs = alike = 0
    for _, part in own.groupby("true"):
        pairs += len(part) * (len(part) - 1) // 2
        counts = part["called"].value_counts().to_numpy()
        alike += int((counts * (counts - 1) // 2).sum())
    return alike / pairs if pairs else None


def _switching(table: pd.DataFrame, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    rows = []
    for (condition, animal), own in table.groupby(["condition", "animal"]):
        calls = {
            str(day): taxonomy.coarse[call]
            for day, call in zip(own["day"], own["called"], strict=True)
        }
        if len(set(calls.values()) - {NO_PAIN}) > 1:
            rows.append({"animal": str(animal), "condition": str(condition), "calls": calls})
    return rows
