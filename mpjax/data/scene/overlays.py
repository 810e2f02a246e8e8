"""Finds what a recorder has written into the picture: timers, and captions that do not change.

A timer, or a lamp that blinks, is a small part of the picture that changes suddenly and strongly at
a regular rate, and not at all in between, while nothing changes around it. A caption is a row of
small, thin, sharp signs of one height and one shade that never change. Both can identify a
recording's session; their text is not read.
"""

import dataclasses
import itertools
from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from mpjax.data.boxes import Box
from mpjax.data.scene.frames import Sample

SLOWEST_FPS = 10.0  # below, an animal's changes between frames look like a timer's
_STEP, _QUIET = 20, 8  # grey levels: a change that counts, and the limit of no change
_JUMP = 40  # of the largest change of a step
_LEAST_PIXELS = 12
_HIGHEST, _WIDEST = 0.15, 0.4  # of the picture
_LEAST_STEPS = 4
_REGULAR = 0.7  # mean resultant length of the steps' phases
_PERIODS_S = (1.0, 0.5, 0.1)  # timers change every second or tenth; else by the median interval
_SIGN_HEIGHT = (5, 24)  # px
_SIGNS = 4  # in a row, at least
_CONTRAST = 40
_STEADY = 16  # grey levels within which a caption's pixels stay over the recording


