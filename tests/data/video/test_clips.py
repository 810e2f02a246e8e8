import subprocess
import sys
import textwrap
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from video_files import (
    LOSSLESS,
    corners,
    index_of,
    indices,
    levels,
    noise_video,
    numbered,
    quadrants,
    read_frames,
    write_video,
)

from mpjax.config import VideoConfig
from mpjax.data.boxes import parse_roi
from mpjax.data.video import VideoError, probe, read_clips
from mpjax.data.video import clips as video

PHONE_HELD_UPRIGHT = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]  # show turned 90 degrees clockwise


# --- orientation, region of interest, size ------------------------------------------------------


def test_a_phone_video_is_shown_upright(tmp_path):
    path = write_video(
        tmp_path / "a.mp4",
        [quadrants()] * 3,
        prepare=lambda stream: stream.set_display_matrix(PHONE_HELD_UPRIGHT),
    )
    info = probe(path)
    assert (info.width, info.height, info.rotation) == (64, 96, -90)
    _, frame = next(read_frames(path))
    assert frame.shape == (96, 64, 3)
    clockwise = np.rot90(quadrants(), -1)
    assert np.abs(corners(frame) - corners(clockwise)).max() <= 4


ORIENTATIONS = [(turn, mirror) for turn in (0, 90, 180, 270) for mirror in (False, True)]


def oriented_video(path, picture, turn, mirror):
    return write_video(
        path,
        [picture] * 2,
        pix_fmt="yuv444p",
        codec_options=LOSSLESS,
        prepare=lambda stream: stream.set_display_rotation(turn, hflip=mirror),
    )


