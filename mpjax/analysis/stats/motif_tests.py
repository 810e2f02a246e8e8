"""Permutation tests of many figures at once; animals (or cages) are exchanged, never windows.

Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), ch. 3; the p-value
that counts the observed arrangement: Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats
from scipy.special import gammaln, nctdtr

from mpjax.analysis.stats.comparisons import absent
from mpjax.analysis.stats.permutation import shuffle_within

_CELLS = 4_000_000  # statistics held at once; bounds the memory
_BISECTIONS = 45  # to 1e-12 of the range
_Drawn = Iterable[Bool[np.ndarray, "_ n"]]  # blocks of arrangements
_ROUNDING = 1e-9  # must not tell an arrangement from its mirror image


@dataclasses.dataclass(frozen=True)
class Tested:
    """Two-sided tests of several figures.

    Attributes:
        p: NaN where a side has no value.
        least_p: the least p that the arrangements at hand can give.
    """

    p: Float[np.ndarray, " m"]
    least_p: float


def compare_groups(
    values: Float[np.ndarray, "n m"],
    treated: Bool[np.ndarray, " n"],
    *,
    permutations: int,
    seed: int,
) -> Tested:
    """Tests whether the means of two groups of units differ, by exchanging units between them.

    The statistic is the difference of the means; with two groups of fixed size this orders
    arrangements as the t statistic does. All arrangements are gone through where they are few.

    Args:
        values: a row per unit; NaN where a unit has no value, which travels with the unit.
        treated: the units of the one group.
        permutations: drawn at most.
        seed: of the draws.
    """
    ways = math.comb(len(treated), int(treated.sum()))
    exact = ways <= permutations
    if exact:
        drawn: _Drawn = [_all_arrangements(len(treated), int(treated.sum()))]
    else:
        generator = np.random.default_rng(seed)
        drawn = (
            generator.permuted(np.tile(treated, (count, 1)), axis=1)
            for count in _counts(permutations, values)
        )
    p = _judge(values, treated, drawn, exact=exact)
    mirrored = 2 * treated.sum() == len(treated)  # the exchange of both groups is as extreme
    least = (1 + mirrored) / ways if exact else 1 / (1 + permutations)
    return Tested(p, float(least))


def compare_within(
    values: Float[np.ndarray, "n m"],
    treated: Bool[np.ndarray, " n"],
    place: Int[np.ndarray, " n"],
    *,
    permutations: int,
    seed: int,
) -> Tested:
    """Tests whether two kinds of rows differ within their animal, by exchanging them within it.

    Args:
        values: a row per recording.
        treated: the recordings of the one kind.
        place: the animal of each recording, 0..
        permutations: drawn.
        seed: of the draws.
    """
    generator = np.random.default_rng(seed)
    drawn = (
        treated[shuffle_within(place, count, generator)] for count in _counts(permutations, values)
    )
    p = _judge(centre(values, place), treated, drawn, exact=False)
    return Tested(p, _least_within(place, treated, permutations))


def judge_trend(
    values: Float[np.ndarray, "n m"],
    time: Float[np.ndarray, " n"],
    place: Int[np.ndarray, " n"],
    *,
    permutations: int,
    seed: int,
) -> Tested:
    """Tests whether figures rise or fall with time, by exchanging the days of each animal.

    The statistic is the mean of the animals' slopes.

    Args:
        values: a row per animal and day.
        time: e.g. the rank of the day.
        place: the animal of each row, 0..
        permutations: drawn.
        seed: of the draws.
    """
    centred = np.nan_to_num(centre(values, place))
    spread = np.bincount(place, centre(time[:, None], place)[:, 0] ** 2)
    weighted = centred / spread[place][:, None]

    def statistic(times: Float[np.ndarray, "draws n"]) -> Float[np.ndarray, "draws m"]:
        return np.abs(times @ weighted)

    generator = np.random.default_rng(seed)
    observed = statistic(time[None])[0]
    at_least = np.zeros(values.shape[1], int)
    for count in _counts(permutations, values):
        times = time[shuffle_within(place, count, generator)]
        at_least += (statistic(times) >= observed * (1 - _ROUNDING)).sum(0)
    p = np.where(np.isfinite(values).any(0), (1 + at_least) / (1 + permutations), np.nan)
    return Tested(p, _least_within(place, time, permutations))


def slopes(
    values: Float[np.ndarray, "n m"], time: Float[np.ndarray, " n"], place: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "places m"]:
    """Returns each animal's least-squares slope; NaN where it has fewer than two values.

    Args:
        values: a row per animal and day.
        time: of each row.
        place: the animal of each row, 0..
    """
    valid = np.isfinite(values)
    times = centre(np.where(valid, time[:, None], np.nan), place)
    member = np.eye(int(place.max()) + 1)[place].T
    spread = member @ np.nan_to_num(times) ** 2
    product = member @ np.nan_to_num(times * centre(values, place))
    return np.divide(product, spread, out=np.full(spread.shape, np.nan), where=spread > 1e-12)


def centre(
    values: Float[np.ndarray, "n m"], place: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "n m"]:
    """Subtracts from every value the mean of its place, missing values left out."""
    valid = np.isfinite(values)
    member = np.eye(int(place.max()) + 1)[place]
    n = member.T @ valid
    mean = np.divide(member.T @ np.where(valid, values, 0), n, out=np.zeros(n.shape), where=n > 0)
    return values - mean[place]


def _all_arrangements(n: int, chosen: int) -> Bool[np.ndarray, "ways n"]:
    ways = np.array(list(itertools.combinations(range(n), chosen)), int).reshape(-1, chosen)
    drawn = np.zeros((len(ways), n), bool)
    np.put_along_axis(drawn, ways, True, axis=1)
    return drawn


def _judge(
    values: Float[np.ndarray, "n m"],
    treated: Bool[np.ndarray, " n"],
    drawn: _Drawn,
    *,
    exact: bool,
) -> Float[np.ndarray, " m"]:
    """Returns the share of arrangements whose means differ as much as the observed ones.

    Args:
        drawn: blocks of arrangements.
        exact: whether these are all, the observed one among them.
    """
    valid = np.isfinite(values)
    filled = np.where(valid, values, 0)
    total, n = filled.sum(0), valid.sum(0)

    def statistic(chosen: Bool[np.ndarray, "draws n"]) -> Float[np.ndarray, "draws m"]:
        own = chosen.astype(np.float64)
        sums, sizes = own @ filled, own @ valid
        both = (sizes > 0) & (sizes < n)
        first = np.divide(sums, sizes, out=np.zeros(sums.shape), where=both)
        second = np.divide(total - sums, n - sizes, out=np.zeros(sums.shape), where=both)
        return np.abs(first - second)

    observed = statistic(treated[None])[0]
    at_least, count = np.zeros(values.shape[1], int), 0
    for block in drawn:
        at_least += (statistic(block) >= observed * (1 - _ROUNDING)).sum(0)
        count += len(block)
    p = at_least / count if exact else (1 + at_least) / (1 + count)
    return np.where(valid[treated].any(0) & valid[~treated].any(0), p, np.nan)


def _counts(permutations: int, values: Float[np.ndarray, "n m"]) -> Iterator[int]:
    """Yields how many permutations to draw at once, one batch after the other."""
    size = max(1, _CELLS // max(values.shape))
    for done in range(0, permutations, size):
        yield min(size, permutations - done)


def _least_within(
    place: Int[np.ndarray, " n"], kind: Shaped[np.ndarray, " n"], permutations: int
) -> float:
    """Returns the least p of exchanges within places; mirror images are not counted off."""
    ways = 0.0
    for each in np.unique(place):
        counts = np.unique(kind[place == each], return_counts=True)[1]
        ways += math.lgamma(counts.sum() + 1) - sum(math.lgamma(count + 1) for count in counts)
    return max(math.exp(-ways), 1 / (1 + permutations))


def adjust(p: Float[np.ndarray, " m"]) -> Float[np.ndarray, " m"]:
    """Adjusts the p-values of a family, step up, for the false discovery rate.

    Source: Benjamini & Hochberg (1995), doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    return stats.false_discovery_control(p, method="bh") if len(p) else p


