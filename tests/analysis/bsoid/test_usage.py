"""Usage of motifs in a clip's time span, and the classifier on it. No motif is learnt here."""

import dataclasses

import numpy as np
import pytest

from mpjax.analysis.bsoid import usage as bsoid_usage
from mpjax.analysis.bsoid.classifier import Usage, UsageClassifier

COUNT = 3


def spans_of(clips, *, frames=16, fps, pose_fps, stride=16):
    start = np.arange(clips) * stride
    return bsoid_usage.clip_spans(
        start, np.full(clips, frames), np.full(clips, fps), pose_fps=pose_fps
    )


@pytest.mark.parametrize("fps", [25.0, 29.97, 30.0, 59.94])
def test_without_resampling_a_clip_spans_its_own_frames(fps):
    spans = spans_of(200, fps=fps, pose_fps=fps)
    np.testing.assert_array_equal(spans[:, 0], np.arange(200) * 16)
    np.testing.assert_array_equal(spans[:, 1], np.arange(1, 201) * 16)


def test_a_clip_at_half_the_rate_spans_twice_the_frames():
    np.testing.assert_array_equal(spans_of(2, fps=4.0, pose_fps=8.0), [[0, 32], [32, 64]])


@pytest.mark.parametrize(
    ("fps", "pose_fps"), [(4.0, 8.0), (10.0, 29.97), (25.0, 60.0), (30.0, 25.0), (12.5, 25.0)]
)
def test_a_span_begins_with_the_frame_that_the_resampled_clip_begins_with(fps, pose_fps):
    spans = spans_of(50, fps=fps, pose_fps=pose_fps)
    np.testing.assert_array_equal(spans[1:, 0], spans[:-1, 1])  # no frame twice, none left out
    for first, k in zip(spans[:, 0], range(0, 800, 16), strict=True):
        # The frame on screen k / fps seconds after the first one (`mpjax.data.video.clips`).
        shown = max(i for i in range(4000) if i / pose_fps <= k / fps + 0.13 / pose_fps + 1e-9)
        assert first == shown


def test_the_last_frames_of_a_padded_clip_do_not_count():
    assert spans_of(1, frames=16 - 6, fps=25.0, pose_fps=25.0).tolist() == [[0, 10]]


def test_usage_counts_the_windows_within_the_span_and_no_others():
    motif = np.zeros(100, int)
    motif[30:40] = 1
    # At 30 frames/s window i reaches from frame i to frame i + 3: within frames 30 to 45 lie the
    # windows 30 to 42.
    usage = bsoid_usage.span_usage(motif, np.array([[30, 46], [0, 30]]), count=COUNT, fps=30.0)
    np.testing.assert_allclose(usage, [[3 / 13, 10 / 13, 0], [1, 0, 0]])


def test_the_motifs_outside_of_a_clip_do_not_change_its_usage():
    rng = np.random.default_rng(0)
    motif = rng.integers(0, COUNT, 100)
    other = rng.integers(0, COUNT, 100)
    other[30:43] = motif[30:43]
    span = np.array([[30, 46]])
    first, second = (
        bsoid_usage.span_usage(each, span, count=COUNT, fps=30.0) for each in (motif, other)
    )
    np.testing.assert_array_equal(first, second)


def test_a_span_shorter_than_a_window_or_at_the_end_is_given_the_nearest_window():
    motif = np.arange(20) % COUNT
    spans = np.array([[6, 8], [22, 24]])
    usage = bsoid_usage.span_usage(motif, spans, count=COUNT, fps=30.0)
    np.testing.assert_array_equal(usage.argmax(1), [motif[5], motif[19]])
    np.testing.assert_array_equal(usage.sum(1), 1)


