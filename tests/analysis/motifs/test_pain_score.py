import numpy as np
import pytest
from motif_cohorts import TAXONOMY, make_cohort, make_labelled

from mpjax.analysis.motifs import pain_score
from mpjax.analysis.motifs.codebook import Assigned
from mpjax.config import MotifConfig
from mpjax.data.splits import FINAL
from mpjax.taxonomy import Taxonomy

CONFIG = MotifConfig(penalties=(1.0, 0.3, 0.1))
PAIN = {"neuropathic": {6: 2.0}, "inflammatory": {7: 2.0}}


def score(windows, folds, *, taxonomy=TAXONOMY, group="animal"):
    return pain_score.score_pain(
        windows, folds, taxonomy=taxonomy, group=group, config=CONFIG, bootstrap=200, seed=0
    )


@pytest.fixture(scope="module")
def planted():
    windows, assigned = make_cohort(shift=PAIN, animals=6, recordings=1)
    return windows, assigned, score(windows, dict.fromkeys(range(3), assigned))


def test_pain_that_shows_in_motifs_is_told_on_held_out_animals(planted):
    found = planted[2]
    accuracy = found["coarse"]["accuracy"]
    assert accuracy["value"] > 0.75
    assert accuracy["n"] == 54
    assert accuracy["ci95"][0] > 1 / 3
    assert found["coarse"]["animals"] == 18
    assert found["fine"]["chance"]["value"] == pytest.approx(1 / 9)
    assert set(found["coarse"]["classes"]) == {"inflammatory", "neuropathic", "no_pain"}


def test_the_weights_that_remain_are_few_and_those_of_the_planted_motifs(planted):
    for fold in planted[2]["coarse"]["folds"]:
        heaviest = {row["motif"] for row in fold["weights"][:2]}
        assert heaviest == {6, 7}
        assert fold["kept"] == len(fold["weights"]) <= 8
        weights = {row["motif"]: row["weights"] for row in fold["weights"]}
        assert weights[6]["neuropathic"] > 0
        assert weights[7]["inflammatory"] > 0


def test_without_an_effect_the_score_is_at_chance():
    values = []
    for seed in range(4):
        windows, assigned = make_cohort(seed=seed, animals=6, recordings=1, windows=30)
        found = score(windows, dict.fromkeys(range(3), assigned))
        values.append(found["coarse"]["mean_class_accuracy"]["value"])
    assert np.mean(values) < 0.45


def test_a_fold_is_judged_by_its_own_codebook_and_trained_on_other_animals(planted):
    """Motif numbers mean other things in another codebook; and labels of the fold have no say."""
    windows, assigned, found = planted
    renamed = Assigned(7 - assigned.motif, assigned.distance, assigned.unlike)
    other = score(windows, {0: renamed, 1: assigned, 2: renamed})
    assert other["coarse"]["accuracy"]["value"] == pytest.approx(
        found["coarse"]["accuracy"]["value"], abs=0.04
    )
    assert {row["motif"] for row in other["coarse"]["folds"][0]["weights"][:2]} == {0, 1}
    lied = windows.copy()
    lied.loc[lied["fold"] == 0, "label"] = 0
    assert (
        score(lied, {0: assigned})["fine"]["folds"]
        == score(windows, {0: assigned})["fine"]["folds"]
    )


def test_a_fixed_split_is_scored_on_its_test_animals():
    windows, assigned = make_cohort(shift=PAIN, animals=6, recordings=1, scheme="fixed")
    found = score(windows, {FINAL: assigned})
    assert found["coarse"]["accuracy"]["n"] == 18
    assert found["coarse"]["accuracy"]["value"] > 0.7
    assert found["coarse"]["folds"][0]["fold"] is None


def test_two_classes_and_a_label_cohort_are_scored():
    windows, assigned = make_labelled(labels=2)
    found = score(windows, dict.fromkeys(range(3), assigned), taxonomy=Taxonomy(("groom", "rear")))
    assert found["fine"]["accuracy"]["value"] > 0.9
    assert "coarse" not in found
    weights = found["fine"]["folds"][0]["weights"][0]["weights"]
    assert weights["groom"] == pytest.approx(-weights["rear"])


def test_what_cannot_be_scored_says_why(planted):
    windows, assigned, _ = planted
    one = windows.assign(label=0)
    assert "2 classes" in score(one, {0: assigned})["coarse"]["why"]
    assert "no held-out" in score(windows.assign(split="drug"), {0: assigned})["fine"]["why"]
    two = windows[windows["animal"].isin(["n0", "n1"])]
    part = Assigned(*(each[two.index] for each in assigned))
    alone = score(two.reset_index(drop=True), {0: part})
    assert "2 training animals" in alone["fine"]["why"]
