"""Tables for other programs: bouts that can be counted by hand, and round trips without loss."""

import numpy as np
import pandas as pd
import pytest
from prediction_tables import TAXONOMY, make_meta, make_study, make_table

from mpjax.analysis import predictions
from mpjax.analysis.motifs.codebook import Assigned
from mpjax.interop import tables
from mpjax.taxonomy import Taxonomy


def make_windows(states, *, video="v.mp4", animal="m1", gap_after=None):
    """Windows of 2 s in a row; a state of -1 is unlike; after `gap_after` 10 s are missing."""
    start = 2.0 * np.arange(len(states))
    if gap_after is not None:
        start[gap_after + 1 :] += 10
    windows = pd.DataFrame(
        {
            "video": video, "animal": animal, "start_s": start, "seconds": 2.0, "condition": "sni",
            "day": 7, "drug": "", "dose_mg_per_kg": np.nan, "minutes_post_dose": np.nan,
            "cage": "c", "sex": "F", "split": "test", "fold": 0, "label": 0,
        }
    )  # fmt: skip
    state = np.array(states)
    return windows, Assigned(np.maximum(state, 0), np.zeros(len(state), np.float32), state < 0)


def read_study(tmp_path):
    table, meta = make_study(drug=True)
    path = tmp_path / "predictions.parquet"
    predictions.write_predictions(path, table, meta)
    return predictions.read_predictions(path)


def test_bouts_are_runs_of_one_motif_and_end_at_gaps():
    windows, assigned = make_windows([1, 1, 0, -1, -1, 1, 1], gap_after=5)
    found = tables.list_bouts(tables.Motifs(windows, assigned, 2))
    assert found["start_s"].tolist() == [0, 4, 6, 10, 22]
    assert found["stop_s"].tolist() == [4, 6, 10, 12, 24]
    assert found["motif"].fillna(-1).tolist() == [1, 0, -1, 1, 1]
    assert found["unlike"].tolist() == [False, False, True, False, False]
    assert (found["animal"] == "m1").all()


def test_bouts_of_several_recordings_do_not_run_into_each_other():
    first, a = make_windows([0, 0], video="b.mp4", animal="m2")
    second, b = make_windows([0, 0], video="a.mp4", animal="m1")
    windows = pd.concat([first, second], ignore_index=True)
    joined = Assigned(*(np.concatenate(pair) for pair in zip(a, b, strict=True)))
    found = tables.list_bouts(tables.Motifs(windows, joined, 1))
    assert found[["video", "animal"]].to_numpy().tolist() == [["a.mp4", "m1"], ["b.mp4", "m2"]]
    assert found["stop_s"].tolist() == [4, 4]


def test_the_time_in_bouts_is_the_usage_of_a_recording():
    windows, assigned = make_windows([0, 1, 1, -1, 2, 2, 2, 0])
    bouts = tables.list_bouts(tables.Motifs(windows, assigned, 3))
    usage = tables.flatten_usage(tables.Motifs(windows, assigned, 3))
    seconds = (bouts["stop_s"] - bouts["start_s"]).groupby(bouts["motif"]).sum()
    for motif in range(3):
        assert usage[f"usage[{motif}]"].item() == pytest.approx(seconds[motif] / 16)
    assert usage["unlike"].item() == pytest.approx(2 / 16)
    assert usage["bout_length[2]"].item() == pytest.approx(6)
    assert usage["transition[0>1]"].item() == pytest.approx(60 / 16)


def test_predictions_return_from_csv_and_parquet_as_they_were(tmp_path):
    read = read_study(tmp_path)
    flat = tables.flatten_predictions(read)
    tables.write_table(tmp_path, "flat", flat)
    missing = dict.fromkeys(("dose_mg_per_kg", "minutes_post_dose"), "")
    csv = pd.read_csv(tmp_path / "flat.csv", keep_default_na=False, na_values=missing)
    parquet = pd.read_parquet(tmp_path / "flat.parquet")
    for table in (csv, parquet):
        assert list(table) == list(flat)
        p = table[[f"p[{name}]" for name in TAXONOMY.fine]].to_numpy(np.float64)
        np.testing.assert_array_equal(p, read.p)
        pd.testing.assert_frame_equal(table, flat, check_dtype=False)
    assert not any(name.startswith(("embedding", "logits")) for name in flat)


def test_the_named_classes_are_those_of_largest_probability(tmp_path):
    read = read_study(tmp_path)
    flat = tables.flatten_predictions(read)
    names = [f"p[{name}]" for name in TAXONOMY.fine]
    assert (flat[names].idxmax(axis=1) == "p[" + flat["predicted"] + "]").all()
    coarse = read.taxonomy.coarse_probabilities(read.p).argmax(1)
    assert (flat["predicted_coarse"] == np.array(TAXONOMY.coarse)[coarse]).all()
    calibrated = flat[[f"calibrated[{name}]" for name in TAXONOMY.fine]].to_numpy()
    np.testing.assert_allclose(calibrated.sum(1), 1, rtol=1e-6)
    summed = flat[[f"calibrated_coarse[{name}]" for name in TAXONOMY.coarse]].to_numpy()
    np.testing.assert_allclose(summed, read.taxonomy.coarse_probabilities(calibrated), rtol=1e-6)


def test_bouts_of_predicted_classes_join_clips_that_follow_each_other(tmp_path):
    rows = [
        {"animal": "a", "video": "v", "start_frame": 50 * i, "start_s": 2.0 * i, "day": 0}
        for i in range(4)
    ]
    table = make_table(rows, 3.0 * np.eye(3)[[0, 1, 2, 2]])
    taxonomy = Taxonomy(("x", "y", "z"), ("low", "high"), (0, 0, 1))
    path = tmp_path / "predictions.parquet"
    predictions.write_predictions(path, table, make_meta(taxonomy))
    bouts, classes = tables.list_class_bouts(predictions.read_predictions(path), frames=50)
    assert classes == ("low", "high")
    assert bouts[["start_s", "stop_s", "class"]].to_numpy().tolist() == [
        [0.0, 4.0, "low"], [4.0, 8.0, "high"]
    ]  # fmt: skip
