"""What a recording shows without its animal: medians over time, and over recordings."""

from collections.abc import Sequence

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from mpjax.data import clips, records
from mpjax.data.scene.frames import read_spread

_FRAMES = 48  # of a recording, whose median is taken
_POOLED = 192  # of a camera, one per clip
_DENSEST = 1 / 12  # share of them whose mean is the chamber's
_LEAST_RECORDINGS = 3  # to distinguish a chamber from an animal in it
_UNLIKE = 10.0  # grey levels (of 255); pixels that differ by more show something else
_LEAST_ALIKE = 0.5  # share of the picture in which a recording must agree with its chamber
_MARGIN = 1 / 24  # of the shorter side: margin that is removed with the animal
_FITS = 5  # rounds of matching the light


def read_median(
    source: records.RecordSource, positions: Sequence[int], *, most: int = _FRAMES
) -> UInt8[np.ndarray, "h w 3"]:
    """Returns the median over time of a recording: its chamber without a moving animal.

    An animal that rests in one place for more than half of the time remains.

    `positions` are of its clips in `source.index`; `most` frames are spread evenly over these.
    """
    frames = read_spread(source, positions, frames=most)
    return np.median(frames, axis=0).round().astype(np.uint8)


def read_chamber(
    source: records.RecordSource, views: clips.Views, crop: int, *, height: int, width: int
) -> UInt8[np.ndarray, "size size 3"] | None:
    """Returns what a camera shows in most recordings, apart from their animals.

    For every pixel: the mean of the densest twelfth of its values in frames of all recordings of
    this size, scaled to one light. The chamber always looks the same and animals do not, so it is
    found even where there is an animal most of the time.

    The chamber is shown by crop number `crop` of `views`; `height` and `width` are of the
    recordings, px. Returns None if fewer than three recordings are of this size.

    Source: the mode's estimate by the shortest interval, Venter (1967),
        doi:10.1214/aoms/1177698699.
    """
    index = source.index
    fits = np.flatnonzero((index["height"] == height) & (index["width"] == width))
    chosen = clips.spread_evenly(len(fits), _POOLED)
    repeats = index["video"].iloc[fits[chosen]].value_counts()
    if len(repeats) < _LEAST_RECORDINGS:
        return None
    frames = []
    for position in fits[chosen].tolist():
        jpegs = records.decode_example(source[position])["frames"]
        frames.append(cut(clips.decode_frames([jpegs[len(jpegs) // 2]])[0], views, crop))
    middle = np.median(np.stack(frames), axis=0).round().astype(np.uint8)
    lit = np.stack([_match_light(frame, middle) for frame in frames]).astype(np.float32)
    grey = lit.mean(axis=-1)
    # More than any one recording contributes, as its animal may rest in one place.
    count = max(round(_DENSEST * len(lit)), 1 + int(repeats.max()))
    ordered = np.sort(grey, axis=0)
    lowest = (ordered[count - 1 :] - ordered[: len(lit) - count + 1]).argmin(axis=0)
    low, high = (np.take_along_axis(ordered, k[None], 0) for k in (lowest, lowest + count - 1))
    within = ((grey >= low) & (grey <= high))[..., None]
    return ((lit * within).sum(axis=0) / within.sum(axis=0)).round().astype(np.uint8)


def remove_animal(
    median: UInt8[np.ndarray, "h w 3"], chamber: UInt8[np.ndarray, "h w 3"]
) -> tuple[UInt8[np.ndarray, "h w 3"], bool]:
    """Replaces the parts of a recording's median that differ from the chamber by the chamber.

    The chamber is scaled to the recording's light first. Anything that stays in one place
    throughout one recording, and is in no other, counts as the resting animal.

    Returns:
        The background, and whether the chamber was used: the median is returned unchanged if the
        two agree in less than half of the image (another camera).
    """
    fitted = _match_light(chamber, median)
    apart = np.abs(fitted - median).mean(axis=-1)
    unlike = (apart > _UNLIKE).astype(np.uint8)
    if unlike.mean() > 1 - _LEAST_ALIKE:
        return median, False
    size = 2 * max(1, round(_MARGIN * min(unlike.shape))) + 1
    kernel = np.ones((size, size), np.uint8)
    unlike = cv2.dilate(cv2.morphologyEx(unlike, cv2.MORPH_OPEN, np.ones((2, 2), np.uint8)), kernel)
    share = cv2.blur(unlike.astype(np.float32), (size, size))[..., None]  # no hard edges
    share = np.maximum(share, unlike[..., None])
    return (median + share * (fitted - median)).round().astype(np.uint8), True


def _match_light(
    chamber: UInt8[np.ndarray, "h w 3"], median: UInt8[np.ndarray, "h w 3"]
) -> Float[np.ndarray, "h w 3"]:
    """Scales and shifts the chamber's grey levels to those of the median, by least squares.

    Each round leaves out the half of the pixels that fitted worse, such as the animal (least
    trimmed squares, Rousseeuw 1984, doi:10.1080/01621459.1984.10477105).
    """
    x, y = (picture.mean(axis=-1).ravel() for picture in (chamber, median))
    used = np.ones(len(x), bool)
    gain, shift = 1.0, 0.0
    for _ in range(_FITS):
        spread = x[used].var()
        gain = float(np.cov(x[used], y[used])[0, 1] / spread) if spread > 1 else 1.0
        gain = float(np.clip(gain, 0.25, 4.0))
        shift = float(y[used].mean() - gain * x[used].mean())
        residual = np.abs(y - gain * x - shift)
        used = residual <= np.median(residual)
    return np.clip(gain * chamber.astype(np.float64) + shift, 0, 255)


def cut(
    picture: UInt8[np.ndarray, "h w 3"], views: clips.Views, crop: int
) -> UInt8[np.ndarray, "size size 3"]:
    """Crops and resizes one frame as `views` does, by the number of the crop in space."""
    return clips.spatial_crops(picture[None], size=views.size, count=views.crops)[crop][0]