def standardise_difference(
    group: Float[np.ndarray, "n m"], reference: Float[np.ndarray, "r m"]
) -> list[dict[str, Any]]:
    """Standardises the difference of two groups' means, per figure: Hedges g with its interval.

    Args:
        group: a row per unit; NaN where it has no value.
        reference: of the other group.

    Returns:
        Per figure {"value", "ci95", "n"}, or why there is none.

    Source: Hedges (1981), doi:10.3102/10769986006002107; the exact small-sample correction, and
        the interval of the noncentral t.
    """
    sizes = np.stack([np.isfinite(side).sum(0) for side in (group, reference)]).astype(float)
    means, squares = [], []
    for side, n in zip((group, reference), sizes, strict=True):
        valid = np.isfinite(side)
        mean = np.where(valid, side, 0).sum(0) / np.maximum(n, 1)
        means.append(mean)
        squares.append(np.square(np.where(valid, side - mean, 0)).sum(0))
    df = sizes.sum(0) - 2
    sd = np.sqrt(sum(squares) / np.maximum(df, 1))
    scale = np.sqrt((1 / np.maximum(sizes, 1)).sum(0))
    few = "each side needs 2 animals (or cages) with a value"
    return _standardise(
        means[0] - means[1], sd, scale, df, enough=np.asarray((sizes > 1).all(0)), few=few
    )


