import numpy as np
import pandas as pd
import pytest
from motif_cohorts import make_cohort

from mpjax.analysis.motifs import usage
from mpjax.analysis.motifs.codebook import Assigned
from mpjax.analysis.motifs.usage import Measure

_OWN = {
    "cage": "", "sex": "", "condition": "sham", "day": 1, "drug": "", "dose_mg_per_kg": np.nan,
    "minutes_post_dose": np.nan, "split": "test", "fold": 0, "label": 0, "seconds": 2.0,
}  # fmt: skip


def recording(starts, motif, *, animal="m", video="v", unlike=()):
    rows = pd.DataFrame([{**_OWN, "animal": animal, "video": video, "start_s": s} for s in starts])
    motif = np.array(motif)
    far = np.isin(np.arange(len(motif)), unlike)
    return rows, Assigned(motif, np.zeros(len(motif)), far)


def figure(measured, kind, motif=None, to=None):
    return measured.values[0, measured.measures.index(Measure(kind, motif, to))]


def test_usage_bouts_and_transitions_of_a_recording_written_out():
    """Windows every second: 0 0 1 | gap | 1 1 0 (unlike) 1; gap and stranger break bouts."""
    starts = [0, 1, 2, 10, 11, 12, 13]
    rows, assigned = recording(starts, [0, 0, 1, 1, 1, 0, 1], unlike=[5])
    measured, matrix = usage.measure_recordings(rows, assigned, motifs=2)
    assert figure(measured, "usage", 0) == pytest.approx(2 / 7)
    assert figure(measured, "usage", 1) == pytest.approx(4 / 7)
    assert figure(measured, "unlike") == pytest.approx(1 / 7)
    assert figure(measured, "bout_length", 0) == pytest.approx(2.0)
    assert figure(measured, "bout_length", 1) == pytest.approx((1 + 2 + 1) / 3)
    assert figure(measured, "bouts_per_minute", 1) == pytest.approx(3 / (7 / 60))
    assert figure(measured, "transition", 0, 1) == pytest.approx(1 / (7 / 60))
    assert matrix.tolist() == [[0, 1], [0, 0]]
    assert usage.segments(rows, assigned, "v", motifs=2) == [
        [0, 2, 0], [2, 3, 1], [10, 12, 1], [12, 13, -1], [13, 14, 1],
    ]  # fmt: skip


def test_the_order_of_rows_does_not_matter():
    rows, assigned = make_cohort(animals=2, windows=20)
    order = np.random.default_rng(0).permutation(len(rows))
    mixed = Assigned(*(each[order] for each in assigned))
    shuffled = rows.iloc[order].reset_index(drop=True)
    one, matrix = usage.measure_recordings(rows, assigned, motifs=8)
    other, same = usage.measure_recordings(shuffled, mixed, motifs=8)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(matrix, same)
    assert one.table["video"].tolist() == other.table["video"].tolist()


def test_shares_sum_to_one_and_recordings_of_a_session_count_alike():
    long, short = recording(range(30), [0] * 30, video="a"), recording([0, 1], [1, 1], video="b")
    rows = pd.concat([long[0], short[0]], ignore_index=True)
    assigned = Assigned(*(np.concatenate(each) for each in zip(long[1], short[1], strict=True)))
    measured, _ = usage.measure_recordings(rows, assigned, motifs=3)
    session = measured.average(usage.SESSION)
    assert session.values[0, :4].tolist() == [0.5, 0.5, 0.0, 0.0]
    assert session.table["windows"].tolist() == [32]
    # A motif that one recording lacks has the bout length of the other alone.
    assert figure(session, "bout_length", 0) == 30.0
    assert np.isnan(figure(session, "bout_length", 2))


def test_a_recording_of_several_labels_has_none():
    rows, assigned = recording([0, 1], [0, 1])
    rows["label"] = [0, 1]
    measured, _ = usage.measure_recordings(rows, assigned, motifs=2)
    assert measured.table["label"].tolist() == [-1]


def test_single_windows_have_usage_but_no_bouts_and_say_why():
    parts = [recording([0], [k], video=f"v{k}") for k in range(3)]
    rows = pd.concat([part[0] for part in parts], ignore_index=True)
    measured, matrix = usage.measure_recordings(
        rows, Assigned(np.arange(3), np.zeros(3), np.zeros(3, bool)), motifs=3
    )
    assert {each.kind for each in measured.measures} == {"usage", "unlike"}
    assert "single window" in measured.why_no_bouts
    assert not matrix.any()


def test_the_profile_follows_a_motif_through_the_recording():
    rows, assigned = recording(range(40), [0] * 20 + [1] * 20)
    found = usage.profile(rows, assigned, motifs=2)
    assert found["usage"][0][:4] == [1, 1, 1, 1]
    assert found["usage"][1][-4:] == [1, 1, 1, 1]
    assert (found["n"], found["bins"]) == (1, 10)
    assert usage.profile(rows[:5], Assigned(*(e[:5] for e in assigned)), motifs=2)["why"]


def test_only_transitions_that_half_of_the_animals_make_are_compared():
    often = recording([0, 1, 2, 3], [0, 1, 0, 1], video="a", animal="x")
    others = [recording([0, 1], [2, 1], video=f"b{i}", animal=f"y{i}") for i in range(2)]
    parts = [often, *others]
    rows = pd.concat([part[0] for part in parts], ignore_index=True)
    assigned = Assigned(
        *(np.concatenate(each) for each in zip(*(p[1] for p in parts), strict=True))
    )
    measured, _ = usage.measure_recordings(rows, assigned, motifs=3)
    pairs = [(m.motif, m.to) for m in measured.measures if m.kind == "transition"]
    assert pairs == [(2, 1)]
