import dataclasses
import json

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from mpjax.analysis.motifs import codebook, model_selection
from mpjax.analysis.stats import whitening
from mpjax.config import MotifConfig

SMALL = MotifConfig(
    candidates=(3, 4, 6, 8, 12), stability_draws=4, max_windows_per_half=1000, max_windows=3000
)


def plant(*, clusters=6, animals=10, windows=120, identity=0.0, noise=0.3, width=48, seed=0):
    """Windows of some clusters, and what each animal adds to all of its own.

    Returns:
        The embedding, the cluster and the animal of each window.
    """
    rng = np.random.default_rng(seed)
    acted, owned = (np.linalg.qr(rng.standard_normal((width, rank)))[0] for rank in (8, 4))
    centres = 2.5 * rng.standard_normal((clusters, 8))
    animal = np.repeat(np.arange(animals), windows)
    label = rng.integers(0, clusters, len(animal))
    points = (centres[label] + rng.standard_normal((len(animal), 8))) @ acted.T
    points += (4 * identity * rng.standard_normal((animals, 4)) @ owned.T)[animal]
    points += noise * rng.standard_normal(points.shape)
    return points.astype(np.float32), label, np.array([f"m{a}" for a in animal])


def to_bytes(fitted, folder):
    codebook.save(folder / "codebook.npz", fitted)
    return (folder / "codebook.npz").read_bytes()


@pytest.fixture(scope="module")
def planted():
    embedding, label, animal = plant()
    train = np.isin(animal, [f"m{a}" for a in range(7)])
    fitted = codebook.fit(embedding, group=animal, config=SMALL, mask=train)
    return embedding, label, animal, train, fitted


def test_planted_clusters_are_recovered_in_other_animals_and_counted_rightly(planted):
    embedding, label, _, train, fitted = planted
    assert len(fitted.centres) == 6
    assigned = fitted.assign(embedding[~train])
    assert adjusted_rand_score(label[~train], assigned.motif) > 0.95
    described = fitted.describe()
    assert described["chosen"]["structure"]
    best = max(described["stability"], key=lambda row: row["corrected"])
    assert (best["motifs"], len(best["draws"])) == (6, 4)
    assert best["adjusted_rand"] > 0.9
    json.dumps(described, allow_nan=False)


@pytest.mark.parametrize("identity", [1.0, 2.0])
def test_what_tells_animals_apart_makes_no_motifs(identity):
    """Offsets as large as, or twice as large as, the distances between the clusters.

    So many features are noise that principal components alone, whitened, lose the clusters.
    """
    embedding, label, animal = plant(
        animals=14, identity=identity, clusters=4, noise=0.45, width=96, seed=1
    )
    train = np.isin(animal, [f"m{a}" for a in range(10)])
    fitted = codebook.fit(embedding, group=animal, config=SMALL, mask=train)
    assert len(fitted.centres) == 4
    assert adjusted_rand_score(label[~train], fitted.assign(embedding[~train]).motif) > 0.8


def test_without_structure_the_fewest_motifs_are_taken_with_a_warning():
    rng = np.random.default_rng(0)
    embedding = rng.standard_normal((1200, 12)).astype(np.float32)
    animal = np.repeat([f"m{a}" for a in range(10)], 120)
    fitted = codebook.fit(embedding, group=animal, config=SMALL)
    assert len(fitted.centres) == 3
    assert not fitted.meta["chosen"]["structure"]
    assert "no number of motifs is more stable" in fitted.meta["chosen"]["note"]


def test_more_motifs_are_preferred_among_equally_stable_ones():
    seen = np.array([[0.9, 0.92, 0.5], [0.93, 0.9, 0.5], [0.9, 0.905, 0.52]])
    curve = model_selection.Curve(np.array([2, 4, 8]), seen, np.full((3, 3), 0.1))
    assert curve.choose() == (4, "")


def test_great_divides_that_any_data_have_are_no_reason_for_few_motifs():
    seen = np.tile([0.8, 0.75], (4, 1)) + np.linspace(0, 0.01, 4)[:, None]
    chance = np.tile([0.7, 0.1], (4, 1))
    assert model_selection.Curve(np.array([2, 8]), seen, chance).choose()[0] == 8


