import json

import numpy as np
import pandas as pd
import pytest
from prediction_tables import evaluate, make_answers, make_meta, make_study, make_table
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    top_k_accuracy_score,
)

from mpjax.taxonomy import Taxonomy, default_taxonomy

ABC = Taxonomy(("a", "b", "c"))
GROUPED = Taxonomy(("x@d1", "x@d2", "sham@d1"), ("no_pain", "x"), (1, 1, 0))


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
        assert scores["macro_f1"]["value"] == pytest.approx(
            f1_score(label, predicted, average="macro", zero_division=0)
        )
        assert scores["confusion"] == confusion_matrix(label, predicted, labels=range(4)).tolist()
        low, high = scores["mean_class_accuracy"]["ci95"]
        assert low < expected < high
        low, high = scores["macro_f1"]["ci95"]
        assert low < scores["macro_f1"]["value"] < high
    assert fine["clip"]["recall"]["d"] == {
        "value": None, "why": "no evaluated unit of this class", "n": 0
    }  # fmt: skip
    assert fine["majority"]["clip"]["class"] == "a"
    assert fine["majority"]["clip"]["value"] == np.mean(label == 0)
    assert fine["chance"]["value"] == 0.25


def test_top_3_equals_that_of_scikit_learn_and_is_left_out_where_it_says_nothing(check):
    predictions = check(*make_study())
    metrics = evaluate(predictions, bootstrap=20, permutations=20)
    label = predictions.table["label"][predictions.evaluated]
    found = metrics["fine"]["clip"]["top3_accuracy"]
    expected = top_k_accuracy_score(label, predictions.p[predictions.evaluated], k=3)
    assert found["value"] == pytest.approx(expected)
    assert found["value"] > metrics["fine"]["clip"]["accuracy"]["value"]
    assert "top3_accuracy" not in metrics["coarse"]["clip"]


def test_day_distance_counts_recorded_days_within_the_right_condition_only(check):
    days = [1, 3, 14]  # 3 -> 14 is one recorded day, and 11 days
    taxonomy = default_taxonomy([f"{c}@d{d}" for c in ("sham", "sni") for d in days])
    label = [0, 0, 0, 1, 3, 3]
    predicted = [0, 1, 2, 2, 5, 0]  # the last one is in the wrong condition
    table = make_answers(label, predicted, animal=[0, 0, 0, 1, 2, 3], classes=6)
    table["condition"] = ["sham"] * 4 + ["sni"] * 2
    table["day"] = [1, 1, 1, 3, 1, 1]
    fine = evaluate(check(table, make_meta(taxonomy)))["fine"]
    found = fine["clip"]["day_distance"]
    assert (found["within_condition"], found["units"]) == (5, 6)
    assert found["steps"] == {"0": 1, "1": 2, "2": 2}
    assert found["mean_days"]["value"] == pytest.approx((0 + 2 + 13 + 11 + 13) / 5)
    assert found["mean_days"]["n"] == 5
    wrong = make_answers([0], [3], animal=[0], classes=6).assign(condition="sham", day=1)
    found = evaluate(check(wrong, make_meta(taxonomy)))["fine"]["clip"]["day_distance"]
    assert found["mean_days"]["why"] == "no unit is predicted within its condition"


def test_a_separate_coarse_head_is_scored_beside_the_summed_one(check):
    rows = [
        {"animal": f"m{i}", "video": f"v{i}", "condition": "x" if i < 3 else "sham", "day": 1,
         "label": 0 if i < 3 else 2}
        for i in range(4)
    ]  # fmt: skip
    p = np.array([[0.6, 0.2, 0.2], [0.1, 0.1, 0.8], [0.3, 0.3, 0.4], [0.1, 0.1, 0.8]])
    separate = [[0.2, 0.8], [0.9, 0.1], [0.9, 0.1], [0.9, 0.1]]  # no_pain, x
    table = make_table(rows, np.log(p)).assign(p_coarse=separate)
    found = evaluate(check(table, make_meta(GROUPED)))["coarse"]
    assert found["clip"]["accuracy"]["value"] == 0.75
    assert found["separate"]["clip"]["accuracy"]["value"] == 0.5
    assert found["separate"]["recording"]["mean_class_accuracy"]["value"] == pytest.approx(2 / 3)
    assert found["separate"]["disagreement"]["value"] == 0.25
    assert found["separate"]["disagreement"]["n"] == 4
    assert "separate" not in evaluate(check(*make_study()), permutations=20)["coarse"]


