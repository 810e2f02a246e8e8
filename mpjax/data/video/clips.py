"""Clips of RGB frames from a video: resampling in time, region of interest, mask, size.

Frames are read one by one, so memory does not grow with a recording's length.
"""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

import av
import av.filter
import numpy as np
from av.video.reformatter import Interpolation, VideoReformatter
from etils import epath
from jaxtyping import UInt8

from mpjax.config import VideoConfig
from mpjax.data.boxes import Box, check_within, parse_mask, scale_to_record
from mpjax.data.video.decode import VideoError, decode, probe

# A frame counts as on screen from this share of a mean frame interval before its timestamp:
# containers round timestamps (mkv to 1 ms) and cameras jitter, and without slack reading a 30 Hz
# file at 30 Hz would repeat and drop frames. No usual ratio of rates ends in .13 or .87.
_SLACK = 0.13
_LONGEST_GAP_S = 3600.0  # a longer gap between two frames is a broken clock, not a still scene
_EXACT = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.BITEXACT


@dataclasses.dataclass(frozen=True)
class Clip:
    """A run of consecutive frames of one recording."""

    start_frame: int  # on the timeline of the clip's own rate
    start_s: float  # after the recording's first frame
    fps: float  # Hz
    frames: UInt8[np.ndarray, "t h w 3"]
    padded_frames: int  # how many at the end repeat the recording's last frame


def read_clips(
    path: epath.PathLike,
    *,
    config: VideoConfig,
    recorded_fps: float = 0.0,
    roi: Box | None = None,
) -> Iterator[Clip]:
    """Reads a video's clips: `config.frames` frames each, one starting every `config.stride`.

    A recording shorter than one clip gives one clip in which its last frame is repeated, as
    `padded_frames` says. The incomplete clip at the end of a longer recording is left out. In a
    damaged recording, the clips before the damage come first and then the error.

    Time: frame k is the one on screen k / `config.fps` seconds after the first frame, that is the
    last one whose timestamp is not later (by more than 0.13 mean frame intervals). Frames are
    repeated or dropped as needed, so that a variable frame rate becomes a constant one. A frame
    whose timestamp is missing, or not later than that of the frame before, is taken to follow that
    frame by a mean interval.

    Space: the region of interest is cut out, then its short side is scaled to `config.short_side`,
    by area averaging when it shrinks and bilinearly when it grows, so that all recordings of a
    cohort have one size. The long side keeps the aspect, rounded to the nearest pixel, halves up.
    Frames are rotated and mirrored as the file's display matrix says.

    Mask: a box is black (0) in every frame of every recording. Boxes are widened by the pixels
    that scaling mixes with their own.

    Colour follows the file's own tags; untagged files are read as FFmpeg does: BT.601 matrix,
    limited range, but full range for gray and "yuvj" formats.

    Args:
        path: local, or any path that epath opens (`gs://…`).
        config: length, rate (Hz; 0: every frame as it comes), stride and size (px; 0: as it is) of
            clips, and boxes to mask, in px of the displayed image.
        recorded_fps: Hz; above 0 it overrides the file's timestamps: frame i is at i/recorded_fps.
        roi: in px of the displayed image, as from `parse_roi`.

    Raises:
        VideoError: as `probe` and `decode`; or the image changes size, or does not hold `roi` or
            a box of the mask.
        ValueError: `recorded_fps` is negative, or a box of the mask cannot be read.
    """
    picture = _Picture(path, config, roi=roi)
    mean_fps = probe(path).fps
    fps = config.fps or recorded_fps or mean_fps
    window: collections.deque[tuple[float, np.ndarray]] = collections.deque()
    index = 0
    for k, (time_s, frame) in enumerate(_timeline(path, config.fps, recorded_fps, mean_fps)):
        if k < index * config.stride:
            continue  # in the gap between two clips: never converted
        window.append((time_s, picture(frame)))
        if len(window) == config.frames:
            yield _clip(window, index * config.stride, fps)
            index += 1
            for _ in range(min(config.stride, config.frames)):
                window.popleft()
    if index == 0:
        padded = config.frames - len(window)
        window.extend([window[-1]] * padded)
        yield _clip(window, 0, fps, padded=padded)