def test_a_window_gets_the_same_label_in_any_batch(planted):
    embedding, *_, fitted = planted
    whole = fitted.assign(embedding)
    rng = np.random.default_rng(0)
    for _ in range(20):
        start, size = rng.integers(0, len(embedding) - 40), rng.integers(1, 40)
        part = fitted.assign(embedding[start : start + size])
        for each, all_ in zip(part, whole, strict=True):
            np.testing.assert_array_equal(each, all_[start : start + size])
    shuffled = rng.permutation(len(embedding))
    np.testing.assert_array_equal(fitted.assign(embedding[shuffled]).motif, whole.motif[shuffled])
    np.testing.assert_array_equal(
        fitted.assign(np.tile(embedding, (5, 1))).distance, np.tile(whole.distance, 5)
    )


def test_rows_outside_the_mask_change_no_byte(planted, tmp_path):
    embedding, _, animal, train, fitted = planted
    other = np.where(train[:, None], embedding, np.float32(np.nan))
    again = codebook.fit(other, group=np.where(train, animal, "x"), config=SMALL, mask=train)
    assert to_bytes(again, tmp_path) == to_bytes(fitted, tmp_path)
    found = codebook.identify(other, group=animal, config=SMALL, mask=train)
    assert found == fitted.fingerprint


def test_any_training_value_group_or_setting_changes_the_fingerprint(planted):
    embedding, _, animal, train, fitted = planted
    other = embedding.copy()
    other[np.flatnonzero(train)[-1], -1] += 1e-3
    swapped = np.where(animal == "m1", "m2", animal)
    prints = {
        fitted.fingerprint,
        codebook.identify(other, group=animal, config=SMALL, mask=train),
        codebook.identify(embedding, group=swapped, config=SMALL, mask=train),
        codebook.identify(
            embedding, group=animal, config=dataclasses.replace(SMALL, seed=1), mask=train
        ),
    }
    assert len(prints) == 4
    # What tests the motifs is no part of what makes them.
    more = dataclasses.replace(SMALL, permutations=5)
    same = codebook.identify(embedding, group=animal, config=more, mask=train)
    assert same == fitted.fingerprint


def test_motifs_are_ordered_by_usage(planted):
    embedding, *_, train, fitted = planted
    assert (np.diff(fitted.usage) <= 0).all()
    motif = fitted.assign(embedding[train]).motif
    np.testing.assert_allclose(np.bincount(motif) / train.sum(), fitted.usage)


def test_the_gate_lets_training_windows_in_and_marks_what_was_never_seen(planted):
    embedding, *_, train, fitted = planted
    assert fitted.assign(embedding[train]).unlike.mean() <= 1 - SMALL.gate + 0.01
    assert fitted.assign(embedding[~train]).unlike.mean() < 0.1
    rng = np.random.default_rng(0)
    spread = embedding.std()
    far = embedding[:50] + 5 * spread * rng.standard_normal((50, embedding.shape[1]))
    assert fitted.assign(far.astype(np.float32)).unlike.all()


def test_what_lies_off_the_plane_of_the_components_is_unlike_anything(planted):
    """Its coordinates are those of a training window, so only the residual can tell."""
    embedding, *_, fitted = planted
    space = fitted.space
    rng = np.random.default_rng(0)
    off = rng.standard_normal(len(space.mean))
    off -= space.components @ (space.components.T @ off)
    moved = embedding[:5] + 20 * off / np.linalg.norm(off) / space.inverse_sd
    found, before = fitted.assign(moved.astype(np.float32)), fitted.assign(embedding[:5])
    np.testing.assert_allclose(found.distance, before.distance, rtol=1e-3)
    assert found.unlike.all()


def test_a_saved_codebook_comes_back_and_labels_alike(planted, tmp_path):
    embedding, *_, fitted = planted
    to_bytes(fitted, tmp_path)
    loaded = codebook.load(tmp_path / "codebook.npz", fingerprint=fitted.fingerprint)
    for before, after in zip(fitted.assign(embedding), loaded.assign(embedding), strict=True):
        np.testing.assert_array_equal(before, after)
    assert loaded.meta == fitted.meta
    assert loaded.describe() == fitted.describe()
    assert [path.name for path in tmp_path.iterdir()] == ["codebook.npz"]


def test_a_damaged_or_foreign_codebook_is_refused(planted, tmp_path):
    content, path = bytearray(to_bytes(planted[-1], tmp_path)), tmp_path / "codebook.npz"
    with pytest.raises(ValueError, match="made of other windows or settings"):
        codebook.load(path, fingerprint="0" * 16)
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a whole codebook"):
        codebook.load(path)
    path.write_bytes(content[:1000])
    with pytest.raises(ValueError, match="not a whole codebook"):
        codebook.load(path)
    np.savez(path, mean=np.array([{"a": 1}], dtype=object))  # a pickle
    with pytest.raises(ValueError, match="not a whole codebook"):
        codebook.load(path)
    with pytest.raises(FileNotFoundError):
        codebook.load(tmp_path / "none.npz")