def test_a_recording_without_a_window_uses_no_motif():
    none = np.zeros(0, int)
    usage = bsoid_usage.span_usage(none, np.array([[0, 2]]), count=COUNT, fps=30.0)
    np.testing.assert_array_equal(usage, np.zeros((1, COUNT)))
    whole = bsoid_usage.recording_usage(none, count=COUNT, fps=30.0)
    np.testing.assert_array_equal(whole, np.zeros(COUNT + COUNT**2))


def test_transitions_are_shares_of_all_steps_of_100_ms():
    motif = np.repeat([0, 1, 0, 2], 6)  # at 30 frames/s: two steps of 100 ms each
    whole = bsoid_usage.recording_usage(motif, count=COUNT, fps=30.0)
    np.testing.assert_allclose(whole[:COUNT], [0.5, 0.25, 0.25])
    change = whole[COUNT:].reshape(COUNT, COUNT)
    pairs = len(motif) - 3
    np.testing.assert_allclose(change, np.array([[0, 3, 3], [3, 0, 0], [0, 0, 0]]) / pairs)


def simulated_usage(*, seed=0, animals=12, recordings=2, clips=5, shift=0.25):
    """Two classes, of which the second shows the third motif more often."""
    rng = np.random.default_rng(seed)
    label = np.repeat(np.arange(animals) % 2, recordings * clips)
    group = np.repeat(np.arange(animals), recordings * clips)
    owner = np.repeat(np.arange(animals * recordings), clips)
    p = np.array([[0.5, 0.4, 0.1], [0.5 - shift, 0.4, 0.1 + shift]])[label]
    clip = np.stack([rng.multinomial(12, row) for row in p]) / 12
    whole = np.stack([clip[owner == r].mean(0) for r in range(animals * recordings)])
    recording = np.concatenate([whole, np.zeros((len(whole), 9))], axis=1)
    return Usage(clip, recording, owner), label, group


def fit(usage, label, group, *, penalties=(0.01, 1.0, 100.0)):
    return UsageClassifier(usage, components=8).fit(
        label, group, inverse_penalties=penalties, seed=0
    )


@pytest.mark.parametrize("context", ["clip", "recording"])
def test_a_planted_difference_in_usage_is_classified_on_other_animals(context):
    train, label, group = simulated_usage()
    test, truth, _ = simulated_usage(seed=1)
    if context == "clip":
        train, test = (dataclasses.replace(each, recording=None) for each in (train, test))
    p = fit(train, label, group).predict(test, classes=2)
    assert (p.argmax(1) == truth).mean() > (0.9 if context == "recording" else 0.7)
    np.testing.assert_allclose(p.sum(1), 1)


def test_a_recordings_usage_tells_more_than_a_clips_own():
    train, label, group = simulated_usage(shift=0.1, animals=40)
    test, truth, _ = simulated_usage(shift=0.1, animals=40, seed=1)
    both = fit(train, label, group).predict(test, classes=2)
    own = fit(dataclasses.replace(train, recording=None), label, group).predict(
        dataclasses.replace(test, recording=None), classes=2
    )
    assert (both.argmax(1) == truth).mean() > (own.argmax(1) == truth).mean()


def test_usage_without_a_difference_is_penalised_most():
    usage, label, group = simulated_usage(shift=0.0, animals=30)
    assert fit(usage, label, group).inverse_penalty == 0.01
    assert fit(*simulated_usage(shift=0.3, animals=30)).inverse_penalty > 0.01


def test_a_class_that_no_training_clip_has_is_given_next_to_nothing():
    usage, label, group = simulated_usage()
    p = fit(usage, label + 1, group).predict(usage, classes=4)
    assert (p[:, [0, 3]] < 1e-6).all()
    assert (p > 0).all()


def test_clips_of_a_single_class_are_refused():
    usage, label, group = simulated_usage()
    with pytest.raises(ValueError, match="all training clips are of one class"):
        fit(usage, 0 * label, group)


def test_a_single_animal_takes_the_middle_penalty():
    usage, label, group = simulated_usage()
    assert fit(usage, label, 0 * group).inverse_penalty == 1.0
