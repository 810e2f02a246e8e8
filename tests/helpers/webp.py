"""Reads the moving pictures of reports back."""

import io

import numpy as np
from PIL import Image


def decode_webp(content):
    """Returns the frames [t, h, w, 3]; frames in a row that are equal may have become one."""
    with Image.open(io.BytesIO(content)) as image:
        frames = []
        for k in range(getattr(image, "n_frames", 1)):
            image.seek(k)
            frames.append(np.asarray(image.convert("RGB")))
    return np.stack(frames)
