"""Is mean-class accuracy above what the same predictions would score by chance?

Labels are permuted over what they belong to, never over clips: conditions over animals (or cages,
where those are the unit), days over the sessions of an animal. In a cohort of labels they are
permuted over an animal's recordings, or over animals where each has a single label. The predictions
stay as they are: no head is trained again.
"""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from mpjax.analysis.stats.estimates import NotEstimableError, absent
from mpjax.analysis.stats.permutation import Scheme, batches, exchange_conditions, exchange_labels
from mpjax.analysis.stats.units import Units
from mpjax.taxonomy import Taxonomy, parse_fine_name

STATISTIC = "mean_class_accuracy"


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
        fine_to_class: the class of the task (fine or coarse) of each fine class.
        group: `animal` or `cage`.
        level: `clip`, `recording` or `animal_day`.

    Returns:
        {"p", "statistic", "permutations", "unit", "null": {"mean", "q95"}}, p being one-sided; or
        {"value": None, "why"}.
    """
    if isinstance(units, str):
        return absent(units)
    first = rows.iloc[units.row].reset_index(drop=True)
    try:
        found = _factorial(first, taxonomy, fine_to_class, group=group)
        if found is None:
            by = ["animal", "day"] if level == "animal_day" else ["video"]
            found = exchange_labels(first, units.label, first.groupby(by).ngroup(), group=group)
        block, scheme = found
        scheme.check()
    except NotEstimableError as error:
        return absent(str(error))
    classes, blocks = units.p.shape[1], len(scheme.owner)
    cell = block * classes + units.predicted
    named = np.bincount(cell, minlength=blocks * classes).reshape(-1, classes)
    generator = np.random.default_rng(seed)
    drawn = (scheme.draw(count, generator) for count in batches(permutations, blocks))
    null = np.concatenate([_mean_class_accuracy(named, labels) for labels in drawn])
    observed = _mean_class_accuracy(named, scheme.truth[None])[0]
    at_least = int((null >= observed - 1e-12).sum())  # the order of a sum may change so much
    return {
        "p": (1 + at_least) / (1 + permutations),
        "statistic": STATISTIC,
        "permutations": permutations,
        "unit": scheme.unit,
        "null": {"mean": float(null.mean()), "q95": float(np.quantile(null, 0.95))},
    }


def _factorial(
    first: pd.DataFrame, taxonomy: Taxonomy, fine_to_class: Int[np.ndarray, " fine"], *, group: str
) -> tuple[Int[np.ndarray, " n"], Scheme] | None:
    """Returns each unit's block and the scheme of conditions x days; None for other cohorts."""
    parsed = [parse_fine_name(name) for name in taxonomy.fine]
    if not all(parsed):
        return None
    table = pd.DataFrame(parsed, columns=["condition", "day"])
    condition, day = (pd.factorize(table[name], sort=True)[0] for name in table)
    label = np.full((condition.max() + 1, day.max() + 1), -1)
    label[condition, day] = fine_to_class
    fine = first["label"].to_numpy()
    return exchange_conditions(first, condition[fine], day[fine], label, group=group)


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
