"""Permutes the classes of recordings over what they belong to: animals or cages, and their days."""

import numpy as np
import pandas as pd
from jaxtyping import Int

from mpjax.analysis.stats.permutation import shuffle_within
from mpjax.analysis.stats.units import NotEstimableError

_LEAST = 20  # distinct arrangements; with fewer, p cannot fall below 0.05


def draw_labels(
    recordings: pd.DataFrame,
    label: Int[np.ndarray, " n"],
    *,
    group: str,
    by_condition: bool,
    count: int,
    seed: int,
) -> tuple[Int[np.ndarray, "count n"], str]:
    """Draws labellings that are as likely as the true one if nothing tells the classes.

    Conditions are exchanged between animals (cages, where those are the group and each has one),
    among conditions that were recorded on the same days; and an animal's days among its sessions,
    where days are part of the class. In a cohort of other labels, they are exchanged between
    animals (cages) where each has one label, else between the recordings of an animal.

    Args:
        recordings: with `animal`, `cage`, and `condition` and `day` where `by_condition`.
        label: class of each recording, 0..
        group: `animal` or `cage`, the group of cross-validation.
        by_condition: whether condition and day make the class.
        count: how many to draw.
        seed: of the drawing.

    Returns:
        The labellings, and what was exchanged: `animal`, `cage` or `recording`.

    Raises:
        NotEstimableError: there are too few different ones.
    """
    rng = np.random.default_rng(seed)
    if by_condition:
        drawn, unit = _by_condition(recordings, label, group, count, rng)
    else:
        drawn, unit = _by_label(recordings, label, group, count, rng)
    distinct = len(np.unique(drawn, axis=0))
    if distinct < min(_LEAST, count):
        raise NotEstimableError(
            f"the classes can be exchanged between {unit}s in {distinct} way(s) only, so p could "
            f"not fall below 0.05; it takes {_LEAST}"
        )
    return drawn, unit


def _owners(
    recordings: pd.DataFrame, value: Int[np.ndarray, " n"], group: str
) -> tuple[str, np.ndarray, np.ndarray] | None:
    """Returns who has one value each: its kind, owner per recording, value per owner."""
    for kind in dict.fromkeys((group, "animal")):
        owner, names = pd.factorize(recordings[kind])
        pairs = np.unique(np.stack([owner, value]), axis=1)
        if pairs.shape[1] == len(names):
            return kind, owner, pairs[1]
    return None


def _by_condition(
    recordings: pd.DataFrame,
    label: Int[np.ndarray, " n"],
    group: str,
    count: int,
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "count n"], str]:
    condition = pd.factorize(recordings["condition"], sort=True)[0]
    day = pd.factorize(recordings["day"], sort=True)[0]
    table = np.full((condition.max() + 1, day.max() + 1), -1)
    table[condition, day] = label
    stratum = np.unique(table >= 0, axis=0, return_inverse=True)[1].reshape(-1)
    own = _owners(recordings, condition, group)
    if own is None:
        raise NotEstimableError("an animal has recordings of several conditions")
    kind, owner, brings = own
    exchanged = brings[shuffle_within(stratum[brings], count, rng)]
    days = np.broadcast_to(day, (count, len(day)))
    if len(np.unique(label)) > len(np.unique(table.max(1))):  # days tell classes apart, too
        session, first = np.unique(
            np.stack([pd.factorize(recordings["animal"])[0], day]), axis=1, return_inverse=True
        )
        days = session[1][shuffle_within(session[0], count, rng)][:, first.reshape(-1)]
    return table[exchanged[:, owner], days], kind


def _by_label(
    recordings: pd.DataFrame,
    label: Int[np.ndarray, " n"],
    group: str,
    count: int,
    rng: np.random.Generator,
) -> tuple[Int[np.ndarray, "count n"], str]:
    own = _owners(recordings, label, group)
    if own is not None:
        kind, owner, brings = own
        order = shuffle_within(np.zeros(len(brings), int), count, rng)
        return brings[order][:, owner], kind
    animal = pd.factorize(recordings["animal"])[0]
    return label[shuffle_within(animal, count, rng)], "recording"
