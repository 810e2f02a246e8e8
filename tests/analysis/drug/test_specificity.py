import dataclasses

import numpy as np
import pytest
from prediction_tables import make_study

from mpjax.analysis import predictions
from mpjax.analysis.classification.calibration import Calibrated
from mpjax.analysis.drug import specificity, trial

TOP = "gabapentin 100 mg/kg"
WIDTH = 12


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    path = tmp_path_factory.mktemp("study") / "predictions.parquet"
    predictions.write_predictions(path, *make_study())
    return predictions.read_predictions(path)


def place(study, *, relief=0.0, aside=0.0, motion=1.0, seed=0):
    """Puts pain at 3 on the first axis of the embedding; the top dose moves clips off it.

    Args:
        study: predictions.
        relief: how far the top dose moves clips back along the pain axis.
        aside: how far it moves them along another one.
        motion: by what it multiplies their motion.
        seed: of the noise.
    """
    rng = np.random.default_rng(seed)
    table = study.table
    embedding = rng.normal(size=(len(table), WIDTH)).astype(np.float32)
    embedding[:, 0] += 3.0 * (table["condition"] != "sham")
    top = (table["drug"] == "gabapentin") & (table["dose_mg_per_kg"] == 100)
    embedding[top, 0] -= relief
    embedding[top, 1] += aside
    moved = np.exp(rng.normal(-3, 0.1, len(table))) * np.where(top, motion, 1.0)
    return dataclasses.replace(study, table=table.assign(motion=moved), embedding=embedding)


def analyse(placed):
    return trial.analyse_drugs(placed, Calibrated(placed.p, {}))["specificity"]


def top_shift(found, condition="neuropathic"):
    return next(row for row in found["shift"][condition] if row["arm"] == TOP)


def test_relief_moves_animals_along_the_pain_axis_alone(study):
    shift = top_shift(analyse(place(study, relief=2.0)))
    assert shift["along"]["ci95"][1] < 0
    assert shift["orthogonal"]["p"] > 0.05
    assert shift["share_along"]["value"] > 0.6


def test_a_side_effect_moves_them_orthogonally(study):
    shift = top_shift(analyse(place(study, aside=2.0)))
    low, high = shift["along"]["ci95"]
    assert low < 0 < high
    assert shift["orthogonal"]["p"] < 0.05
    assert shift["share_along"]["value"] < 0.2


def test_an_idle_drug_moves_them_by_chance_alone():
    rng = np.random.default_rng(0)
    axis = np.eye(20)[0]
    p = [
        specificity.split_shift(*rng.normal(size=(2, 6, 20)), axis, seed=seed)["orthogonal"]["p"]
        for seed in range(60)
    ]
    assert 0.3 < np.mean(p) < 0.7
    assert np.mean(np.array(p) < 0.05) < 0.15


def test_sedation_shows_in_locomotion_and_in_words(study):
    placed = place(study, motion=0.5)
    found = trial.analyse_drugs(placed, Calibrated(placed.p, {}))
    (row,) = (r for r in found["specificity"]["locomotion"]["sham"] if r["arm"] == TOP)
    assert np.exp(row["value"]) == pytest.approx(0.5, abs=0.05)
    assert row["ci95"][1] < 0
    assert any("Possible sedation" in sentence for sentence in found["summary"])
    calm = analyse(place(study))["locomotion"]["sham"]
    assert all(r["ci95"][0] < 0 < r["ci95"][1] for r in calm)


def test_clips_unlike_anything_trained_on_are_flagged(study):
    usual = analyse(place(study))["manifold"]
    assert not any(row["flag"] for row in usual["rows"])
    far = analyse(place(study, aside=9.0))["manifold"]
    flagged = {(row["arm"], row["phase"]) for row in far["rows"] if row["flag"]}
    assert flagged == {(TOP, "post")}


@pytest.mark.parametrize(("value", "width"), [(0.0, 12), (0.1, 12), (1e4, 1)])
def test_embeddings_that_do_not_vary_are_told(study, value, width):
    flat = np.full((len(study.table), width), value, np.float32)
    found = analyse(dataclasses.replace(study, embedding=flat))
    told = {"value": None, "why": "the embeddings do not vary"}
    assert found["shift"] == told
    assert found["manifold"] == told


def test_components_that_are_alike_with_and_without_pain_have_no_pain_axis():
    components = np.tile([[1.0], [-1.0]], (4, 3))
    assert specificity.pain_axis(components, np.arange(8) < 4) is None


def test_the_pain_axis_points_from_no_pain_to_pain():
    components = np.array([[0.0, 1.0], [0.0, 1.0], [3.0, 5.0], [3.0, 5.0]])
    axis = specificity.pain_axis(components, np.array([False, False, True, True]))
    np.testing.assert_allclose(axis, [0.6, 0.8])


def test_embeddings_of_one_value_have_nothing_beside_the_pain_axis(study):
    placed = place(study, relief=3.0)
    found = analyse(dataclasses.replace(placed, embedding=placed.embedding[:, :1]))
    shift = top_shift(found)
    assert shift["along"]["ci95"][1] < 0
    assert shift["orthogonal"]["value"] == 0
    assert shift["orthogonal"]["p"] == 1
    assert found["manifold"]["threshold"] > 0


def test_without_embeddings_or_motion_it_says_so(study):
    found = analyse(study)
    assert "without embeddings" in found["shift"]["why"]
    assert "without embeddings" in found["manifold"]["why"]
    assert "motion" in found["locomotion"]["why"]
    assert len(found["no_pain"]) == 2
