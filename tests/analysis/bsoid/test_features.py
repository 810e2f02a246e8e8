"""B-SOiD's features: those of its own app, and of a slow loop written from their definition."""

import itertools
import math

import numpy as np
import pytest

from mpjax.analysis.bsoid import features as bsoid_features


def walk(frames, *, keypoints=6, seed=0):
    """Keypoints that wander."""
    steps = np.random.default_rng(seed).normal(0, 1.5, (frames, keypoints, 2))
    return 50 + np.cumsum(steps, axis=0)


def smoothed(series, width):
    half = width // 2
    return [
        sum(series[max(0, i - half) : i + half + 1]) / len(series[max(0, i - half) : i + half + 1])
        for i in range(len(series))
    ]


def slow_bins(points, fps):
    """Follows the definition of B-SOiD's features step by step, frame by frame."""
    frames, keypoints, _ = points.shape
    width = max(1, round(fps / 20) * 2 - 1)
    size = round(fps / 10)
    distances, turns, steps = [], [], []
    for i, j in itertools.combinations(range(keypoints), 2):
        vector = [points[r, i] - points[r, j] for r in range(frames)]
        distances.append(smoothed([math.dist(v, (0, 0)) for v in vector], width)[1:])
        turn = []
        for r in range(frames - 1):
            (ax, ay), (bx, by) = vector[r], vector[r + 1]
            cross = bx * ay - by * ax
            sign = int(cross > 0) - int(cross < 0)
            turn.append(sign * math.degrees(math.atan2(abs(cross), ax * bx + ay * by)))
        turns.append(smoothed(turn, width))
    for k in range(keypoints):
        moved = [math.dist(points[r, k], points[r + 1, k]) for r in range(frames - 1)]
        steps.append(smoothed(moved, width))
    bins = []
    for k in range(size, frames - 1, size):
        mean = [sum(series[k - size : k]) / size for series in distances]
        bins.append(mean + [sum(series[k - size : k]) for series in turns + steps])
    return np.array(bins)


def bins_of(points, fps):
    return bsoid_features.window_features(points, fps)[:: bsoid_features.bin_frames(fps)]


def test_features_equal_those_of_the_app(shared):
    stored = np.load(shared / "parity" / "bsoid_features.npz")
    bins = [bins_of(stored[name], float(stored["fps"])) for name in ("pose0", "pose1")]
    scaled = [bsoid_features.standardise(each) for each in bins]
    np.testing.assert_allclose(np.concatenate(bins), stored["features"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.concatenate(scaled), stored["scaled"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("fps", [20.0, 25.0, 30.0, 60.0, 120.0])
def test_features_equal_their_definition_step_by_step(fps):
    points = walk(97, keypoints=4)
    np.testing.assert_allclose(bins_of(points, fps), slow_bins(points, fps), rtol=0, atol=1e-9)


def test_a_vector_that_turns_back_on_itself_has_no_sign_and_so_no_turn():
    points = np.zeros((8, 2, 2))
    points[:, 0, 0] = [1, -1, 1, -1, 1, -1, 1, -1]
    turn = bsoid_features.frame_features(points, 10.0)[1][:, 0]
    np.testing.assert_array_equal(turn, 0.0)


def test_turning_clockwise_and_counterclockwise_differ_in_sign_alone():
    angle = np.linspace(0, 2, 40)
    points = np.zeros((40, 2, 2))
    points[:, 0] = 10 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    mirrored = points * [1, -1]
    ahead, back = (bins_of(each, 30.0) for each in (points, mirrored))
    assert (ahead[:, 1] < 0).all()  # cross(v[r + 1], v[r]) of a counterclockwise turn
    np.testing.assert_allclose(ahead[:, 1], -back[:, 1])
    np.testing.assert_allclose(ahead[:, [0, 2, 3]], back[:, [0, 2, 3]])


def test_the_frameshift_offsets_interleave_to_all_windows():
    points, fps = walk(80), 30.0
    windows = bsoid_features.window_features(points, fps)
    for offset in range(3):
        later = bsoid_features.frame_features(points, fps)
        expected = np.array(
            [
                np.concatenate([later[0][k - 3 : k].mean(0), later[1][k - 3 : k].sum(0)])
                for k in range(3 + offset, len(points) - 1, 3)
            ]
        )
        np.testing.assert_allclose(windows[offset::3], expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("fps", [5.0, 8.0, 10.0, 12.5])
def test_slow_cameras_give_bins_of_a_frame_unsmoothed(fps):
    points = walk(12)
    distance = bsoid_features.frame_features(points, fps)[0]
    assert bins_of(points, fps).shape == (10, 36)
    apart = np.linalg.norm(points[1:, 0] - points[1:, 1], axis=1)
    np.testing.assert_allclose(distance[:, 0], apart)


def test_a_rate_that_is_nearly_whole_counts_as_whole():
    points = walk(50)
    np.testing.assert_array_equal(bins_of(points, 29.97), bins_of(points, 30.0))


@pytest.mark.parametrize("frames", [1, 2, 4])
def test_a_recording_shorter_than_a_bin_has_no_window(frames):
    assert bsoid_features.window_features(walk(frames), 30.0).shape == (0, 36)
    assert bsoid_features.window_features(walk(5), 30.0).shape == (1, 36)


def slow_threshold(likelihood):
    """As the app finds it (`adp_filt`)."""
    count, edge = np.histogram(likelihood[1:])
    rise = np.where(np.diff(count) >= 0)
    return edge[rise[0][0]] if rise[0][0] > 1 else edge[rise[0][1]]


@pytest.mark.parametrize("seed", range(5))
def test_points_below_the_apps_threshold_stay_where_they_were_last_seen(seed):
    rng = np.random.default_rng(seed)
    points = walk(300, keypoints=2, seed=seed)
    likelihood = np.where(rng.random((300, 2)) < 0.2, 0.3 * rng.random((300, 2)), 0.9)
    likelihood += 0.1 * rng.random((300, 2))
    filled = bsoid_features.fill_lost(points, likelihood)
    for k in range(2):
        low, last = likelihood[:, k] < slow_threshold(likelihood[:, k]), points[0, k]
        assert low.any()
        for r in range(300):
            last = last if r and low[r] else points[r, k]
            np.testing.assert_array_equal(filled[r, k], last)


def test_missing_points_are_filled_and_those_before_the_first_are_given_it():
    points = walk(6, keypoints=3)
    points[[0, 1, 4], 0] = np.nan
    points[:, 2] = np.nan
    filled = bsoid_features.fill_lost(points, np.full((6, 3), np.nan))
    np.testing.assert_array_equal(filled[:, 0], points[[2, 2, 2, 3, 3, 5], 0])
    np.testing.assert_array_equal(filled[:, 1], points[:, 1])
    np.testing.assert_array_equal(filled[:, 2], 0.0)


@pytest.mark.parametrize("likelihood", [np.ones(50), np.full(50, 0.2), np.full(50, np.nan)])
def test_where_likelihoods_do_not_differ_nothing_is_lost(likelihood):
    assert not (likelihood < bsoid_features.likelihood_threshold(likelihood)).any()


def test_standardised_features_have_mean_0_and_sd_1_and_constant_ones_are_0():
    features = np.random.default_rng(0).normal(5, 3, (40, 3))
    features[:, 1] = 0.1
    scaled = bsoid_features.standardise(features)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(scaled.std(0), [1, 0, 1], atol=1e-12)
