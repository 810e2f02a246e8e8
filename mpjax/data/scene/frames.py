"""Which frames of a recording are measured: some spread over all of it, some in a row."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Int, UInt8

from mpjax.data import clips, records


@dataclasses.dataclass(frozen=True)
class Sample:
    """Frames of one recording, RGB."""

    spread: UInt8[np.ndarray, "frames h w 3"]  # evenly over the recording, in order
    runs: UInt8[np.ndarray, "runs t h w 3"]  # whole clips: consecutive frames, in order
    starts: Int[np.ndarray, " runs"]  # first frame of each run, on the timeline of the records
    fps: float  # Hz, of the runs


def draw(source: records.RecordSource, rows: pd.DataFrame, *, frames: int, runs: int) -> Sample:
    """Reads a sample of a recording's frames; it depends on the numbers alone.

    `rows` are those of the recording in `source.index`. At most `frames` frames are spread over it,
    and at most `runs` clips are read as a whole.
    """
    rows = rows.sort_values("start_frame")
    shown = (rows["frames"] - rows["padded_frames"]).to_numpy()
    whole = clips.spread_evenly(len(rows), runs)
    spread, in_a_row = _read(source, rows.index.to_numpy(), shown, frames=frames, whole=whole)
    length = min(len(run) for run in in_a_row)
    return Sample(
        spread=spread,
        runs=np.stack([run[:length] for run in in_a_row]),
        starts=rows["start_frame"].to_numpy()[whole],
        fps=float(rows["fps"].iloc[0]),
    )


def read_spread(
    source: records.RecordSource, positions: Sequence[int], *, frames: int
) -> UInt8[np.ndarray, "frames h w 3"]:
    """Reads at most `frames` frames, spread evenly over the clips at `positions`, of one size."""
    lengths = source.index["frames"].to_numpy()[list(positions)]
    return _read(source, np.asarray(positions), lengths, frames=frames)[0]


def _read(
    source: records.RecordSource,
    positions: Int[np.ndarray, " clips"],
    lengths: Int[np.ndarray, " clips"],
    *,
    frames: int,
    whole: Sequence[int] | np.ndarray = (),
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Returns frames spread over the first `lengths` frames of clips, and some `whole` clips."""
    wanted = clips.spread_evenly(int(lengths.sum()), frames)
    ends = np.cumsum(lengths)
    clip = np.searchsorted(ends, wanted, side="right")
    spread, in_a_row = [], []
    for number in np.union1d(clip, whole).astype(int):
        jpegs = records.decode_example(source[int(positions[number])])["frames"]
        within = wanted[clip == number] - (ends[number] - lengths[number])
        if len(within):
            spread.append(clips.decode_frames([jpegs[at] for at in within]))
        if number in whole:
            in_a_row.append(clips.decode_frames(jpegs[: lengths[number]]))
    return np.concatenate(spread), in_a_row
