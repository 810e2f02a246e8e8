"""Writes small videos for the tests of decoding and clips."""

import os
from fractions import Fraction

import av
import numpy as np

from mpjax.config import VideoConfig
from mpjax.data.boxes import Box
from mpjax.data.video import read_clips

LOSSLESS = {"qp": "0"}
# As another machine would encode (`make portable`): parameters of x264, e.g. "asm=0:threads=1".
X264 = {"x264-params": os.environ["MPJAX_X264"]} if "MPJAX_X264" in os.environ else {}


def read_frames(path, *, target_fps=0.0, recorded_fps=0.0, roi=None, short_side=0, mask=()):
    """Yields seconds after the first frame and the frame: clips of one frame each."""
    config = VideoConfig(
        frames=1, stride=1, fps=target_fps, short_side=short_side,
        mask=tuple(str(Box(*box)) for box in mask),
    )  # fmt: skip
    roi = Box(*roi) if roi else None
    for clip in read_clips(path, config=config, recorded_fps=recorded_fps, roi=roi):
        yield clip.start_s, clip.frames[0]


def write_video(
    path,
    frames,
    *,
    codec="libx264",
    pix_fmt="yuv420p",
    rate=25,
    times_ms=None,
    codec_options=None,
    muxer_options=None,
    prepare=lambda stream: None,
    tail_packet=b"",
    audio_s=0,
    metadata=None,
):
    """Encodes frames (uint8 [h, w, 3]) at `rate`, or at `times_ms`, and returns the path."""
    clock = Fraction(1, 1000) if times_ms else Fraction(1, rate)
    with av.open(str(path), "w", options=muxer_options or {}) as container:
        container.metadata.update(metadata or {})
        options = (X264 if codec == "libx264" else {}) | (codec_options or {})
        stream = container.add_stream(codec, rate=rate, options=options)
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = clock
        prepare(stream)
        sound = container.add_stream("pcm_s16le", rate=8000) if audio_s else None
        for i, rgb in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
                format=pix_fmt, dst_color_range=stream.codec_context.color_range or None
            )
            frame.pts, frame.time_base = (times_ms[i] if times_ms else i), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tail_packet:
            packet = av.Packet(tail_packet)
            packet.stream, packet.time_base = stream, clock
            packet.pts = packet.dts = len(frames)
            packet.duration = 1
            container.mux(packet)
        if sound is not None:
            mux_silence(container, sound, audio_s)
    return path


def mux_silence(container, stream, seconds):
    frame = av.AudioFrame.from_ndarray(
        np.zeros((1, 8000 * seconds), np.int16), format="s16", layout="mono"
    )
    frame.rate, frame.pts = 8000, 0
    container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def levels(count, size=(48, 64)):
    """Frames whose gray level tells their index: 15 + 5 i."""
    return [np.full((*size, 3), 15 + 5 * i, np.uint8) for i in range(count)]


def index_of(frame):
    return round((float(frame.mean()) - 15) / 5)


def numbered(path, count, **kwargs):
    return write_video(path, levels(count), codec_options=LOSSLESS, **kwargs)


def indices(path, **kwargs):
    return [index_of(frame) for _, frame in read_frames(path, **kwargs)]


def quadrants(height=64, width=96):
    """Red, blue over white, black: every turn and mirroring of it differs."""
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, : width // 2] = 255, 0, 0
    picture[: height // 2, width // 2 :] = 0, 0, 255
    picture[height // 2 :, : width // 2] = 255
    return picture


def corners(picture):
    """The colours in the middles of the four quadrants."""
    h, w = picture.shape[:2]
    return picture[h // 4 :: h // 2, w // 4 :: w // 2][:2, :2].astype(int)


def noise_video(path, count=100, **kwargs):
    """Writes the same bytes every time: no random identifiers, no threads that share the work."""
    kwargs["muxer_options"] = {"fflags": "+bitexact"} | kwargs.get("muxer_options", {})
    exact = {"flags": "+bitexact", "threads": "1"}
    kwargs["codec_options"] = exact | kwargs.get("codec_options", {})
    rng = np.random.default_rng(0)
    blocks = np.kron(rng.integers(0, 255, (8, 12, 3), np.uint8), np.ones((8, 8, 1), np.uint8))
    frames = [
        np.clip(np.roll(blocks, i, 1) + rng.normal(0, 5, blocks.shape), 0, 255).astype(np.uint8)
        for i in range(count)
    ]
    return write_video(path, frames, **kwargs)


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path
