"""The plainest features of a clip: its mean picture."""

import numpy as np
import simplejpeg

from mpjax.data.scene import pixels


def encode(frame):
    return simplejpeg.encode_jpeg(np.ascontiguousarray(frame), quality=98, colorsubsampling="444")


def test_cells_are_the_mean_grey_of_their_place():
    frame = np.zeros((64, 64, 3), np.uint8)
    frame[:32, 32:] = 200
    cells = pixels.measure([encode(frame)] * 8).reshape(pixels.GRID, pixels.GRID)
    np.testing.assert_allclose(cells[:8, 8:], 200 / 255, atol=0.01)
    np.testing.assert_allclose(cells[8:], 0, atol=0.01)


def test_frames_of_the_whole_clip_count():
    dark, light = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 200, np.uint8)
    cells = pixels.measure([encode(dark)] * 8 + [encode(light)] * 8)
    np.testing.assert_allclose(cells, 100 / 255, atol=0.01)
