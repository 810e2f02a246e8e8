"""Which frames does a video file hold, and which clips are cut from them?"""

from mpjax.data.video.clips import read_clips
from mpjax.data.video.decode import VideoError, VideoInfo, probe, probe_all
from mpjax.data.video.encode import Recording, encode_clips, expected_clips

__all__ = [
    "Recording",
    "VideoError",
    "VideoInfo",
    "encode_clips",
    "expected_clips",
    "probe",
    "probe_all",
    "read_clips",
]