def _clip(
    window: Iterable[tuple[float, np.ndarray]], start: int, fps: float, *, padded: int = 0
) -> Clip:
    times_s, frames = zip(*window, strict=True)
    return Clip(start, times_s[0], fps, np.stack(frames), padded)


def _timeline(
    path: epath.PathLike, target_fps: float, recorded_fps: float, mean_fps: float
) -> Iterator[tuple[float, av.VideoFrame]]:
    """Yields (seconds after the first frame, frame not yet converted) at the target rate."""
    if recorded_fps < 0:
        raise ValueError(f"recorded {recorded_fps} fps: must not be negative")
    interval = 1 / (recorded_fps or mean_fps)
    frames = decode(path, interval=1 / mean_fps)
    timed = _stamped_time(frames, interval)
    if recorded_fps:
        timed = ((i * interval, (i + 1) * interval, frame) for i, frame in enumerate(frames))
    if not target_fps:
        yield from ((time_s, frame) for time_s, _, frame in timed)
        return
    k, end_s = 0, 0.0
    shown: av.VideoFrame | None = None
    for time_s, until_s, frame in timed:
        if time_s - end_s > _LONGEST_GAP_S:
            raise VideoError(
                f"{path}: its timestamps jump from {end_s:.0f} to {time_s:.0f} s; give its true "
                "frame rate (column fps of the cohort)"
            )
        while shown is not None and k / target_fps < time_s - _SLACK * interval:
            yield k / target_fps, shown
            k += 1
        shown, end_s = frame, until_s
    while shown is not None and k / target_fps < end_s - _SLACK * interval:
        yield k / target_fps, shown
        k += 1


def _stamped_time(
    frames: Iterator[av.VideoFrame], interval: float
) -> Iterator[tuple[float, float, av.VideoFrame]]:
    """Yields (start, end, frame) by the frames' timestamps, in s after the first frame."""
    origin: float | None = None
    time_s = -interval
    for frame in frames:
        expected = time_s + interval
        stamp = frame.time
        if stamp is not None and origin is None:
            origin = stamp - expected
        elapsed = time_s if stamp is None or origin is None else stamp - origin
        time_s = elapsed if elapsed > time_s else expected
        lasts = float((frame.duration or 0) * (frame.time_base or 0))
        yield time_s, time_s + (lasts or interval), frame


