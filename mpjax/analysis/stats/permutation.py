"""Permutation tests: what may be exchanged, and the p-value of many figures at once.

Animals (or cages), days of an animal or its recordings are exchanged, never clips.

Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), ch. 3; the p-value
that counts the observed arrangement: Phipson & Smyth (2010), doi:10.2202/1544-6115.1585.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int, Shaped
from scipy import stats

from mpjax.analysis.stats.estimates import NotEstimableError

_LEAST_ARRANGEMENTS = 20  # with fewer, p cannot fall below 0.05
_CELLS = 4_000_000  # numbers held at once; bounds the memory
_ALL_FLIPS = 12  # units; with no more than these, all sign flips are tried
_ROUNDING = 1e-9  # must not set an arrangement apart from its mirror image


def shuffle_within(
    place: Int[np.ndarray, " n"], count: int, generator: np.random.Generator
) -> Int[np.ndarray, "count n"]:
    """Draws `count` permutations of 0..n-1 that leave every member in its place."""
    slots = np.argsort(place, kind="stable")
    order = np.argsort(generator.random((count, len(place))) + place, axis=1)
    shuffled = np.empty_like(order)
    shuffled[:, slots] = order
    return shuffled


def batches(permutations: int, width: int) -> Iterator[int]:
    """Yields how many permutations of `width` numbers to draw at once, batch after batch."""
    size = max(1, _CELLS // max(1, width))
    for done in range(0, permutations, size):
        yield min(size, permutations - done)


@dataclasses.dataclass(frozen=True)
class Scheme:
    """What may be exchanged if nothing distinguishes the classes.

    Every block (a session, a recording) has a class. It is given by what the block's owner (an
    animal, a cage) brings along, and by what distinguishes the blocks of an animal. All are codes
    0.., but for -1 in `label`, where there is no class.
    """

    owner: Int[np.ndarray, " blocks"]
    stratum: Int[np.ndarray, " owners"]  # owners are exchanged within it
    between: Int[np.ndarray, " owners"]  # what an owner brings, e.g. its condition
    animal: Int[np.ndarray, " blocks"]  # blocks are exchanged within it
    within: Int[np.ndarray, " blocks"]  # what distinguishes an animal's blocks, e.g. the day
    label: Int[np.ndarray, "between within"]
    unit: str  # what is exchanged: `animal`, `cage` or `recording`

    @property
    def truth(self) -> Int[np.ndarray, " blocks"]:
        """The class of each block."""
        return self.label[self.between[self.owner], self.within]

    def draw(self, count: int, generator: np.random.Generator) -> Int[np.ndarray, "count blocks"]:
        """Draws classes of all blocks that are as likely as the true ones."""
        within = self.within[shuffle_within(self.animal, count, generator)]
        between = self.between[shuffle_within(self.stratum, count, generator)]
        return self.label[between[:, self.owner], within]

    def check(self) -> None:
        """Raises NotEstimableError where the classes can be arranged in too few ways.

        Conditions that stand for the same classes on every day (two kinds of no pain) are alike.
        """
        kind = np.unique(self.label, axis=0, return_inverse=True)[1].reshape(-1)
        total = _log_arrangements(self.stratum, kind[self.between])
        total += _log_arrangements(self.animal, self.truth)
        if total < math.log(_LEAST_ARRANGEMENTS) - 1e-9:
            raise NotEstimableError(
                f"the classes can be exchanged between {self.unit}s in {round(math.exp(total))} "
                f"way(s) only, so p could not fall below 0.05; {_LEAST_ARRANGEMENTS} are needed"
            )


def _log_arrangements(place: Int[np.ndarray, " n"], kind: Shaped[np.ndarray, " n"]) -> float:
    """Returns the log of the number of ways to arrange the kinds over the members of each place."""
    members = np.unique(place, return_counts=True)[1]
    alike = np.unique(np.stack([place, kind]), axis=1, return_counts=True)[1]
    return sum(map(math.lgamma, members + 1.0)) - sum(map(math.lgamma, alike + 1.0))


def exchange_conditions(
    rows: pd.DataFrame,
    condition: Int[np.ndarray, " n"],
    day: Int[np.ndarray, " n"],
    label: Int[np.ndarray, "conditions days"],
    *,
    group: str,
) -> tuple[Int[np.ndarray, " n"], Scheme] | None:
    """Exchanges conditions between animals, and days between the sessions of an animal.

    Conditions are exchanged among those recorded on the same days only, so that each exchanged
    condition and day is a class.

    Args:
        rows: with `animal`, `cage` and `day`.
        condition, day: of each row, 0..
        label: class by condition and day; -1: none.
        group: `animal` or `cage`: cages are exchanged where they are the group and each has one
            condition, for their animals share a treatment.

    Returns:
        The session of each row, and the scheme; None where an animal has several conditions.
    """
    own = _single_owner(rows, condition, group=group)
    if own is None:
        return None
    unit, owner, between = own
    _, first, block = np.unique(
        rows.groupby(["animal", "day"]).ngroup(), return_index=True, return_inverse=True
    )
    scheme = Scheme(
        owner=owner[first],
        stratum=np.unique(label >= 0, axis=0, return_inverse=True)[1].reshape(-1)[between],
        between=between,
        animal=pd.factorize(rows["animal"])[0][first],
        within=day[first],
        label=label,
        unit=unit,
    )
    return block, scheme


def exchange_labels(
    rows: pd.DataFrame, label: Int[np.ndarray, " n"], block: pd.Series, *, group: str
) -> tuple[Int[np.ndarray, " n"], Scheme]:
    """Exchanges labels 0.. between animals (cages) with one each, else within animals.

    Args:
        rows: with `animal` and `cage`, which `group` is one of.
        block: what has one label: the recording (or session) of each row.

    Returns:
        The code of each row's block, and the scheme.

    Raises:
        NotEstimableError: a block has several labels.
    """
    _, first, codes = np.unique(block, return_index=True, return_inverse=True)
    if (label[first][codes] != label).any():
        raise NotEstimableError(
            "clips of one recording have several labels and follow each other, so they cannot "
            "be exchanged"
        )
    animal = pd.factorize(rows["animal"])[0][first]
    classes, own = np.arange(int(label.max()) + 1), _single_owner(rows, label, group=group)
    if own is not None:
        unit, owner, between = own
        owner, within, table = owner[first], np.zeros(len(first), int), classes[:, None]
    else:
        unit, owner, between = "recording", animal, np.zeros(animal.max() + 1, int)
        within, table = label[first], classes[None]
    stratum = np.zeros(len(between), int)
    return codes, Scheme(owner, stratum, between, animal, within, table, unit)


def draw_labels(
    recordings: pd.DataFrame,
    label: Int[np.ndarray, " n"],
    *,
    group: str,
    by_condition: bool,
    count: int,
    seed: int,
) -> tuple[Int[np.ndarray, "count n"], str]:
    """Draws labels of recordings that are as likely as the true ones.

    Args:
        recordings: with `animal`, `cage`, `day`, and `condition` where `by_condition`.
        label: class of each recording, 0..
        group: `animal` or `cage`, the group of cross-validation.
        by_condition: whether condition and day make the class.

    Returns:
        The labels, and what was exchanged: `animal`, `cage` or `recording`.

    Raises:
        NotEstimableError: too few different labellings exist.
    """
    if by_condition:
        condition, day = (
            pd.factorize(recordings[name], sort=True)[0] for name in ("condition", "day")
        )
        table = np.full((condition.max() + 1, day.max() + 1), -1)
        table[condition, day] = label
        found = exchange_conditions(recordings, condition, day, table, group=group)
        if found is None:
            raise NotEstimableError("an animal has recordings of several conditions")
    else:
        each = pd.Series(range(len(recordings)))
        found = exchange_labels(recordings, label, each, group=group)
    block, scheme = found
    scheme.check()
    return scheme.draw(count, np.random.default_rng(seed))[:, block], scheme.unit


def _single_owner(
    rows: pd.DataFrame, value: Int[np.ndarray, " n"], *, group: str
) -> tuple[str, Int[np.ndarray, " n"], Int[np.ndarray, " owners"]] | None:
    """Returns who has one value each: `cage` or `animal`, owner per row, value per owner."""
    for name in dict.fromkeys((group, "animal")):
        owner, names = pd.factorize(rows[name])
        pairs = np.unique(np.stack([owner, value]), axis=1)
        if pairs.shape[1] == len(names):
            return name, owner, pairs[1]
    return None


class Tested(NamedTuple):
    """Two-sided tests of several figures."""

    p: Float[np.ndarray, " m"]  # NaN where a side has no value
    least_p: float  # the smallest that the possible arrangements can give


def compare_groups(
    values: Float[np.ndarray, "n m"],
    treated: Bool[np.ndarray, " n"],
    *,
    permutations: int,
    seed: int,
) -> Tested:
    """Tests whether the means of two groups of units differ, by exchanging units between them.

    The statistic is the difference of the means; with two groups of fixed size this orders
    arrangements as the t statistic does. All arrangements are used where they are few. A row of
    `values` is a unit; NaN, where it has no value, travels with it.
    """
    n, chosen = len(treated), int(treated.sum())
    if (ways := math.comb(n, chosen)) > permutations:
        return _exchange(values, treated, np.zeros(n, int), _gap(values), permutations, seed)
    picks = np.array(list(itertools.combinations(range(n), chosen)), int).reshape(-1, chosen)
    counted = _count(values, treated, _gap(values), [np.eye(n, dtype=bool)[picks].any(1)])
    mirrored = 2 * chosen == n  # the exchange of both groups is as extreme
    return Tested(counted / ways, (1 + mirrored) / ways)


def compare_within(
    values: Float[np.ndarray, "n m"],
    treated: Bool[np.ndarray, " n"],
    place: Int[np.ndarray, " n"],
    *,
    permutations: int,
    seed: int,
) -> Tested:
    """Tests whether two kinds of recordings differ, by exchanging them within animals (`place`)."""
    centred = centre(values, place)
    return _exchange(centred, treated, place, _gap(centred), permutations, seed)


def judge_trend(
    values: Float[np.ndarray, "n m"],
    time: Float[np.ndarray, " n"],
    place: Int[np.ndarray, " n"],
    *,
    permutations: int,
    seed: int,
) -> Tested:
    """Tests whether figures rise or fall with time, by exchanging the days of each animal.

    The statistic is the mean of the animals' slopes. A row is an animal (`place`, 0..) and day;
    `time` is e.g. the rank of the day.
    """
    spread = np.bincount(place, centre(time[:, None], place)[:, 0] ** 2)
    weighted = np.nan_to_num(centre(values, place)) / spread[place][:, None]
    return _exchange(
        values, time, place, lambda times: np.abs(times @ weighted), permutations, seed
    )


class Flipped(NamedTuple):
    """A two-sided test by flipping signs."""

    p: float
    permutations: int
    exact: bool  # whether all flips were tried


def flip_signs(
    values: Float[np.ndarray, " n"], permutations: int, rng: np.random.Generator
) -> Flipped:
    """Tests whether the mean differs from 0, by flipping the signs of whole units; all if few."""
    exact = len(values) <= _ALL_FLIPS
    tested = stats.permutation_test(
        (values,),
        lambda flipped, axis: np.abs(flipped.sum(axis)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=np.inf if exact else permutations,
        rng=rng,
    )
    return Flipped(float(tested.pvalue), len(tested.null_distribution), exact)


def slopes(
    values: Float[np.ndarray, "n m"], time: Float[np.ndarray, " n"], place: Int[np.ndarray, " n"]
) -> Float[np.ndarray, "places m"]:
    """Returns each animal's least-squares slope (see `judge_trend`); NaN: fewer than two values."""
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
    return values - pd.DataFrame(values).groupby(place).transform("mean").to_numpy()


