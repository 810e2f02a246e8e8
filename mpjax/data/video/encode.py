"""Encodes a recording's clips as records."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import simplejpeg

from mpjax.config import VideoConfig
from mpjax.data import records
from mpjax.data.boxes import Box
from mpjax.data.video.clips import read_clips
from mpjax.data.video.decode import VideoInfo


@dataclasses.dataclass(frozen=True)
class Recording:
    """What a worker needs to turn one row of the cohort into records."""

    number: int  # position in the cohort
    path: str
    metadata: dict[str, Any]  # the row's part of records.METADATA
    recorded_fps: float
    roi: Box | None
    shards: tuple[str, ...]  # file names of the shards of its split

    @property
    def stem(self) -> str:
        """Name of its spill files."""
        return f"{self.number:06d}"


def encode_clips(
    recording: Recording, config: VideoConfig
) -> Iterator[tuple[dict[str, Any], bytes]]:
    """Decodes a recording; yields each clip's metadata and its serialised Example.

    Raises:
        VideoError: the recording cannot be read to its end.
    """
    clips = read_clips(
        recording.path, config=config, recorded_fps=recording.recorded_fps, roi=recording.roi
    )
    for clip in clips:
        metadata = recording.metadata | {
            "clip_id": f"{recording.metadata['video']}#{clip.start_frame:08d}",
            "start_frame": clip.start_frame,
            "padded_frames": clip.padded_frames,
            "fps": clip.fps,
            **dict(zip(records.SHAPE, clip.frames.shape, strict=False)),
        }
        frames = [
            simplejpeg.encode_jpeg(frame, quality=config.jpeg_quality, colorsubsampling="420")
            for frame in clip.frames
        ]
        yield metadata, records.encode_example(metadata, frames)


def expected_clips(info: VideoInfo, config: VideoConfig) -> int:
    """Estimates from its header how many clips a recording gives."""
    frames = info.duration_s * (config.fps or info.fps)
    return 1 + max(0, int(frames - config.frames)) // config.stride
