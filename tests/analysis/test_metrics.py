import json

import numpy as np
import pytest
from prediction_tables import make_answers, make_meta, make_study, make_table
from sklearn.metrics import accuracy_score, balanced_accuracy_score, confusion_matrix

from mpjax.analysis.metrics import evaluate
from mpjax.analysis.predictions import read_predictions, write_predictions
from mpjax.taxonomy import Taxonomy

ABC = Taxonomy(("a", "b", "c"))
GROUPED = Taxonomy(("x@d1", "x@d2", "sham@d1"), ("no_pain", "x"), (1, 1, 0))


@pytest.fixture
def check(tmp_path):
    """Puts a table through the file and back."""

    def through_file(table, meta):
        write_predictions(tmp_path / "p.parquet", table, meta)
        return read_predictions(tmp_path / "p.parquet")

    return through_file


def test_scores_equal_those_of_scikit_learn(check):
    rng = np.random.default_rng(0)
    label = rng.choice(4, 500, p=[0.6, 0.25, 0.15, 0.0])  # the last class never occurs
    predicted = np.where(rng.random(500) < 0.5, label, rng.integers(0, 4, 500))
    table = make_answers(label, predicted, animal=np.arange(500) % 8, classes=4)
    fine = evaluate(check(table, make_meta(Taxonomy(("a", "b", "c", "d")))))["fine"]
    for level in ("clip", "recording"):  # here every recording is one clip
        scores = fine[level]
        assert scores["accuracy"]["value"] == pytest.approx(accuracy_score(label, predicted))
        expected = balanced_accuracy_score(label, predicted)
        assert scores["mean_class_accuracy"]["value"] == pytest.approx(expected)
        assert scores["confusion"] == confusion_matrix(label, predicted, labels=range(4)).tolist()
        low, high = scores["mean_class_accuracy"]["ci95"]
        assert low < expected < high
    assert fine["clip"]["recall"]["d"] == {
        "value": None, "why": "no evaluated unit of this class", "n": 0
    }  # fmt: skip
    assert fine["majority"]["clip"]["class"] == "a"
    assert fine["majority"]["clip"]["value"] == np.mean(label == 0)
    assert fine["chance"]["value"] == 0.25


def test_only_held_out_clips_of_trained_classes_count(check):
    table = make_answers([0, 1, 2, 0, 0, -1], [0, 1, 1, 1, 1, 2], animal=[0, 0, 1, 2, 3, 1])
    table["split"] = ["test", "test", "test", "train", "val", "test"]
    metrics = evaluate(check(table, make_meta(ABC)))
    assert metrics["fine"]["clip"]["accuracy"]["n"] == metrics["n"]["clips"] == 3
    assert metrics["fine"]["clip"]["accuracy"]["value"] == pytest.approx(2 / 3)
    assert metrics["n"]["left_out_clips"] == 1
    assert [(part["split"], part["clips"]) for part in metrics["splits"]] == [
        ("train", 1), ("val", 1), ("test", 4)
    ]  # fmt: skip


def test_a_recording_averages_its_clips_and_an_animal_day_its_recordings(check):
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.1, 0.9], [0.3, 0.7]])
    rows = [
        {"animal": "m", "video": video, "day": day, "label": 0}
        for video, day in (("v1", 1), ("v1", 1), ("v1", 1), ("v2", 1), ("v3", 2))
    ]
    fine = evaluate(check(make_table(rows, np.log(p)), make_meta(Taxonomy(("a", "b")))))["fine"]
    assert fine["clip"]["confusion"][0] == [1, 4]
    assert fine["recording"]["confusion"][0] == [1, 2]  # v1: mean p(a) = 0.567
    assert fine["animal_day"]["confusion"][0] == [0, 2]  # day 1: (0.567 + 0.1) / 2


def test_animal_day_weighs_recordings_not_clips(check):
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.4, 0.6]])
    rows = [
        {"animal": "m", "video": video, "label": 0} for video in ("short", "long", "long", "long")
    ]
    fine = evaluate(check(make_table(rows, np.log(p)), make_meta(Taxonomy(("a", "b")))))["fine"]
    assert fine["animal_day"]["accuracy"]["value"] == 1.0  # 0.65; over clips it would be 0.525
    p[0] = [0.65, 0.35]
    fine = evaluate(check(make_table(rows, np.log(p)), make_meta(Taxonomy(("a", "b")))))["fine"]
    assert fine["animal_day"]["accuracy"]["value"] == 1.0  # 0.525; over clips it would be 0.4625


