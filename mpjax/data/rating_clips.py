"""Clips for blinded raters: a balanced sample, and images that reveal nothing but their content.

A clip is shown from one or a few JPEGs that hold its frames side by side (`Pictures`): a browser
decodes them once, then shows every frame exactly, forwards and backwards, at any speed. They hold
no metadata, and their name is the hash of their content, so it does not reveal their source.
"""

import dataclasses
import hashlib
import math
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import simplejpeg
from einops import rearrange
from etils import epath
from jaxtyping import Int, UInt8

from mpjax.data import clips, records
from mpjax.data.splits import FIXED, Splits, evaluated_rows, fit_rows

_CELL = 16  # px; a JPEG block with halved colour, so that frames do not bleed into each other
_SHEET = 4096  # px, the longest side that tablets decode whole
_NAME = 12  # hex digits of a sha256
_KEEP = 2  # groups per class that must remain to be rated when others are shown as examples


@dataclasses.dataclass(frozen=True)
class Sample:
    """Clips to rate and examples shown before, as rows of the dataset's index."""

    rated: pd.DataFrame  # in random order
    examples: pd.DataFrame  # labelled clips of other animals (cages), ordered by class
    wanted: int  # requested clips per class
    short: dict[str, int]  # number of clips of each class that has fewer
    short_examples: dict[str, int]  # the same for the examples


@dataclasses.dataclass(frozen=True)
class Pictures:
    """The frames of a clip on one or more JPEGs, row by row from the upper left."""

    name: str  # hash of the content
    sheets: tuple[bytes, ...]  # the JPEGs; all but the last are full
    frames: int  # number of frames
    width: int  # of a frame, px
    height: int
    cell: tuple[int, int]  # width and height of a frame's place, px; the frame is in its upper left
    columns: int  # frames side by side
    per_sheet: int  # frames on a full sheet
    fps: float


def choose(index: pd.DataFrame, splits: Splits, *, number: int, examples: int, seed: int) -> Sample:
    """Draws equally many held-out clips of every class, from as many animals (cages) as possible.

    Under cross-validation every animal is held out once; the examples then come from animals that
    are set apart, of which no clip is rated.

    Args:
        index: of the dataset, see `records.read_index`; its own index is kept.
        number: clips to rate, rounded down to a multiple of the number of classes.
        examples: labelled clips per class, from animals of the training part.

    Raises:
        ValueError: there are fewer clips than classes, or nothing is held out.
    """
    fine = splits.taxonomy.fine
    each = number // len(fine)
    if each < 1 or examples < 0:
        raise ValueError(
            f"{number} clips of {len(fine)} classes and {examples} examples of each; give --clips "
            f"of {len(fine)} or more, and --examples of 0 or more"
        )
    rng = np.random.default_rng(seed)
    held_out = index[evaluated_rows(index)]
    if held_out.empty:
        raise ValueError("no clip of a trained class is held out (split 'test'), so none to rate")
    if splits.scheme == FIXED:
        shown = index[fit_rows(index, FIXED)]
    else:
        apart = _set_apart(held_out, splits.group, each=examples, rng=rng)
        shown = held_out[held_out[splits.group].isin(apart)]
        held_out = held_out.drop(shown.index)
    rated = _draw(held_out, splits.group, each=each, rng=rng)
    taught = _draw(shown, splits.group, each=examples, rng=rng)
    return Sample(
        rated=rated.iloc[rng.permutation(len(rated))],
        examples=taught.sort_values("label", kind="stable"),
        wanted=each,
        short=_shortfall(rated, fine, each),
        short_examples=_shortfall(taught, fine, examples),
    )


def _set_apart(rows: pd.DataFrame, group: str, *, each: int, rng: np.random.Generator) -> list[str]:
    """Chooses few groups with `each` clips of as many classes as can spare a group."""
    clips_of = pd.crosstab(rows[group], rows["label"])
    names = rng.permutation(clips_of.index.to_numpy())
    clips_of = clips_of.loc[names].to_numpy()
    apart: list[int] = []
    need = np.full(clips_of.shape[1], each)
    left = (clips_of > 0).sum(0)
    while need.any():
        has = clips_of > 0
        spare = ~(has & (left <= _KEEP)).any(1)
        spare[apart] = False
        gain = np.minimum(clips_of, need).sum(1) * spare
        best = int(gain.argmax())
        if not gain[best]:
            break
        apart.append(best)
        need = np.maximum(need - clips_of[best], 0)
        left = left - has[best]
    return names[apart].tolist()


