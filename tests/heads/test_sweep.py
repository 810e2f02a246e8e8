import dataclasses

import jax
import numpy as np
import pandas as pd
import pytest

from mpjax.config import SweepConfig
from mpjax.data.embeddings import Embeddings
from mpjax.data.splits import Splits
from mpjax.heads import logistic, sweep
from mpjax.taxonomy import Taxonomy

CONFIG = SweepConfig(
    learning_rates=(1e-3, 1e-2),
    weight_decays=(0.0, 0.1, 1.0),
    seeds=(0, 7),
    epochs=4.0,
    batch_size=8,
)
FIGURES = ["accuracy", "mean_class_accuracy", "loss"]


def make_rows(*, seed=0, clips=30, views=2, signal=1.0, scale=1.0):
    rng = np.random.default_rng(seed)
    clip = np.repeat(np.arange(clips), views)
    label = clip % 3
    centres = np.random.default_rng(99).standard_normal((3, 6))
    embedding = scale * (signal * centres[label] + rng.standard_normal((len(clip), 6)))
    return logistic.TrainingRows(
        embedding=embedding.astype(np.float32), label=label, fold=np.zeros_like(clip), clip=clip
    )


ROWS, HELD_OUT = make_rows(), make_rows(seed=1, clips=14)


def alone(config, trial):
    one = dataclasses.replace(
        config,
        learning_rates=(trial["learning_rate"],),
        weight_decays=(trial["weight_decay"],),
        seeds=(int(trial["seed"]),),
    )
    return sweep.sweep(ROWS, HELD_OUT, 3, one).iloc[0]


def test_a_trial_of_the_sweep_equals_the_same_trial_alone():
    table = sweep.sweep(ROWS, HELD_OUT, 3, CONFIG)
    assert len(table) == len(table[["learning_rate", "weight_decay", "seed"]].drop_duplicates())
    assert len(table) == 12
    for number in (0, 4, 11):
        trial = table.iloc[number]
        expected = alone(CONFIG, trial)[FIGURES].astype(float)
        np.testing.assert_allclose(trial[FIGURES].astype(float), expected, rtol=1e-6)


def test_the_order_of_trials_and_how_many_run_at_once_do_not_matter():
    key = ["learning_rate", "weight_decay", "seed"]
    table = sweep.sweep(ROWS, HELD_OUT, 3, CONFIG).sort_values(key, ignore_index=True)
    other = dataclasses.replace(
        CONFIG,
        learning_rates=CONFIG.learning_rates[::-1],
        weight_decays=CONFIG.weight_decays[::-1],
        seeds=CONFIG.seeds[::-1],
        parallel_trials=4,
    )
    turned = sweep.sweep(ROWS, HELD_OUT, 3, other).sort_values(key, ignore_index=True)
    pd.testing.assert_frame_equal(table, turned, rtol=1e-6)


def test_trials_differ_by_each_setting():
    table = sweep.sweep(ROWS, HELD_OUT, 3, CONFIG)
    assert table["loss"].nunique() == len(table)


