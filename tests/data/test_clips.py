import cv2
import numpy as np
import pytest
import simplejpeg

from mpjax.data import clips


def gradient(t: int, h: int, w: int) -> np.ndarray:
    """x in red, y in green, time in blue: a crop tells where it came from."""
    clip = np.zeros((t, h, w, 3), np.uint8)
    clip[..., 0] = np.arange(w)
    clip[..., 1] = np.arange(h)[:, None]
    clip[..., 2] = np.arange(t)[:, None, None]
    return clip


def test_decoding_gives_back_the_frames():
    clip = gradient(4, 40, 60)
    jpegs = [simplejpeg.encode_jpeg(frame, quality=100) for frame in clip]
    decoded = clips.decode_frames(jpegs)
    assert decoded.shape == clip.shape
    assert np.abs(decoded.astype(int) - clip).max() <= 3


def test_grey_video_loses_nothing_by_plain_upsampling():
    grey = np.random.default_rng(0).integers(0, 256, (2, 48, 64, 1), np.uint8).repeat(3, axis=-1)
    jpegs = [simplejpeg.encode_jpeg(frame, colorsubsampling="420") for frame in grey]
    smooth = np.stack([simplejpeg.decode_jpeg(jpeg, fastupsample=False) for jpeg in jpegs])
    np.testing.assert_array_equal(clips.decode_frames(jpegs), smooth)


def test_frames_of_different_size_are_refused():
    jpegs = [simplejpeg.encode_jpeg(np.zeros(s, np.uint8)) for s in [(8, 8, 3), (8, 16, 3)]]
    with pytest.raises(ValueError, match="a frame is 16x8, expected 8x8"):
        clips.decode_frames(jpegs)


def test_shrinking_is_antialiased():
    # Stripes of one pixel must average out, not alias into stripes.
    stripes = np.zeros((1, 64, 64, 3), np.uint8)
    stripes[:, :, ::2] = 200
    small = clips.resize(stripes, height=16, width=16)
    assert small.min() >= 98
    assert small.max() <= 102


@pytest.mark.parametrize(("h", "w"), [(90, 160), (160, 90), (101, 77)])
def test_short_side_keeps_the_aspect_ratio(h, w):
    _, height, width, _ = clips.resize_short_side(gradient(1, h, w), 45).shape
    assert min(height, width) == 45
    assert height / width == pytest.approx(h / w, rel=0.02)


def test_crops_cover_the_longer_side_from_end_to_end():
    crops = clips.spatial_crops(gradient(2, 50, 150), size=50, count=3)
    assert [crop.shape for crop in crops] == [(2, 50, 50, 3)] * 3
    assert [crop[0, 0, 0, 0] for crop in crops] == [0, 50, 100]
    assert crops[2][0, 0, -1, 0] == 149
    tall = clips.spatial_crops(gradient(2, 150, 50), size=50, count=3)
    assert [crop[0, 0, 0, 1] for crop in tall] == [0, 50, 100]
    assert clips.spatial_crops(gradient(2, 50, 150), size=50, count=1)[0][0, 0, 0, 0] == 50


def test_a_square_picture_has_one_distinct_crop():
    assert len(clips.spatial_crops(gradient(2, 50, 50), size=50, count=3)) == 1


def test_views_are_time_by_space_and_reach_both_ends():
    cut = clips.Views(size=50, frames=8, clips=3, crops=2).cut(gradient(16, 50, 150))
    assert [view.shape for view in cut] == [(8, 50, 50, 3)] * 6
    starts = [(view[0, 0, 0, 2], view[0, 0, 0, 0]) for view in cut]
    assert starts == [(0, 0), (0, 100), (4, 0), (4, 100), (8, 0), (8, 100)]


@pytest.mark.parametrize("shape", [(16, 50, 50), (16, 50, 150), (20, 61, 40), (8, 33, 64)])
@pytest.mark.parametrize("views", [clips.Views(50, 8, 4, 3), clips.Views(32, 0, 4, 3)])
def test_the_number_of_views_is_known_from_the_shape(views, shape):
    assert views.count(*shape) == len(views.cut(gradient(*shape)))


def test_a_view_longer_than_the_clip_is_refused():
    with pytest.raises(ValueError, match="a clip of 4 frames is shorter than the 8"):
        clips.Views(size=50, frames=8).cut(gradient(4, 50, 50))


def test_random_resized_crop_stays_within_its_ranges_and_reaches_them():
    clip = gradient(1, 200, 240)
    areas, aspects = [], []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        crop = clips.random_resized_crop(clip, 100, rng, scale=(0.1, 0.5)).astype(int)
        width = np.ptp(crop[0, 50, :, 0]) + 1
        height = np.ptp(crop[0, :, 50, 1]) + 1
        areas.append(width * height / (200 * 240))
        aspects.append(width / height)
    assert 0.08 < min(areas) < 0.15
    assert 0.42 < max(areas) < 0.53
    assert 0.7 < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 1.4


def test_random_resized_crop_falls_back_to_the_centre():
    clip = gradient(1, 10, 200)
    crop = clips.random_resized_crop(clip, 10, np.random.default_rng(0), scale=(0.99, 1.0))
    assert crop[0, 0, 0, 0] == 95


def test_flip_mirrors_half_of_the_clips():
    clip = gradient(1, 4, 8)
    flipped = [
        clips.random_flip(clip, np.random.default_rng(seed))[0, 0, 0, 0] == 7 for seed in range(400)
    ]
    assert 0.42 < np.mean(flipped) < 0.58


def test_random_temporal_crop_reaches_every_start():
    clip = gradient(8, 2, 2)
    starts = {
        int(clips.random_temporal_crop(clip, 5, np.random.default_rng(seed))[0, 0, 0, 2])
        for seed in range(60)
    }
    assert starts == {0, 1, 2, 3}


def test_enlarging_matches_opencv_bilinear():
    clip = gradient(1, 20, 20)
    expected = cv2.resize(clip[0], (50, 50), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(clips.resize(clip, height=50, width=50)[0], expected)


def test_turned_views_are_the_clip_turned_and_come_before_the_next_start():
    clip = gradient(16, 50, 150)
    plain = clips.Views(size=50, frames=8, clips=2, crops=3)
    turned = clips.Views(size=50, frames=8, clips=2, crops=3, rotations=4)
    cut, filmed = turned.cut(clip), plain.cut(clip)
    assert len(cut) == turned.count(16, 50, 150) == 4 * plain.count(16, 50, 150)
    for start in range(2):
        for turn in range(4):
            for crop in range(3):
                expected = np.rot90(filmed[start * 3 + crop], turn, axes=(1, 2))
                np.testing.assert_array_equal(cut[(start * 4 + turn) * 3 + crop], expected)


def test_half_turns_are_of_180_degrees_and_other_angles_are_refused():
    clip = gradient(4, 50, 50)
    turned = clips.Views(size=50, rotations=2).cut(clip)[1]
    np.testing.assert_array_equal(turned, clip[:, ::-1, ::-1])
    with pytest.raises(ValueError, match="1, 2 or 4, got 3"):
        clips.Views(size=50, rotations=3)
