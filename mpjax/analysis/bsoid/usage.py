"""How often a clip or recording shows each motif, and how often one follows another."""

import numpy as np
from jaxtyping import Float, Int

from mpjax.analysis.bsoid.features import bin_frames

# A frame counts as on screen from this share of a frame interval before its time, as where videos
# are resampled into clips (`mpjax.data.video.clips`).
_SLACK = 0.13


def clip_spans(
    start_frame: Int[np.ndarray, "clips"],
    frames: Int[np.ndarray, "clips"],
    fps: Float[np.ndarray, "clips"],
    *,
    pose_fps: float,
) -> Int[np.ndarray, "clips 2"]:
    """Returns the pose frames of clips' time spans, as half-open ranges.

    `start_frame` and `frames` (without padding) are counted at the clip's rate `fps`, to which the
    video was resampled; pose frames are those of the video. Successive clips share none.
    """
    ends = np.stack([start_frame, start_frame + frames], axis=1)
    spans = np.floor(ends * (pose_fps / fps)[:, None] + _SLACK).astype(int)
    spans[:, 1] = np.maximum(spans[:, 1], spans[:, 0] + 1)
    return spans


def span_usage(
    motif: Int[np.ndarray, "windows"], spans: Int[np.ndarray, "clips 2"], *, count: int, fps: float
) -> Float[np.ndarray, "clips motifs"]:
    """Returns the share of each motif in spans of one recording; all 0 where it has no window.

    A span counts the windows of 100 ms that lie wholly within it. A span that is shorter than a
    window, or at the very end, gets the window nearest to its middle.

    Args:
        motif: of every window of the recording; window i reaches from frame i to i + b.
        spans: first frame and the one after the last of each.
        count: number of motifs.
        fps: Hz, of the pose.
    """
    if not len(motif):
        return np.zeros((len(spans), count))
    b, windows = bin_frames(fps), len(motif)
    total = np.zeros((windows + 1, count))
    np.cumsum(np.eye(count)[motif], axis=0, out=total[1:])
    first, last = np.minimum(spans[:, 0], windows), np.minimum(spans[:, 1] - b, windows)
    middle = np.clip((spans.sum(axis=1) - 1 - b) // 2, 0, windows - 1)
    within = first < last
    first, last = np.where(within, first, middle), np.where(within, last, middle + 1)
    return (total[last] - total[first]) / (last - first)[:, None]


def recording_usage(
    motif: Int[np.ndarray, "windows"], *, count: int, fps: float
) -> Float[np.ndarray, "usage_and_transitions"]:
    """Returns the share of each motif in a recording, and of each change from one to another.

    A change is counted from a window to the one 100 ms later, which shares no step with it; changes
    are shares of all such pairs of windows, including those without a change.
    """
    share = np.bincount(motif, minlength=count) / max(1, len(motif))
    b = bin_frames(fps)
    before, after = motif[:-b], motif[b:]
    change = np.bincount(before * count + after, minlength=count**2).reshape(count, count)
    np.fill_diagonal(change, 0)
    return np.concatenate([share, change.ravel() / max(1, len(before))])