def test_a_trial_is_adamw_by_the_book_with_the_published_schedule():
    """One trial again with numpy: AdamW, warm-up, cosine, balanced weights, views averaged."""
    config = dataclasses.replace(CONFIG, learning_rates=(0.05,), weight_decays=(0.3,), seeds=(5,))
    rows = dataclasses.replace(ROWS, label=np.where(ROWS.clip < 20, 0, ROWS.label))
    found = sweep.sweep(rows, HELD_OUT, 3, config).iloc[0]
    count = np.bincount(rows.label)
    weight = 1 / (3 * count[rows.label])
    mean = weight @ rows.embedding
    std = np.sqrt(weight @ (rows.embedding - mean) ** 2)
    x, held = ((each.embedding - mean) / std for each in (rows, HELD_OUT))
    init_key, order_key = jax.random.split(jax.random.key(5))
    params = [0.01 * np.array(jax.random.normal(init_key, (3, 6)), float), np.zeros(3)]
    moments = [np.zeros_like(p) for p in params], [np.zeros_like(p) for p in params]
    steps, warmup = 4 * 60 // 8, 2.5 * 60 / 8
    order = np.array(sweep.draw_batches(order_key, 60, steps=steps, batch_size=8))
    for t, batch in enumerate(order):
        logits = x[batch] @ params[0].T + params[1]
        p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
        error = (p - np.eye(3)[rows.label[batch]]) * 60 * weight[batch][:, None] / 8
        cosine = (1 + np.cos(np.pi * (t - warmup) / (steps - warmup))) / 2
        rate = 0.05 * (t / warmup if t < warmup else cosine)
        for i, gradient in enumerate((error.T @ x[batch], error.sum(axis=0))):
            moments[0][i] = 0.9 * moments[0][i] + 0.1 * gradient
            moments[1][i] = 0.999 * moments[1][i] + 0.001 * gradient**2
            first, second = (
                moments[0][i] / (1 - 0.9 ** (t + 1)),
                moments[1][i] / (1 - 0.999 ** (t + 1)),
            )
            params[i] = params[i] - rate * (first / (np.sqrt(second) + 1e-8) + 0.3 * params[i])
    logits = held @ params[0].T + params[1]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    p, label = p.reshape(14, 2, 3).mean(axis=1), HELD_OUT.label[::2]
    right = p.argmax(axis=1) == label
    assert found["loss"] == pytest.approx(-np.log(p[np.arange(14), label]).mean(), rel=1e-4)
    assert found["accuracy"] == pytest.approx(right.mean())
    recall = [right[label == k].mean() for k in range(3)]
    assert found["mean_class_accuracy"] == pytest.approx(np.mean(recall))


def test_every_epoch_takes_each_row_once_in_an_order_of_its_own():
    order = np.array(sweep.draw_batches(jax.random.key(0), 10, steps=9, batch_size=4)).ravel()
    epochs = [order[:10], order[10:20], order[20:30]]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_separable_classes_are_learnt_at_any_scale():
    config = dataclasses.replace(CONFIG, learning_rates=(0.02, 0.05))
    for scale in (1e-3, 1e3):
        rows = make_rows(signal=5.0, scale=scale)
        held_out = make_rows(seed=1, clips=14, signal=5.0, scale=scale)
        table = sweep.sweep(rows, held_out, 3, config)
        assert (table["accuracy"] == 1).all()
        assert (table["mean_class_accuracy"] == 1).all()


def test_mean_class_accuracy_is_over_the_classes_that_are_there():
    label = np.where(HELD_OUT.clip < 10, 0, 1)  # none of class 2
    held_out = dataclasses.replace(HELD_OUT, label=label)
    trained = dataclasses.replace(ROWS, label=np.zeros_like(ROWS.label))  # says 0 to all
    config = dataclasses.replace(CONFIG, learning_rates=(0.1, 0.2))
    table = sweep.sweep(trained, held_out, 3, config)
    assert table["accuracy"].tolist() == pytest.approx([10 / 14] * 12)
    assert table["mean_class_accuracy"].tolist() == [0.5] * 12


def test_settings_are_ranked_by_their_mean_over_seeds():
    table = pd.DataFrame(
        [
            (0.1, 0.0, 0, 0.9, 0.9, 1.0),  # the best seed, but not the best mean
            (0.1, 0.0, 1, 0.1, 0.1, 1.0),
            (0.2, 0.0, 0, 0.6, 0.6, 2.0),
            (0.2, 0.0, 1, 0.8, 0.6, 2.0),
            (0.2, 0.5, 0, 0.6, 0.6, 1.0),  # the same, at a lower loss
            (0.2, 0.5, 1, 0.6, 0.6, 1.0),
        ],
        columns=["learning_rate", "weight_decay", "seed", *FIGURES],
    )
    ranked = sweep.summarise(table)
    trials = ranked[["learning_rate", "weight_decay"]].to_numpy().tolist()
    assert trials == [[0.2, 0.5], [0.2, 0.0], [0.1, 0.0]]
    assert ranked["accuracy_mean"].tolist() == pytest.approx([0.6, 0.7, 0.5])
    assert ranked["accuracy_std"].tolist() == pytest.approx([0, 0.02**0.5, 0.32**0.5])