_Statistic = Callable[[Any], Float[np.ndarray, "draws m"]]  # of arrangements, one per row


def _gap(values: Float[np.ndarray, "n m"]) -> _Statistic:
    """Returns the statistic |mean of the chosen rows - mean of the others|, NaN left out."""
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

    return statistic


def _count(
    values: Float[np.ndarray, "n m"],
    kind: Shaped[np.ndarray, " n"],
    statistic: _Statistic,
    drawn: Iterable[np.ndarray],
) -> Float[np.ndarray, " m"]:
    """Counts the arrangements with as large a figure as observed; NaN: a side has no value."""
    least = statistic(kind[None])[0] * (1 - _ROUNDING)
    count = sum((statistic(block) >= least).sum(0) for block in drawn)
    valid = np.isfinite(values)
    sides = [kind, ~kind] if kind.dtype == bool else [slice(None)]
    return np.where(np.all([valid[side].any(0) for side in sides], axis=0), count, np.nan)


def _exchange(
    values: Float[np.ndarray, "n m"],
    kind: Shaped[np.ndarray, " n"],
    place: Int[np.ndarray, " n"],
    statistic: _Statistic,
    permutations: int,
    seed: int,
) -> Tested:
    """Tests figures by exchanging the kind (group, time) of rows within their place."""
    generator = np.random.default_rng(seed)
    drawn = (
        kind[shuffle_within(place, count, generator)]
        for count in batches(permutations, max(values.shape))
    )
    p = (1 + _count(values, kind, statistic, drawn)) / (1 + permutations)
    # Mirror images, which are as extreme, are not counted.
    return Tested(p, max(math.exp(-_log_arrangements(place, kind)), 1 / (1 + permutations)))
