"""Simple methods see training animals alone, and one table says which of them the model beats."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
from prediction_tables import evaluate, make_meta, make_study, make_table

from mpjax.analysis import predictions
from mpjax.analysis.classification import baselines, method_table
from mpjax.taxonomy import Taxonomy


def read(table, meta):
    p = np.stack(table["p"]).astype(np.float64)
    return predictions.Predictions(table, Taxonomy.from_dict(meta["taxonomy"]), p, meta)


@pytest.fixture
def study():
    return read(*make_study(drug=True))


def accuracy(made):
    rows = made.evaluated
    return (made.p[rows].argmax(1) == made.table["label"].to_numpy()[rows]).mean()


def informative(study, noise=0.2):
    """Features that tell the class of a clip, and one that is always missing."""
    rng = np.random.default_rng(0)
    label = study.table["label"].to_numpy()
    known = np.eye(16)[label] + rng.normal(0, noise, (len(label), 16))
    return np.c_[known, np.full(len(label), np.nan)]


def test_informative_features_are_read_and_missing_ones_do_no_harm(study):
    features = informative(study)
    assert accuracy(baselines.predict_linear(study, features)) > 0.9
    assert accuracy(baselines.predict_centroid(study, features[:, :-1])) > 0.9


@pytest.mark.parametrize("method", ["predict_linear", "predict_centroid"])
def test_what_is_predicted_for_an_animal_does_not_depend_on_its_own_labels(study, method):
    """Under folds, labels of the fold's own animals are changed; its answers must not move."""
    features = informative(study)[:, :-1]
    own = (study.table["fold"] == 1).to_numpy()
    label = study.table["label"].to_numpy().copy()
    label[own] = (label[own] + 3) % 15
    changed = dataclasses.replace(study, table=study.table.assign(label=label))
    before, after = (getattr(baselines, method)(each, features) for each in (study, changed))
    np.testing.assert_array_equal(before.p[own], after.p[own])
    others = (study.table["fold"] == 2).to_numpy()
    assert (before.p[others] != after.p[others]).any()


def test_the_nearest_centroid_is_the_likeliest_class():
    rows = [
        {"animal": f"a{i}", "video": f"v{i}", "label": label, "split": split}
        for i, (label, split) in enumerate([(0, "train"), (0, "train"), (1, "train"), (0, "test")])
    ]
    table = make_table(rows, np.zeros((4, 3)))
    meta = make_meta(Taxonomy(("x", "y", "z"), (), ()))
    found = baselines.predict_centroid(read(table, meta), np.array([[0.0], [1], [5], [4]]))
    assert found.p[3].argmax() == 1
    assert found.p[3, 2] == 0  # a class without a training clip
    np.testing.assert_allclose(found.p.sum(1), 1)


def test_the_majority_is_that_of_the_training_side():
    rows = [
        {"animal": f"a{i}", "video": f"v{i}", "label": label, "split": split}
        for i, (label, split) in enumerate(
            [(2, "train"), (2, "train"), (1, "train"), (0, "test"), (0, "test"), (0, "test")]
        )
    ]
    table = make_table(rows, np.zeros((6, 3)))
    meta = make_meta(Taxonomy(("x", "y", "z"), (), ()))
    assert (baselines.predict_majority(read(table, meta)).p.argmax(1) == 2).all()


def test_features_are_joined_by_name_and_a_missing_one_is_named():
    table = pd.DataFrame({"video": ["b", "a", "b"]})
    features = pd.DataFrame({"f": [1.0, 2.0]}, index=["a", "b"])
    assert baselines.align(table, features, "video")[:, 0].tolist() == [2, 1, 2]
    with pytest.raises(ValueError, match="video 'b'"):
        baselines.align(table, features.iloc[:1], "video")


def test_a_model_that_does_not_beat_a_method_is_said_not_to(study):
    rng = np.random.default_rng(1)
    guess = dataclasses.replace(study, p=rng.dirichlet(np.ones(15), len(study.p)))
    perfect = dataclasses.replace(
        study, p=0.9 * np.eye(15)[np.maximum(study.table["label"], 0)] + 0.1 / 15
    )
    found = method_table.compare_methods(
        study, {"guess": guess, "oracle": perfect}, bootstrap=300, seed=0
    )
    by_name = {row["name"]: row for row in found["rows"]}
    assert list(by_name) == [method_table.OURS, "guess", "oracle"]
    assert by_name["oracle"]["fine"]["accuracy"]["value"] == 1
    low, high = by_name["guess"]["fine"]["difference"]["ci95"]
    assert 0 < low < high
    assert by_name["oracle"]["fine"]["difference"]["ci95"][1] < 0
    assert "NOT shown to beat oracle" in found["sentences"][0]
    assert "beats guess" in found["sentences"][0]
    fewer = dataclasses.replace(guess, table=guess.table.iloc[3:], p=guess.p[3:])
    with pytest.raises(ValueError, match="same clips"):
        method_table.compare_methods(study, {"fewer": fewer}, bootstrap=50, seed=0)


def test_the_models_row_is_what_the_report_says_elsewhere(study):
    row = method_table.compare_methods(study, {}, bootstrap=200, seed=3)["rows"][0]
    whole = evaluate(study, bootstrap=200, permutations=20, seed=3)
    for task in ("fine", "coarse"):
        assert row[task]["accuracy"] == whole[task]["recording"]["accuracy"]