def make_study(scheme, *, names=("train", "train", "val", "test")):
    """16 animals of 2 classes, 3 clips of 2 views each, and one animal of the drug part."""
    rng = np.random.default_rng(0)
    animal = np.repeat(np.arange(17), 6)
    clip = np.tile(np.repeat(np.arange(3), 2), 17)
    table = pd.DataFrame(
        {
            "clip_id": [f"v{a}#{c}" for a, c in zip(animal, clip, strict=True)],
            "video": [f"v{a}" for a in animal],
            "animal": [f"a{a}" for a in animal],
            "label": np.where(animal == 16, -1, animal % 2),
            "split": [names[a // 2 % 4] if scheme == "fixed" else "test" for a in animal],
        }
    )
    table.loc[animal == 16, "split"] = "drug"
    embedding = (rng.standard_normal((len(table), 5)) + (animal % 2)[:, None]).astype(np.float32)
    folds = {f"v{a}": a // 2 % 4 if a < 16 else -1 for a in range(17)}
    splits = Splits(scheme, "animal", Taxonomy(("x", "y")), [], 0, "cohort.csv", folds)
    return Embeddings(table, embedding, {"fingerprint": "e"}), splits


def run(embedded, splits, out):
    best = sweep.run(embedded, splits, CONFIG, out / "sweep.csv")
    return best, pd.read_csv(out / "sweep.csv")


def disturb(embedded, rows):
    embedding = embedded.embedding.copy()
    embedding[rows] = 100 - 3 * embedding[rows]
    return dataclasses.replace(embedded, embedding=embedding)


@pytest.mark.parametrize("names", [("train", "train", "val", "test"), ("train",) * 3 + ("test",)])
def test_animals_of_the_test_and_the_drug_part_do_not_enter(names, tmp_path):
    embedded, splits = make_study("fixed", names=names)
    best, table = run(embedded, splits, tmp_path)
    assert set(table["judged_on"]) == {"val" if "val" in names else "fold 0"}
    assert best == tuple(sweep.summarise(table).iloc[0][["learning_rate", "weight_decay"]])
    unused = embedded.table["split"].isin(["test", "drug"]).to_numpy()
    again = run(disturb(embedded, unused), splits, tmp_path)
    assert again[0] == best
    pd.testing.assert_frame_equal(table, again[1])
    for split in set(names) - {"test"}:
        used = (embedded.table["split"] == split).to_numpy()
        changed = run(disturb(embedded, np.flatnonzero(used)[::2]), splits, tmp_path)[1]
        assert not np.allclose(table["loss"], changed["loss"])


def test_under_folds_the_first_one_judges_what_the_others_trained(tmp_path, monkeypatch):
    embedded, splits = make_study("kfold")
    seen = []

    def spy(rows, held_out, num_classes, config):
        seen.append((rows, held_out))
        return original(rows, held_out, num_classes, config)

    original = sweep.sweep
    monkeypatch.setattr(sweep, "sweep", spy)
    table = run(embedded, splits, tmp_path)[1]
    assert set(table["judged_on"]) == {"fold 0"}
    rows, held_out = seen[0]
    assert set(held_out.fold) == {0}
    assert set(rows.fold) == {1, 2, 3}
    assert len(rows.label) + len(held_out.label) == 16 * 6  # without the drug part


def test_a_study_of_one_fold_has_nothing_to_be_judged_on(tmp_path):
    embedded, splits = make_study("kfold")
    splits = dataclasses.replace(splits, folds=dict.fromkeys(splits.folds, 0))
    with pytest.raises(ValueError, match="96 of 96 views are held out"):
        sweep.run(embedded, splits, CONFIG, tmp_path / "sweep.csv")
    assert not list(tmp_path.iterdir())


def test_an_empty_sweep_is_refused():
    with pytest.raises(ValueError, match="SweepConfig.seeds must be one or more numbers"):
        SweepConfig(seeds=())


def test_one_compilation_serves_all_trials_and_other_values():
    sweep.sweep(ROWS, HELD_OUT, 3, CONFIG)
    compiled = sweep._run_trials._cache_size()
    other = dataclasses.replace(CONFIG, learning_rates=(0.5, 0.1), seeds=(3, 4))
    sweep.sweep(make_rows(seed=2), HELD_OUT, 3, other)
    assert sweep._run_trials._cache_size() == compiled
    sweep._run_trials.clear_cache()
    sweep.sweep(ROWS, HELD_OUT, 3, CONFIG)
    assert sweep._run_trials._cache_size() == 1