class _Picture:
    """Converts decoded frames to RGB: cropped, scaled and rotated, in the cheapest order.

    Scaling happens on the coded planes, before the conversion to RGB: from 1920x1080 to 455x256
    this is four times as fast as RGB first and then `cv2.INTER_AREA`, and as accurate (mean error
    0.1 of 255). All frames must have the format of the first.
    """

    def __init__(self, path: epath.PathLike, config: VideoConfig, *, roi: Box | None = None):
        self._path = path
        self._mask = parse_mask(config.mask)
        self._short_side = config.short_side
        self._roi = roi
        self._reformatter = VideoReformatter()
        self._coded: tuple[int, int, str] | None = None
        self._last: av.VideoFrame | None = None

    def __call__(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        """Converts a frame; a frame shown again costs nothing."""
        if frame is not self._last:
            self._last, self._rgb = frame, self._convert(frame)
        return self._rgb

    def _convert(self, frame: av.VideoFrame) -> UInt8[np.ndarray, "h w 3"]:
        coded = (frame.width, frame.height, frame.format.name)
        if self._coded is None:
            self._coded = coded
            self._plan(frame)
        if coded != self._coded:
            raise VideoError(
                f"{self._path}: its image changes from {self._coded} to {coded}; split it there"
            )
        if self._crop is not None:
            self._crop.vpush(frame)
            frame = self._crop.vpull()
        width, height = self._size
        shrinks = width < frame.width
        rgb: np.ndarray = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format="rgb24",
            interpolation=_EXACT | (Interpolation.AREA if shrinks else Interpolation.BILINEAR),
            threads=1,  # the bytes must not depend on the number of cores
        ).to_ndarray()
        if self._transpose:
            rgb = rgb.transpose(1, 0, 2)
        rgb = np.ascontiguousarray(rgb[:: self._step_y, :: self._step_x])
        for rows, columns in self._blackened:
            rgb[rows, columns] = 0
        return rgb

    def _plan(self, frame: av.VideoFrame) -> None:
        self._transpose, self._step_y, self._step_x = _orientation(frame)
        width, height = frame.width, frame.height
        self._crop: av.filter.Graph | None = None
        if self._roi is not None:
            roi = self._coded_roi(self._roi, width, height)
            width, height, self._crop = roi.width, roi.height, _crop_graph(frame, roi)
        if self._short_side:
            size, short = self._short_side, min(width, height)
            width, height = ((2 * side * size + short) // (2 * short) for side in (width, height))
        self._size = width, height
        self._blackened = [self._blackened_part(box, frame) for box in self._mask]

    def _blackened_part(self, box: Box, frame: av.VideoFrame) -> tuple[slice, slice]:
        """Returns rows and columns of the scaled image that a box of the mask covers."""
        shown, size = (frame.width, frame.height), self._size
        if self._transpose:
            shown, size = shown[::-1], size[::-1]
        if box.x + box.width > shown[0] or box.y + box.height > shown[1]:
            raise VideoError(
                f"{self._path}: box {box} of config.video.mask reaches beyond the image of "
                f"{shown[0]} x {shown[1]} px; correct the box"
            )
        return scale_to_record(box, self._roi or Box(0, 0, *shown), size)

    def _coded_roi(self, roi: Box, width: int, height: int) -> Box:
        """Converts a ROI of the displayed image to one of the coded image of this size."""
        x, y, w, h = roi
        if self._transpose:
            width, height = height, width
        try:
            check_within(roi, width=width, height=height)
        except ValueError as error:
            raise VideoError(f"{self._path}: {error}") from None
        x = width - x - w if self._step_x < 0 else x
        y = height - y - h if self._step_y < 0 else y
        return Box(y, x, h, w) if self._transpose else Box(x, y, w, h)


def _orientation(frame: av.VideoFrame) -> tuple[bool, int, int]:
    """Returns (transpose, step along y, step along x) from the coded to the displayed image.

    The display matrix (ISO 14496-12, 6.2.2) holds a, b, u, c, d, …: a coded point (x, y) is
    displayed at (a x + c y, b x + d y). All eight orientations occur: rotated by right angles, and
    mirrored or not.
    """
    side_data: Any = frame.side_data  # PyAV's stub lists only motion vectors
    matrix = side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return False, 1, 1
    a, b, _, c, d = (int(value) for value in np.frombuffer(matrix, np.int32)[:5])
    transpose = abs(b) > abs(a)
    along_x, along_y = (c, b) if transpose else (a, d)
    return transpose, -1 if along_y < 0 else 1, -1 if along_x < 0 else 1


def _crop_graph(frame: av.VideoFrame, roi: Box) -> av.filter.Graph:
    """Builds a filter that cuts out `roi` (coded px) without copying.

    At odd offsets the subsampled chroma lies up to one pixel away from the luma.
    """
    x, y, width, height = roi
    graph = av.filter.Graph()
    source = graph.add_buffer(
        width=frame.width, height=frame.height, format=frame.format, time_base=frame.time_base
    )
    crop = graph.add("crop", f"{width}:{height}:{x}:{y}:exact=1")
    graph.link_nodes(source, crop, graph.add("buffersink")).configure()
    return graph
