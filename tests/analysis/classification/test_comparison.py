import numpy as np
import prediction_tables as tables
import pytest

from mpjax.analysis import predictions
from mpjax.analysis.classification import comparison
from mpjax.taxonomy import Taxonomy

ANIMALS, CLIPS = 12, 20


def make(tmp_path, name, accuracy, *, seed=0, clips=CLIPS, classes=("x", "y", "z")):
    """A method that names each clip rightly with a chance of its own, on the same animals."""
    rng = np.random.default_rng(seed)
    label = np.arange(ANIMALS * clips) % 3
    right = rng.random(len(label)) < accuracy
    predicted = np.where(right, label, (label + 1) % 3)
    frame = tables.make_answers(label, predicted, np.repeat(np.arange(ANIMALS), clips))
    path = tmp_path / f"{name}.parquet"
    predictions.write_predictions(path, frame, tables.make_meta(Taxonomy(classes)))
    return predictions.read_predictions(path), right


def test_the_difference_is_that_of_the_accuracies_and_a_method_equals_itself(tmp_path):
    (a, right_a), (b, right_b) = make(tmp_path, "a", 0.8), make(tmp_path, "b", 0.5, seed=1)
    found = comparison.compare(a, b)["fine"]["clip"]["accuracy"]
    assert found["value"] == pytest.approx(right_a.mean() - right_b.mean())
    assert found["ci95"][0] < found["value"] < found["ci95"][1]
    assert found["ci95"][0] > 0
    same = comparison.compare(a, a)["fine"]["clip"]["accuracy"]
    assert same["value"] == 0
    assert same["ci95"] == [0, 0]


def test_swapping_the_methods_turns_the_sign(tmp_path):
    (a, _), (b, _) = make(tmp_path, "a", 0.8), make(tmp_path, "b", 0.5, seed=1)
    one, other = (
        comparison.compare(*pair)["fine"]["clip"]["accuracy"] for pair in ((a, b), (b, a))
    )
    assert one["value"] == -other["value"]
    np.testing.assert_allclose(one["ci95"], [-x for x in reversed(other["ci95"])])


def test_the_order_of_the_clips_does_not_matter(tmp_path):
    (a, _), (b, _) = make(tmp_path, "a", 0.8), make(tmp_path, "b", 0.5, seed=1)
    order = np.random.default_rng(1).permutation(len(b.table))
    path = tmp_path / "shuffled.parquet"
    frame = b.table.iloc[order].assign(p=list(b.p[order].astype(np.float32)))
    frame = frame.assign(logits=[np.log(np.maximum(p, 1e-9)) for p in frame["p"]])
    predictions.write_predictions(path, frame, b.meta)
    shuffled = predictions.read_predictions(path)
    assert comparison.compare(a, shuffled) == comparison.compare(a, b)


def test_pairing_makes_the_interval_of_two_alike_methods_narrow(tmp_path):
    """Both fail on the same clips but for a few: the animals' differences cancel."""
    a, _ = make(tmp_path, "a", 0.7, seed=3)
    (b, _), (c, _) = make(tmp_path, "b", 0.7, seed=3), make(tmp_path, "c", 0.7, seed=4)
    assert comparison.compare(a, b)["fine"]["clip"]["accuracy"]["ci95"] == [0, 0]
    low, high = comparison.compare(a, c)["fine"]["clip"]["accuracy"]["ci95"]
    assert high - low > 0.02


def test_other_clips_or_classes_are_refused(tmp_path):
    a, _ = make(tmp_path, "a", 0.8)
    fewer, _ = make(tmp_path, "fewer", 0.8, clips=10)
    named, _ = make(tmp_path, "named", 0.8, classes=("x", "y", "w"))
    with pytest.raises(
        ValueError, match="120 are held out in the first only, 0 in the second only"
    ):
        comparison.compare(a, fewer)
    with pytest.raises(ValueError, match="x, y, z against x, y, w"):
        comparison.compare(a, named)
