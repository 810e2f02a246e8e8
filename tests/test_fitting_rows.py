"""No method fits on a row that the head may not fit on: of validation, test and treated animals.

Whatever those animals show and however they are labelled, what a method fits stays the same, bit
for bit. Validation animals choose a head's strength, so here it is given one strength.
"""

import re
from pathlib import Path

import numpy as np
import prediction_tables
import pytest
from motif_cohorts import TAXONOMY as MOTIF_TAXONOMY
from motif_cohorts import make_cohort

from mpjax.analysis import predictions
from mpjax.analysis.classification import baselines, neighbours
from mpjax.analysis.classification.calibration import Calibrated
from mpjax.analysis.drug import trial
from mpjax.analysis.motifs import codebook, pain_score
from mpjax.analysis.motifs.codebook import Assigned
from mpjax.config import HeadConfig, MotifConfig
from mpjax.data import splits as row_rules
from mpjax.data.embeddings import Embeddings
from mpjax.data.splits import FINAL, Splits, calibration_rows, fit_rows, folds_of
from mpjax.heads import probe
from mpjax.studies.explain import training_masks
from mpjax.taxonomy import Taxonomy
from mpjax.training import artifacts
from tests.analysis.bsoid import test_predict as bsoid

ROOT = Path(__file__).resolve().parents[1]
TAXONOMY = Taxonomy(("hurt@d1", "sham@d1"))
kmeans = bsoid.kmeans


