"""Opens and decodes videos, and reports all damage.

A file that is broken, or that ends earlier than its header says, raises `VideoError`: no recording
is shortened silently.
"""

import concurrent.futures
import contextlib
import dataclasses
import os
from collections.abc import Iterator, Sequence
from typing import Any

import av
import av.container
import av.stream
import tqdm
from etils import epath

from mpjax.io import stores

# Mean frame intervals by which a recording may end early, by its header, and within which a broken
# packet at the end is accepted: writers count the last frame differently, and a recorder that is
# switched off may leave it unfinished.
_TAIL = 2.0
_GUESSED_DURATION = ("mpeg", "mpegts")  # FFmpeg infers it from the file's last timestamps
# Fetched at once from a store: a second or more of most recordings to decode, less to probe.
_BLOCK_BYTES, _PROBE_BYTES = 1 << 20, 1 << 18
_NOT_A_RECORDING = ("tty", "image2")  # plain text, which FFmpeg would draw; still images


class VideoError(ValueError):
    """A video that cannot be used: "path: reason and what to do"."""


@dataclasses.dataclass(frozen=True)
class VideoInfo:
    """A video's header, and the format of its first frame."""

    path: str
    width: int  # px, as displayed: after rotation; non-square pixels stay as they are coded
    height: int
    fps: float  # Hz, mean
    duration_s: float
    frames: int  # an estimate where the header holds no count
    codec: str
    pixel_format: str
    rotation: int  # degrees counterclockwise, from the coded to the displayed image
    container: str  # FFmpeg's name of the file's format
    encoder: str  # the program that wrote it, from its tags; empty: not given
    created: str  # creation_time of its tags, ISO 8601; empty: not given
    size_bytes: int


def probe(path: epath.PathLike) -> VideoInfo:
    """Reads a video's header and first frame, of any path that epath opens (`gs://…`).

    If the header has no duration (as in some mkv and webm files), the timestamps of all packets,
    read without decoding, give rate, duration and count.

    Raises:
        VideoError: the file is missing, empty, a directory, not a video, or without an image.
    """
    with _open(path, block_bytes=_PROBE_BYTES) as container:
        stream = _video_stream(path, container)
        fps, frames = float(stream.average_rate or stream.guessed_rate or 0), stream.frames
        duration_s = _seconds(stream, stream.duration) or (container.duration or 0) / av.time_base
        try:
            first = next(container.decode(stream), None)
        except av.FFmpegError as error:
            raise VideoError(
                f"{path}: its first frame does not decode ({error.strerror}); copy it again"
            ) from error
        codec = stream.codec_context.name
        tags, file_format = _tags(container, stream), container.format.name
    if first is None:
        raise _no_frame(path)
    if not fps or not duration_s:
        fps, duration_s, frames = _packet_timing(path, fps)
    upright = first.rotation % 180 == 0
    return VideoInfo(
        path=os.fspath(path),
        width=first.width if upright else first.height,
        height=first.height if upright else first.width,
        fps=fps,
        duration_s=duration_s,
        frames=frames or round(duration_s * fps),
        codec=codec,
        pixel_format=first.format.name,
        rotation=first.rotation,
        container=file_format,
        encoder=tags.get("encoder", ""),
        created=tags.get("creation_time", ""),
        size_bytes=int(epath.Path(path).stat().length),
    )


def probe_all(paths: Sequence[epath.PathLike]) -> list[VideoInfo | VideoError]:
    """Probes videos in parallel, with progress; an unreadable one gives its error."""

    def probe_one(path: epath.PathLike) -> VideoInfo | VideoError:
        try:
            return probe(path)
        except VideoError as error:
            return error

    options = {"total": len(paths), "desc": "probing", "unit": "video", "mininterval": 0.5}
    with concurrent.futures.ThreadPoolExecutor() as pool:
        return list(tqdm.tqdm(pool.map(probe_one, paths), **options))


