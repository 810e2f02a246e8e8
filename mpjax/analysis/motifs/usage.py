"""What animals do: usage of motifs, their bouts and transitions, per recording and session."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from mpjax.analysis.motifs.codebook import Assigned

# The columns that identify a session of an animal.
SESSION = ("animal", "condition", "day", "drug", "dose_mg_per_kg", "minutes_post_dose")
MOST_TRANSITIONS = 100  # the commonest, whatever the condition
_GAP = 1.5  # steps between windows; a longer one breaks a bout
_KEPT = ("video", *SESSION, "cage", "sex", "split", "fold")


@dataclasses.dataclass(frozen=True)
class Measure:
    """One figure of a recording.

    `kind` is `usage` or `unlike` (shares of the time), `bout_length` (s), `bouts_per_minute` or
    `transition` (1/min).
    """

    kind: str
    motif: int | None = None  # None for `unlike`
    to: int | None = None  # of a transition, the motif that follows


@dataclasses.dataclass(frozen=True)
class Measured:
    """Figures of recordings or sessions.

    `table` has a row per recording (`video`, the columns of `SESSION`, `cage, sex, split, fold`,
    `label` (-1: none, or several), `windows`, `seconds`) or per session.
    """

    table: pd.DataFrame
    measures: tuple[Measure, ...]  # the columns of `values`
    values: Float[
        np.ndarray, "rows measures"
    ]  # NaN: none, as the length of bouts of an unused motif
    why_no_bouts: str = ""  # where windows do not follow each other

    def take(self, mask: Bool[np.ndarray, " rows"] | pd.Series) -> "Measured":
        """Returns some rows."""
        mask = np.asarray(mask, bool)
        table = self.table[mask].reset_index(drop=True)
        return dataclasses.replace(self, table=table, values=self.values[mask])

    def assign(self, **columns: Any) -> "Measured":
        """Adds columns to the table."""
        return dataclasses.replace(self, table=self.table.assign(**columns))

    def average(self, by: Sequence[str]) -> "Measured":
        """Averages the rows of each value of `by` with equal weight, without missing figures.

        `windows` and `seconds` are summed, of other columns the first value is kept, and of
        `label` only one that all rows share.
        """
        grouped = self.table.groupby(list(by), dropna=False, sort=True)
        code = grouped.ngroup().to_numpy()
        if not len(code):
            return self
        values = pd.DataFrame(self.values).groupby(code).mean().to_numpy()
        how = {name: "first" for name in self.table if name not in by}
        how |= {"windows": "sum", "seconds": "sum"}
        table = grouped.agg(how).reset_index()
        if "label" not in by:
            labels = grouped["label"]
            table["label"] = labels.first().where(labels.min() == labels.max(), -1).to_numpy()
        return dataclasses.replace(self, table=table, values=values)


def measure_recordings(
    windows: pd.DataFrame, assigned: Assigned, *, motifs: int
) -> tuple[Measured, Int[np.ndarray, "motifs motifs"]]:
    """Measures every recording.

    A window that is unlike any training window counts towards the time but to no motif. A bout is a
    run of one motif over consecutive windows; its length is its windows times their step.

    Args:
        windows: a row per window, see `analyse.analyse`.
        assigned: by one codebook, in the order of `windows`.
        motifs: number of motifs of the codebook.

    Returns:
        The figures, and how often each motif (rows) was followed by each other one.
    """
    video = pd.factorize(windows["video"], sort=True)[0]
    order = np.lexsort((windows["start_s"].to_numpy(), video))
    rows, video = windows.iloc[order], video[order]
    state = np.where(assigned.unlike, motifs, assigned.motif)[order]
    first = np.flatnonzero(np.diff(video, prepend=-1))
    recordings, step = len(first), _steps(rows, video)
    count = _count((video, state), (recordings, motifs + 1))
    windows_of = count.sum(1)
    usage = count / windows_of[:, None]
    table = rows.iloc[first][list(_KEPT)].reset_index(drop=True)
    labels = rows.groupby(video)["label"]
    table["label"] = labels.first().where(labels.min() == labels.max(), -1)
    table["windows"], table["seconds"] = windows_of, windows_of * step
    measures = [*(Measure("usage", motif) for motif in range(motifs)), Measure("unlike")]
    if (windows_of < 2).all():
        why = "each recording is a single window, so there are neither bouts nor transitions"
        return Measured(table, tuple(measures), usage, why), np.zeros((motifs, motifs), int)
    runs = _find_runs(video, state, rows["start_s"].to_numpy(float), step)
    minutes = np.where(windows_of > 1, windows_of * step / 60, np.nan)[:, None]
    bouts = _count((runs.video, runs.state), (recordings, motifs + 1))[:, :motifs]
    held = _count((runs.video, runs.state), (recordings, motifs + 1), runs.windows)[:, :motifs]
    length = np.divide(held, bouts, out=np.full(held.shape, np.nan), where=bouts > 0)
    length = np.where(windows_of[:, None] > 1, length * step[:, None], np.nan)
    moves = (runs.state < motifs) & (runs.next >= 0) & (runs.next < motifs)
    pair = runs.state[moves] * motifs + runs.next[moves]
    animal = pd.factorize(table["animal"])[0][runs.video[moves]]
    kept = _common(pair, animal, animals=table["animal"].nunique(), motifs=motifs)
    chosen = np.isin(pair, kept)
    cell = (runs.video[moves][chosen], np.searchsorted(kept, pair[chosen]))
    followed = _count(cell, (recordings, len(kept)))
    for kind in ("bout_length", "bouts_per_minute"):
        measures += [Measure(kind, motif) for motif in range(motifs)]
    measures += [Measure("transition", *divmod(int(each), motifs)) for each in kept]
    values = np.concatenate([usage, length, bouts / minutes, followed / minutes], axis=1)
    matrix = np.bincount(pair, minlength=motifs**2).reshape(motifs, motifs)
    return Measured(table, tuple(measures), values), matrix


def _count(
    cell: tuple[np.ndarray, np.ndarray], shape: tuple[int, int], weight: np.ndarray | int = 1
) -> Float[np.ndarray, "a b"]:
    count = np.zeros(shape)
    np.add.at(count, cell, weight)
    return count


def _steps(rows: pd.DataFrame, video: Int[np.ndarray, " n"]) -> Float[np.ndarray, " recordings"]:
    """Returns each recording's median time between windows, in s; of one window, its length."""
    gap = rows.groupby(video)["start_s"].diff()
    usual = gap.groupby(video).median().to_numpy()
    length = rows["seconds"].groupby(video).first().to_numpy(float)
    return np.where(usual > 0, usual, length)