def _draw(rows: pd.DataFrame, group: str, *, each: int, rng: np.random.Generator) -> pd.DataFrame:
    """Draws up to `each` rows per label; classes of few groups first, rarely used groups first."""
    rows = rows.iloc[rng.permutation(len(rows))]
    g, v = (rows.groupby(name).ngroup().to_numpy() for name in (group, "video"))
    label = rows["label"].to_numpy()
    used_g, used_v = (np.zeros(column.max(initial=-1) + 1, int) for column in (g, v))
    breadth = rows.groupby("label")[group].nunique().sort_values(kind="stable")
    drawn: list[int] = []
    for one in breadth.index:
        free = np.flatnonzero(label == one).tolist()
        within = np.zeros_like(used_g)
        for _ in range(min(each, len(free))):
            pick = min(free, key=lambda i: (used_g[g[i]], within[g[i]], used_v[v[i]], i))
            free.remove(pick)
            drawn.append(pick)
            for count, of in ((within, g), (used_g, g), (used_v, v)):
                count[of[pick]] += 1
    return rows.iloc[drawn]


def _shortfall(rows: pd.DataFrame, fine: Sequence[str], each: int) -> dict[str, int]:
    found = np.bincount(rows["label"], minlength=len(fine)).tolist()
    return {name: n for name, n in zip(fine, found, strict=True) if n < each}


def read_pictures(
    dataset: epath.PathLike, positions: Int[np.ndarray, " n"], *, side: int, quality: int
) -> Iterator[Pictures]:
    """Reads the clips at `positions` of a dataset's index and encodes each as `encode` does."""
    source = records.RecordSource(dataset, rows=positions)
    for position in range(len(source)):
        example = records.decode_example(source[position])
        frames = clips.decode_frames(example["frames"])
        yield encode(frames, fps=example["fps"], side=side, quality=quality)


def encode(
    frames: UInt8[np.ndarray, "t h w 3"], *, fps: float, side: int, quality: int
) -> Pictures:
    """Encodes the frames of a clip side by side.

    A clip whose shorter side is longer than `side` (px) is shrunk to it; the JPEGs' `quality` is
    from 1 to 100.
    """
    if min(frames.shape[1:3]) > side:
        frames = clips.resize_short_side(frames, side)
    n, height, width, _ = frames.shape
    tall, wide = (-(-size // _CELL) * _CELL for size in (height, width))
    # Repeats the edge, so that a frame's last block holds no step to black.
    frames = np.pad(frames, ((0, 0), (0, tall - height), (0, wide - width), (0, 0)), mode="edge")
    columns = min(n, max(1, _SHEET // wide), math.ceil(math.sqrt(n * tall / wide)))
    per_sheet = columns * min(-(-n // columns), max(1, _SHEET // tall))
    sheets = tuple(
        _encode_sheet(frames[start : start + per_sheet], columns, quality)
        for start in range(0, n, per_sheet)
    )
    return Pictures(
        name=hashlib.sha256(b"".join(sheets)).hexdigest()[:_NAME],
        sheets=sheets,
        frames=n,
        width=width,
        height=height,
        cell=(wide, tall),
        columns=columns,
        per_sheet=per_sheet,
        fps=float(fps),
    )


def _encode_sheet(frames: UInt8[np.ndarray, "t h w 3"], columns: int, quality: int) -> bytes:
    black = np.zeros((-len(frames) % columns, *frames.shape[1:]), np.uint8)
    cells = np.concatenate([frames, black])
    sheet = rearrange(cells, "(rows columns) h w c -> (rows h) (columns w) c", columns=columns)
    sheet = np.ascontiguousarray(sheet)
    return simplejpeg.encode_jpeg(sheet, quality=quality, colorsubsampling="420")
