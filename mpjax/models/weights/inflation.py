"""Inflates the weights of a 2D Swin (images) to those of a Video Swin.

As published: Video Swin, arXiv 2106.13230 ("Initialization from pre-trained model"), and
`inflate_weights` of its public code. For a clip of equal frames, the inflated network gives what
the 2D network gives for the frame: every frame embeds as the image, and attention spreads evenly
over time. That holds where the spatial window is the same and time is not padded to whole windows.
"""

import dataclasses
import math

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class Inflation:
    """What a 2D checkpoint does not say of the 3D network; the defaults are the published ones."""

    window: tuple[int, ...] = (8, 7, 7)  # tokens of a window along t, h, w
    patch_frames: int = 2  # frames of a patch

    def __post_init__(self) -> None:
        """Refuses empty windows and patches."""
        if len(self.window) != 3 or min(self.window) < 1:
            raise ValueError(f"window {self.window} needs 3 positive numbers: t, h, w")
        if self.patch_frames < 1:
            raise ValueError(f"a patch of {self.patch_frames} frames: it must be 1 or more")


def inflate_patch_kernel(
    kernel: Float[np.ndarray, "o c h w"], frames: int
) -> Float[np.ndarray, "o c t h w"]:
    """Repeats a patch kernel over `frames` and divides it by them, as published."""
    return repeat(kernel, "o c h w -> o c t h w", t=frames) / frames


def is_square(rows: int) -> bool:
    """Whether a 2D bias table of `rows` rows is of a square window: (2s - 1)^2 rows."""
    side = math.isqrt(rows)
    return side**2 == rows and side % 2 == 1


def inflate_bias_table(
    table: Float[np.ndarray, "rows heads"], window: tuple[int, ...]
) -> Float[np.ndarray, "rows3d heads"]:
    """Repeats a table of spatial offsets for every offset in time, as published.

    The table has (2s - 1)^2 rows, of a square window of s x s tokens. Where `window` (t, h, w) is
    not s x s in space, it is resized bicubically. The result has (2t - 1)(2h - 1)(2w - 1) rows.
    """
    side = math.isqrt(len(table))
    t, h, w = (2 * tokens - 1 for tokens in window)
    resized = np.einsum(
        "ai,bj,ijh->abh",
        bicubic_weights(side, h),
        bicubic_weights(side, w),
        rearrange(table, "(i j) heads -> i j heads", i=side),
        optimize=True,
    )
    return repeat(resized, "a b heads -> (t a b) heads", t=t).astype(table.dtype)


def bicubic_weights(old: int, new: int) -> Float[np.ndarray, "new old"]:
    """Returns the matrix that resizes an axis from `old` to `new` samples by cubic convolution.

    As PyTorch's `interpolate(mode="bicubic", align_corners=False)`: the kernel of Keys (1981,
    doi:10.1109/TASSP.1981.1163711) with a = -0.75, no antialiasing, the border repeated. The
    identity where `old` = `new`.
    """
    centres = (np.arange(new) + 0.5) * old / new - 0.5  # of the new samples, on the old axis
    taps = np.floor(centres)[:, None] + np.arange(-1, 3)
    matrix = np.zeros((new, old))
    places = np.clip(taps, 0, old - 1).astype(int)
    a, x = -0.75, np.abs(centres[:, None] - taps)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * (x**3 - 5 * x**2 + 8 * x - 4)
    kernel = np.where(x <= 1, near, np.where(x < 2, far, 0.0))
    np.add.at(matrix, (np.arange(new)[:, None], places), kernel)
    return matrix
