import base64
import io

import numpy as np
import pytest
import small_dataset
import webp
from PIL import Image

from mpjax.data import animation, records
from mpjax.data.clips import Views


def moving_square(t=6, h=48, w=64):
    frames = np.full((t, h, w, 3), 60, np.uint8)
    for i, frame in enumerate(frames):
        frame[10:26, 6 + 7 * i : 22 + 7 * i] = (220, 200, 40)
    return frames


def noise(t=6, h=96, w=128):
    return np.random.default_rng(0).integers(0, 256, (t, h, w, 3), np.uint8)


def encode(frames, *, fps=5.0, max_bytes=1_000_000, short_side=48):
    return animation.encode_webp(frames, fps=fps, max_bytes=max_bytes, short_side=short_side)


def test_a_picture_has_all_frames_at_their_speed_and_loops():
    content = encode(moving_square())
    with Image.open(io.BytesIO(content)) as image:
        assert (image.format, image.n_frames, image.info["loop"]) == ("WEBP", 6, 0)
        image.seek(3)
        image.load()
        assert image.info["duration"] == 200
    decoded = webp.decode_webp(content).astype(int)
    assert decoded.shape == (6, 48, 64, 3)
    assert np.abs(decoded - moving_square()).mean() < 4


def test_the_same_frames_give_the_same_bytes():
    assert encode(moving_square()) == encode(moving_square())


def test_a_picture_is_resized_to_its_short_side():
    assert webp.decode_webp(encode(moving_square(), short_side=24)).shape[1:] == (24, 32, 3)


def test_quality_gives_way_before_size_and_the_limit_holds():
    largest = len(encode(noise(), short_side=96))
    coarser = encode(noise(), short_side=96, max_bytes=largest * 3 // 5)
    assert len(coarser) <= largest * 3 // 5
    assert webp.decode_webp(coarser).shape[1:3] == (96, 128)
    smaller = encode(noise(), short_side=96, max_bytes=largest // 6)
    assert len(smaller) <= largest // 6
    assert 32 <= webp.decode_webp(smaller).shape[1] < 96


def test_frames_that_fit_nowhere_are_refused_with_both_sizes():
    with pytest.raises(ValueError, match=r"6 frames do not fit into 50 bytes .* took \d+"):
        encode(noise(), max_bytes=50)


def test_a_data_uri_holds_the_very_bytes():
    kind, encoded = animation.data_uri(b"\x00\xffabc").split(",")
    assert kind == "data:image/webp;base64"
    assert base64.b64decode(encoded) == b"\x00\xffabc"


def test_an_overlay_colours_by_sign_and_strength_and_leaves_the_rest_grey():
    clip = moving_square(2, 8, 8)
    saliency = np.zeros((2, 8, 8))
    saliency[0, 0, :3] = (2.0, 1.0, -2.0)
    shown = animation.overlay(clip, saliency).astype(int)
    grey = shown[1]
    assert (grey == grey[..., :1]).all()
    red, blue = shown[0, 0, :, 0] - shown[0, 0, :, 2], shown[0, 0, :, 2] - shown[0, 0, :, 0]
    assert red[0] > red[1] > 0
    assert blue[2] > 0
    np.testing.assert_array_equal(shown, animation.overlay(clip, 1000 * saliency))
    assert (animation.overlay(clip, 0 * saliency) == clip.mean(-1, keepdims=True).round()).all()


def test_pictures_stand_side_by_side_below_their_captions():
    first, second = moving_square(), noise(6, 48, 64)
    plain = animation.side_by_side([first, second])
    np.testing.assert_array_equal(plain[:, :, :64], first)
    np.testing.assert_array_equal(plain[:, :, -64:], second)
    named = animation.side_by_side([first, second], ["a clip", "longer caption"])
    top = named.shape[1] - 48
    np.testing.assert_array_equal(named[:, top:], plain)
    left, right = named[0, :top, :64], named[0, :top, -64:]
    assert (left < 100).any()
    assert (right < 100).any()
    assert (right[:, -1] == 255).all(), "the caption is cut off"


def test_a_view_is_read_with_the_pixels_that_were_embedded(tmp_path):
    dataset = small_dataset.write(tmp_path / "dataset")
    source = records.RecordSource(dataset)
    views = Views(32, frames=2, clips=2, crops=3)
    clip = small_dataset.frames(int(source.index["clip_id"][5][-8:]))
    expected = views.cut(clip)
    for view, wanted in enumerate(expected):
        found = animation.read_view(source, 5, views, view).astype(int)
        assert found.shape == (2, 32, 32, 3)
        assert np.abs(found - wanted).max() <= 2
