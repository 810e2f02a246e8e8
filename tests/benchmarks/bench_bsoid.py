"""Seconds to compute B-SOiD's features of an hour, against loops over frames and pairs.

Command:  python tests/benchmarks/bench_bsoid.py [--minutes=60] [--fps=60] [--points=6]
          [--looped_seconds=20]
Goal:     an hour at 60 frames/s with 6 points in under 10 s (issue 7).

The peer is the form that B-SOiD's app has: a loop over frames, within it over pairs and points, a
moving average by pandas and a bin added to an array at a time. It is timed on shorter recordings,
and its time for the whole is a bound from below: per frame as on the longer of them, though the
array that grows with each bin makes it dearer the longer the recording is.
"""

import argparse
import itertools
import math
import time

import numpy as np
import pandas as pd

from mpjax.analysis.bsoid import features as bsoid_features


def looped(points: np.ndarray, fps: int) -> np.ndarray:
    """Computes the bins frame by frame."""
    frames, keypoints, _ = points.shape
    width, size = round(fps / 20) * 2 - 1, round(fps / 10)
    pairs = list(itertools.combinations(range(keypoints), 2))
    vectors, moved = [], []
    for r in range(frames):
        vectors.append([points[r, i] - points[r, j] for i, j in pairs])
        if r < frames - 1:
            moved.append(
                [np.linalg.norm(points[r + 1, k] - points[r, k]) for k in range(keypoints)]
            )
    vector = np.array(vectors)
    distance, turn = np.zeros((frames, len(pairs))), np.zeros((frames - 1, len(pairs)))
    for k in range(len(pairs)):
        for r in range(frames):
            distance[r, k] = np.linalg.norm(vector[r, k])
            if r < frames - 1:
                now, then = vector[r, k], vector[r + 1, k]
                cross = np.cross(np.hstack([then, 0]), np.hstack([now, 0]))
                angle = math.atan2(np.linalg.norm(cross), np.dot(now, then))
                turn[r, k] = np.sign(cross[2]) * 180 / np.pi * angle

    def smooth(values: np.ndarray) -> np.ndarray:
        rolled = [pd.Series(v).rolling(width, min_periods=1, center=True).mean() for v in values.T]
        return np.array(rolled)

    features = np.vstack([smooth(distance)[:, 1:], smooth(turn), smooth(np.array(moved))])
    bins = np.zeros((len(features), 0))
    for k in range(size, features.shape[1], size):
        mean = features[: len(pairs), k - size : k].mean(axis=1)
        total = features[len(pairs) :, k - size : k].sum(axis=1)
        bins = np.concatenate([bins, np.hstack([mean, total])[:, None]], axis=1)
    return bins.T


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--fps", type=int, default=60)
    parser.add_argument("--points", type=int, default=6)
    parser.add_argument("--looped_seconds", type=float, default=20.0)
    options = parser.parse_args()
    frames = round(options.minutes * 60 * options.fps)
    rng = np.random.default_rng(0)
    points = 300 + np.cumsum(rng.normal(0, 1, (frames, options.points, 2)), axis=0)
    likelihood = np.where(rng.random(points.shape[:2]) < 0.03, 0.2, 0.98)
    size = bsoid_features.bin_frames(options.fps)

    started, cpu = time.perf_counter(), time.process_time()
    filled = bsoid_features.fill_lost(points, likelihood)
    windows = bsoid_features.window_features(filled, options.fps)
    scaled = bsoid_features.standardise(windows[::size])
    ours = time.perf_counter() - started, time.process_time() - cpu
    print(
        f"{options.minutes:g} min, {options.fps} frames/s, {options.points} points: {frames} frames"
    )
    print(
        f"ours: {ours[0]:.2f} s ({ours[1]:.2f} s of processor) for lost points, the {len(windows)} "
        f"windows of every frame and {len(scaled)} standardised bins"
    )
    per_frame = 0.0
    for part in (0.5, 1.0):
        n = round(part * options.looped_seconds * options.fps)
        cpu = time.process_time()
        peer = looped(filled[:n], options.fps)
        per_frame = (time.process_time() - cpu) / n
        difference = np.abs(peer - windows[::size][: len(peer)])[:-1].max()
        print(
            f"loops: {1e3 * per_frame:.3f} ms of processor per frame over {n} frames; "
            f"largest difference {difference:.1e}"
        )
    whole = per_frame * frames
    print(f"loops, the whole: {whole:.0f} s of processor or more, {whole / ours[1]:.0f} times ours")


if __name__ == "__main__":
    main()
