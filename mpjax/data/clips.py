"""Transforms of clips, uint8 arrays [t, h, w, 3] in RGB, with numpy, OpenCV and libjpeg-turbo."""

import dataclasses
import math
from collections.abc import Sequence

import cv2
import numpy as np
import simplejpeg
from jaxtyping import Int, UInt8

# As torchvision's RandomResizedCrop: tries before a central crop is used.
_CROP_TRIES = 10


def decode_frames(
    frames: Sequence[bytes], out: UInt8[np.ndarray, "t h w 3"] | None = None
) -> UInt8[np.ndarray, "t h w 3"]:
    """Decodes JPEG frames of one size, RGB, to `out` if given.

    Raises:
        ValueError: a frame is no JPEG, or of another size than `out` or the first frame.
    """
    if out is None:
        out = np.empty((len(frames), *frame_size(frames[0]), 3), np.uint8)
    for frame, target in zip(frames, out, strict=True):
        try:
            # Plain upsampling of colour: a tenth faster, and the same pixels for grey video.
            decoded = simplejpeg.decode_jpeg(frame, buffer=target, fastupsample=True)
            fits = decoded.shape == target.shape
        except ValueError:  # no JPEG, or too large for the buffer
            fits = False
        if not fits:
            (height, width), (h, w) = frame_size(frame), target.shape[:2]  # raises for no JPEG
            raise ValueError(f"a frame is {width}x{height}, expected {w}x{h}")
    return out


def frame_size(frame: bytes) -> tuple[int, int]:
    """Returns height and width of a JPEG, px, from its header."""
    return simplejpeg.decode_jpeg_header(frame)[:2]


def resize(
    clip: UInt8[np.ndarray, "t h w 3"], *, height: int, width: int
) -> UInt8[np.ndarray, "t height width 3"]:
    """Resizes every frame; antialiased (area averages) when it shrinks, bilinear otherwise."""
    t, h, w, _ = clip.shape
    if (h, w) == (height, width):
        return clip
    method = cv2.INTER_AREA if height <= h and width <= w else cv2.INTER_LINEAR
    out = np.empty((t, height, width, 3), np.uint8)
    for source, target in zip(clip, out, strict=True):
        cv2.resize(source, (width, height), dst=target, interpolation=method)
    return out


def resize_short_side(
    clip: UInt8[np.ndarray, "t h w 3"], size: int
) -> UInt8[np.ndarray, "t h2 w2 3"]:
    """Resizes so that the shorter side is `size` px, keeping the aspect ratio."""
    height, width = short_side_size(clip.shape[1], clip.shape[2], size)
    return resize(clip, height=height, width=width)


def short_side_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Returns height and width, px, of a frame whose shorter side is resized to `size`."""
    scale = size / min(height, width)
    return max(size, round(height * scale)), max(size, round(width * scale))


def spatial_crops(
    clip: UInt8[np.ndarray, "t h w 3"], *, size: int, count: int
) -> list[UInt8[np.ndarray, "t size size 3"]]:
    """Cuts `count` squares, evenly spaced along the longer side; one: from the middle.

    The clip's short side is resized to `size` px first. Three crops are the published test views
    (arXiv 2106.13230, section 4.1). A square frame has a single distinct crop, returned once for
    any `count`.
    """
    clip = resize_short_side(clip, size)
    _, h, w, _ = clip.shape
    places = _spread(max(h, w) - size, count)
    return [clip[:, p : p + size] if h > w else clip[:, :, p : p + size] for p in places]


def _spread(slack: int, count: int) -> list[int]:
    """Returns up to `count` distinct, evenly spaced places from 0 to `slack`; one: the middle."""
    places = np.linspace(0, slack, count).round() if count > 1 else np.array([slack // 2])
    return np.unique(places.astype(int)).tolist()


def spread_evenly(total: int, count: int) -> Int[np.ndarray, " count"]:
    """Returns at most `count` distinct whole numbers, evenly spaced from 0 to `total` - 1."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).round().astype(int))


