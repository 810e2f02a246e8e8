"""Is mean-class accuracy above what the same predictions would score by luck of the labels?

Labels are permuted over what they belong to, never over clips: conditions over animals (or cages,
where those are the unit), days over the sessions of an animal. In a cohort of other labels they are
permuted over an animal's recordings, or over animals where each has a single label. The predictions
stay as they are: no head is trained anew.

Source: Good, Permutation, Parametric and Bootstrap Tests of Hypotheses (2005), ch. 3; the p-value
that counts the observed labels among the permutations: Phipson & Smyth (2010),
doi:10.2202/1544-6115.1585.
"""

import dataclasses
import math
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis.stats.units import NotEstimableError, Units
from mpjax.taxonomy import Taxonomy, parse_fine_name

STATISTIC = "mean_class_accuracy"
_LEAST_ARRANGEMENTS = 20  # with fewer, p cannot fall below 0.05
_CELLS = 2_000_000  # labels permuted at once; bounds the memory


@dataclasses.dataclass(frozen=True)
class Scheme:
    """What may be exchanged if predictions tell nothing of the classes.

    Every block of units (a session, a recording) has a class given by what its owner (an animal, a
    cage) brings along, and by what tells the blocks of an animal apart.

    Attributes:
        owner: of each block, 0..owners-1.
        stratum: of each owner; owners are exchanged within it.
        between: what each owner brings, e.g. its condition, 0..
        animal: of each block; blocks are exchanged within it.
        within: what tells an animal's blocks apart, e.g. the day, 0..
        label: class by (between, within); -1 where there is none.
        unit: what is exchanged: `animal`, `cage` or `recording`.
    """

    owner: Int[np.ndarray, " blocks"]
    stratum: Int[np.ndarray, " owners"]
    between: Int[np.ndarray, " owners"]
    animal: Int[np.ndarray, " blocks"]
    within: Int[np.ndarray, " blocks"]
    label: Int[np.ndarray, "between within"]
    unit: str


def permutation_test(
    units: Units | str,
    rows: pd.DataFrame,
    *,
    taxonomy: Taxonomy,
    fine_to_class: Int[np.ndarray, " fine"],
    group: str,
    level: str,
    permutations: int,
    seed: int,
) -> dict[str, Any]:
    """Tests the mean-class accuracy of one level against permuted labels.

    Args:
        units: the evaluated units, or why there are none.
        rows: metadata of the evaluated clips, to which `units.row` points.
        taxonomy: names the fine classes.
        fine_to_class: the class of the task (fine or coarse) of each fine class.
        group: `animal` or `cage`.
        level: `clip`, `recording` or `animal_day`.
        permutations: how many are drawn.
        seed: of the drawing.

    Returns:
        {"p", "statistic", "permutations", "unit", "null": {"mean", "q95"}}, p being one-sided; or
        {"value": None, "why"}.
    """
    if isinstance(units, str):
        return {"value": None, "why": units}
    first = rows.iloc[units.row].reset_index(drop=True)
    try:
        found = _factorial(first, taxonomy, fine_to_class, group=group)
        block, scheme = found or _labelled(first, units.label, group=group, level=level)
        _check_arrangements(scheme)
    except NotEstimableError as error:
        return {"value": None, "why": str(error)}
    classes = units.p.shape[1]
    cell = block * classes + units.predicted
    named = np.bincount(cell, minlength=len(scheme.owner) * classes).reshape(-1, classes)
    same = np.arange(len(scheme.owner))[None], np.arange(len(scheme.stratum))[None]
    observed = _mean_class_accuracy(named, _labels(scheme, *same))[0]
    null = _draw_null(named, scheme, permutations, np.random.default_rng(seed))
    at_least = int((null >= observed - 1e-12).sum())  # sums in another order may differ so much
    return {
        "p": (1 + at_least) / (1 + permutations),
        "statistic": STATISTIC,
        "permutations": permutations,
        "unit": scheme.unit,
        "null": {"mean": float(null.mean()), "q95": float(np.quantile(null, 0.95))},
    }


def _factorial(
    first: pd.DataFrame,
    taxonomy: Taxonomy,
    fine_to_class: Int[np.ndarray, " fine"],
    *,
    group: str,
) -> tuple[np.ndarray, Scheme] | None:
    """Returns each unit's block and the scheme of conditions x days; None for other cohorts.

    Conditions are exchanged among those recorded on the same days, so that each exchanged
    condition and day is a class.
    """
    parsed = [parse_fine_name(name) for name in taxonomy.fine]
    if not all(parsed):
        return None
    conditions, condition = np.unique([each[0] for each in parsed if each], return_inverse=True)
    days, day = np.unique([each[1] for each in parsed if each], return_inverse=True)
    label = np.full((len(conditions), len(days)), -1)
    label[condition, day] = fine_to_class
    stratum = np.unique(label >= 0, axis=0, return_inverse=True)[1].reshape(-1)
    fine = first["label"].to_numpy()
    own = _single_owner(first, condition[fine], group=group)
    if own is None:
        return None
    unit, owner, between = own
    block, one = _blocks(first.groupby(["animal", "day"]).ngroup())
    scheme = Scheme(
        owner=owner[one],
        stratum=stratum[between],
        between=between,
        animal=pd.factorize(first["animal"])[0][one],
        within=day[fine][one],
        label=label,
        unit=unit,
    )
    return block, scheme


