import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import small_dataset
import webp

from mpjax.config import HeadConfig, ProjectorConfig, SaliencyConfig
from mpjax.data import embeddings
from mpjax.data.splits import Splits, write_splits
from mpjax.embedding import dataset as embedding
from mpjax.heads import probe
from mpjax.interpret import explain_clips, faithfulness
from mpjax.io import files
from mpjax.models.projector import Projector
from mpjax.taxonomy import Taxonomy, default_taxonomy

FINE = ("sham@d1", "sni@d1")
CONFIG = SaliencyConfig(
    grid=(2, 4, 4), levels=4, steps=4, random_clips=2, max_clips=6, batch_size=8
)
VIDEOS = 6


def film(i):
    """Of sore animals (odd recordings) a light flickers on the left, of others on the right.

    A dim animal that says nothing walks along the bottom of every recording.
    """
    rng = np.random.default_rng(i)
    clip = np.full((small_dataset.FRAMES, 32, 48, 3), 60, np.uint8)
    left = 12 if (i // 4) % 2 else 30
    for t, frame in enumerate(clip):
        if t % 2:
            frame[4:10, left : left + 6] = 200 + rng.integers(0, 40)
        place = 8 + (6 * (i % 4) + t) % 26
        frame[24:30, place : place + 6] = 110
    return small_dataset.encode_frames(clip)


def halves_projector(fingerprint="halves"):
    """Embeds a clip as the mean brightness of the four quarters of its picture."""

    def apply(params, clips):
        b, t, h, w, _ = clips.shape
        parts = clips.reshape(b, t, 2, h // 2, 2, w // 2, 3).mean(axis=(1, 3, 5, 6))
        return jnp.tanh(parts.reshape(b, 4) + params["shift"]), None

    return Projector(
        name="halves",
        fingerprint=fingerprint,
        embedding_dim=4,
        num_classes=None,
        params={"shift": jnp.zeros(())},
        apply=apply,
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
    )


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """A study of six animals in three folds, with heads that tell left from right."""
    folder = tmp_path_factory.mktemp("study")
    dataset = folder / "dataset"
    original = small_dataset.metadata

    def metadata(i):
        sore = (i // 4) % 2
        named = {"label": sore, "condition": ("sham", "sni")[sore], "day": 1}
        return original(i) | named | {"start_frame": 6 * (i % 4)}

    small_dataset.metadata = metadata
    try:
        small_dataset.write(dataset, 4 * VIDEOS, encode=film)
    finally:
        small_dataset.metadata = original
    splits = Splits(
        scheme="kfold",
        group="animal",
        taxonomy=default_taxonomy(FINE),
        exclude=[],
        seed=0,
        cohort="cohort.csv",
        folds={f"v{k}.mp4": k // 2 for k in range(VIDEOS)},
    )
    write_splits(dataset, splits)
    config = ProjectorConfig(size=32, crops=1, batch_size=8)
    embedding.embed(dataset, folder / "embeddings.parquet", halves_projector(), config)
    embedded = embeddings.read(folder / "embeddings.parquet")
    probe.train(embedded, splits, HeadConfig(l2=(0.1,)), folder / "heads")
    return folder


@pytest.fixture(scope="module")
def explained(workdir, tmp_path_factory):
    out = tmp_path_factory.mktemp("saliency")
    return explain_clips.explain(workdir, halves_projector(), CONFIG, out=out), out


def test_maps_of_what_decides_beat_random_ones_in_both_tests(explained):
    found, _ = explained
    for name in ("occlusion", "gradients"):
        for test in ("deletion", "insertion"):
            entry = found["check"][name][test]
            assert entry["better"]["ci95"][0] > 0, (name, test)
            assert entry["share"]["value"] == 1
            assert entry["better"]["n"] == 4
    assert found["check"]["occlusion"]["deletion"]["area"] < 0.8
    json.dumps(found, allow_nan=False)


def test_the_overlay_lights_up_where_the_class_shows_and_not_the_animal(explained):
    found, out = explained
    clip = next(row for row in found["clips"] if row["predicted"] == "sni")
    frames = webp.decode_webp((out / clip["file"]).read_bytes()).astype(int)
    top = frames.shape[1] - 224
    panel = frames[1, top:, 224 + 4 : 2 * 224 + 4]
    orange = panel[..., 0] - panel[..., 2]
    scale = 224 // 32
    # The light is at columns 12-18 of 48, of which the middle 32 from 8 on are seen.
    assert orange[4 * scale : 10 * scale, 4 * scale : 10 * scale].mean() > 40
    assert orange[24 * scale : 30 * scale].mean() < 10


def test_each_row_says_what_was_asked_and_by_how_sure_a_head(explained, workdir):
    found, out = explained
    assert found["classes"] == ["no_pain", "sni"]
    table = pd.read_parquet(workdir / "embeddings.parquet").set_index("clip_id")
    for row in found["clips"]:
        assert table["animal"][row["clip_id"]] == row["animal"]
        assert 0.5 <= row["p"] <= 1
        assert (out / row["file"]).exists()
        assert row["areas"]["occlusion"]["deletion"] < row["areas"]["random"]["deletion"]
        assert abs(row["p_background"] - 0.5) < 0.4
    kinds = [row["kind"] for row in found["clips"]]
    assert kinds.count("right") == 2
    assert kinds == ["right", "right", "drawn", "drawn"]


def test_finished_clips_are_not_computed_again_and_strangers_are_removed(
    workdir, explained, tmp_path, monkeypatch
):
    first = explain_clips.explain(workdir, halves_projector(), CONFIG, out=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert first["clips"] == explained[0]["clips"], "same input, same figures"
    (tmp_path / "0123.webp").write_bytes(b"of another head")
    with monkeypatch.context() as patch:
        patch.setattr(explain_clips.attribution, "attribute", None)
        again = explain_clips.explain(workdir, halves_projector(), CONFIG, out=tmp_path)
    assert again == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    next(tmp_path.glob("*.json")).unlink()
    resumed = explain_clips.explain(workdir, halves_projector(), CONFIG, out=tmp_path)
    assert resumed == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_projector_than_that_of_the_embeddings_is_refused(workdir, tmp_path):
    with pytest.raises(ValueError, match="embeddings of another projector"):
        explain_clips.explain(workdir, halves_projector("other"), CONFIG, out=tmp_path)


# --- The choice of clips --------------------------------------------------------------------------


def predictions(n=60, *, animals=10, seed=0, split="test"):
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, n)
    logits = rng.normal(0, 1, (n, 3)) + 1.5 * np.eye(3)[label]
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return pd.DataFrame(
        {
            "clip_id": [f"c{i}" for i in range(n)],
            "animal": [f"a{i % animals}" for i in range(n)],
            "split": split,
            "label": label,
            "p": list(p),
        }
    )


LABELS = Taxonomy(("groom", "rear", "walk"))


def test_the_surest_right_and_wrong_clips_of_each_class_are_of_different_animals():
    table = predictions()
    task = explain_clips.plan_task(table, LABELS)
    config = dataclasses.replace(
        CONFIG, correct_per_class=2, incorrect_per_class=1, random_clips=1, max_clips=24
    )
    chosen = explain_clips.choose(table, task, config)
    assert len(chosen) == 10
    animals = table["animal"][[each.row for each in chosen]]
    assert animals.is_unique
    named = task.p.argmax(axis=1)
    for k in range(3):
        right = [e.row for e in chosen if e.kind == "right" and table["label"][e.row] == k]
        wrong = [e.row for e in chosen if e.kind == "wrong" and table["label"][e.row] == k]
        assert (len(right), len(wrong)) == (2, 1)
        assert (named[right] == k).all()
        assert (named[wrong] != k).all()
    alone = dataclasses.replace(config, correct_per_class=1, incorrect_per_class=0, random_clips=0)
    one = table.assign(animal=[f"a{i}" for i in range(60)])
    surest = {task.p[(table["label"] == k) & (named == k)].max().round(12) for k in range(3)}
    found = {task.p[e.row].max().round(12) for e in explain_clips.choose(one, task, alone)}
    assert found == surest


def test_the_choice_hangs_on_the_seed_alone_and_stops_at_the_most():
    table = predictions()
    task = explain_clips.plan_task(table, LABELS)
    config = dataclasses.replace(CONFIG, random_clips=5, max_clips=7)
    chosen = explain_clips.choose(table, task, config)
    assert len(chosen) == 7
    assert chosen == explain_clips.choose(table, task, config)
    assert chosen != explain_clips.choose(table, task, dataclasses.replace(config, seed=1))


def test_only_held_out_clips_of_a_class_are_explained():
    table = predictions()
    table["split"] = ["test", "drug", "train", "val"] * 15
    table.loc[0:20, "label"] = -1
    chosen = explain_clips.choose(table, explain_clips.plan_task(table, LABELS), CONFIG)
    rows = [each.row for each in chosen]
    assert rows
    assert (table["split"][rows] == "test").all()
    assert (table["label"][rows] >= 0).all()


def test_coarse_classes_are_explained_by_the_head_that_named_them():
    taxonomy = Taxonomy(
        ("sham@d1", "sni@d1", "cfa@d1"), ("no_pain", "neuropathic", "cfa"), (0, 1, 2)
    )
    task = explain_clips.plan_task(predictions(), taxonomy)
    assert (task.prefix, task.classes) == ("", taxonomy.coarse)
    assert task.pain.tolist() == [False, True, True]
    own = predictions().assign(p_coarse=predictions(seed=1)["p"])
    task = explain_clips.plan_task(own, taxonomy)
    assert task.prefix == "coarse_"
    np.testing.assert_array_equal(task.p, np.stack(own["p_coarse"]))
    assert explain_clips.plan_task(predictions(), LABELS).pain is None


# --- The check ------------------------------------------------------------------------------------


def test_an_order_shown_from_its_beginning_is_its_reverse_erased():
    cells = {"occlusion": np.array([0.1, 0.9, 0.5, 0.0])}
    orders = faithfulness.plan_orders(cells, CONFIG, "c0")
    assert orders["occlusion"].tolist() == [1, 2, 0, 3]
    assert orders["occlusion reversed"].tolist() == [3, 0, 2, 1]
    assert len(orders) == 2 + CONFIG.random
    again = faithfulness.plan_orders(cells, CONFIG, "c0")
    assert all((orders[name] == again[name]).all() for name in orders)
    other = faithfulness.plan_orders(cells, CONFIG, "c1")
    assert any((orders[name] != other[name]).any() for name in orders)


def test_a_useless_map_is_not_told_from_random_and_one_animal_has_no_interval():
    rng = np.random.default_rng(0)

    def row():
        random = rng.uniform(0, 1, (10, 5))
        own = rng.uniform(0, 1, 5)
        curve = {"deletion": own.tolist(), "insertion": own.tolist()}
        both = {"deletion": random.tolist(), "insertion": random.tolist()}
        return {"curves": {"occlusion": curve, "random": both}}

    rows = [row() for _ in range(40)]
    groups = np.repeat(np.arange(20), 2)
    config = dataclasses.replace(CONFIG, levels=4)
    found = faithfulness.summarise(rows, groups, unit="animal", config=config)
    low, high = found["check"]["occlusion"]["deletion"]["better"]["ci95"]
    assert low < 0 < high
    assert 0.2 < found["check"]["occlusion"]["deletion"]["share"]["value"] < 0.8
    single = faithfulness.summarise(rows, np.zeros(40), unit="cage", config=config)
    entry = single["check"]["occlusion"]["deletion"]["better"]
    assert entry["ci95"] is None
    assert "single cage" in entry["why"]


def test_a_study_without_held_out_clips_says_so(workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(explain_clips, "choose", lambda *args: [])
    found = explain_clips.explain(workdir, halves_projector(), CONFIG, out=tmp_path)
    assert found == {"value": None, "why": "no held-out clip of a trained class"}
    assert not files.absolute(tmp_path / "x").exists()
