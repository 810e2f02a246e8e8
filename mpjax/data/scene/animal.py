"""Separates the animal from its background, and clears the background of animals that sat still.

The background of a recording is the median of its frames over time. It contains the animal itself
if that sat in one place most of the time (a ghost), which is behaviour and not scene. Ghosts are
therefore found by comparison with other recordings: what differs from their common background, has
an animal's size and lies where something moved, is replaced by the common background in this
recording's light. An object that only some recordings show, where their animals moved, is replaced
too: it cannot be distinguished from an animal.
"""

import dataclasses
import itertools

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from mpjax.data.clips import spread_evenly

KEPT = 8  # frames of a recording that are kept to measure the animal's size and place
_LEAST_CONTRAST = 8.0  # grey levels by which an animal differs from its background
_NOISES = 4.0  # and so many standard deviations of the noise
_PART = 0.35  # and this part of the strongest difference, the threshold that adapts
_SMALLEST, _LARGEST = 0.002, 0.4  # of the picture, an animal's area
ROAMED = 0.25  # of the picture that an animal must have covered for its median to be free of it
_GHOST_CONTRAST, _GHOST_NOISES = 8.0, 4.0
_REFERENCES, _LEAST_REFERENCES = 200, 4  # recordings that make a common background
_ALIKE = 0.7  # correlation with the common background from which two scenes count as one
_BLOCKS = 8  # per side; the light is compared by their medians
_TRUSTED = 0.6  # share of the blocks that the light is fitted to


@dataclasses.dataclass(frozen=True)
class Watched:
    """The frames of one recording compared with their median."""

    background: Float[np.ndarray, "h w"]  # the median over time, grey
    moved: Bool[np.ndarray, "h w"]  # where something differed from it in any frame
    kept: UInt8[np.ndarray, "kept h w"]  # some of the frames


@dataclasses.dataclass(frozen=True)
class Animal:
    """The animal in one frame."""

    area: float  # share of the picture
    place: tuple[float, float]  # of its centre, as a share of width and height
    contrast: float  # mean difference from the background, grey levels


def watch(grey: UInt8[np.ndarray, "frames h w"], *, noise: float) -> Watched:
    """Finds the background of a recording, and where something moved in front of it.

    `grey` are frames spread over the recording; `noise` is the sd between frames, grey levels.
    """
    background = np.median(grey, axis=0).astype(np.float32)
    moved = np.zeros(background.shape, bool)
    for frame in grey:
        if (part := _animal_part(frame, background, noise=noise)) is not None:
            moved |= part
    return Watched(background, _widen(moved, 2), grey[spread_evenly(len(grey), KEPT)])


def _animal_part(
    frame: UInt8[np.ndarray, "h w"], background: Float[np.ndarray, "h w"], *, noise: float
) -> Bool[np.ndarray, "h w"] | None:
    """Returns the largest part that differs from the background, if of a possible size."""
    difference = cv2.GaussianBlur(np.abs(frame - background), (3, 3), 0)
    brightest = max(1, difference.size // 200)
    strongest = float(np.partition(difference.ravel(), -brightest)[-brightest])
    threshold = max(_LEAST_CONTRAST, _NOISES * noise, _PART * strongest)
    mask = (difference > threshold).astype(np.uint8)
    mask = cv2.morphologyEx(mask, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, label, stats, _ = cv2.connectedComponentsWithStats(mask)
    areas = stats[1:, cv2.CC_STAT_AREA]
    if count < 2 or not _SMALLEST * mask.size <= areas.max() <= _LARGEST * mask.size:
        return None
    return label == 1 + int(np.argmax(areas))


def find_animals(watched: Watched, background: Float[np.ndarray, "h w"]) -> list[Animal]:
    """Finds the animal in the frames kept, against the cleared background."""
    found = []
    height, width = background.shape
    for frame in watched.kept:
        part = _animal_part(frame, background, noise=0.0)
        if part is not None:
            rows, columns = np.nonzero(part)
            place = (float(columns.mean() + 0.5) / width, float(rows.mean() + 0.5) / height)
            contrast = float((frame - background)[part].mean())
            found.append(Animal(len(rows) / part.size, place, contrast))
    return found


def _widen(mask: Bool[np.ndarray, "h w"], px: int) -> Bool[np.ndarray, "h w"]:
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * px + 1, 2 * px + 1))
    return cv2.dilate(mask.astype(np.uint8), kernel).astype(bool)


@dataclasses.dataclass(frozen=True)
class Common:
    """What the backgrounds of several recordings have in common."""

    background: Float[np.ndarray, "h w"]  # grey
    polarity: int  # 1: animals are lighter than it, -1: darker, 0: neither


