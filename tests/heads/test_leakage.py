import dataclasses

import numpy as np
import pytest

from mpjax.heads import leakage, probe
from mpjax.training import artifacts
from tests.heads.test_probe import CONFIG, make_division, make_embeddings


def with_own_colours(embedded):
    """Gives all clips of an animal a feature of its own: it tells the animal, not the class."""
    codes, names = embedded.table["animal"].factorize()
    own = 4 * np.eye(len(names), dtype=np.float32)[codes]
    return dataclasses.replace(
        embedded, embedding=np.concatenate([embedded.embedding, own], axis=1)
    )


def accuracy(clips, split):
    return float((clips[f"predicted_by_{split}_split"] == clips["label"]).mean())


@pytest.mark.parametrize("scheme", ["kfold", "fixed"])
def test_animals_told_by_their_looks_pass_for_classes_under_a_split_by_clips_only(scheme):
    embedded = with_own_colours(make_embeddings(scheme=scheme, signal=0.0))
    clips = leakage.demonstrate(embedded, make_division(scheme), CONFIG, l2=0.1)
    assert clips["clip_id"].is_unique
    assert len(clips) == 48, "every clip but those of the drug part"
    assert accuracy(clips, "clip") > 0.9
    assert accuracy(clips, "animal") < 0.75


def test_a_true_signal_is_found_under_both_splits():
    clips = leakage.demonstrate(make_embeddings(), make_division(), CONFIG, l2=0.1)
    assert accuracy(clips, "animal") > 0.9
    assert accuracy(clips, "clip") > 0.9


def test_folds_keep_animals_or_clips_whole_and_have_every_class(monkeypatch):
    seen = []
    monkeypatch.setattr(
        leakage.logistic,
        "fit_all",
        lambda rows, problems, *rest: seen.append(rows) or dict.fromkeys(problems),
    )
    monkeypatch.setattr(
        leakage.logistic, "predict", lambda head, x: np.zeros((len(x), 2), np.float32)
    )
    embedded = make_embeddings()
    leakage.demonstrate(embedded, make_division(), CONFIG, l2=0.1)
    animal = embedded.table["animal"][embedded.table["split"] != "drug"].factorize()[0]
    by_animal, by_clip = seen
    assert len(set(zip(animal, by_animal.fold, strict=True))) == 12
    assert len(set(zip(by_clip.clip, by_clip.fold, strict=True))) == 48
    assert len(set(zip(animal, by_clip.fold, strict=True))) > 24
    for rows in seen:
        sizes = np.bincount(rows.fold)
        assert len(sizes) == 5
        for k in range(5):
            assert set(rows.label[rows.fold != k]) == {0, 1}
    for k in range(5):  # dealt by class: 12 animals of 2 classes, so both in every fold
        assert set(by_animal.label[by_animal.fold == k]) == {0, 1}


def test_the_demonstration_is_cached_with_the_heads_and_read_with_no_others(tmp_path):
    embedded, division = make_embeddings(views=1), make_division()
    assert leakage.read(tmp_path / "heads") is None
    probe.train(embedded, division, CONFIG, tmp_path / "heads")
    l2 = artifacts.read_metadata(tmp_path / "heads")["training"]["l2"]["final"]
    expected = leakage.demonstrate(embedded, division, CONFIG, l2=l2)
    assert leakage.read(tmp_path / "heads").equals(expected)
    artifacts.save(tmp_path / "heads", {"x": np.zeros(1)}, {"fingerprint": "other"})
    assert leakage.read(tmp_path / "heads") is None


def test_a_single_animal_cannot_be_split(tmp_path):
    embedded = make_embeddings(views=1)
    one = (embedded.table["animal"] == "a0").to_numpy()
    alone = dataclasses.replace(
        embedded,
        table=embedded.table[one].reset_index(drop=True),
        embedding=embedded.embedding[one],
    )
    assert leakage.demonstrate(alone, make_division(), CONFIG, l2=0.1) is None
    demonstration = leakage.demonstrate(embedded, make_division(), CONFIG, l2=0.1)
    leakage.write(tmp_path, demonstration, "x")
    leakage.write(tmp_path, None, "x")
    assert not (tmp_path / leakage.FILE).exists()
