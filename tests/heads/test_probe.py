import dataclasses

import numpy as np
import pandas as pd
import pytest

from mpjax.config import HeadConfig
from mpjax.data import records
from mpjax.data.embeddings import Embeddings
from mpjax.data.splits import Splits
from mpjax.heads import probe
from mpjax.taxonomy import Taxonomy

CONFIG = HeadConfig(l2=(0.1, 1.0))
ONE_L2 = HeadConfig(l2=(0.1,))  # compiles once


def make_embeddings(*, scheme="kfold", seed=0, signal=2.0, views=2):
    """12 animals of 2 classes, 4 clips each, and one animal of the drug part."""
    rng = np.random.default_rng(seed)
    rows, vectors = [], []
    for a in range(13):
        for c in range(4):
            for v in range(views):
                row = dict.fromkeys(records.BYTES_FEATURES, "")
                row |= dict.fromkeys(records.INT_FEATURES, 0)
                row |= dict.fromkeys(records.FLOAT_FEATURES, 0.0)
                row |= {"clip_id": f"v{a}#{c}", "video": f"v{a}", "animal": f"a{a}", "view": v}
                row |= {"label": a % 2, "fps": 10.0, "start_frame": 16 * c, "split": "test"}
                if scheme == "fixed":
                    row["split"] = ("train", "train", "val", "test")[a // 2 % 4]
                if a == 12:
                    row |= {"split": "drug", "label": -1}
                rows.append(row)
                vectors.append(rng.standard_normal(8) + signal * (a % 2))
    meta = {"fingerprint": "e", "dataset": "d", "projector": {}, "views": {}}
    return Embeddings(
        pd.DataFrame(rows).assign(motion=0.1, brightness=0.5), np.array(vectors, np.float32), meta
    )


def make_division(scheme="kfold", *, shift=0):
    return Splits(
        scheme=scheme,
        group="animal",
        taxonomy=Taxonomy(("x", "y")),
        exclude=[],
        seed=0,
        cohort="cohort.csv",
        folds={f"v{a}": ((a // 2 + shift) % 3 if a < 12 else -1) for a in range(13)},
    )


@pytest.mark.parametrize("scheme", ["kfold", "fixed"])
def test_held_out_clips_are_predicted_once_each(scheme, tmp_path):
    embedded, splits = make_embeddings(scheme=scheme), make_division(scheme)
    assert probe.train(embedded, splits, CONFIG, tmp_path / "heads")
    assert not probe.train(embedded, splits, CONFIG, tmp_path / "heads")
    table = probe.predict(embedded, splits, tmp_path / "heads")
    assert table["clip_id"].is_unique
    assert len(table) == 13 * 4
    p = np.stack(table["p"])
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(np.exp(np.stack(table["logits"])), p, atol=1e-5)
    tested = (table["split"] == "test").to_numpy()
    right = (p.argmax(axis=1) == table["label"])[tested]
    assert right.mean() > 0.9
    assert table["start_s"].tolist()[:4] == [0.0, 1.6, 3.2, 4.8]


def test_softmax_is_averaged_over_all_twelve_views_as_published(tmp_path):
    """4 clips x 3 crops (arXiv 2106.13230, section 4.1): probabilities, not logits."""
    embedded, splits = make_embeddings(views=12), make_division()
    probe.train(make_embeddings(), splits, ONE_L2, tmp_path / "heads")
    all_views = probe.predict(embedded, splits, tmp_path / "heads")
    each = []
    for view in range(12):
        mine = (embedded.table["view"] == view).to_numpy()
        one = dataclasses.replace(
            embedded,
            table=embedded.table[mine].reset_index(drop=True),
            embedding=embedded.embedding[mine],
        )
        each.append(np.stack(probe.predict(one, splits, tmp_path / "heads")["p"]))
    p = np.stack(all_views["p"])
    np.testing.assert_allclose(p, np.mean(each, axis=0), atol=1e-6)
    logits = np.mean(np.log(each), axis=0)
    of_logits = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert np.abs(of_logits - p).max() > 0.01


GROUPED = Taxonomy(("x@d1", "y@d1", "z@d1"), ("no_pain", "pain"), (0, 1, 1))


def make_three_classes(**options):
    """Classes x, y, z in turn by animal; y and z cannot be told apart."""
    embedded = make_embeddings(signal=0.0, **options)
    animal = embedded.table["animal"].str[1:].astype(int)
    drug = embedded.table["split"] == "drug"
    label = np.where(drug, -1, animal % 3)
    embedding = embedded.embedding + 3.0 * (label == 0)[:, None].astype(np.float32)
    return dataclasses.replace(
        embedded, table=embedded.table.assign(label=label), embedding=embedding
    )


def test_a_coarse_head_is_fitted_on_coarse_labels_and_held_out_like_the_fine_one(tmp_path):
    embedded = make_three_classes(views=1)
    splits = dataclasses.replace(make_division(), taxonomy=GROUPED)
    config = dataclasses.replace(ONE_L2, coarse=True)
    probe.train(embedded, splits, config, tmp_path / "heads")
    table = probe.predict(embedded, splits, tmp_path / "heads")
    p_coarse = np.stack(table["p_coarse"])
    assert p_coarse.shape == (52, 2)
    np.testing.assert_allclose(p_coarse.sum(axis=1), 1, atol=1e-6)
    tested = (table["split"] == "test").to_numpy()
    right = p_coarse.argmax(axis=1) == (table["label"] > 0)
    assert right[tested].mean() > 0.9
    # The head of fold 0 has seen no label of fold 0: wrong ones change nothing that it says.
    mine = embedded.table["video"].map(splits.folds) == 0
    label = embedded.table["label"].where(~mine, 2 - embedded.table["label"])
    spoiled = dataclasses.replace(embedded, table=embedded.table.assign(label=label))
    probe.train(spoiled, splits, config, tmp_path / "spoiled")
    other = np.stack(probe.predict(spoiled, splits, tmp_path / "spoiled")["p_coarse"])
    same = (table["fold"] == 0).to_numpy()
    np.testing.assert_allclose(p_coarse[same], other[same], atol=1e-4)
    assert np.abs(p_coarse - other)[~same].max() > 0.01


def test_without_the_option_there_is_no_coarse_head(tmp_path):
    splits = dataclasses.replace(make_division(), taxonomy=GROUPED)
    probe.train(make_three_classes(views=1), splits, ONE_L2, tmp_path / "heads")
    table = probe.predict(make_three_classes(views=1), splits, tmp_path / "heads")
    assert "p_coarse" not in table


def test_a_coarse_head_for_a_cohort_without_coarse_classes_is_refused(tmp_path):
    config = dataclasses.replace(CONFIG, coarse=True)
    with pytest.raises(ValueError, match="config.head.coarse.*this cohort has none"):
        probe.train(make_embeddings(), make_division(), config, tmp_path / "heads")


def test_heads_of_other_folds_are_refused_because_they_saw_the_tested_animals(tmp_path):
    embedded = make_embeddings()
    probe.train(embedded, make_division(), CONFIG, tmp_path / "heads")
    with pytest.raises(ValueError, match="heads for another division"):
        probe.predict(embedded, make_division(shift=1), tmp_path / "heads")
    assert probe.train(embedded, make_division(shift=1), CONFIG, tmp_path / "heads")


def test_heads_of_other_embeddings_are_refused(tmp_path):
    embedded, splits = make_embeddings(), make_division()
    probe.train(embedded, splits, CONFIG, tmp_path / "heads")
    other = dataclasses.replace(embedded, meta=embedded.meta | {"fingerprint": "other"})
    with pytest.raises(ValueError, match="heads for other embeddings"):
        probe.predict(other, splits, tmp_path / "heads")


def test_a_class_without_training_clips_is_named(tmp_path):
    splits = dataclasses.replace(make_division(), taxonomy=Taxonomy(("x", "y", "rare")))
    with pytest.raises(ValueError, match="no clip to train on for class.*rare"):
        probe.train(make_embeddings(), splits, CONFIG, tmp_path / "heads")


def test_noise_is_told_no_better_than_by_chance(tmp_path):
    """The nested choice and the folds leak nothing: 20 cohorts of noise average at chance."""
    rates = []
    for seed in range(20):
        embedded, splits = make_embeddings(seed=seed, signal=0.0, views=1), make_division()
        probe.train(embedded, splits, CONFIG, tmp_path / str(seed))
        table = probe.predict(embedded, splits, tmp_path / str(seed))
        tested = (table["split"] == "test").to_numpy()
        rates.append((np.stack(table["p"]).argmax(axis=1) == table["label"])[tested].mean())
    # The mean of 20 x 48 clips has a standard error of about 0.02.
    assert 0.42 < np.mean(rates) < 0.57
