"""Boxes that are blackened in every frame."""

import numpy as np
import pytest
from video_files import (
    LOSSLESS,
    levels,
    quadrants,
    read_frames,
    write_video,
)

from mpjax.data.boxes import Box, parse_mask, scale_to_record
from mpjax.data.video import VideoError

# Masks


def striped(count, size=(96, 160)):
    """Frames that differ everywhere in space, with a bright counter at 120:64, 24 x 16 px."""
    rng = np.random.default_rng(5)
    floor = rng.integers(60, 200, (*size, 3), np.uint8)
    frames = [floor.copy() for _ in range(count)]
    for t, frame in enumerate(frames):
        frame[64:80, 120:144] = 255 * (t % 2)
    return frames


@pytest.mark.parametrize("short_side", [0, 48, 144])
@pytest.mark.parametrize("roi", [None, (40, 16, 120, 80)])
def test_a_masked_box_is_black_in_every_frame_whatever_the_scale_and_all_else_as_before(
    tmp_path, short_side, roi
):
    path = write_video(tmp_path / "v.mp4", striped(4), codec_options=LOSSLESS)
    options = {"short_side": short_side, "roi": roi}
    plain = np.stack([frame for _, frame in read_frames(path, **options)])
    masked = np.stack([f for _, f in read_frames(path, mask=[(120, 64, 24, 16)], **options)])
    x, y, _, h = roi or (0, 0, 160, 96)
    scale = plain.shape[1] / h
    rows = slice(round((64 - y) * scale), round((80 - y) * scale))
    columns = slice(round((120 - x) * scale), round((144 - x) * scale))
    assert (masked[:, rows, columns] == 0).all()
    assert (masked == masked[:1]).all()  # nothing of the counter is left
    changed = (masked != plain).any((0, 3))
    margin = 2 + int(np.ceil(2 * scale))
    changed[
        max(0, rows.start - margin) : rows.stop + margin,
        max(0, columns.start - margin) : columns.stop + margin,
    ] = False
    assert not changed.any()


def test_the_mask_lies_in_the_displayed_picture_of_a_file_that_turns(tmp_path):
    path = write_video(
        tmp_path / "v.mp4", [quadrants()] * 2, codec_options=LOSSLESS,
        prepare=lambda stream: stream.set_display_rotation(90),
    )  # fmt: skip
    (_, plain), _ = read_frames(path)
    (_, masked), _ = read_frames(path, mask=[(40, 70, 20, 16)])
    assert plain.shape == (96, 64, 3)
    assert not masked[70:86, 40:60].any()
    masked[66:90, 36:64] = plain[66:90, 36:64] = 0
    np.testing.assert_array_equal(masked, plain)


def test_a_box_reaches_as_far_as_scaling_mixes_its_pixels():
    box, whole = Box(10, 20, 30, 40), Box(0, 0, 100, 200)
    assert scale_to_record(box, whole, (50, 100)) == (slice(8, 32), slice(3, 22))


def test_a_mask_that_is_no_box_or_lies_outside_is_refused(tmp_path):
    path = write_video(tmp_path / "v.mp4", levels(2))
    with pytest.raises(VideoError, match=r"60:0:8:8 of config.video.mask reaches beyond"):
        list(read_frames(path, mask=[(60, 0, 8, 8)]))
    with pytest.raises(ValueError, match=r"'1:2:3'.*; .*'a'") as error:
        parse_mask(("1:2:3", "4:5:6:7", "a"))
    assert str(error.value).count("config.video.mask") == 2