def check_frames(length: int, needed: int) -> None:
    """Raises ValueError for a clip of `length` frames that is shorter than `needed`."""
    if needed > length:
        raise ValueError(
            f"a clip of {length} frames is shorter than the {needed} that a view needs; "
            "config.video.frames must be at least config.projector.frames"
        )


def temporal_crop(
    clip: UInt8[np.ndarray, "t h w 3"], frames: int, start: int
) -> UInt8[np.ndarray, "frames h w 3"]:
    """Cuts `frames` consecutive frames from `start` on; raises ValueError if there are fewer."""
    check_frames(len(clip), start + frames)
    return clip[start : start + frames]


def random_temporal_crop(
    clip: UInt8[np.ndarray, "t h w 3"], frames: int, rng: np.random.Generator
) -> UInt8[np.ndarray, "frames h w 3"]:
    """Cuts `frames` consecutive frames from a start drawn uniformly."""
    start = int(rng.integers(0, max(0, len(clip) - frames) + 1))
    return temporal_crop(clip, frames, start)


def random_resized_crop(
    clip: UInt8[np.ndarray, "t h w 3"],
    size: int,
    rng: np.random.Generator,
    *,
    scale: tuple[float, float],
) -> UInt8[np.ndarray, "t size size 3"]:
    """Cuts a random rectangle, the same in all frames, and resizes it to a square of `size` px.

    Its share of the area is uniform within `scale`, its aspect ratio log-uniform from 3/4 to 4/3
    (Inception, arXiv 1409.4842).
    """
    _, h, w, _ = clip.shape
    for _ in range(_CROP_TRIES):
        area = h * w * rng.uniform(*scale)
        aspect = math.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3)))
        width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < width <= w and 0 < height <= h:
            y, x = int(rng.integers(0, h - height + 1)), int(rng.integers(0, w - width + 1))
            return resize(clip[:, y : y + height, x : x + width], height=size, width=size)
    return spatial_crops(clip, size=size, count=1)[0]


def random_flip(
    clip: UInt8[np.ndarray, "t h w 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "t h w 3"]:
    """Mirrors left and right with probability 0.5."""
    return clip[:, :, ::-1] if rng.random() < 0.5 else clip


@dataclasses.dataclass(frozen=True)
class Views:
    """The fixed test views of a clip, in this order: `clips` in time x `rotations` x `crops`."""

    size: int  # px, side of the square crops
    frames: int = 0  # per view; 0 takes the whole clip
    clips: int = 1  # views in time, evenly spaced over the clip; one: from its middle
    crops: int = 1  # views in space, see `spatial_crops`
    # 1 as filmed; 2 also rotated by 180 degrees; 4 by every right angle. For a camera above or
    # below, an animal's heading has no meaning, but a network responds to it.
    rotations: int = 1

    def __post_init__(self) -> None:
        if self.rotations not in (1, 2, 4):
            raise ValueError(f"projector.rotations must be 1, 2 or 4, got {self.rotations}")

    def count(self, frames: int, height: int, width: int) -> int:
        """Returns how many distinct views a clip of this shape has."""
        slack = max(short_side_size(height, width, self.size)) - self.size
        return len(self.starts(frames)) * self.rotations * len(_spread(slack, self.crops))

    def cut(self, clip: UInt8[np.ndarray, "t h w 3"]) -> list[UInt8[np.ndarray, "t2 size size 3"]]:
        """Cuts the views of `clip`; raises ValueError if it has fewer frames than a view."""
        squares = spatial_crops(clip, size=self.size, count=self.crops)
        frames = self.frames or len(clip)
        return [
            np.rot90(temporal_crop(square, frames, start), k * 4 // self.rotations, axes=(1, 2))
            for start in self.starts(len(clip))
            for k in range(self.rotations)
            for square in squares
        ]

    def starts(self, frames: int) -> list[int]:
        """Returns the first frame of each view in time, of a clip of so many frames."""
        return _spread(max(0, frames - (self.frames or frames)), self.clips)