def make_demonstration(by_animal, by_clip, *, animals=8, clips=25):
    """Right answers with the given rates, apart per animal."""
    rng = np.random.default_rng(0)
    n = animals * clips
    label = rng.integers(0, 15, n)
    shift = np.repeat(rng.normal(0, 0.1, animals), clips)  # hard animals are so in both splits

    def answers(rate):
        return np.where(rng.random(n) < rate + shift, label, (label + 1) % 15)

    return pd.DataFrame(
        {
            "clip_id": [f"c{i}" for i in range(n)],
            "animal": np.repeat([f"a{i}" for i in range(animals)], clips),
            "cage": "",
            "label": label,
            "predicted_by_animal_split": answers(by_animal),
            "predicted_by_clip_split": answers(by_clip),
        }
    )


def test_the_inflation_of_a_clip_random_split_is_named_with_a_paired_interval(check):
    predictions = check(*make_study(drug=False))
    leaky = make_demonstration(0.4, 0.9)
    found = evaluate(predictions, permutations=20, demonstration=leaky)["leak"]["demonstration"]
    fine = found["fine"]
    right = leaky["predicted_by_clip_split"] == leaky["label"]
    assert fine["clip_split"] == pytest.approx(right.mean())
    assert fine["inflation"]["value"] == pytest.approx(fine["clip_split"] - fine["animal_split"])
    low, high = fine["inflation"]["ci95"]
    assert 0.3 < low < fine["inflation"]["value"] < high < 0.7
    assert found["coarse"]["animal_split"] >= fine["animal_split"]
    fair = make_demonstration(0.5, 0.5)
    found = evaluate(predictions, permutations=20, demonstration=fair)["leak"]["demonstration"]
    low, high = found["fine"]["inflation"]["ci95"]
    assert low < 0 < high
    half = fair["animal"] < "a4"
    apart = fair.assign(
        predicted_by_clip_split=fair["label"],
        predicted_by_animal_split=np.where(half, fair["label"], (fair["label"] + 1) % 15),
    )
    found = evaluate(predictions, permutations=20, demonstration=apart)["leak"]["demonstration"]
    low, high = found["fine"]["inflation"]["ci95"]
    assert high - low > 0.5, "8 animals, half of them at 0 and half at 1: not 200 clips"
    absent = evaluate(predictions, permutations=20)["leak"]["demonstration"]
    assert absent["value"] is None
    assert "train.what=probe" in absent["why"]


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


def test_scores_that_never_differ_between_classes_predict_nothing(check):
    table, meta = make_study()
    constant = table.assign(p=[np.full(15, 1 / 15)] * len(table))
    metrics = evaluate(check(constant, meta), permutations=20)
    json.dumps(metrics, allow_nan=False)
    for task in ("fine", "coarse"):
        for level in ("clip", "recording", "animal_day"):
            for figure in ("accuracy", "mean_class_accuracy", "macro_f1", "permutation"):
                assert metrics[task][level][figure]["value"] is None
                assert "every class has the same score" in metrics[task][level][figure]["why"]
    assert metrics["calibration"]["temperature"]["value"] is None


def test_a_class_never_predicted_and_a_class_never_seen_are_told_apart(check):
    table = make_answers([0, 0, 1, 1], [0, 0, 0, 0], animal=[0, 1, 2, 3])
    clip = evaluate(check(table, make_meta(ABC)))["fine"]["clip"]
    assert clip["recall"]["b"]["value"] == 0.0
    assert clip["recall"]["c"]["value"] is None
    assert clip["macro_f1"]["value"] == pytest.approx((2 / 3 + 0) / 2)
    assert clip["permutation"]["value"] is None
    assert "6 way(s)" in clip["permutation"]["why"]


def test_permuted_labels_tell_a_study_with_a_signal_from_one_without(check):
    found = evaluate(check(*make_study(drug=False)), permutations=500)
    for task in ("fine", "coarse"):
        for level in ("clip", "recording", "animal_day"):
            permuted = found[task][level]["permutation"]
            assert permuted["p"] < 0.02
            assert permuted["null"]["mean"] < permuted["null"]["q95"]
            assert permuted["null"]["q95"] < found[task][level]["mean_class_accuracy"]["value"]
    nothing = np.random.default_rng(0).normal(0, 1, (360, 15))
    table, meta = make_study(drug=False)
    table = table.assign(p=list(np.exp(nothing) / np.exp(nothing).sum(1, keepdims=True)))
    found = evaluate(check(table, meta), permutations=500)
    assert found["fine"]["recording"]["permutation"]["p"] > 0.05


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
    assert metrics["fine"]["clip"]["permutation"]["value"] is None
    assert metrics["calibration"]["temperature"]["value"] is None
    assert metrics["n"]["clips"] == (2 if split == "test" else 0)


def test_a_study_gives_every_fixed_path_and_the_same_figures_every_time(check):
    predictions = check(*make_study())
    metrics = evaluate(predictions, seed=5)
    assert json.dumps(metrics, allow_nan=False) == json.dumps(evaluate(predictions, seed=5))
    assert metrics["schema"] == "mpjax.metrics/2"
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