@pytest.mark.parametrize(("turn", "mirror"), ORIENTATIONS)
def test_every_turn_and_mirroring_is_applied(tmp_path, turn, mirror):
    path = oriented_video(tmp_path / "a.mp4", quadrants(), turn, mirror)
    expected = np.rot90(quadrants(), turn // 90)
    expected = expected[:, ::-1] if mirror else expected
    _, frame = next(read_frames(path))
    assert (probe(path).height, probe(path).width) == frame.shape[:2] == expected.shape[:2]
    assert np.abs(corners(frame) - corners(expected)).max() <= 4


@pytest.mark.parametrize(("turn", "mirror"), ORIENTATIONS)
def test_a_roi_is_cut_from_the_displayed_picture(tmp_path, turn, mirror):
    picture = np.random.default_rng(0).integers(0, 256, (64, 96, 3), np.uint8)
    path = oriented_video(tmp_path / "a.mp4", picture, turn, mirror)
    _, whole = next(read_frames(path))
    _, part = next(read_frames(path, roi=(7, 12, 40, 33)))
    np.testing.assert_array_equal(part, whole[12:45, 7:47])


def test_a_roi_is_cut_before_the_resize(tmp_path):
    path = write_video(tmp_path / "a.mp4", [quadrants()] * 2)
    _, frame = next(read_frames(path, roi=parse_roi("0:0:48:32"), short_side=16))
    assert frame.shape == (16, 24, 3)
    assert np.abs(frame.astype(int) - (255, 0, 0)).max() <= 40  # red alone; edges of 4:2:0 soften
    assert np.abs(frame[:12, :20].astype(int) - (255, 0, 0)).max() <= 6


def test_a_roi_in_subsampled_video_is_exact_in_luma(tmp_path):
    gray = np.random.default_rng(0).integers(0, 256, (64, 96, 1), np.uint8).repeat(3, 2)
    path = write_video(tmp_path / "a.mp4", [gray] * 2, codec_options=LOSSLESS)
    _, whole = next(read_frames(path))
    _, part = next(read_frames(path, roi=(7, 13, 41, 33)))
    np.testing.assert_array_equal(part, whole[13:46, 7:48])


def test_a_roi_outside_of_the_picture_is_refused_with_both_sizes(tmp_path):
    path = numbered(tmp_path / "a.mp4", 3)
    with pytest.raises(VideoError, match=r"a\.mp4: roi 40:0:32:48 .*72 x 48 px.* 64 x 48 px"):
        next(read_frames(path, roi=(40, 0, 32, 48)))


@pytest.mark.parametrize("text", ["1:2:3", "a:0:1:1", "-1:0:4:4", "0:0:0:4", "1.5:0:4:4", ""])
def test_a_malformed_roi_is_refused_with_its_text(text):
    with pytest.raises(ValueError, match=f"roi '{text}'"):
        parse_roi(text)


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv420p10le"])
def test_shrinking_averages_areas(tmp_path, pix_fmt):
    noise = np.random.default_rng(0).integers(0, 256, (360, 480, 1), np.uint8).repeat(3, 2)
    path = write_video(tmp_path / "a.mp4", [noise] * 2, pix_fmt=pix_fmt, codec_options=LOSSLESS)
    _, whole = next(read_frames(path))
    expected = cv2.resize(whole.astype(np.float32), (133, 100), interpolation=cv2.INTER_AREA)
    _, small = next(read_frames(path, short_side=100))
    aliased = cv2.resize(whole, (133, 100), interpolation=cv2.INTER_LINEAR)
    assert np.abs(small - expected).max() < 3 < np.abs(aliased - expected).max() / 10


@pytest.mark.parametrize(
    ("height", "width", "short_side", "expected"),
    [
        (48, 64, 0, (48, 64)),
        (48, 64, 24, (24, 32)),
        (48, 64, 20, (20, 27)),  # 26.67
        (64, 48, 20, (27, 20)),
        (48, 54, 20, (20, 23)),  # 22.5: halves up
        (48, 64, 96, (96, 128)),  # enlarged, so that a cohort has one size
        (66, 64, 32, (33, 32)),
    ],
)
def test_the_short_side_gets_its_size_and_the_long_side_keeps_the_aspect(
    tmp_path, height, width, short_side, expected
):
    path = write_video(tmp_path / "a.mp4", levels(2, (height, width)), codec_options=LOSSLESS)
    _, frame = next(read_frames(path, short_side=short_side))
    assert frame.shape == (*expected, 3)
    assert index_of(frame) == 0
    assert frame.std() < 1


def test_bytes_do_not_depend_on_threads(tmp_path):
    path = noise_video(tmp_path / "a.mp4", 30, codec_options={"slices": "4"})
    picture = video._Picture(path, VideoConfig(short_side=40))
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type, stream.thread_count = "NONE", 1
        alone = [picture(frame) for frame in container.decode(stream)]
    np.testing.assert_array_equal(
        np.stack(alone), np.stack([frame for _, frame in read_frames(path, short_side=40)])
    )


# --- time ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])  # mkv rounds timestamps to 1 ms
@pytest.mark.parametrize(
    ("target_fps", "expected"),
    [
        (0, list(range(30))),
        (30, list(range(30))),
        (15, list(range(0, 30, 2))),
        (10, list(range(0, 30, 3))),
        (60, [i // 2 for i in range(60)]),
        (25, [i * 6 // 5 for i in range(25)]),
        (1, [0]),
    ],
)
def test_resampling_shows_the_frame_on_screen(tmp_path, suffix, target_fps, expected):
    path = numbered(tmp_path / f"a.{suffix}", 30, rate=30)
    assert indices(path, target_fps=target_fps) == expected
    times = [time_s for time_s, _ in read_frames(path, target_fps=target_fps)]
    np.testing.assert_allclose(times, np.arange(len(expected)) / (target_fps or 30), atol=6e-4)


def test_a_variable_frame_rate_becomes_constant(tmp_path):
    times_ms = [0, 100, 200, 1000, 1040, 1080, 1120, 1500]
    path = numbered(tmp_path / "a.mkv", 8, times_ms=times_ms)
    expected = [0, 1] + [2] * 8 + [3, 5] + [6] * 3 + [7]
    assert indices(path, target_fps=10)[:16] == expected
    assert [round(1000 * time_s) for time_s, _ in read_frames(path)] == times_ms


def test_a_start_later_than_zero_is_no_wait(tmp_path):
    path = numbered(tmp_path / "a.mkv", 5, times_ms=[5000 + 40 * i for i in range(5)])
    assert indices(path, target_fps=25) == [0, 1, 2, 3, 4]


def test_the_recorded_rate_overrides_the_timestamps(tmp_path):
    path = numbered(tmp_path / "a.mp4", 20, rate=10)
    assert indices(path, recorded_fps=50, target_fps=25) == list(range(0, 20, 2))
    assert [t for t, _ in read_frames(path, recorded_fps=50)] == [i / 50 for i in range(20)]
    config = VideoConfig(frames=4, stride=4, short_side=0)
    assert {clip.fps for clip in read_clips(path, config=config, recorded_fps=50)} == {50}


def stamped(*times):
    fake = [SimpleNamespace(time=t, duration=0, time_base=None) for t in times]
    return [start for start, _, _ in video._stamped_time(iter(fake), 1.0)]


def test_bad_timestamps_are_bridged_by_the_mean_interval():
    assert stamped(7.0, 8.0, 9.5) == [0, 1, 2.5]
    assert stamped(1, 4, 3, 5, 7, 6, 9, 8) == [0, 3, 4, 5, 6, 7, 8, 9]  # a packed-B-frame avi
    assert stamped(0, 1, None, None, 4) == [0, 1, 2, 3, 4]
    assert stamped(None, None, 2, 3) == [0, 1, 2, 3]
    assert stamped(0, 1, 2, 0, 1, 2) == [0, 1, 2, 3, 4, 5]  # a clock that starts anew


def test_a_broken_clock_is_refused_rather_than_filled_with_hours_of_stills(tmp_path):
    path = numbered(
        tmp_path / "a.mkv", 4, times_ms=[0, 40, 26 * 3600 * 1000, 26 * 3600 * 1000 + 40]
    )
    with pytest.raises(VideoError, match=r"timestamps jump from 0 to 93600 s; .*column fps"):
        indices(path, target_fps=25)


def test_negative_rates_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"-5"):
        next(read_frames(numbered(tmp_path / "a.mp4", 3), target_fps=-5))
    with pytest.raises(ValueError, match=r"-5"):
        next(read_frames(numbered(tmp_path / "b.mp4", 3), recorded_fps=-5))


# --- clips --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frames", "stride", "starts"),
    [(4, 4, [0, 4, 8, 12]), (4, 2, [0, 2, 4, 6, 8, 10, 12, 14]), (4, 7, [0, 7, 14]), (18, 1, [0])],
)
def test_clips_start_every_stride_and_an_incomplete_tail_is_left_out(
    tmp_path, frames, stride, starts
):
    path = numbered(tmp_path / "a.mp4", 18 if frames != 4 else 19)
    config = VideoConfig(frames=frames, stride=stride, short_side=0)
    clips = list(read_clips(path, config=config))
    assert [clip.start_frame for clip in clips] == starts
    np.testing.assert_allclose([clip.start_s for clip in clips], np.array(starts) / 25)
    for clip in clips:
        assert clip.frames.dtype == np.uint8
        assert clip.padded_frames == 0
        assert clip.fps == 25
        shown = [index_of(frame) for frame in clip.frames]
        assert shown == list(range(clip.start_frame, clip.start_frame + frames))


def test_clips_are_cut_at_the_target_rate(tmp_path):
    path = numbered(tmp_path / "a.mp4", 40, rate=50)
    config = VideoConfig(frames=5, stride=10, fps=25, short_side=24)
    clips = list(read_clips(path, config=config))
    assert [clip.start_frame for clip in clips] == [0, 10]
    assert [clip.start_s for clip in clips] == [0, 0.4]
    assert [index_of(frame) for frame in clips[1].frames] == [20, 22, 24, 26, 28]
    assert clips[1].frames.shape == (5, 24, 32, 3)


def test_a_recording_shorter_than_a_clip_repeats_its_last_frame_and_says_so(tmp_path):
    path = numbered(tmp_path / "a.mp4", 5)
    (clip,) = read_clips(path, config=VideoConfig(frames=8, stride=8, short_side=0))
    assert [index_of(frame) for frame in clip.frames] == [0, 1, 2, 3, 4, 4, 4, 4]
    assert clip.padded_frames == 3


def test_frames_between_clips_are_not_converted(tmp_path, monkeypatch):
    converted = []
    convert = video._Picture._convert
    monkeypatch.setattr(
        video._Picture, "_convert", lambda self, f: converted.append(f.pts) or convert(self, f)
    )
    path = numbered(tmp_path / "a.mkv", 30)
    clips = list(read_clips(path, config=VideoConfig(frames=2, stride=10, short_side=0)))
    assert len(clips) == 3
    assert converted == [0, 40, 400, 440, 800, 840]


def test_a_repeated_frame_is_converted_once(tmp_path, monkeypatch):
    converted = []
    convert = video._Picture._convert
    monkeypatch.setattr(
        video._Picture, "_convert", lambda self, f: converted.append(f.pts) or convert(self, f)
    )
    path = numbered(tmp_path / "a.mp4", 6)
    assert indices(path, target_fps=100) == [i // 4 for i in range(24)]
    assert len(converted) == 6


@pytest.mark.parametrize(("frames", "stride"), [(0, 4), (4, 0)])
def test_clips_without_length_or_stride_are_refused(frames, stride):
    with pytest.raises(ValueError, match="must be 1 or more, got 0"):
        VideoConfig(frames=frames, stride=stride)


def long_video(path, count):
    """Writes `count` tiny frames: a hundred different ones, over and over."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mjpeg", rate=25)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuvj420p"
        pictures = [np.full((32, 32, 3), 2 * i, np.uint8) for i in range(100)]
        encoded = [
            bytes(packet)
            for picture in pictures
            for packet in stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        ]
        for i in range(count):
            packet = av.Packet(encoded[i % len(encoded)])
            packet.stream, packet.time_base, packet.is_keyframe = stream, Fraction(1, 25), True
            packet.pts = packet.dts = i
            container.mux(packet)
    return path


def test_memory_does_not_grow_with_the_length_of_a_video(tmp_path):
    path = long_video(tmp_path / "a.mkv", 20_000)
    script = """
        import resource, sys
        from mpjax.data.video import read_clips
        from mpjax.config import VideoConfig
        def peak_mib():
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for frames, stride in ((16, 4), (16, 100)):
            config = VideoConfig(frames=frames, stride=stride, short_side=0)
            for clip in read_clips(sys.argv[1], config=config):
                if clip.start_frame == 2000:
                    early = peak_mib()
            print(clip.start_frame, peak_mib() - early)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), str(path)],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3],
    )  # fmt: skip
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [int(last) for last, _ in rows] == [19984, 19900]
    assert all(float(grown_mib) < 4 for _, grown_mib in rows)  # the frames are 59 MiB
