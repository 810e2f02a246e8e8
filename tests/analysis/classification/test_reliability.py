import numpy as np
import pytest
from prediction_tables import evaluate, make_meta, make_study
from scipy.special import softmax

from mpjax.analysis.classification import calibration
from mpjax.analysis.classification.calibration import calibrate
from mpjax.analysis.predictions import read_predictions, write_predictions


def confident(confidence, right):
    """Two classes: labels, and p whose largest value is `confidence`."""
    confidence = np.asarray(confidence)
    p = np.stack([confidence, 1 - confidence], axis=1)
    return np.where(right, 0, 1), p


def test_calibration_error_is_the_mean_gap_between_confidence_and_accuracy():
    label, p = confident([0.95] * 4 + [0.62] * 6, [1, 1, 0, 0, 1, 1, 1, 0, 0, 0])
    bins = calibration.reliability_bins(label, p)
    assert [each["n"] for each in bins] == [6, 4]
    assert bins[0] == {"confidence": pytest.approx(0.62), "accuracy": 0.5, "n": 6}
    expected = 0.4 * (0.95 - 0.5) + 0.6 * (0.62 - 0.5)
    assert calibration.expected_calibration_error(label, p) == pytest.approx(expected)


def test_bins_have_equal_width_and_hold_their_upper_edge():
    label, p = confident([0.51, 0.6, 0.61, 1.0], [True] * 4)
    confidence = [each["confidence"] for each in calibration.reliability_bins(label, p)]
    np.testing.assert_allclose(confidence, [(0.51 + 0.6) / 2, 0.61, 1.0])


def test_accuracy_by_coverage_takes_the_most_confident_first():
    confidence = np.linspace(0.1, 1.0, 20)
    right = confidence > 0.5
    rows = calibration.accuracy_by_coverage(confidence[::-1], right[::-1])
    assert [row["coverage"] for row in rows] == [k / 10 for k in range(1, 11)]
    assert rows[0] == {"coverage": 0.1, "accuracy": 1.0, "threshold": confidence[-2]}
    assert rows[-1]["accuracy"] == pytest.approx(right.mean())
    assert rows[-1]["threshold"] == pytest.approx(0.1)


def test_the_order_of_units_of_equal_confidence_means_nothing():
    right = np.array([True] * 5 + [False] * 5)
    same = np.full(10, 0.7)
    for rows in (
        calibration.accuracy_by_coverage(same, right),
        calibration.accuracy_by_coverage(same, right[::-1]),
    ):
        np.testing.assert_allclose([row["accuracy"] for row in rows], 0.5)


@pytest.fixture
def oversure(tmp_path):
    table, meta = make_study(drug=False)
    p = softmax(4 * np.stack(table["logits"]), axis=1)
    write_predictions(tmp_path / "p.parquet", table.assign(p=list(p)), meta)
    return read_predictions(tmp_path / "p.parquet")


def test_a_study_tells_calibration_before_and_after(oversure):
    metrics = evaluate(oversure, bootstrap=20, permutations=20)
    found = metrics["calibration"]
    assert found["temperature"]["value"] > 2
    assert found["temperature"]["animals"] == 12
    label = oversure.table["label"]
    for kind, p in (("before", oversure.p), ("after", calibrate(oversure).p)):
        own = p[np.arange(len(label)), label]
        assert found["fine"][kind]["nll"] == pytest.approx(-np.log(own).mean())
    assert found["fine"]["after"]["ece"] < 0.7 * found["fine"]["before"]["ece"]
    for task in ("fine", "coarse"):
        assert found[task]["after"]["nll"] < found[task]["before"]["nll"]
        assert sum(each["n"] for each in found[task]["reliability"]) == len(oversure.table)
        curve = found["coverage"][task]
        assert curve[-1]["accuracy"] == pytest.approx(
            metrics[task]["recording"]["accuracy"]["value"]
        )
        assert curve[0]["threshold"] > curve[-1]["threshold"]


def test_without_a_temperature_the_reason_stands_in_place_of_what_would_be_after(tmp_path):
    table, _ = make_study(drug=False)
    write_predictions(tmp_path / "p.parquet", table.assign(fold=-1), make_meta())
    found = evaluate(read_predictions(tmp_path / "p.parquet"), permutations=20)["calibration"]
    assert found["temperature"]["value"] is None
    assert "no validation animals" in found["fine"]["after"]["why"]
    assert found["fine"]["before"]["ece"] > 0
    assert found["fine"]["reliability"]