def test_a_level_whose_units_hold_several_classes_is_not_estimable(check):
    table = make_answers([0, 1, 2, 2], [0, 1, 2, 0], animal=[0, 0, 1, 1], video=[0, 1, 2, 2])
    fine = evaluate(check(table, make_meta(ABC)))["fine"]
    assert fine["recording"]["accuracy"]["n"] == 3
    assert fine["animal_day"]["accuracy"]["value"] is None
    assert (
        "1 of 2 animal × day units hold clips of several classes"
        in (fine["animal_day"]["mean_class_accuracy"]["why"])
    )
    table = make_answers([0, 1], [0, 1], animal=[0, 0], video=[0, 0])
    fine = evaluate(check(table, make_meta(ABC)))["fine"]
    assert fine["recording"]["accuracy"]["value"] is None
    assert fine["clip"]["accuracy"]["value"] == 1.0


def test_coarse_answers_come_from_summed_probabilities(check):
    p = [[0.3, 0.3, 0.4], [0.1, 0.1, 0.8]]
    rows = [
        {"animal": "m0", "video": "v0", "condition": "x", "day": 1, "label": 0},
        {"animal": "m1", "video": "v1", "condition": "x", "day": 2, "label": 1},
    ]
    metrics = evaluate(check(make_table(rows, np.log(p)), make_meta(GROUPED)))
    assert metrics["fine"]["clip"]["accuracy"]["value"] == 0.0
    assert metrics["coarse"]["clip"]["accuracy"]["value"] == 0.5
    assert metrics["coarse"]["clip"]["confusion"] == [[0, 0], [1, 1]]
    assert metrics["coarse"]["chance"]["value"] == 0.5


def test_a_label_cohort_has_fine_classes_only_and_says_why_the_rest_is_missing(check):
    table = make_answers([0, 1, 2], [0, 1, 2], animal=[0, 1, 2])
    metrics = evaluate(check(table, make_meta(ABC)))
    assert "coarse" not in metrics
    assert metrics["progression"]["value"] is None
    assert "label cohort" in metrics["progression"]["why"]
    assert "no drug part" in metrics["drug"]["why"]
    assert metrics["drug"]["interaction"]["value"] is None


def test_cages_are_resampled_where_cages_are_the_group(check):
    label = np.arange(60) % 3
    predicted = np.where(np.arange(60) < 30, label, 0)  # cage 0 is right, cage 1 mostly wrong
    table = make_answers(label, predicted, animal=np.arange(60) // 5)
    table["cage"] = [f"cage{i // 30}" for i in range(60)]
    by_animal = evaluate(check(table, make_meta(ABC)))
    by_cage = evaluate(check(table, make_meta(ABC, group="cage")))
    assert by_cage["bootstrap"] == {"unit": "cage", "groups": 2, "resamples": 2000, "seed": 0}
    assert by_animal["bootstrap"]["groups"] == 12
    assert by_cage["fine"]["clip"]["accuracy"]["ci95"] == pytest.approx([1 / 3, 1.0])
    assert "2 cages only" in by_cage["fine"]["clip"]["accuracy"]["note"]
    low, high = by_animal["fine"]["clip"]["accuracy"]["ci95"]
    assert 1 / 3 < low < high < 1.0


@pytest.mark.parametrize("split", ["test", "train"])
def test_one_animal_or_none_gives_json_with_reasons_in_place_of_figures(check, split):
    table = make_answers([0, 1], [0, 1], animal=[0, 0]).assign(split=split)
    metrics = evaluate(check(table, make_meta(ABC)))
    json.dumps(metrics, allow_nan=False)
    accuracy = metrics["fine"]["clip"]["accuracy"]
    assert accuracy["value"] == (1.0 if split == "test" else None)
    assert accuracy["why"]
    assert metrics["n"]["clips"] == (2 if split == "test" else 0)


def test_a_study_gives_every_fixed_path_and_the_same_figures_every_time(check):
    predictions = check(*make_study())
    metrics = evaluate(predictions, seed=5)
    assert json.dumps(metrics, allow_nan=False) == json.dumps(evaluate(predictions, seed=5))
    assert metrics["schema"] == "mpjax.metrics/1"
    assert (metrics["n"]["clips"], metrics["n"]["recordings"]) == (360, 120)
    assert (metrics["n"]["animals"], metrics["leak"]["animals"]) == (12, 0)
    for kind, classes in (("fine", 15), ("coarse", 3)):
        assert len(metrics[kind]["classes"]) == classes
        for level, n in (("clip", 360), ("recording", 120), ("animal_day", 60)):
            scores = metrics[kind][level]
            assert np.sum(scores["confusion"]) == n
            for score in ("accuracy", "mean_class_accuracy"):
                low, high = scores[score]["ci95"]
                assert 0 <= low <= scores[score]["value"] <= high <= 1
                assert scores[score]["n"] == n
