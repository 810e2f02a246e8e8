import dataclasses

import numpy as np
import pytest
from prediction_tables import make_meta, make_table

from mpjax.analysis.classification import neighbours
from mpjax.analysis.classification.neighbours import find_neighbours
from mpjax.analysis.predictions import Predictions
from mpjax.taxonomy import Taxonomy

TAXONOMY = Taxonomy(("calm", "sore"))


def predict(embedding, *, animal, fold=None, split="test", scheme="kfold", label=None):
    label = np.arange(len(embedding)) % 2 if label is None else label
    rows = [
        {"animal": a, "video": f"{a}.mp4", "start_s": float(i), "label": int(y), "split": s}
        | {"fold": -1 if fold is None else int(fold[i])}
        for i, (a, y, s) in enumerate(
            zip(animal, label, [split] * len(animal) if isinstance(split, str) else split,
                strict=True)
        )
    ]  # fmt: skip
    table = make_table(rows, np.zeros((len(rows), 2)))
    meta = make_meta(TAXONOMY, scheme=scheme)
    p = np.stack(table["p"]).astype(float)
    return Predictions(table, TAXONOMY, p, meta, embedding=np.asarray(embedding, np.float32))


def random_study(seed=0, animals=6, clips=20, width=5):
    rng = np.random.default_rng(seed)
    animal = np.repeat([f"m{k}" for k in range(animals)], clips)
    fold = np.repeat(np.arange(animals) % 3, clips)
    return predict(rng.normal(3, [1, 5, 0.1, 1, 2], (len(animal), width)), animal=animal, fold=fold)


def test_the_neighbours_are_those_of_a_plain_search_and_never_of_the_fold_or_animal(monkeypatch):
    study = random_study()
    monkeypatch.setattr(neighbours, "_BLOCK", 7)
    found = find_neighbours(study, ["clip3", "clip50"], count=4)
    folds = study.table["fold"].to_numpy()
    for clip_id, row in (("clip3", 3), ("clip50", 50)):
        others = np.flatnonzero(folds != folds[row])
        trained = study.embedding[others].astype(float)
        scaled = (trained - trained.mean(0)) / trained.std(0)
        own = (study.embedding[row] - trained.mean(0)) / trained.std(0)
        cosine = scaled @ own / np.linalg.norm(scaled, axis=1) / np.linalg.norm(own)
        nearest = others[np.argsort(-cosine)[:4]]
        assert [each["clip_id"] for each in found[clip_id]] == [f"clip{k}" for k in nearest]
        np.testing.assert_allclose(
            [each["distance"] for each in found[clip_id]], 1 - np.sort(cosine)[::-1][:4], atol=1e-6
        )
        assert study.table["animal"][row] not in {each["animal"] for each in found[clip_id]}


def test_an_exact_copy_in_another_fold_is_at_distance_zero_with_its_class_and_place():
    study = random_study(1)
    study.embedding[30] = study.embedding[10]
    nearest = find_neighbours(study, ["clip10"], count=1)["clip10"][0]
    assert nearest["clip_id"] == "clip30"
    assert abs(nearest["distance"]) < 1e-6
    assert (nearest["class"], nearest["animal"], nearest["start_s"]) == ("calm", "m1", 30.0)


def test_under_a_fixed_split_only_the_training_clips_of_other_animals_count():
    split = ["train", "train", "val", "test", "drug", "train"]
    animal = ["a", "b", "c", "d", "e", "d"]
    embedding = np.arange(12.0).reshape(6, 2) % 5
    study = predict(embedding, animal=animal, split=split, scheme="fixed")
    assert {each["clip_id"] for each in find_neighbours(study, ["clip3"])["clip3"]} == {
        "clip0", "clip1",
    }  # fmt: skip


def test_clips_of_no_class_are_no_training_clips_and_without_any_there_is_no_neighbour():
    embedding = np.eye(4)
    study = predict(embedding, animal=list("abcd"), fold=[0, 1, 1, 1], label=[0, -1, 1, -1])
    assert [each["clip_id"] for each in find_neighbours(study, ["clip0"])["clip0"]] == ["clip2"]
    alone = predict(embedding, animal=list("abcd"), fold=[0, 0, 0, 0])
    assert find_neighbours(alone, ["clip0"]) == {"clip0": []}


def test_unknown_clips_and_missing_embeddings_are_refused():
    study = random_study()
    with pytest.raises(ValueError, match="first is 'clip999'"):
        find_neighbours(study, ["clip0", "clip999"])
    with pytest.raises(ValueError, match="embedding=True"):
        find_neighbours(dataclasses.replace(study, embedding=None), ["clip0"])
