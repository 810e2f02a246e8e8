import numpy as np
import pytest
import small_dataset

from mpjax.data import records
from mpjax.data.clips import Views
from mpjax.data.scene import backgrounds

VIEWS = Views(32)
T, H, W = small_dataset.FRAMES, small_dataset.HEIGHT, small_dataset.WIDTH


def chamber(gain=1.0, shift=0.0):
    """Walls and a floor with a slope, which an animal and its shadow can be told from."""
    picture = np.zeros((H, W, 3)) + np.linspace(40, 80, W)[None, :, None]
    picture[:3], picture[-3:] = 120, 120
    return np.clip(gain * picture + shift, 0, 255).round().astype(np.uint8)


def film(background, columns):
    clip = np.repeat(background[None], T, axis=0)
    for frame, column in zip(clip, columns, strict=True):
        frame[8:24, column : column + 8] = 230
    return clip


def walking(i):
    return film(chamber(), [4 + (T * (i % 4) + t) * 36 // (4 * T) for t in range(T)])


def resting(i):
    """The animal of each recording (four clips) rests, each elsewhere, in light of its own."""
    place, gain, shift = [(4, 1.0, 0), (18, 1.2, 10), (34, 0.8, -5)][(i // 4) % 3]
    return film(chamber(gain, shift), [place] * T)


def open_source(tmp_path, film, n=12):
    encode = lambda i: small_dataset.encode_frames(film(i))  # noqa: E731
    dataset = small_dataset.write(tmp_path / "dataset", n, encode=encode)
    source = records.RecordSource(dataset)
    positions = {
        video: np.flatnonzero(source.index["video"] == video).tolist()
        for video in ("v0.mp4", "v1.mp4", "v2.mp4")
    }
    return source, positions


def apart(one, other):
    return np.abs(one.astype(int) - other.astype(int)).mean(axis=-1)


def test_an_animal_that_moves_is_not_in_the_median(tmp_path):
    source, positions = open_source(tmp_path, walking)
    assert apart(backgrounds.read_median(source, positions["v0.mp4"]), chamber()).max() < 6


def test_few_frames_of_a_long_recording_are_read_and_all_of_a_short_one(tmp_path, monkeypatch):
    source, positions = open_source(tmp_path, walking)
    decoded, decode = [], backgrounds.clips.decode_frames

    def count(frames):
        decoded.append(len(frames))
        return decode(frames)

    monkeypatch.setattr(backgrounds.clips, "decode_frames", count)
    backgrounds.read_median(source, positions["v0.mp4"], most=10)
    assert sum(decoded) == 10
    decoded.clear()
    backgrounds.read_median(source, positions["v0.mp4"])
    assert sum(decoded) == 4 * T


@pytest.mark.parametrize(("video", "gain", "shift"), [("v0.mp4", 1.0, 0), ("v1.mp4", 1.2, 10)])
def test_an_animal_that_rests_is_removed_with_the_help_of_other_recordings(
    tmp_path, video, gain, shift
):
    source, positions = open_source(tmp_path, resting)
    median = backgrounds.cut(backgrounds.read_median(source, positions[video]), VIEWS, 0)
    empty = backgrounds.cut(chamber(gain, shift), VIEWS, 0)
    assert apart(median, empty).max() > 100
    pooled = backgrounds.read_chamber(source, VIEWS, 0, height=H, width=W)
    found, helped = backgrounds.remove_animal(median, pooled)
    assert helped
    assert apart(found, empty).max() < 8


def test_what_a_recording_shares_with_its_chamber_is_left_as_it_is():
    rng = np.random.default_rng(0)
    median = (chamber().astype(int) + rng.integers(-3, 4, (H, W, 1))).astype(np.uint8)
    found, helped = backgrounds.remove_animal(median, chamber())
    assert helped
    np.testing.assert_array_equal(found, median)


def test_the_chamber_of_another_camera_is_of_no_use():
    rng = np.random.default_rng(1)
    other = rng.integers(0, 256, (H, W, 3), np.uint8)
    found, helped = backgrounds.remove_animal(chamber(), other)
    assert not helped
    np.testing.assert_array_equal(found, chamber())


def test_of_two_recordings_neither_is_the_others_chamber(tmp_path):
    source, _ = open_source(tmp_path, resting, n=8)
    assert backgrounds.read_chamber(source, VIEWS, 0, height=H, width=W) is None


def test_a_crop_of_a_background_is_that_of_the_clips():
    views = Views(32, crops=3)
    clip = np.random.default_rng(2).integers(0, 256, (2, H, W, 3), np.uint8)
    for crop, expected in enumerate(views.cut(clip)):
        np.testing.assert_array_equal(backgrounds.cut(clip[0], views, crop), expected[0])