def find_timers(sample: Sample) -> list[Box] | str:
    """Returns the boxes of a recording's timers; or why no search is possible."""
    if sample.fps < SLOWEST_FPS:
        return (
            f"no search for timers at {sample.fps:g} frames/s: it needs {SLOWEST_FPS:g}, because "
            "everything changes between frames that are further apart"
        )
    runs = sample.runs.astype(np.int16)
    if runs.shape[1] < 8:
        return f"no search for timers in runs of {runs.shape[1]} frames: it needs 8"
    change = np.abs(np.diff(runs, axis=1)).max(-1)  # runs, t - 1, h, w
    stepped, still = np.asarray(change > _STEP), np.asarray(change < _QUIET)
    # A pixel of a digit changes now and then, and strongly; otherwise it is still.
    candidates = stepped.any((0, 1)) & (still.mean((0, 1)) > 0.4)
    candidates &= (stepped | still).mean((0, 1)) > 0.97
    frames = sample.runs.reshape(-1, *sample.runs.shape[2:])
    return [
        _whole_line(box, frames)
        for own, box in _parts(candidates, reach=max(2, change.shape[2] // 64))
        if _is_timer(own, box, change, sample)
    ]


def _whole_line(box: Box, frames: UInt8[np.ndarray, "frames h w 3"]) -> Box:
    """Widens the box of the digits that changed to the signs next to them, such as a unit."""
    top, bottom = max(0, box.y - 1), min(frames.shape[1], box.y + box.height + 1)
    contrast = np.maximum(*_contrasts(frames))
    inked: np.ndarray = np.asarray((contrast[top:bottom] > _CONTRAST).max(axis=0))
    left, right = box.x, box.x + box.width
    farthest = 12 * box.height
    for _ in range(farthest):
        nearer = inked[max(0, left - box.height) : left]
        further = inked[right : right + box.height]
        if nearer.any() and box.x - left < farthest:
            left -= len(nearer) - int(np.flatnonzero(nearer)[0])
        elif further.any() and right - box.x - box.width < farthest:
            right += int(np.flatnonzero(further)[-1]) + 1
        else:
            break
    return Box(left, top, right - left, bottom - top)


def _contrasts(frames: UInt8[np.ndarray, "frames h w 3"]) -> list[UInt8[np.ndarray, "h w"]]:
    """Returns by how much light and dark signs differ from their surroundings, grey levels."""
    middle = np.median(frames, axis=0).astype(np.uint8)
    images = (middle.max(-1), 255 - middle.min(-1))
    return [cv2.subtract(image, cv2.medianBlur(image, 21)) for image in images]


def _parts(mask: Bool[np.ndarray, "h w"], *, reach: int) -> list[tuple[np.ndarray, Box]]:
    """Joins pixels less than `reach` apart; returns pixels and box of the small parts."""
    kernel = np.ones((reach, 2 * reach + 1), np.uint8)
    count, label = cv2.connectedComponents(cv2.dilate(mask.astype(np.uint8), kernel))
    highest, widest = _HIGHEST * mask.shape[0], _WIDEST * mask.shape[1]
    parts = []
    for i in range(1, count):
        own = (label == i) & mask
        box = Box(*cv2.boundingRect(own.astype(np.uint8)))
        if own.sum() >= _LEAST_PIXELS and box.height <= highest and box.width <= widest:
            parts.append((own, box))
    return parts


def _is_timer(
    own: Bool[np.ndarray, "h w"], box: Box, change: Int[np.ndarray, "runs t h w"], sample: Sample
) -> bool:
    """Returns whether a part changes as a whole, at a regular rate, in quiet surroundings."""
    jumping = (change[:, :, own] > _STEP).sum(-1)  # pixels per run and frame
    steps = (jumping >= 0.15 * own.sum()) & (change[:, :, own].max(-1) >= _JUMP)
    times = [
        float(start + t) / sample.fps
        for start, run in zip(sample.starts, steps, strict=True)
        for t in np.flatnonzero(run) + 1
    ]
    with_steps = steps.any(1).sum()
    if len(times) < _LEAST_STEPS or with_steps < min(2, len(steps)) or steps.mean() > 0.6:
        return False
    inner = change[:, :, box.y : box.y + box.height, box.x : box.x + box.width]
    between = inner.max((2, 3))[~steps]
    around = _ring_change(change, box)
    if np.median(between) >= _QUIET or np.mean(around < 1.5 * _QUIET) < 0.8:
        return False
    return _is_regular(np.array(times), sample.fps)


def _ring_change(change: Int[np.ndarray, "runs t h w"], box: Box) -> Float[np.ndarray, " frames"]:
    """Returns the largest change around a box per frame, at a margin from blurred edges."""
    near, far = 2, 2 + max(3, box.height // 2)
    outer = np.zeros(change.shape[2:], bool)
    for margin, inside in ((far, True), (near, False)):
        rows = slice(max(0, box.y - margin), box.y + box.height + margin)
        outer[rows, max(0, box.x - margin) : box.x + box.width + margin] = inside
    return np.percentile(change[:, :, outer].astype(float), 98, axis=-1).ravel()


def _is_regular(times_s: Float[np.ndarray, " steps"], fps: float) -> bool:
    """Returns whether steps are regular: their phases agree, for one of the usual periods.

    Source: the mean resultant length; Mardia & Jupp, Directional Statistics (2000), ch. 2.
    """
    interval = np.diff(times_s)
    periods = (*_PERIODS_S, float(np.median(interval)))
    for period in (p for p in periods if p * fps >= 2):  # it must last two frames to be seen
        phase = np.exp(2j * np.pi * times_s / period)
        whole = np.rint(interval / period) >= 1  # no two steps within half a period
        if abs(phase.mean()) >= _REGULAR and whole.mean() > 0.8:
            return True
    return False


def find_captions(spread: UInt8[np.ndarray, "frames h w 3"]) -> list[Box]:
    """Finds captions that do not change over a recording, in frames spread over it."""
    low, high = np.percentile(spread, [10, 90], axis=0)
    steady = (high - low).max(-1) <= _STEADY
    return [
        _enclose([sign.box for sign in row])
        for contrast in _contrasts(spread)
        for row in _rows(_signs((contrast > _CONTRAST) & steady, contrast))
    ]


@dataclasses.dataclass(frozen=True)
class _Sign:
    box: Box
    shade: float  # contrast of its strokes
    letters: int  # it may consist of: small ones run into each other


def _signs(mask: Bool[np.ndarray, "h w"], contrast: UInt8[np.ndarray, "h w"]) -> list[_Sign]:
    """Returns connected parts that could be letters, or several: small, of thin strokes."""
    count, label, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8))
    signs = []
    for i in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[i])
        if not _SIGN_HEIGHT[0] <= height <= _SIGN_HEIGHT[1] or width > 12 * height:
            continue
        own = (label[y : y + height, x : x + width] == i).astype(np.uint8)
        reach = cv2.distanceTransform(np.pad(own, 1), cv2.DIST_L2, 3).max()
        stroke = 2 * float(reach) - 1
        filled = area > 0.75 * width * height and width > 2.5 * stroke
        if stroke > max(3.2, 0.3 * height) or filled:
            continue
        letters = 1 if width <= 1.6 * height else round(width / (0.9 * height))
        strokes = int((np.diff(own[height // 2], prepend=0) == 1).sum())  # across the middle
        if letters > 1 and strokes < letters:
            continue
        shade = float(np.percentile(contrast[label == i], 80))
        signs.append(_Sign(Box(x, y, width, height), shade, letters))
    return signs


def _rows(signs: list[_Sign]) -> list[list[_Sign]]:
    """Joins signs to rows of one height, line and shade."""
    rows: list[list[_Sign]] = []
    for sign in sorted(signs, key=lambda each: each.box.x):
        for row in rows:
            last = row[-1].box
            gap = sign.box.x - (last.x + last.width)
            height = max(last.height, sign.box.height)
            if (
                -1 <= gap <= 1.2 * height
                and abs(last.height - sign.box.height) <= max(1, 0.25 * height)
                and abs(last.y + last.height - sign.box.y - sign.box.height) <= max(1, 0.2 * height)
                and abs(row[-1].shade - sign.shade) <= 0.3 * max(row[-1].shade, sign.shade)
            ):
                row.append(sign)
                break
        else:
            rows.append([sign])
    return [row for row in rows if sum(s.letters for s in row) >= _SIGNS and _is_text(row)]


def _is_text(row: list[_Sign]) -> bool:
    """Returns whether signs differ in width and stand close, unlike the posts of a fence."""
    if len(row) == 1:
        return True
    widths = [sign.box.width for sign in row]
    gaps = [b.box.x - a.box.x - a.box.width for a, b in itertools.pairwise(row)]
    return bool(np.ptp(widths) >= 1 and np.median(gaps) <= 0.6 * row[0].box.height)


def _enclose(boxes: Sequence[Box]) -> Box:
    left, top = min(box.x for box in boxes), min(box.y for box in boxes)
    right = max(box.x + box.width for box in boxes)
    bottom = max(box.y + box.height for box in boxes)
    return Box(left, top, right - left, bottom - top)
