"""Boxes in an image: regions of interest, masks, timers and captions."""

import math
from collections.abc import Sequence
from typing import NamedTuple

# Pixels around a box that scaling mixes with it: its filter reaches one original pixel far, and
# subsampled colour one more; rounding may take one of the scaled image.
_MIXED_ORIGINAL, _MIXED_SCALED = 2, 1


class Box(NamedTuple):
    """A part of an image, px, from the upper left."""

    x: int
    y: int
    width: int
    height: int

    def __str__(self) -> str:
        """Returns the box as `x:y:w:h`, as `parse_roi` reads it."""
        return ":".join(map(str, self))

    def overlaps(self, other: "Box") -> bool:
        """Returns whether two boxes share a pixel."""
        across = self.x < other.x + other.width and other.x < self.x + self.width
        return across and self.y < other.y + other.height and other.y < self.y + self.height


def parse_roi(text: str) -> Box:
    """Reads a region `x:y:w:h` in px of the displayed image; ValueError if it is none or empty."""
    parts = text.split(":")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"roi {text!r}: expected x:y:w:h in whole pixels, e.g. 40:0:640:480")
    roi = Box(*map(int, parts))
    if not roi.width or not roi.height:
        raise ValueError(f"roi {text!r}: is empty; width and height must be at least 1")
    return roi


def check_within(roi: tuple[int, int, int, int], *, width: int, height: int) -> None:
    """Raises ValueError if a region of interest is not within the displayed image (px)."""
    x, y, w, h = roi
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
        raise ValueError(
            f"roi {x}:{y}:{w}:{h} reaches to {x + w} x {y + h} px, the image is {width} x "
            f"{height} px; correct the roi"
        )


def parse_mask(boxes: Sequence[str]) -> tuple[Box, ...]:
    """Reads the boxes `x:y:w:h` of `config.video.mask`; ValueError names all that are none."""
    parsed, faults = [], []
    for text in boxes:
        try:
            parsed.append(parse_roi(text))
        except ValueError as error:
            faults.append(f"config.video.mask: {error}".replace("roi ", "box ", 1))
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(parsed)


def scale_to_record(box: Box, roi: Box, size: tuple[int, int]) -> tuple[slice, slice]:
    """Returns the rows and columns of a scaled image to which a box of the original contributes.

    `box` and `roi`, the part that was scaled, are in px of the original; `size` is width and height
    of the scaled image, px.
    """
    spans = []
    for axis in (1, 0):
        scale = size[axis] / roi[axis + 2]
        start = box[axis] - roi[axis]
        first = math.floor((start - _MIXED_ORIGINAL) * scale) - _MIXED_SCALED
        last = math.ceil((start + box[axis + 2] + _MIXED_ORIGINAL) * scale) + _MIXED_SCALED
        spans.append(slice(min(max(first, 0), size[axis]), min(max(last, 0), size[axis])))
    return spans[0], spans[1]


def scale_to_original(box: Box, *, record: tuple[int, int], roi: Box) -> Box:
    """Returns the box in px of the displayed original, wider by a record's pixel on each side.

    `box` is in px of the records, whose height and width are `record`; `roi` is the part of the
    original that they show.
    """
    scale = roi.width / record[1], roi.height / record[0]
    left = max(0, int((box.x - 1) * scale[0]))
    top = max(0, int((box.y - 1) * scale[1]))
    right = min(roi.width, math.ceil((box.x + box.width + 1) * scale[0]))
    bottom = min(roi.height, math.ceil((box.y + box.height + 1) * scale[1]))
    return Box(roi.x + left, roi.y + top, right - left, bottom - top)