def _tags(container: av.container.InputContainer, stream: av.VideoStream) -> dict[str, str]:
    """Returns the tags of file and stream by lower-case name; the encoder of both, joined.

    Bytes that are not UTF-8 are left out; PyAV 19 hands them on as surrogates.
    """
    tags = [
        {k.lower(): v.encode(errors="ignore").decode() for k, v in each.metadata.items()}
        for each in (container, stream)
    ]
    encoders = dict.fromkeys(each["encoder"] for each in tags if "encoder" in each)
    return tags[1] | tags[0] | ({"encoder": " / ".join(encoders)} if encoders else {})


def decode(path: epath.PathLike, *, interval: float) -> Iterator[av.VideoFrame]:
    """Streams all frames of a video, in the order of display.

    Frames before the first keyframe cannot be decoded: as in any player, the recording then begins
    at that keyframe. `interval` is the mean of s between frames, on the file's own clock.

    Raises:
        VideoError: as `probe`; or a packet or frame is damaged (other than the last two), or the
            last frame ends more than two intervals before the end that the header gives.
    """
    with _open(path) as container:
        stream = _video_stream(path, container)
        # Threads over slices, not over frames: those report damage late, at another packet, and
        # hold an image per core; a build is parallel over recordings anyway.
        stream.thread_type = "SLICE"
        promise = _promised_end(container, stream)
        start_s = _seconds(stream, stream.start_time)
        count, end_s = 0, start_s
        for packet in _packets(path, container):
            if packet.stream_index != stream.index:
                if stream.duration is None:  # then the header's end is that of all streams
                    end_s = max(end_s, _end(packet, end_s))
                continue
            frames, fault = _decode_packet(packet)
            for frame in frames:
                count += 1
                end_s = max(end_s, _end(frame, start_s + count * interval))
                yield frame
            at_s = end_s if packet.pts is None else _seconds(packet, packet.pts)
            if fault and (promise is None or at_s < promise - _TAIL * interval):
                raise VideoError(
                    f"{path}: damaged at {at_s - start_s:.2f} s, after {count} good frames "
                    f"({fault}); copy it again, or cut off what follows"
                )
        if promise is not None and end_s < promise - _TAIL * interval:
            raise VideoError(
                f"{path}: ends at {end_s - start_s:.2f} s, after {count} frames, but its header "
                f"promises {promise - start_s:.2f} s: it was cut off; copy it again, or remux "
                "what is left (ffmpeg -i IN -c copy OUT)"
            )
        if count == 0:
            raise _no_frame(path)


def _decode_packet(packet: av.Packet) -> tuple[list[av.VideoFrame], str]:
    """Returns the good frames that a packet completes, and its fault, if any."""
    if packet.is_corrupt:
        return [], "incomplete packet"
    try:
        frames = [frame for frame in packet.decode() if isinstance(frame, av.VideoFrame)]
    except av.FFmpegError as error:
        return [], error.strerror or type(error).__name__
    good = [frame for frame in frames if not frame.is_corrupt]
    return good, "" if len(good) == len(frames) else "damaged image"


def _packets(path: epath.PathLike, container: av.container.InputContainer) -> Iterator[av.Packet]:
    try:
        yield from container.demux()
    except av.FFmpegError as error:
        raise VideoError(f"{path}: reading stopped ({error.strerror}); copy it again") from error


def _promised_end(container: av.container.InputContainer, stream: av.VideoStream) -> float | None:
    """Returns the end (s, on the file's clock) that the header gives, None without one."""
    if container.format.name in _GUESSED_DURATION:
        return None
    if container.format.name == "avi" and stream.frames and stream.average_rate:
        # For an avi that was cut off, FFmpeg shortens the duration but not the count.
        return _seconds(stream, stream.start_time) + float(stream.frames / stream.average_rate)
    if stream.duration:
        return _seconds(stream, (stream.start_time or 0) + stream.duration)
    return container.duration / av.time_base if container.duration else None


