"""Scores of new recordings: uncertainty with known values, bouts, novelty of clips."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax

from mpjax.analysis.classification import new_recordings
from mpjax.analysis.motifs import codebook
from mpjax.config import MotifConfig
from mpjax.taxonomy import Taxonomy, default_taxonomy

CLASSES = ("sni@d1", "sni@d7", "sham@d1", "sham@d7")
TAXONOMY = default_taxonomy(CLASSES)
SURE = 1 - 3e-9


def clips(n, video="v.mp4"):
    return pd.DataFrame(
        {"video": video, "start_s": np.arange(n) * 2.0, "end_s": np.arange(n) * 2.0 + 2}
    )


def one_hot(labels):
    p = np.full((len(labels), 4), (1 - SURE) / 3)
    p[np.arange(len(labels)), labels] = SURE
    return np.log(p).astype(np.float32)


def test_heads_that_contradict_each_other_disagree_and_those_that_do_not_know_do_not():
    contradict = np.stack([one_hot([0]), one_hot([2])])
    unsure = np.log(np.full((2, 1, 4), 0.25, np.float32))
    agree = np.stack([one_hot([0]), one_hot([0])])
    for log_p, entropy, disagreement in ((contradict, 0.5, 0.5), (unsure, 1, 0), (agree, 0, 0)):
        row = new_recordings.score(clips(1), log_p, TAXONOMY).clips.iloc[0]
        assert row["entropy"] == pytest.approx(entropy, abs=1e-6)
        assert row["disagreement"] == pytest.approx(disagreement, abs=1e-6)
    row = new_recordings.score(clips(1), contradict, TAXONOMY).clips.iloc[0]
    assert row["pain"] == pytest.approx(0.5)
    assert row["pain_sd_heads"] == pytest.approx(np.sqrt(0.5))


def test_a_single_head_has_no_disagreement_to_tell():
    found = new_recordings.score(clips(2), one_hot([0, 1])[None], TAXONOMY)
    assert found.clips[["disagreement", "pain_sd_heads"]].isna().all(axis=None)


def test_every_head_is_calibrated_before_the_mean_is_taken():
    log_p = np.log(np.random.default_rng(0).dirichlet(np.ones(4), (3, 5))).astype(np.float32)
    found = new_recordings.score(clips(5), log_p, TAXONOMY, temperature=2.5)
    expected = softmax(log_p.astype(float) / 2.5, axis=-1).mean(axis=0)
    columns = [f"p[{name}]" for name in CLASSES]
    np.testing.assert_allclose(found.clips[columns], expected, atol=1e-9)
    np.testing.assert_allclose(found.clips["p_group[sni]"], expected[:, :2].sum(axis=1), atol=1e-9)
    assert found.clips["class"].tolist() == [CLASSES[i] for i in expected.argmax(axis=1)]


def test_bouts_are_runs_of_one_group_whatever_the_day():
    found = new_recordings.score(clips(6), one_hot([0, 1, 2, 3, 3, 0])[None], TAXONOMY)
    bouts = new_recordings.find_bouts(found)
    assert bouts["group"].tolist() == ["sni", "no_pain", "sni"]
    assert bouts["clips"].tolist() == [2, 3, 1]
    assert bouts[["start_s", "end_s"]].to_numpy().tolist() == [[0, 4], [4, 10], [10, 12]]
    np.testing.assert_allclose(bouts["p"], 1, atol=1e-6)


def test_a_label_cohort_has_classes_and_no_pain():
    found = new_recordings.score(clips(3), one_hot([0, 0, 1])[None], Taxonomy(("a", "b", "c", "d")))
    assert not {"group", "pain", "pain_sd_heads"} & set(found.clips)
    assert new_recordings.find_bouts(found)["class"].tolist() == ["a", "b"]
    row = new_recordings.summarise(found)
    assert (row["class"], row["clips"], row["unlike"]) == ("a", 3, None)
    assert "pain" not in row


def test_a_recordings_row_is_the_mean_of_its_clips_with_the_spread_over_heads():
    log_p = np.log(np.random.default_rng(1).dirichlet(np.ones(4), (3, 5))).astype(np.float32)
    found = new_recordings.score(clips(5), log_p, TAXONOMY)
    row = new_recordings.summarise(found)
    pain = np.exp(log_p.astype(float))[:, :, :2].sum(axis=2)
    assert row["pain"] == pytest.approx(pain.mean(), abs=1e-6)
    assert row["pain_lowest_head"] == pytest.approx(pain.mean(axis=1).min(), abs=1e-6)
    assert row["pain_highest_head"] == pytest.approx(pain.mean(axis=1).max(), abs=1e-6)
    assert row["pain_sd_clips"] == pytest.approx(pain.mean(axis=0).std(ddof=1), abs=1e-6)
    assert row["seconds"] == 10


def test_a_clip_is_as_unlike_as_its_most_unlike_window():
    rng = np.random.default_rng(0)
    known = rng.normal(size=(400, 6)).astype(np.float32)
    config = MotifConfig(candidates=(2,), components=4, variance=1.0)
    book = codebook.fit(known, group=np.arange(400) % 8, config=config)
    ordinary, far = known.mean(axis=0), known.mean(axis=0) + 50
    embedding = np.stack([ordinary, ordinary, ordinary, far]).astype(np.float32)
    found = new_recordings.measure_novelty(book, embedding, np.array([0, 0, 1, 1]))
    assert found["unlike"].tolist() == [False, True]
    assert found["distance"][0] < found["gate"][0]
    over = found["distance"][1] > found["gate"][1]
    assert over or found["off_plane"][1] > found["off_plane_gate"][1]
    reversed_ = new_recordings.measure_novelty(book, embedding[[2, 3]], np.array([0, 0]))
    pd.testing.assert_frame_equal(reversed_, found.iloc[[1]].reset_index(drop=True))
