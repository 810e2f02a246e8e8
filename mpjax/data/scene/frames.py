"""The frames of a recording that are looked at: some spread over all of it, some in a row."""

import dataclasses

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8

from mpjax.data import clips, records


@dataclasses.dataclass(frozen=True)
class Sample:
    """Frames of one recording, RGB.

    Attributes:
        spread: evenly over the recording, in order.
        runs: whole clips, each a run of consecutive frames, in order.
        starts: number of the first frame of each run, on the timeline of the records.
        fps: Hz, of the runs.
    """

    spread: UInt8[np.ndarray, "frames h w 3"]
    runs: UInt8[np.ndarray, "runs t h w 3"]
    starts: Int[np.ndarray, " runs"]
    fps: float


def draw(source: records.RecordSource, rows: pd.DataFrame, *, frames: int, runs: int) -> Sample:
    """Reads the frames of a recording that are looked at; which ones follows from their number.

    Args:
        source: the records.
        rows: those of the recording, from `source.index`, whose index says where they lie.
        frames: how many to spread over it, at most.
        runs: how many clips to read as a whole, at most.

    Raises:
        records.RecordError: a record is damaged.
    """
    rows = rows.sort_values("start_frame")
    shown = (rows["frames"] - rows["padded_frames"]).to_numpy()
    wanted = _evenly(int(shown.sum()), frames)
    clip = np.searchsorted(np.cumsum(shown), wanted, side="right")
    within = wanted - (np.cumsum(shown) - shown)[clip]
    whole = _evenly(len(rows), runs)
    spread: list[np.ndarray] = []
    in_a_row: list[np.ndarray] = []
    for number in np.union1d(clip, whole):
        jpegs = records.decode_example(source[int(rows.index[number])])["frames"]
        spread += _decode([jpegs[at] for at in within[clip == number]])
        if number in whole:
            in_a_row.append(clips.decode_frames(jpegs[: shown[number]]))
    length = min(len(run) for run in in_a_row)
    return Sample(
        spread=np.stack(spread),
        runs=np.stack([run[:length] for run in in_a_row]),
        starts=rows["start_frame"].to_numpy()[whole],
        fps=float(rows["fps"].iloc[0]),
    )


def _decode(jpegs: list) -> list[np.ndarray]:
    """Decodes JPEGs to one picture each; none gives none."""
    return list(clips.decode_frames(jpegs)) if jpegs else []


def _evenly(total: int, count: int) -> Int[np.ndarray, " count"]:
    """Returns at most `count` distinct whole numbers, evenly over 0..total-1."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))
