import itertools
import re
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from video_files import (
    corners,
    cut,
    indices,
    levels,
    mux_silence,
    noise_video,
    numbered,
    quadrants,
    read_frames,
    write_video,
)

from mpjax.data.video import VideoError, decode, probe

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"


# --- formats ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("suffix", "codec", "pix_fmt"),
    [
        ("mp4", "libx264", "yuv420p"),
        ("mp4", "libx264", "yuvj420p"),
        ("mp4", "libx264", "yuv420p10le"),
        ("mp4", "libx264", "yuv444p"),
        ("mov", "prores", "yuv422p10le"),
        ("mkv", "libx265", "yuv420p10le"),
        ("mkv", "libvpx-vp9", "yuv420p"),
        ("mkv", "ffv1", "yuv444p16le"),
        ("avi", "mpeg4", "yuv420p"),
        ("avi", "mjpeg", "yuvj420p"),
        ("wmv", "wmv2", "yuv420p"),
        ("mpg", "mpeg2video", "yuv420p"),
    ],
)
def test_every_format_decodes_to_the_colours_that_were_drawn(tmp_path, suffix, codec, pix_fmt):
    quiet = {"x265-params": "log-level=none"} if codec == "libx265" else {}
    path = write_video(
        tmp_path / f"a.{suffix}", [quadrants()] * 12, codec=codec, pix_fmt=pix_fmt,
        codec_options=quiet,
    )  # fmt: skip
    info = probe(path)
    assert (info.width, info.height, info.fps, info.pixel_format) == (96, 64, 25, pix_fmt)
    for short_side in (0, 32):
        frames = [frame for _, frame in read_frames(path, short_side=short_side)]
        assert len(frames) == 12
        assert np.abs(corners(frames[0]) - corners(quadrants())).max() <= 6


def test_gray_video_keeps_its_levels_exactly(tmp_path):
    ramp = np.repeat(np.arange(0, 256, 4, dtype=np.uint8)[None, :, None], 48, 0).repeat(3, 2)
    path = write_video(tmp_path / "a.mkv", [ramp] * 3, codec="ffv1", pix_fmt="gray")
    assert probe(path).pixel_format == "gray"
    np.testing.assert_array_equal(next(read_frames(path))[1], ramp)


def test_a_full_range_tag_is_obeyed(tmp_path):
    def tag(stream):
        stream.codec_context.color_range = 2

    path = write_video(tmp_path / "a.mp4", [quadrants()] * 3, pix_fmt="yuv444p", prepare=tag)
    _, frame = next(read_frames(path))
    assert np.abs(corners(frame) - corners(quadrants())).max() <= 4


@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv444p"])
def test_odd_sizes_decode_whole(tmp_path, pix_fmt):
    picture = quadrants(65, 97)
    path = write_video(tmp_path / "a.mkv", [picture] * 3, codec="ffv1", pix_fmt=pix_fmt)
    _, frame = next(read_frames(path))
    assert frame.shape == (65, 97, 3)
    assert np.abs(corners(frame) - corners(picture)).max() <= 4


def test_metadata_that_is_not_utf8_does_not_matter(tmp_path):
    path = numbered(tmp_path / "a.avi", 5, codec="mpeg4", metadata={"title": "MARKER"})
    path.write_bytes(path.read_bytes().replace(b"MARKER", b"\xff\xfe\xe9A\xf1\xfc"))
    assert len(indices(path)) == probe(path).frames == 5
    with decode._open(path) as container:
        assert decode._tags(container, container.streams.video[0])["title"] == "A"


def test_a_name_with_a_colon_is_a_file_not_a_protocol(tmp_path, monkeypatch):
    numbered(tmp_path / "a.mp4", 4).rename(tmp_path / "cage:1.mp4")
    monkeypatch.chdir(tmp_path)
    assert indices("cage:1.mp4") == [0, 1, 2, 3]


# --- bad input ----------------------------------------------------------------------------------


def silent_film(path):
    with av.open(str(path), "w") as container:
        mux_silence(container, container.add_stream("pcm_s16le", rate=8000), 1)


@pytest.mark.parametrize("read", [probe, lambda path: next(read_frames(path))])
@pytest.mark.parametrize(
    ("name", "make", "reason"),
    [
        ("missing.mp4", lambda path: None, "no such file"),
        ("folder.mp4", Path.mkdir, "a directory"),
        ("zero.mp4", Path.touch, r"empty \(0 bytes\)"),
        ("cohort.csv", lambda path: path.write_text("video,animal\na.mp4,1\n" * 9), "not a video"),
        ("notes.txt", lambda path: path.write_text("day 3\n" * 99), "a text or still image"),
        (
            "photo.png",
            lambda path: cv2.imwrite(str(path), np.zeros((9, 9, 3), np.uint8)),
            "a text or still image",
        ),
        ("sound.wav", silent_film, "holds audio streams but no video"),
        ("cut.mp4", lambda path: cut(noise_video(path, 30), 0.6), r"without its index \(moov\)"),
    ],
)
def test_what_is_no_video_is_refused_with_its_reason(tmp_path, name, make, reason, read):
    make(tmp_path / name)
    with pytest.raises(VideoError, match=rf"{name}: .*{reason}.*[;,] "):
        read(tmp_path / name)