class _Runs(NamedTuple):
    """Runs of one state; `next` is that of the run that follows without a gap, -1 for none."""

    video: Int[np.ndarray, " runs"]
    state: Int[np.ndarray, " runs"]
    windows: Int[np.ndarray, " runs"]
    next: Int[np.ndarray, " runs"]
    start: Int[np.ndarray, " runs"]


def _find_runs(video: np.ndarray, state: np.ndarray, start: np.ndarray, step: np.ndarray) -> _Runs:
    broken = np.diff(video, prepend=-1) != 0
    broken |= np.diff(start, prepend=0) > _GAP * step[video]
    first = np.flatnonzero(broken | (np.diff(state, prepend=-1) != 0))
    following = np.where(np.append(broken[first[1:]], True), -1, np.append(state[first[1:]], -1))
    length = np.diff(np.append(first, len(state)))
    return _Runs(video[first], state[first], length, following, first)


def _common(
    pair: Int[np.ndarray, " moves"], animal: Int[np.ndarray, " moves"], *, animals: int, motifs: int
) -> Int[np.ndarray, " kept"]:
    """Returns the most frequent transitions of those that half of all animals make, ascending.

    The choice ignores conditions, so that it does not bias the tests.
    """
    spread = np.bincount(np.unique(np.stack([pair, animal]), axis=1)[0], minlength=motifs**2)
    often = np.bincount(pair, minlength=motifs**2)
    able = np.flatnonzero(spread >= max(1, animals / 2))
    return np.sort(able[np.argsort(-often[able], kind="stable")[:MOST_TRANSITIONS]])


def segments(
    windows: pd.DataFrame, assigned: Assigned, video: str, *, motifs: int
) -> list[list[float]]:
    """Returns the bouts of one recording as [start in s, end in s, motif]; -1: unlike any."""
    own = np.flatnonzero((windows["video"] == video).to_numpy())
    own = own[np.argsort(windows["start_s"].to_numpy()[own], kind="stable")]
    rows, zero = windows.iloc[own], np.zeros(len(own), int)
    state = np.where(assigned.unlike[own], motifs, assigned.motif[own])
    start = rows["start_s"].to_numpy(float)
    step = _steps(rows, zero)
    runs = _find_runs(zero, state, start, step)
    last = runs.start + runs.windows - 1
    # A window lasts until the next one starts, but no longer than its own length.
    stop = start[last] + np.minimum(step[0], rows["seconds"].to_numpy(float)[last])
    return [
        [float(begin), float(end), int(motif) if motif < motifs else -1]
        for begin, end, motif in zip(start[runs.start], stop, runs.state, strict=True)
    ]


def profile(
    windows: pd.DataFrame, assigned: Assigned, *, motifs: int, bins: int = 10
) -> dict[str, Any]:
    """Describes how the use of motifs changes over a recording, in equal parts of its length.

    Returns:
        {"bins", "minutes" (median length of a recording), "n" (animals), "usage": a list per motif
        of the share per part, the mean over animals}, or {"value": None, "why"}.
    """
    video = windows.groupby("video")["start_s"]
    begin, size = video.transform("min").to_numpy(), video.transform("size").to_numpy()
    length = video.transform("max").to_numpy() - begin
    long = size >= bins
    if not long.any():
        return {"value": None, "why": f"no recording has {bins} windows or more"}
    rows = windows[long]
    part = (windows["start_s"].to_numpy() - begin)[long] / np.maximum(length[long], 1e-9)
    part = np.minimum((bins * part).astype(int), bins - 1)
    animal, names = pd.factorize(rows["animal"])
    count = np.zeros((motifs + 1, len(names), bins))
    np.add.at(count, (np.where(assigned.unlike, motifs, assigned.motif)[long], animal, part), 1)
    total = count.sum(0)
    usage = (count / np.maximum(total, 1)).sum(1) / np.maximum((total > 0).sum(0), 1)
    minutes = float(np.median(length[long]) / 60)
    return {"bins": bins, "minutes": minutes, "n": len(names), "usage": usage[:motifs].tolist()}
