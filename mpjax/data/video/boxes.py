"""Boxes in a picture: regions of interest, and what is masked."""

import math
from collections.abc import Sequence

Roi = tuple[int, int, int, int]  # x, y, width, height in px of the displayed picture

# Pixels around a box that scaling mixes with it: its filter reaches one original pixel far, and
# subsampled colour one more; rounding may take one of the finished picture.
_MIXED_ORIGINAL, _MIXED_FINISHED = 2, 1


def parse_roi(text: str) -> Roi:
    """Reads a region of interest written as `x:y:w:h`, in px of the displayed picture.

    Raises:
        ValueError: it is not four whole numbers, or is empty or starts outside of the picture.
    """
    parts = text.split(":")
    if len(parts) != 4 or not all(part.strip().isdecimal() for part in parts):
        raise ValueError(f"roi {text!r}: expected x:y:w:h in whole pixels, e.g. 40:0:640:480")
    x, y, width, height = (int(part) for part in parts)
    if not width or not height:
        raise ValueError(f"roi {text!r}: is empty; width and height must be at least 1")
    return x, y, width, height


def check_within(roi: Roi, *, width: int, height: int) -> None:
    """Raises ValueError where a region of interest is not within the displayed picture (px)."""
    x, y, w, h = roi
    if x < 0 or y < 0 or w < 1 or h < 1 or x + w > width or y + h > height:
        raise ValueError(
            f"roi {x}:{y}:{w}:{h} reaches to {x + w} x {y + h} px, the picture is {width} x "
            f"{height} px; correct the roi"
        )


def parse_mask(boxes: Sequence[str]) -> tuple[Roi, ...]:
    """Reads the boxes of `config.video.mask`, each written as `x:y:w:h`.

    Raises:
        ValueError: some are not; all of them are named.
    """
    parsed, faults = [], []
    for text in boxes:
        try:
            parsed.append(parse_roi(text))
        except ValueError as error:
            faults.append(f"config.video.mask: {error}".replace("roi ", "box ", 1))
    if faults:
        raise ValueError("; ".join(faults))
    return tuple(parsed)


def reach(box: Roi, roi: Roi, size: tuple[int, int]) -> tuple[slice, slice]:
    """Returns the rows and columns of a scaled picture that a box of the original has a part in.

    Args:
        box: in px of the original.
        roi: what of the original is in the scaled picture.
        size: width and height of that, px.
    """
    spans = []
    for axis in (1, 0):
        scale = size[axis] / roi[axis + 2]
        start = box[axis] - roi[axis]
        first = math.floor((start - _MIXED_ORIGINAL) * scale) - _MIXED_FINISHED
        last = math.ceil((start + box[axis + 2] + _MIXED_ORIGINAL) * scale) + _MIXED_FINISHED
        spans.append(slice(min(max(first, 0), size[axis]), min(max(last, 0), size[axis])))
    return spans[0], spans[1]