@pytest.mark.parametrize("share", [0.6, 0.9, 0.995])
@pytest.mark.parametrize(
    ("name", "codec", "muxer_options"),
    [
        ("a.mp4", "libx264", {"movflags": "faststart"}),
        ("b.mp4", "mpeg4", {"movflags": "faststart"}),
        ("c.mov", "libx264", {"movflags": "faststart"}),
        ("d.mp4", "libx264", {"movflags": "frag_keyframe+empty_moov"}),
        ("e.mkv", "libx264", {}),
        ("f.avi", "mpeg4", {}),
    ],
)
def test_a_cut_off_video_is_never_silently_shorter(tmp_path, name, codec, muxer_options, share):
    path = noise_video(tmp_path / name, codec=codec, muxer_options=muxer_options)
    whole = [frame for _, frame in read_frames(path)]
    assert len(whole) == 100
    read, error = [], ""
    try:
        for _, frame in read_frames(cut(path, share)):
            read.append(frame)
    except VideoError as caught:
        error = str(caught)
    # Unless it is refused, no more than the two frames that are forgiven may be missing.
    assert re.search(rf"{name}: .* s, after \d+ (good )?frames", error) or len(read) >= 98, error


@pytest.mark.parametrize(
    ("name", "codec"), [("a.mp4", "libx264"), ("b.avi", "mpeg4"), ("c.mkv", "libx264")]
)
def test_damage_in_the_middle_is_told_with_its_time(tmp_path, name, codec):
    path = noise_video(tmp_path / name, codec=codec, codec_options={"g": "10"})
    data = path.read_bytes()
    with av.open(str(path)) as container:
        pictures = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    # Encoders differ by processor: any picture from the middle that is more than "as before";
    # with every tenth a key frame, there are some.
    picture = next(p for p in pictures[30:90] if len(p) >= 200 and data.count(p) == 1)
    # All of a picture: its first bytes, so that no decoder takes it for another one.
    noise = b"\xff\xfe" + np.random.default_rng(0).bytes(len(picture) - 2)
    path.write_bytes(data.replace(picture, noise))
    with pytest.raises(VideoError, match=rf"{name}: damaged at \d\.\d\d s, after \d+ good frames"):
        list(read_frames(path))


def test_a_video_that_changes_size_is_refused_with_both(tmp_path):
    small = write_video(tmp_path / "a.mpg", levels(20), codec="mpeg2video").read_bytes()
    large = write_video(
        tmp_path / "b.mpg", levels(20, (96, 128)), codec="mpeg2video"
    ).read_bytes()  # fmt: skip
    (tmp_path / "c.mpg").write_bytes(small + large)
    with pytest.raises(VideoError, match=r"c\.mpg: .*changes from \(64, 48, .* to \(128, 96, "):
        list(read_frames(tmp_path / "c.mpg"))


# --- harmless quirks ----------------------------------------------------------------------------


def test_bytes_after_the_end_do_no_harm(tmp_path):
    path = numbered(tmp_path / "a.mp4", 20)
    path.write_bytes(path.read_bytes() + b"garbage" * 99)
    assert indices(path) == list(range(20))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("b.mkv", "mpeg4")])
def test_a_garbage_packet_at_the_very_end_is_forgiven(tmp_path, name, codec):
    path = noise_video(tmp_path / name, 20, codec=codec, tail_packet=b"\x00\x00\x00\x06\x65nonse")
    assert len(list(read_frames(path))) == 20


def test_a_header_without_duration_is_replaced_by_the_packets_timestamps(tmp_path):
    path = numbered(tmp_path / "a.mkv", 40, rate=20, muxer_options={"live": "1"})
    with av.open(str(path)) as container:
        assert container.duration is None
    info = probe(path)
    assert (info.frames, round(info.fps, 6), round(info.duration_s, 6)) == (40, 20, 2)
    assert indices(path, target_fps=10) == list(range(0, 40, 2))


def test_frames_hidden_by_an_edit_list_are_not_missed(tmp_path):
    path = numbered(
        tmp_path / "a.mp4", 30, times_ms=[40 * i - 400 for i in range(30)],
        muxer_options={"avoid_negative_ts": "disabled"},
    )  # fmt: skip
    assert indices(path) == list(range(10, 30))


def test_sound_may_last_longer_than_the_picture(tmp_path):
    path = numbered(tmp_path / "a.mkv", 20, audio_s=3)
    assert probe(path).duration_s == pytest.approx(3)
    assert indices(path) == list(range(20))


# --- real videos --------------------------------------------------------------------------------


def real_videos():
    clips = sorted(SHARED.glob("rodent_clips/*/*.mkv"))
    others = [*SHARED.glob("mouse_video/**/*.mp4"), *SHARED.glob("action_video/*.*")]
    return sorted(others) + clips[:: max(1, len(clips) // 10)][:10]


@pytest.mark.skipif(not SHARED.exists(), reason="../shared/data is not there")
@pytest.mark.parametrize("path", real_videos(), ids=lambda path: path.name)
def test_real_videos_read_plausibly(path):
    info = probe(path)
    assert 10 <= info.fps <= 120
    assert info.frames == pytest.approx(info.duration_s * info.fps, abs=2)
    first_of_long = 120
    frames = list(itertools.islice(read_frames(path, short_side=112), first_of_long))
    assert len(frames) == pytest.approx(min(info.frames, first_of_long), abs=1)
    times, pictures = zip(*frames, strict=True)
    assert np.all(np.diff(times) > 0)
    assert min(pictures[0].shape[:2]) == 112
    assert pictures[0].mean() > 5
    assert pictures[0].std() > 5
    assert not np.array_equal(pictures[0], pictures[-1])