def _packet_timing(path: epath.PathLike, header_fps: float) -> tuple[float, float, int]:
    """Returns (fps, duration in s, frames) from the packets' timestamps."""
    count, times_s = 0, []
    with _open(path) as container:
        stream = _video_stream(path, container)
        for packet in _packets(path, container):
            if packet.stream_index == stream.index and packet.size:
                count += 1
                if packet.pts is not None:
                    times_s.append(_seconds(packet, packet.pts))
    duration_s = max(times_s) - min(times_s) if times_s else 0.0
    fps = (count - 1) / duration_s if duration_s else header_fps
    if not fps:
        raise VideoError(f"{path}: has no frame rate; remux it (ffmpeg -r FPS -i IN -c copy OUT)")
    return fps, count / fps, count


def _seconds(clocked: av.Packet | av.VideoFrame | av.VideoStream, ticks: int | None) -> float:
    return float((ticks or 0) * (clocked.time_base or 0))


def _end(clocked: av.Packet | av.VideoFrame, otherwise: float) -> float:
    """Returns when a packet or frame ends, in s on the file's clock."""
    if clocked.pts is None:
        return otherwise
    return _seconds(clocked, clocked.pts + (clocked.duration or 0))


def _no_frame(path: epath.PathLike) -> VideoError:
    return VideoError(f"{path}: holds no frame that can be decoded; record or copy it again")


def _video_stream(path: epath.PathLike, container: av.container.InputContainer) -> av.VideoStream:
    name = container.format.name
    if name in _NOT_A_RECORDING or name.endswith("_pipe"):
        raise VideoError(f"{path}: a text or still image ({name}), not a video; give a video")
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        kinds = ", ".join(sorted({s.type for s in container.streams})) or "no"
        raise VideoError(f"{path}: holds {kinds} streams but no video; give the camera's file")
    if streams[0].codec_context is None:
        raise VideoError(f"{path}: no decoder for its codec; convert it (ffmpeg -i IN OUT.mp4)")
    return streams[0]


@contextlib.contextmanager
def _open(
    path: epath.PathLike, *, block_bytes: int = _BLOCK_BYTES
) -> Iterator[av.container.InputContainer]:
    source = stores.ready(path)
    if not source.exists():
        raise VideoError(f"{path}: no such file; paths are relative to the cohort's csv")
    if source.is_dir():
        raise VideoError(f"{path}: a directory, not a video; name one file")
    if source.stat().length == 0:
        raise VideoError(f"{path}: empty (0 bytes); copy it again")
    with contextlib.ExitStack() as stack:
        file: Any = "file:" + os.fspath(source)  # else "a:b.mp4" would be read as a protocol
        if stores.is_remote(source):
            file = stack.enter_context(stores.open_binary(source, block_bytes=block_bytes))
        try:
            container = _open_container(file)
        except av.FFmpegError as error:
            raise VideoError(f"{path}: {_why_unreadable(source, error)}") from error
        yield stack.enter_context(container)


def _open_container(file: Any) -> av.container.InputContainer:
    """Opens a file whose tags need not be UTF-8; see `_tags`."""
    try:
        return av.open(file, mode="r", metadata_errors="ignore")
    except TypeError:  # PyAV 19 and later: no such argument, and no error
        return av.open(file, mode="r")


def _why_unreadable(source: epath.Path, error: av.FFmpegError) -> str:
    if not isinstance(error, av.InvalidDataError):
        return f"{error.strerror}; check its permissions"
    with stores.open_binary(source, block_bytes=_PROBE_BYTES) as file:
        head = file.read(12)
    if head[4:8] == b"ftyp":
        return (
            "an mp4 or mov without its index (moov): the recording or the copy was cut off; copy "
            "it again, or rebuild the index with a tool such as untrunc"
        )
    return f"not a video that FFmpeg can read ({error.strerror}); give a video"