def make_rows(scheme):
    """24 animals of 2 classes, 3 clips each, one clip of no class; and what the clips show."""
    rng = np.random.default_rng(0)
    sides = ("train", "train", "train", "val", "test", "drug")
    rows = []
    for a in range(24):
        split = sides[a // 2 % 6]
        if scheme == "kfold" and split != "drug":
            split = "test"
        rows += [
            {"animal": f"m{a}", "video": f"v{a}", "label": a % 2, "split": split, "day": 1,
             "fold": a // 2 % 3 if scheme == "kfold" and split == "test" else -1,
             "view": 0, "motion": 0.1, "brightness": 0.5, "start_frame": 16 * c}
            for c in range(3)
        ]  # fmt: skip
    rows[0]["label"] = -1
    table = prediction_tables.make_table(rows, rng.normal(size=(len(rows), 2)))
    shown = rng.normal(size=(len(rows), 6)) + 2.0 * (np.arange(len(rows)) // 3 % 2)[:, None]
    return table, shown.astype(np.float32)


def as_predictions(table, shown, scheme):
    meta = prediction_tables.make_meta(TAXONOMY, scheme=scheme)
    return predictions.Predictions(table, TAXONOMY, np.stack(table["p"]), meta, embedding=shown)


def by_head(table, shown, scheme, folder):
    folds = dict(zip(table["video"], table["fold"], strict=True))
    splits = Splits(scheme, "animal", TAXONOMY, [], 0, "cohort.csv", folds)
    probe.train(
        Embeddings(table, shown, {"fingerprint": "e"}), splits, HeadConfig(l2=(0.1,)), folder
    )
    head = artifacts.restore(folder)["final"]
    return [head["scaler"]["mean"], head["params"]["linear"]["kernel"]]


def by_codebook(table, shown, scheme, _):
    config = MotifConfig(
        candidates=(3,), stability_draws=1, max_windows=60, max_windows_per_half=10
    )
    masks = training_masks(table, scheme)
    book = codebook.fit(shown, group=table["animal"].to_numpy(), config=config, mask=masks["final"])
    return [book.centres]


def by_neighbours(table, shown, scheme, _):
    asked = list(table["clip_id"][fit_rows(table, scheme)][:4])
    found = neighbours.find_neighbours(as_predictions(table, shown, scheme), asked, count=99)
    return [sorted({row["clip_id"] for rows in found.values() for row in rows})]


def by_baseline(predict):
    def fit(table, shown, scheme, _):
        ours = as_predictions(table, shown, scheme)
        made = predict(ours, shown.astype(float)) if predict else baselines.predict_majority(ours)
        return [made.p[fit_rows(table, scheme)]]

    return fit


METHODS = {
    "head": by_head,
    "codebook": by_codebook,
    "neighbours": by_neighbours,
    "majority": by_baseline(None),
    "nearest centroid": by_baseline(baselines.predict_centroid),
    "locomotion": by_baseline(baselines.predict_linear),
}


@pytest.mark.parametrize("method", METHODS)
def test_a_fit_does_not_depend_on_validation_test_and_treated_animals(method, tmp_path):
    table, shown = make_rows("fixed")
    kept = fit_rows(table, "fixed")
    assert set(table["split"][~kept]) == {"train", "val", "test", "drug"}  # train: of no class
    noise = np.random.default_rng(7).normal(5, 3, shown.shape)
    other = np.where(kept[:, None], shown, shown + noise).astype(np.float32)
    flipped = table.assign(
        label=np.where(kept | (table["label"] < 0), table["label"], 1 - table["label"])
    )
    fit = METHODS[method]
    fitted = fit(table, shown, "fixed", tmp_path / "a")
    for before, after in zip(fitted, fit(flipped, other, "fixed", tmp_path / "b"), strict=True):
        np.testing.assert_array_equal(before, after)
    # Not because nothing is fitted.
    swapped = table.assign(label=np.where(kept, 1 - table["label"], table["label"]))
    moved = np.where(kept[:, None], shown[::-1], shown)
    again = fit(swapped, moved, "fixed", tmp_path / "c")
    if method != "neighbours":
        assert any(not np.array_equal(a, b) for a, b in zip(fitted, again, strict=True))
    else:
        assert set(fitted[0]) <= set(table["clip_id"][kept])


def test_bsoid_fits_on_no_validation_animal(kmeans):
    table, poses, _ = bsoid.make_study(scheme="fixed")
    val = (table["split"] == "val").to_numpy()
    rng = np.random.default_rng(9)
    other = poses | {video: bsoid.simulate(0.5, rng) for video in table["video"][val].unique()}
    flipped = table.assign(label=np.where(val, 1 - table["label"], table["label"]))
    before, _ = bsoid.run(table, poses, scheme="fixed")
    after, _ = bsoid.run(flipped, other, scheme="fixed")
    np.testing.assert_array_equal(bsoid.p_of(before)[~val], bsoid.p_of(after)[~val])


def test_the_motif_score_fits_on_no_validation_animal():
    shift = {"neuropathic": {1: 1.5}, "inflammatory": {2: 1.5}}
    windows, assigned = make_cohort(shift=shift, animals=8, recordings=1, scheme="fixed")
    animal = windows.groupby("animal")["split"].first()
    first = animal.index[animal == "train"][::4]
    windows.loc[windows["animal"].isin(first), "split"] = "val"
    val = (windows["split"] == "val").to_numpy()
    assert val.any()
    motif = np.where(val, 3, np.asarray(assigned.motif))
    changed = Assigned(motif, assigned.distance, assigned.unlike)
    options = {
        "taxonomy": MOTIF_TAXONOMY,
        "group": "animal",
        "config": MotifConfig(),
        "bootstrap": 20,
    }
    before = pain_score.score_pain(windows, {FINAL: assigned}, **options)
    after = pain_score.score_pain(windows, {FINAL: changed}, **options)
    assert before["coarse"]["folds"] == after["coarse"]["folds"]
    assert before["coarse"]["accuracy"] == after["coarse"]["accuracy"]
    assert before["coarse"]["accuracy"]["value"] is not None


def test_the_drugs_shift_is_measured_in_a_space_fitted_on_no_validation_animal(tmp_path):
    table, meta = prediction_tables.make_study()
    sides = np.array(["val", "test", "train", "train"])[table["fold"].to_numpy()]
    table = table.assign(split=np.where(table["split"] == "drug", "drug", sides), fold=-1)
    rng = np.random.default_rng(0)
    shown = rng.normal(size=(len(table), 12)).astype(np.float32)
    shown[:, 0] += 3.0 * (table["condition"] != "sham")
    val = (table["split"] == "val").to_numpy()
    found = []
    for embedding in (shown, np.where(val[:, None], shown + 5.0, shown).astype(np.float32)):
        read = predictions.Predictions(
            table, prediction_tables.TAXONOMY, np.stack(table["p"]), meta | {"scheme": "fixed"},
            embedding=embedding,
        )  # fmt: skip
        found.append(trial.analyse_drugs(read, Calibrated(read.p, {}))["specificity"]["shift"])
    assert found[0] == found[1]
    assert found[0]["neuropathic"][0]["along"]["value"] is not None


def test_the_owner_keeps_test_animals_of_a_fold_out_of_its_fit():
    table, _ = make_rows("kfold")
    assert folds_of(table, "kfold") == [0, 1, 2]
    for fold in (0, 1, 2):
        fitted, tested = fit_rows(table, "kfold", fold), row_rules.tested_rows(table, "kfold", fold)
        assert not (fitted & tested).any()
        assert not set(table["animal"][fitted]) & set(table["animal"][tested])
    final = fit_rows(table, "kfold")
    assert set(table["split"][final]) == {"test"}
    assert (table["label"][final] >= 0).all()
    np.testing.assert_array_equal(calibration_rows(table, "kfold"), final)
    fixed, _ = make_rows("fixed")
    assert folds_of(fixed, "fixed") == []
    assert set(fixed["split"][fit_rows(fixed, "fixed")]) == {"train"}
    assert set(fixed["split"][fit_rows(fixed, "fixed", with_validation=True)]) == {"train", "val"}
    assert set(fixed["split"][calibration_rows(fixed, "fixed")]) == {"val"}
    assert set(fixed["split"][row_rules.tested_rows(fixed, "fixed", FINAL)]) == {"test"}


def test_no_other_module_chooses_rows_by_the_name_of_the_training_split():
    """A second owner would begin so; training on clips reads records by split."""
    owners = {"mpjax/data/splits.py", "mpjax/training/loop.py"}
    pattern = re.compile(r"""(==\s*|isin\(\[?|isin\(\()["'](train|val)["']""")
    found = {
        path.relative_to(ROOT).as_posix()
        for path in [*(ROOT / "mpjax").rglob("*.py")]
        if pattern.search(path.read_text(encoding="utf-8"))
    }
    assert found <= owners | {"mpjax/training/metric_writer.py"}
