"""Features of B-SOiD, equal to those of its app v2: distances and angles of pairs, displacements.

Source: Hsu & Yttri, Nat. Commun. 12, 5188 (2021), doi:10.1038/s41467-021-25420-x, and the app's own
code (YttriLab/B-SOID: `extract_features`, `bsoid_classification`, `likelihoodprocessing`). The
app's loops over frames and pairs are array operations here.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.preprocessing import StandardScaler

_HISTOGRAM_BINS = 10  # of the likelihood, numpy's default


def bin_frames(fps: float) -> int:
    """Returns the frames of a bin of 100 ms: round(fps / 10), at least one.

    The app takes whole frames/s, so 29.97 counts as 30.
    """
    return max(1, round(round(fps) / 10))


def smoothing_frames(fps: float) -> int:
    """Returns the width of the moving average: round(0.05 s * fps) * 2 - 1, an odd number.

    Up to 10 frames/s that is less than one frame and the app fails; here nothing is smoothed.
    """
    return max(1, round(round(fps) / 20) * 2 - 1)


def fill_lost(
    points: Float[np.ndarray, "frames keypoints 2"],
    likelihood: Float[np.ndarray, "frames keypoints"],
) -> Float[np.ndarray, "frames keypoints 2"]:
    """Replaces a lost keypoint by its last known position.

    A point (px) is lost where it is NaN or its likelihood is below its keypoint's
    `likelihood_threshold` (NaN: not known, not lost). As in the app, the first frame is used as it
    is; where it is NaN, it gets the first point that is not. A keypoint that is never found stays
    at 0.
    """
    missing = ~np.isfinite(points).all(axis=2)
    lost = missing | (likelihood < [likelihood_threshold(each) for each in likelihood.T])
    first = (missing.argmin(axis=0), np.arange(points.shape[1]))
    lost[first] = missing[first]
    known = pd.DataFrame(points.reshape(len(points), -1)).mask(np.repeat(lost, 2, axis=1))
    return known.ffill().bfill().fillna(0.0).to_numpy().reshape(points.shape)


def likelihood_threshold(likelihood: Float[np.ndarray, "frames"]) -> float:
    """Returns the app's adaptive threshold: where the histogram of likelihoods begins to rise.

    Of 10 bins between the smallest and the largest value (without the first frame), it is the lower
    edge of the first bin whose successor is not smaller; of the second such bin, where the first is
    one of the two lowest. Where there is none, nothing is lost. NaN is left out.
    """
    known = likelihood[1:][np.isfinite(likelihood[1:])]
    if not len(known):
        return -np.inf
    count, edge = np.histogram(known, bins=_HISTOGRAM_BINS)
    rise = np.flatnonzero(np.diff(count) >= 0)
    nth = 0 if len(rise) and rise[0] > 1 else 1
    return float(edge[rise[nth]]) if len(rise) > nth else -np.inf


def frame_features(
    points: Float[np.ndarray, "frames keypoints 2"], fps: float
) -> tuple[Float[np.ndarray, "steps pairs"], Float[np.ndarray, "steps adding"]]:
    """Computes the smoothed features of every step from a frame to the next.

    Returns:
        The distances of all pairs of keypoints, after the step; and what adds up over steps: the
        rotation of every pair's vector in degrees, and the displacement of every keypoint. Pairs
        are in the order of `itertools.combinations`.
    """
    first, second = np.triu_indices(points.shape[1], k=1)
    vector = points[:, first] - points[:, second]
    x, y = vector[..., 0], vector[..., 1]
    distance = np.hypot(x, y)
    # The sign is that of cross(v[r + 1], v[r]); where it is 0 so is the angle, even at 180 degrees.
    cross = x[1:] * y[:-1] - y[1:] * x[:-1]
    dot = x[1:] * x[:-1] + y[1:] * y[:-1]
    angle = np.where(cross == 0, 0.0, np.degrees(np.arctan2(cross, dot)))
    step = np.diff(points, axis=0)
    displacement = np.hypot(step[..., 0], step[..., 1])

    def smooth(values: np.ndarray) -> np.ndarray:
        rolling = pd.DataFrame(values).rolling(smoothing_frames(fps), min_periods=1, center=True)
        return rolling.mean().to_numpy()  # as the app does

    return smooth(distance)[1:], smooth(np.concatenate([angle, displacement], axis=1))


def window_features(
    points: Float[np.ndarray, "frames keypoints 2"], fps: float
) -> Float[np.ndarray, "windows features"]:
    """Computes features of the 100 ms after every frame: means of distances, sums of the rest.

    Window i holds the b = `bin_frames(fps)` steps from frame i to frame i + b. Every b-th window is
    a bin that B-SOiD is trained on; all of them, the bins at the offsets 0 to b - 1 interleaved,
    are its "frameshift" of new data. (Where fps is not a multiple of 10 the app can leave out the
    last offset, and with it frames.) As in the app, the last step of a recording is in no window.

    Returns:
        Distances (px), angles (degrees), displacements (px); none where the recording is too short.
    """
    width, pairs = bin_frames(fps), points.shape[1] * (points.shape[1] - 1) // 2
    windows = max(0, len(points) - 1 - width)
    if not windows:
        return np.zeros((0, 2 * pairs + points.shape[1]))
    distance, adding = frame_features(points, fps)
    mean = sum(distance[k : k + windows] for k in range(width)) / width
    total = sum(adding[k : k + windows] for k in range(width))
    return np.concatenate([mean, total], axis=1)


def standardise(features: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Brings the features of one recording to mean 0 and sd 1; a constant one to 0."""
    return StandardScaler().fit_transform(features)
