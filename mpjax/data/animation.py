"""Animations for a report: clips read back from records, colour overlays, animated WebP."""

import base64
import io
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, ImageDraw, ImageFont

from mpjax.data import clips, records

_QUALITIES = (80, 65, 50, 35, 20)  # of WebP, tried in this order
_SHRINK = 0.8  # then the size, repeatedly
_SMALLEST = 32  # px of the short side; smaller images show nothing
# Encoder effort 0-6; more than the default 4 takes several times as long and saves few bytes.
_EFFORT = 4
# Okabe & Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/
_FOR, _AGAINST = (213, 94, 0), (0, 114, 178)  # vermillion and blue
_STRONGEST = 0.8  # opacity of the overlay; the animal stays visible beneath
_FULL = 99.5  # percentile of the magnitudes that gets it
_CAPTION, _TEXT = 22, 15  # px, height of a caption and of its letters
_GAP = 4  # px between clips


def read_view(
    source: records.RecordSource, position: int, views: clips.Views, view: int = 0
) -> UInt8[np.ndarray, "t h w 3"]:
    """Reads view number `view` of the clip at `position`: the pixels that were embedded."""
    jpegs = records.decode_example(source[position])["frames"]
    return views.cut(clips.decode_frames(jpegs))[view]


def overlay(
    frames: UInt8[np.ndarray, "t h w 3"], saliency: Float[np.ndarray, "t h w"]
) -> UInt8[np.ndarray, "t h w 3"]:
    """Draws saliency over a clip in grey: vermillion for, blue against, fainter is weaker.

    The two colours are distinct for any colour vision. All frames of the clip share one scale, so
    strength can be compared over time. `saliency` is signed, of any scale; 0 leaves the grey frame.
    """
    magnitude = np.abs(saliency)
    full = np.percentile(magnitude, _FULL)
    opacity = _STRONGEST * np.minimum(magnitude / full, 1) if full > 0 else np.zeros_like(magnitude)
    grey = frames.mean(axis=-1, keepdims=True)
    colour = np.where((saliency >= 0)[..., None], np.array(_FOR), np.array(_AGAINST))
    mixed = grey + opacity[..., None] * (colour - grey)
    return mixed.round().astype(np.uint8)


def side_by_side(
    pictures: Sequence[UInt8[np.ndarray, "t h w 3"]], captions: Sequence[str] = ()
) -> UInt8[np.ndarray, "t h2 w2 3"]:
    """Joins one or more clips of one shape from left to right, each below its caption, if any."""
    t, h, w, _ = pictures[0].shape
    top = _CAPTION if captions else 0
    joined = np.full((t, top + h, len(pictures) * (w + _GAP) - _GAP, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        left = i * (w + _GAP)
        joined[:, top:, left : left + w] = picture
        if captions:
            joined[:, :top, left : left + w] = _write(captions[i], w)
    return joined


def _write(text: str, width: int) -> UInt8[np.ndarray, "h w 3"]:
    """Draws a line of text, as large as the width allows."""
    image = Image.new("RGB", (width, _CAPTION), "white")
    draw = ImageDraw.Draw(image)
    size = _TEXT
    while draw.textlength(text, font=ImageFont.load_default(size)) > width and size > 7:
        size -= 1
    draw.text((0, (_CAPTION - size) / 2 - 2), text, fill="black", font=ImageFont.load_default(size))
    return np.asarray(image)


def encode_webp(
    frames: UInt8[np.ndarray, "t h w 3"], *, fps: float, max_bytes: int, short_side: int
) -> bytes:
    """Encodes RGB frames as an animated WebP that loops; the same input gives the same bytes.

    If it does not fit into `max_bytes`, quality is lowered first, then `short_side` (px).
    Raises ValueError if even tiny frames take more.
    """
    size = short_side
    while size >= min(_SMALLEST, short_side):
        resized = clips.resize_short_side(frames, size)
        for quality in _QUALITIES:
            content = _encode(resized, fps, quality)
            if len(content) <= max_bytes:
                return content
        size = math.floor(size * _SHRINK)
    raise ValueError(
        f"{len(frames)} frames do not fit into {max_bytes} bytes as WebP; the smallest try took "
        f"{len(content)}; allow more, or show fewer frames"
    )


def _encode(frames: UInt8[np.ndarray, "t h w 3"], fps: float, quality: int) -> bytes:
    first, *others = (Image.fromarray(frame) for frame in frames)
    options = {"duration": round(1000 / fps), "loop": 0, "quality": quality, "method": _EFFORT}
    out = io.BytesIO()
    first.save(out, "WEBP", save_all=True, append_images=others, **options)
    return out.getvalue()


def data_uri(content: bytes) -> str:
    """Returns an animated WebP as a data: URI, for a page that needs no network."""
    return f"data:image/webp;base64,{base64.b64encode(content).decode()}"