def test_bad_input_is_refused_with_the_way_out(planted):
    embedding, _, animal, _, fitted = planted
    with pytest.raises(ValueError, match="was fitted on 48"):
        fitted.assign(embedding[:, :40])
    broken = embedding.copy()
    broken[7, 3] = np.inf
    with pytest.raises(ValueError, match="window 7 is not finite"):
        codebook.fit(broken, group=animal, config=SMALL)
    with pytest.raises(ValueError, match="window 7 is not finite"):
        fitted.assign(broken)
    with pytest.raises(ValueError, match="no training window"):
        codebook.fit(embedding, group=animal, config=SMALL, mask=np.zeros(len(animal), bool))
    with pytest.raises(ValueError, match="1 distinct embedding"):
        codebook.fit(np.ones_like(embedding), group=animal, config=SMALL)
    with pytest.raises(ValueError, match="cannot make 3 motifs"):
        codebook.fit(embedding[:3], group=animal[:3], config=SMALL)


def test_a_single_animal_is_clustered_with_a_word_about_its_stability(planted):
    embedding, _, animal, *_ = planted
    one = animal == "m0"
    fitted = codebook.fit(embedding, group=animal, config=SMALL, mask=one)
    assert "says nothing about other animals" in fitted.meta["chosen"]["note"]
    assert len(fitted.assign(embedding[one]).motif) == one.sum()


def test_the_space_does_not_depend_on_how_windows_are_cut_into_blocks(planted, monkeypatch):
    embedding, _, animal, *_ = planted
    unit = np.unique(animal, return_inverse=True)[1]
    options = {"components": 5, "variance": 1.0, "shrinkage": 0.5}
    rows = np.arange(len(embedding))
    whole = whitening.fit_space(embedding, rows, unit, **options)
    monkeypatch.setattr(whitening, "BLOCK", 37)
    cut = whitening.fit_space(embedding, rows, unit, **options)
    np.testing.assert_allclose(cut.components, whole.components, atol=1e-9)
    np.testing.assert_allclose(cut.whitener, whole.whitener)


def test_the_components_are_those_of_the_windows_about_their_animals_means():
    embedding, _, animal = plant(animals=6)
    unit = np.unique(animal, return_inverse=True)[1]
    rows = np.arange(len(embedding))
    space = whitening.fit_space(embedding, rows, unit, components=4, variance=1.0, shrinkage=0.0)
    scaled = (embedding - embedding.mean(0, dtype=float)) / embedding.std(0, dtype=float)
    centred = scaled - np.stack([scaled[unit == u].mean(0) for u in range(6)])[unit]
    right = np.linalg.svd(centred, full_matrices=False)[2][:4]
    np.testing.assert_allclose(np.abs(right @ space.components), np.eye(4), atol=1e-6)
    within = (centred @ space.components).var(0)
    total = (scaled @ space.components).var(0)
    np.testing.assert_allclose(space.whitener, within / total / np.sqrt(total), rtol=1e-6)


def test_a_constant_feature_counts_for_nothing():
    embedding, _, animal = plant(animals=6)
    embedding[:, 5] = 3.0
    fitted = codebook.fit(embedding, group=animal, config=MotifConfig(candidates=(6,)))
    other = embedding.copy()
    other[:, 5] = -100.0
    np.testing.assert_array_equal(fitted.assign(other).motif, fitted.assign(embedding).motif)


def test_a_sample_is_as_even_over_the_animals_as_can_be():
    codes = np.repeat([0, 1, 2], [1000, 50, 5])
    drawn = whitening.even_sample(codes, 115, np.random.default_rng(0))
    assert len(np.unique(drawn)) == 115
    assert np.bincount(codes[drawn]).tolist() == [60, 50, 5]


def test_the_config_refuses_what_cannot_be_clustered():
    for name, value in (("candidates", ()), ("candidates", (1, 4)), ("gate", 0.0),
                        ("stability_draws", 0), ("max_windows", 10), ("shrinkage", 2.0),
                        ("penalties", ())):  # fmt: skip
        with pytest.raises(ValueError, match=rf"(?i)motif\w+\.{name} must"):
            MotifConfig(**{name: value})
