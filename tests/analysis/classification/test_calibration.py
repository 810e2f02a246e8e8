import re

import numpy as np
import pytest
from prediction_tables import make_meta, make_table
from scipy.special import softmax

from mpjax.analysis.classification.calibration import calibrate, fit_temperature
from mpjax.taxonomy import Taxonomy

ABC = Taxonomy(("a", "b", "c"))


def draw(rng, n, *, overconfidence=1.0):
    """Logits too large by `overconfidence`, and labels drawn from the true probabilities."""
    logits = rng.normal(0, 2, (n, 3))
    label = (softmax(logits, axis=1).cumsum(1) > rng.random((n, 1))).argmax(1)
    return overconfidence * logits, label


def make_folds(overconfidence, *, clips=400, animals_per_fold=3):
    """A k-fold cohort whose fold k is over-sure by `overconfidence[k]`, and a drug part."""
    rng = np.random.default_rng(0)
    rows, logits = [], []
    for fold, factor in enumerate([*overconfidence, 1.0]):
        drug = fold == len(overconfidence)
        z, label = draw(rng, clips * animals_per_fold, overconfidence=factor)
        for i, y in enumerate(label):
            animal = f"m{fold}-{i % animals_per_fold}"
            row = {"animal": animal, "video": f"{animal}.mp4", "label": int(y), "fold": fold}
            rows.append(row | ({"split": "drug", "fold": -1} if drug else {}))
        logits.append(z)
    return make_table(rows, np.concatenate(logits)), make_meta(ABC, scheme="kfold")


@pytest.mark.parametrize("factor", [0.4, 1.0, 3.0])
def test_the_fitted_temperature_undoes_a_known_overconfidence(factor):
    logits, label = draw(np.random.default_rng(1), 30_000, overconfidence=factor)
    animal = np.arange(len(label)) % 7
    assert fit_temperature(logits, label, animal) == pytest.approx(factor, rel=0.03)
    shifted = logits + np.arange(len(label))[:, None] % 50  # logits are free up to a constant
    assert fit_temperature(shifted, label, animal) == pytest.approx(
        fit_temperature(logits, label, animal), rel=1e-3
    )


def test_every_animal_counts_the_same_however_many_clips_it_has():
    rng = np.random.default_rng(2)
    one, two = draw(rng, 6000, overconfidence=1.0), draw(rng, 600, overconfidence=4.0)
    logits, label = (np.concatenate(pair) for pair in zip(one, two, strict=True))
    animal = np.repeat([0, 1], [6000, 600])
    repeated = np.repeat(np.arange(6600), np.where(animal == 1, 10, 1))
    assert fit_temperature(logits, label, animal) == pytest.approx(
        fit_temperature(logits[repeated], label[repeated], animal[repeated]), rel=1e-3
    )
    assert fit_temperature(logits, label, animal) > 1.5  # by clips: nearly 1


def test_a_fold_gets_the_temperature_of_the_other_folds_and_drug_clips_that_of_all(check):
    predictions = check(*make_folds([1.0, 1.0, 4.0]))
    calibrated = calibrate(predictions)
    log_p, table = np.log(predictions.p), predictions.table
    label, animal = table["label"].to_numpy(), table["animal"].factorize()[0]
    test = (table["split"] == "test").to_numpy()
    for k in (-1, 0, 1, 2):  # -1: the drug part
        mine = (table["fold"] == k).to_numpy()
        others = test & ~mine
        t = fit_temperature(log_p[others], label[others], animal[others])
        np.testing.assert_allclose(calibrated.p[mine], softmax(log_p[mine] / t, axis=1), rtol=1e-6)
        if k == -1:
            assert calibrated.meta == {
                "value": t, "fitted_on": "animals of the other folds", "animals": 9, "clips": 3600
            }  # fmt: skip
    np.testing.assert_allclose(calibrated.p.sum(1), 1)


def test_nothing_of_a_fold_reaches_its_own_temperature(check):
    table, meta = make_folds([1.0, 2.0, 4.0])
    mine = table["fold"] == 2
    before = calibrate(check(table, meta)).p
    spoiled = mine & (table.index % 4 == 0)
    table.loc[spoiled, "label"] = (table.loc[spoiled, "label"] + 1) % 3
    after = calibrate(check(table, meta)).p
    np.testing.assert_array_equal(after[mine], before[mine])
    assert (after[table["fold"] == 0] != before[table["fold"] == 0]).all()


def test_under_a_fixed_split_the_validation_animals_alone_decide(check):
    table, meta = make_folds([1.0, 3.0, 2.0])
    table["split"] = table["fold"].map({0: "train", 1: "val", 2: "test", -1: "drug"})
    table["fold"] = -1
    meta["scheme"] = "fixed"
    calibrated = calibrate(check(table, meta))
    assert calibrated.meta["value"] == pytest.approx(3.0, rel=0.1)
    assert calibrated.meta["fitted_on"] == "validation animals"
    assert (calibrated.meta["animals"], calibrated.meta["clips"]) == (3, 1200)
    moved = table.assign(label=np.where(table["split"] == "val", table["label"], 0))
    np.testing.assert_array_equal(calibrate(check(moved, meta)).p, calibrated.p)


def _without_validation(table, meta):
    return table.assign(fold=-1), meta | {"scheme": "fixed"}


def _one_animal_per_fold(table, meta):
    return table[(table["fold"] < 2) & table["animal"].str.endswith("0")], meta


def _constant(table, meta):
    return table.assign(p=[np.full(3, 1 / 3)] * len(table)), meta


def _always_right(table, meta):
    p = list(0.1 + 0.7 * np.eye(3)[table["label"]])
    return table.assign(p=p), meta


def _always_wrong(table, meta):
    p = list(0.1 + 0.7 * np.eye(3)[(table["label"] + 1) % 3])
    return table.assign(p=p), meta


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_without_validation, "no validation animals"),
        (_one_animal_per_fold, r"1 animal\(s\) to fit the temperature on"),
        (_constant, "the same for every class"),
        (_always_right, "too few errors"),
        (_always_wrong, "carries no information"),
    ],
)
def test_where_no_temperature_can_be_fitted_p_stays_and_the_reason_is_given(check, spoil, why):
    predictions = check(*spoil(*make_folds([1.0, 2.0], clips=20)))
    calibrated = calibrate(predictions)
    np.testing.assert_array_equal(calibrated.p, predictions.p)
    assert calibrated.meta["value"] is None
    assert re.search(why, calibrated.meta["why"])