def common_background(backgrounds: list[Float[np.ndarray, "h w"]]) -> Common | None:
    """Returns the common background of recordings, scaled to one brightness; None if too few.

    If animals are lighter than the background, ghosts lengthen the upper tail of a pixel's values
    over the recordings, and the lower decile is free of them even if nine in ten animals sat in one
    place; if darker, the other way round; else the median is used.
    """
    if len(backgrounds) < _LEAST_REFERENCES:
        return None
    stack = np.stack([backgrounds[i] for i in spread_evenly(len(backgrounds), _REFERENCES)])
    level = np.maximum(np.median(stack, axis=(1, 2)), 1.0)
    stack *= (np.median(level) / level)[:, None, None].astype(np.float32)
    low, middle, high = np.percentile(stack, [10, 50, 90], axis=0)
    upper, lower = float((stack.max(0) - middle).mean()), float((middle - stack.min(0)).mean())
    polarity = 1 if upper > 1.5 * lower else -1 if lower > 1.5 * upper else 0
    return Common({1: low, -1: high, 0: middle}[polarity].astype(np.float32), polarity)


def clear(
    watched: Watched, common: Common | None
) -> tuple[Float[np.ndarray, "h w"], Bool[np.ndarray, "h w"]] | None:
    """Replaces ghosts in a recording's background by the common one in the recording's light.

    Returns the background and where it was replaced; None if `common` does not resemble it.
    """
    if common is None:
        return None
    background = watched.background
    expected = _relight(common.background, background)
    rest = background - expected
    usual = np.abs(rest) <= np.quantile(np.abs(rest), 0.75)
    if np.std(expected[usual]) == 0 or np.std(background[usual]) == 0:
        return None
    if np.corrcoef(expected[usual], background[usual])[0, 1] < _ALIKE:
        return None
    spread = 1.4826 * float(np.median(np.abs(rest - np.median(rest))))
    signed = common.polarity * rest if common.polarity else np.abs(rest)
    strange = signed > max(_GHOST_CONTRAST, _GHOST_NOISES * spread)
    ghost = _ghosts(strange, watched.moved)
    return np.where(ghost, expected, background), ghost


def _ghosts(
    strange: Bool[np.ndarray, "h w"], moved: Bool[np.ndarray, "h w"]
) -> Bool[np.ndarray, "h w"]:
    """Keeps parts of an animal's size where something moved; if there are none, the largest."""
    whole = cv2.morphologyEx(strange.astype(np.uint8), cv2.MORPH_CLOSE, np.ones((5, 5), np.uint8))
    count, label, stats, _ = cv2.connectedComponentsWithStats(whole)
    sizes = stats[:, cv2.CC_STAT_AREA] / strange.size
    fitting = [i for i in range(1, count) if _SMALLEST / 2 <= sizes[i] <= _LARGEST]
    largest = sorted(fitting, key=lambda i: -sizes[i])[:1]
    kept = [i for i in fitting if moved[label == i].any()] or largest
    return _widen(np.isin(label, kept), 3) if kept else np.zeros(strange.shape, bool)


def _relight(
    common: Float[np.ndarray, "h w"], background: Float[np.ndarray, "h w"]
) -> Float[np.ndarray, "h w"]:
    """Scales the common background to the light of a recording.

    A plane is fitted to the ratio of the two by blocks; least trimmed squares, started at the
    median, leave out blocks with an animal (Rousseeuw 1984, doi:10.1080/01621459.1984.10477105).
    """
    height, width = common.shape
    rows, columns = (np.array_split(np.arange(side), _BLOCKS) for side in (height, width))
    points, ratios = [], []
    for row, column in itertools.product(rows, columns):
        block = np.ix_(row, column)
        points.append((1.0, row.mean() / height - 0.5, column.mean() / width - 0.5))
        ratios.append((np.median(background[block]) + 1) / (np.median(common[block]) + 1))
    design, ratio = np.array(points), np.array(ratios)
    miss = np.abs(ratio - np.median(ratio))
    for _ in range(6):
        kept = miss <= np.quantile(miss, _TRUSTED)
        plane = np.linalg.lstsq(design[kept], ratio[kept], rcond=None)[0]
        miss = np.abs(design @ plane - ratio)
    y = (np.arange(height) + 0.5) / height - 0.5
    x = (np.arange(width) + 0.5) / width - 0.5
    light = plane[0] + plane[1] * y[:, None] + plane[2] * x
    return ((common + 1) * light - 1).astype(np.float32)