def _labelled(
    first: pd.DataFrame, label: Int[np.ndarray, " n"], *, group: str, level: str
) -> tuple[np.ndarray, Scheme]:
    """Returns each unit's block and the scheme of a cohort of labels."""
    by = ["animal", "day"] if level == "animal_day" else ["video"]
    block, one = _blocks(first.groupby(by).ngroup())
    if (label[one][block] != label).any():
        raise NotEstimableError(
            "clips of one recording bear several labels and follow each other, so they cannot be "
            "exchanged"
        )
    animal = pd.factorize(first["animal"])[0][one]
    classes = int(label.max()) + 1
    own = _single_owner(first, label, group=group)
    if own is not None:
        unit, owner, between = own
        within, table = np.zeros(len(one), int), np.arange(classes)[:, None]
    else:
        unit, owner, between = "recording", animal, np.zeros(animal.max() + 1, int)
        within, table = label[one], np.arange(classes)[None]
    scheme = Scheme(
        owner=owner if own is None else owner[one],
        stratum=np.zeros(len(between), int),
        between=between,
        animal=animal,
        within=within,
        label=table,
        unit=unit,
    )
    return block, scheme


def _blocks(codes: pd.Series) -> tuple[Int[np.ndarray, " n"], Int[np.ndarray, " blocks"]]:
    """Returns the block of each unit, and the first unit of each block."""
    one, block = np.unique(codes, return_index=True, return_inverse=True)[1:]
    return block, one


def _single_owner(
    first: pd.DataFrame, value: Int[np.ndarray, " n"], *, group: str
) -> tuple[str, Int[np.ndarray, " n"], Int[np.ndarray, " owners"]] | None:
    """Returns who has one value each: (`cage` or `animal`, owner per unit, value per owner).

    Cages, where they are the group and each has one value: their animals share a treatment.
    """
    for name in dict.fromkeys((group, "animal")):
        owner, names = pd.factorize(first[name])
        pairs = np.unique(np.stack([owner, value]), axis=1)
        if pairs.shape[1] == len(names):
            return name, owner, pairs[1]
    return None


def _check_arrangements(scheme: Scheme) -> None:
    """Counts the distinct arrangements of labels (the logarithm, as they are astronomically many).

    Conditions that stand for the same classes on every day (two kinds of no pain) are alike.
    """
    kind = np.unique(scheme.label, axis=0, return_inverse=True)[1].reshape(-1)
    total = _log_arrangements(scheme.stratum, kind[scheme.between])
    own = scheme.label[scheme.between[scheme.owner], scheme.within]
    total += _log_arrangements(scheme.animal, own)
    if total < math.log(_LEAST_ARRANGEMENTS) - 1e-9:
        raise NotEstimableError(
            f"the labels can be arranged in {round(math.exp(total))} way(s) only, so p could not "
            f"fall below 0.05; it takes {_LEAST_ARRANGEMENTS}"
        )


def _log_arrangements(place: Int[np.ndarray, " n"], kind: Int[np.ndarray, " n"]) -> float:
    """Returns the log of the ways to arrange the kinds over the members of each place."""
    members = np.unique(place, return_counts=True)[1]
    alike = np.unique(np.stack([place, kind]), axis=1, return_counts=True)[1]
    return sum(map(math.lgamma, members + 1.0)) - sum(map(math.lgamma, alike + 1.0))


def _draw_null(
    named: Int[np.ndarray, "blocks classes"],
    scheme: Scheme,
    permutations: int,
    generator: np.random.Generator,
) -> Float[np.ndarray, " permutations"]:
    """Draws the statistic under permuted labels, in batches that bound the memory."""
    batch = max(1, _CELLS // len(scheme.owner))
    drawn = []
    for done in range(0, permutations, batch):
        count = min(batch, permutations - done)
        blocks = shuffle_within(scheme.animal, count, generator)
        owners = shuffle_within(scheme.stratum, count, generator)
        drawn.append(_mean_class_accuracy(named, _labels(scheme, blocks, owners)))
    return np.concatenate(drawn)


def _labels(
    scheme: Scheme, blocks: Int[np.ndarray, "count blocks"], owners: Int[np.ndarray, "count owners"]
) -> Int[np.ndarray, "count blocks"]:
    """Returns each block's class when it and its owner take the places of others."""
    between = scheme.between[owners][:, scheme.owner]
    return scheme.label[between, scheme.within[blocks]]


def shuffle_within(
    place: Int[np.ndarray, " n"], count: int, generator: np.random.Generator
) -> Int[np.ndarray, "count n"]:
    """Draws `count` permutations of 0..n-1 that leave every member in its place."""
    slots = np.argsort(place, kind="stable")
    order = np.argsort(generator.random((count, len(place))) + place, axis=1)
    shuffled = np.empty_like(order)
    shuffled[:, slots] = order
    return shuffled


def _mean_class_accuracy(
    named: Int[np.ndarray, "blocks classes"], label: Int[np.ndarray, "count blocks"]
) -> Float[np.ndarray, " count"]:
    """Returns the mean recall over the classes present, per row of block labels."""
    count, classes = len(label), named.shape[1]
    cell = (np.arange(count)[:, None] * classes + label).ravel()
    hits = named[np.arange(len(named)), label].ravel()
    size = np.broadcast_to(named.sum(axis=1), label.shape).ravel()

    def total(weights: np.ndarray) -> np.ndarray:
        return np.bincount(cell, weights, minlength=count * classes).reshape(count, classes)

    correct, units = total(hits), total(size)
    recall = np.divide(correct, units, out=np.zeros(units.shape), where=units > 0)
    return recall.sum(axis=1) / (units > 0).sum(axis=1)
