"""What is evaluated: clips, recordings and animal x day, pooled without counting clips twice."""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped

LEVELS = {"clip": "clip", "recording": "recording", "animal_day": "animal × day"}
_ALIKE = 1e-6  # probabilities this close are equal: the file holds float32


@dataclasses.dataclass(frozen=True)
class Units:
    """The evaluated units of one level."""

    label: Int[np.ndarray, " n"]  # true class
    p: Float[np.ndarray, "n classes"]
    group: Int[np.ndarray, " n"]  # the animal or cage of each unit, 0..groups-1
    row: Int[np.ndarray, " n"]  # position of each unit's first clip in the rows that were pooled

    @property
    def predicted(self) -> Int[np.ndarray, " n"]:
        """The class of the largest probability; of several, the first."""
        return self.p.argmax(axis=1)


def unit_levels(
    rows: pd.DataFrame,
    label: Int[np.ndarray, " n"],
    p: Float[np.ndarray, "n classes"],
    *,
    group: str,
) -> dict[str, Units | str]:
    """Pools clips into recordings and recordings into animal x day.

    A recording's p is the mean over its clips; an animal's p on a day is the mean over its
    recordings of that day, however many clips each has. `rows` is the clips' metadata, and `group`
    its column that is resampled. A level without units has the reason in their place.
    """
    if rows.empty:
        return dict.fromkeys(LEVELS, "no held-out clip of a trained class")
    clips = Units(label, p, rows.groupby(group).ngroup().to_numpy(), np.arange(len(rows)))
    recording = rows.groupby("video").ngroup().to_numpy()
    animal_day = rows.groupby(["animal", "day"]).ngroup().to_numpy()
    recordings = _pool(clips, recording)
    animal_days = _pool(recordings, animal_day[recordings.row])
    levels: dict[str, Units | str] = {"clip": clips}
    for level, codes, units in zip(
        ("recording", "animal_day"), (recording, animal_day), (recordings, animal_days), strict=True
    ):
        levels[level] = units
        if mixed := len(np.unique(codes[units.label[codes] != label])):
            levels[level] = (
                f"{mixed} of {len(units.label)} {LEVELS[level]} units hold clips of several "
                "classes, so they have no true class of their own"
            )
    return levels


def _pool(units: Units, codes: Int[np.ndarray, " n"]) -> Units:
    """Averages p over the units of each code 0..m-1, keeping what the first unit of each has."""
    _, first, count = np.unique(codes, return_index=True, return_counts=True)
    p = np.zeros((len(first), units.p.shape[1]))
    np.add.at(p, codes, units.p)
    return Units(units.label[first], p / count[:, None], units.group[first], units.row[first])


def scores_are_constant(p: Float[np.ndarray, "n classes"]) -> bool:
    """Returns whether no clip's scores differ between classes, so that nothing is predicted."""
    return bool(len(p)) and bool(np.ptp(p, axis=1).max() < _ALIKE)


def unit_of(table: pd.DataFrame, side: Shaped[np.ndarray, " n"], *, group: str = "cage") -> str:
    """Returns what a comparison counts: `cage` where each cage is on one side; else `animal`.

    Animals of a cage that share what is compared do not vary independently, so their mean counts
    once. Cages with animals on several sides favour none of them.

    Args:
        table: with `cage` ("" where not known).
        side: of each row, what is compared: an arm, a condition.
        group: what the cohort is divided by; with `animal` the animal stays the unit.
    """
    if group != "cage" or (table["cage"] == "").any():
        return "animal"
    sides = table.assign(side=side).groupby("cage")["side"].nunique()
    return "cage" if sides.max() == 1 else "animal"