def standardise_mean(values: Float[np.ndarray, "n m"]) -> list[dict[str, Any]]:
    """Standardises the mean of each figure by its standard deviation; see the difference's.

    Args:
        values: a row per unit; NaN where it has no value.
    """
    valid = np.isfinite(values)
    n = valid.sum(0).astype(float)
    mean = np.where(valid, values, 0).sum(0) / np.maximum(n, 1)
    squares = np.square(np.where(valid, values - mean, 0)).sum(0)
    sd = np.sqrt(squares / np.maximum(n - 1, 1))
    few = "it takes 3 animals (or cages) with a value"
    return _standardise(mean, sd, 1 / np.sqrt(np.maximum(n, 1)), n - 1, enough=n > 2, few=few)


def _standardise(
    mean: Float[np.ndarray, " m"],
    sd: Float[np.ndarray, " m"],
    scale: Float[np.ndarray, " m"],
    df: Float[np.ndarray, " m"],
    *,
    enough: Bool[np.ndarray, " m"],
    few: str,
) -> list[dict[str, Any]]:
    varies = sd > 1e-9 * np.maximum(np.abs(mean), 1e-9)
    able = enough & varies
    freedom = np.where(able, df, 2.0)
    t = np.divide(mean, sd * scale, out=np.zeros_like(mean), where=able)
    correction = np.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / np.sqrt(freedom / 2)
    low, high = (_noncentrality(t, freedom, quantile) * scale for quantile in (0.975, 0.025))
    return [
        {
            "value": float(t[each] * scale[each] * correction[each]),
            "ci95": [float(low[each]), float(high[each])],
        }
        if able[each]
        else absent(few if not enough[each] else "all change alike, so there is no variance")
        for each in range(len(mean))
    ]


def _noncentrality(
    t: Float[np.ndarray, " m"], df: Float[np.ndarray, " m"], quantile: float
) -> Float[np.ndarray, " m"]:
    """Returns the noncentralities under which each `t` is that quantile, by bisection."""
    low, high = t - 6 - 3 * np.abs(t), t + 6 + 3 * np.abs(t)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        # The distribution function falls as the noncentrality grows; beyond its reach it is NaN.
        below = nctdtr(df, middle, t)
        reached = np.where(np.isnan(below), middle < t, below > quantile)
        low, high = np.where(reached, middle, low), np.where(reached, high, middle)
    return (low + high) / 2
