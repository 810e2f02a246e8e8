"""B-SOiD on simulated poses of two kinds of movement: what it learns from, and what it finds.

Where only its wiring is looked at, k-means stands for UMAP and HDBSCAN, which take seconds and the
extra `baselines`.
"""

import dataclasses
import importlib
import json
from pathlib import Path

import numpy as np
import pytest
from prediction_tables import evaluate, make_meta, make_table
from sklearn.cluster import KMeans

from mpjax.analysis.bsoid import clustering, predict
from mpjax.analysis.bsoid.features import bin_frames, fill_lost
from mpjax.analysis.classification import comparison
from mpjax.config import BsoidConfig
from mpjax.data import pose
from mpjax.taxonomy import Taxonomy

FPS, FRAMES, CLIP = 20.0, 160, 16
NAMES = ("snout", "left paw", "right paw", "tail base")
TAXONOMY = Taxonomy(("calm", "restless"))
CONFIG = BsoidConfig(inverse_penalties=(0.1, 1.0, 10.0))


@dataclasses.dataclass(frozen=True)
class Pose(pose.Pose):
    """A pose of `NAMES`, tracked by DeepLabCut at `FPS`."""

    names: tuple[str, ...] = NAMES
    tracker: str = "deeplabcut"
    fps: float = FPS


def simulate(share, rng, *, frames=FRAMES) -> Pose:
    """Draws a mouse that shakes a paw during `share` of its half-seconds, and else walks."""
    shakes = np.repeat(rng.random(-(-frames // 10)) < share, 10)[:frames]
    heading = np.cumsum(rng.normal(0, 0.1, frames))
    speed = np.where(shakes, 0.05, 2.0)
    along, across = np.array([20, 8, 8, -20]), np.array([0, 7, -7, 0])
    centre = 200 + np.cumsum(speed[:, None] * np.c_[np.cos(heading), np.sin(heading)], axis=0)
    forward, side = (
        np.c_[np.cos(heading), np.sin(heading)],
        np.c_[-np.sin(heading), np.cos(heading)],
    )
    points = centre[:, None] + along[:, None] * forward[:, None] + across[:, None] * side[:, None]
    points[:, 1] += np.where(shakes, 6 * np.sin(np.arange(frames) * 2.0), 0)[:, None]
    points += rng.normal(0, 0.3, points.shape)
    return Pose(points, np.ones(points.shape[:2]))


def make_study(*, scheme="kfold", animals=8, seed=0, clip_fps=FPS):
    """Half of the animals shake a paw often; two further ones belong to the drug part."""
    rng = np.random.default_rng(seed)
    rows, poses = [], {}
    for a in range(animals + 2):
        restless, drug = a % 2, a >= animals
        split = "drug" if drug else "test"
        if scheme == "fixed" and not drug:
            split = ("train", "train", "val", "test")[a // 2 % 4]
        for day in (1, 7):
            video = f"m{a}d{day}.mp4"
            poses[video] = simulate(0.7 if restless else 0.2, rng)
            base = {
                "animal": f"m{a}", "cage": f"c{a}", "video": video, "day": day, "split": split,
                "label": restless, "fold": a // 2 % 2 if scheme != "fixed" and not drug else -1,
                "fps": clip_fps,
            }  # fmt: skip
            stride = int(CLIP * FPS / clip_fps)
            rows += [
                base | {"start_frame": i * CLIP, "start_s": i * CLIP / clip_fps}
                for i in range(FRAMES // stride)
            ]
    table = make_table(rows, np.random.default_rng(1).normal(0, 1, (len(rows), 2)))
    return table, poses, make_meta(TAXONOMY, scheme=scheme)


def run(table, poses, *, scheme="kfold", config=CONFIG, **changes):
    options = {"taxonomy": TAXONOMY, "group": "animal", "clip_frames": CLIP, "config": config}
    return predict.predict(poses, table, scheme=scheme, **(options | changes))


def p_of(table):
    return np.stack(table["p"].to_list())


@pytest.fixture
def kmeans(monkeypatch):
    """Clusters by k-means instead; returns a list of the bins that were clustered."""
    seen = []

    def find(bins, *, seed, report=lambda _: None):
        report("k-means")
        report("k-means")
        seen.append(bins)
        return KMeans(8, n_init=1, random_state=seed).fit_predict(bins.scaled).astype(np.int64)

    monkeypatch.setattr(clustering, "find_motifs", find)
    monkeypatch.setattr(clustering, "evaluate_itself", lambda *_, **__: {"bins": 1})  # slow
    return seen


@pytest.fixture
def baselines():
    for name in ("umap", "hdbscan"):
        pytest.importorskip(name, reason="needs the extra baselines")


def test_the_other_clips_do_not_change_with_the_poses_of_held_out_and_treated_animals(kmeans):
    table, poses, _ = make_study(scheme="fixed")
    before, _ = run(table, poses, scheme="fixed")
    rng = np.random.default_rng(9)
    held = table["split"].isin(["val", "test", "drug"])
    other = poses | {video: simulate(0.5, rng) for video in table["video"][held].unique()}
    after, _ = run(table, other, scheme="fixed")
    np.testing.assert_array_equal(kmeans[0].scaled, kmeans[1].scaled)
    np.testing.assert_array_equal(p_of(before)[~held], p_of(after)[~held])
    assert not np.array_equal(p_of(before)[held], p_of(after)[held])


def test_a_fold_is_predicted_by_what_was_learnt_without_it(kmeans):
    table, poses, _ = make_study()
    before, _ = run(table, poses)
    changed = table["video"].isin(["m0d1.mp4", "m0d7.mp4"])  # of fold 0
    other = poses | {v: simulate(0.5, np.random.default_rng(9)) for v in ("m0d1.mp4", "m0d7.mp4")}
    after, _ = run(table, other)
    rest_of_fold = ((table["fold"] == 0) & ~changed).to_numpy()
    np.testing.assert_array_equal(p_of(before)[rest_of_fold], p_of(after)[rest_of_fold])
    for others in (table["fold"] == 1, table["split"] == "drug"):
        assert not np.array_equal(p_of(before)[others], p_of(after)[others])


def test_each_model_learns_from_its_own_animals_alone(kmeans):
    table, poses, _ = make_study()
    run(table, poses)
    per_recording = len(range(bin_frames(FPS), FRAMES - 1, bin_frames(FPS)))
    # The final one from all 8 animals, folds 0 and 1 from the 4 of the other; never from `drug`.
    assert [len(bins.scaled) for bins in kmeans] == [16 * per_recording, *[8 * per_recording] * 2]


def test_a_cohort_without_a_drug_part_is_predicted_fold_by_fold(kmeans):
    table, poses, _ = make_study()
    trained = table[table["split"] == "test"]
    ours, own = run(trained, poses)
    assert len(ours) == len(trained)
    np.testing.assert_array_equal(p_of(ours), p_of(run(table, poses)[0])[: len(trained)])
    assert [model["fold"] for model in own["models"]] == [None, 0, 1]


def test_the_sample_of_bins_is_bounded_and_drawn_by_seed(kmeans):
    table, poses, _ = make_study(scheme="fixed")
    for seed in (1, 1, 2):
        config = dataclasses.replace(CONFIG, max_bins=300, seed=seed)
        run(table, poses, scheme="fixed", config=config)
    assert [len(bins.scaled) for bins in kmeans] == [300] * 3
    np.testing.assert_array_equal(kmeans[0].features, kmeans[1].features)
    assert not np.array_equal(kmeans[0].features, kmeans[2].features)


def test_a_clip_is_classified_by_its_own_frames_where_context_is_clip(kmeans):
    table, poses, _ = make_study(scheme="fixed", clip_fps=10.0)
    config = dataclasses.replace(CONFIG, context="clip")
    before, _ = run(table, poses, scheme="fixed", config=config)
    video = table["video"][table["split"] == "test"].iloc[0]
    points = poses[video].points.copy()
    points[100:] = points[100:][::-1] * [1, -1]  # clips at 10 frames/s span 32 pose frames each
    after, _ = run(
        table,
        poses | {video: dataclasses.replace(poses[video], points=points)},
        scheme="fixed",
        config=config,
    )
    rows = (table["video"] == video).to_numpy()
    same = (p_of(before)[rows] == p_of(after)[rows]).all(axis=1)
    assert list(table["start_frame"][rows]) == [0, 16, 32, 48, 64]
    assert same[:3].all()
    assert not same[3:].all()


def test_scores_of_sleap_are_not_looked_at_and_those_of_others_are(kmeans):
    table, poses, _ = make_study(scheme="fixed")
    rng = np.random.default_rng(5)
    scored = {
        video: dataclasses.replace(
            pose, likelihood=np.where(rng.random(pose.likelihood.shape) < 0.3, 0.1, 0.95)
        )
        for video, pose in poses.items()
    }
    for tracker, given in (("sleap", poses), ("sleap", scored), ("deeplabcut", scored)):
        named = {v: dataclasses.replace(pose, tracker=tracker) for v, pose in given.items()}
        run(table, named, scheme="fixed")
    np.testing.assert_array_equal(kmeans[0].features, kmeans[1].features)
    assert not np.array_equal(kmeans[0].features, kmeans[2].features)


def test_keypoints_in_another_order_are_the_same_keypoints(kmeans):
    table, poses, _ = make_study(scheme="fixed")
    turned = {
        video: Pose(pose.points[:, ::-1], pose.likelihood[:, ::-1], pose.names[::-1])
        if i % 3
        else pose
        for i, (video, pose) in enumerate(poses.items())
    }
    first, second = (run(table, given, scheme="fixed")[0] for given in (poses, turned))
    np.testing.assert_array_equal(p_of(first), p_of(second))


def test_the_table_is_the_projectors_with_other_probabilities(kmeans, check):
    table, poses, meta = make_study()
    given = table.assign(embedding=[np.zeros(3, np.float32)] * len(table), motion=0.1)
    ours, own = run(given, poses)
    assert set(ours.columns) == set(given.columns) - {"embedding"}
    for name in set(ours.columns) - {"p", "logits"}:
        np.testing.assert_array_equal(ours[name].to_numpy(), given[name].to_numpy())
    theirs, mine = check(table, meta), check(ours, meta)
    figures = evaluate(mine, bootstrap=50, permutations=20)
    difference = comparison.compare(mine, theirs, bootstrap=50)["fine"]["recording"]["accuracy"]
    assert figures["fine"]["recording"]["accuracy"]["n"] == difference["n"] == 16
    assert difference["value"] > 0.2
    json.dumps(own, allow_nan=False)
    assert [model["fold"] for model in own["models"]] == [None, 0, 1]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"m0d1.mp4": None}, "1 of 20 have none, first 'm0d1.mp4'"),
        ({"m3d7.mp4": {"names": ("a", "b", "c", "d")}}, "m3d7.mp4: keypoints a, b, c, d, but"),
        ({"m3d7.mp4": {"fps": 0.0}}, "m3d7.mp4: the pose's frame rate is 0.0"),
        (
            {"m3d7.mp4": {"points": np.zeros((99, 4, 2)), "likelihood": np.ones((99, 4))}},
            "m3d7.mp4: pose of 99 frames, but a",
        ),
    ],
)
def test_poses_that_do_not_fit_are_refused_by_recording(change, told):
    table, poses, _ = make_study()
    for video, fields in change.items():
        if fields is None:
            del poses[video]
        else:
            poses[video] = dataclasses.replace(poses[video], **fields)
    with pytest.raises(ValueError, match=told):
        run(table, poses)


def test_too_little_film_is_refused():
    table, poses, _ = make_study()
    short = {video: Pose(p.points[:8], p.likelihood[:8]) for video, p in poses.items()}
    first = table[table["start_frame"] == 0]
    with pytest.raises(ValueError, match="16 training .* hold 48 bins of 100 ms, needs 100"):
        run(first, short)


def test_a_class_without_a_training_clip_is_refused(kmeans):
    table, poses, _ = make_study(scheme="fixed")
    held = table[(table["split"] != "train") | (table["label"] == 0)]
    with pytest.raises(ValueError, match=r"no clip to train on for class\(es\) restless"):
        run(held, poses, scheme="fixed")


def test_without_the_extra_the_error_says_what_to_install(monkeypatch):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", absent)
    table, poses, _ = make_study()
    with pytest.raises(ImportError, match=r"needs umap .*pip install 'mpjax\[baselines\]'"):
        run(table, poses)


def test_the_self_evaluation_is_high_where_there_is_nothing_to_know_of_classes():
    rng = np.random.default_rng(0)
    motif = rng.integers(0, 4, 400)
    features = np.eye(4)[motif] + rng.normal(0, 0.1, (400, 4))
    bins = clustering.Bins(features, features)
    own = clustering.evaluate_itself(bins, motif, seed=42)
    assert own["held_out_accuracy"] > 0.95
    assert own["cross_validated_accuracy"] > 0.9
    assert own["majority"] < 0.4
    shuffled = clustering.evaluate_itself(bins, rng.permutation(motif), seed=42)
    assert shuffled["held_out_accuracy"] < 0.5


def test_movements_that_differ_are_different_motifs_and_the_same_on_every_run(baselines):
    # One recording, as features are standardised within each: half a walk, half shaking a paw.
    points = np.tile(np.array([[20.0, 0], [8, 7], [8, -7], [-20, 0]]), (800, 1, 1))
    points[:400, :, 0] += 4.0 * np.arange(400)[:, None]
    points[400:, 1] += 8 * np.sin(2.0 * np.arange(400))[:, None]
    points += np.random.default_rng(0).normal(0, 0.3, points.shape)
    drawn = clustering.draw_bins([(points, FPS)], most=10_000, seed=0)
    motif = clustering.find_motifs(drawn, seed=42)
    kind = np.arange(len(motif)) >= len(motif) // 2
    used = motif >= 0
    most = motif.max() + 1
    counts = np.stack([np.bincount(motif[used & (kind == k)], minlength=most) for k in (0, 1)])
    assert used.mean() > 0.5
    assert counts.min(axis=0).sum() <= 0.02 * used.sum()
    np.testing.assert_array_equal(motif, clustering.find_motifs(drawn, seed=42))


def test_a_planted_difference_is_found_in_other_animals_and_clusters_are_kept(
    baselines, check, tmp_path, monkeypatch
):
    table, poses, meta = make_study()
    config = dataclasses.replace(CONFIG, max_bins=400)
    ours, own = run(table, poses, config=config, cache=tmp_path)
    figures = evaluate(check(ours, meta), bootstrap=50, permutations=20)
    assert figures["fine"]["recording"]["accuracy"]["value"] >= 0.9
    assert own["motifs"] >= 2
    assert own["held_out_accuracy"] > own["majority"]

    def again(*_, **__):
        raise AssertionError("clustered a second time")

    monkeypatch.setattr(clustering, "find_motifs", again)
    kept, _ = run(table, poses, config=config, cache=tmp_path)
    np.testing.assert_array_equal(p_of(kept), p_of(ours))
    with pytest.raises(AssertionError, match="second time"):
        run(table, poses, config=dataclasses.replace(config, max_bins=300), cache=tmp_path)


def test_real_poses_of_two_conditions_are_clustered_and_counted(shared, baselines):
    stored = np.load(Path(shared) / "data" / "pose" / "lupe_demo_pose.npz")
    recordings = []
    for name in ("condition_0_0", "condition_0_1", "condition_1_0", "condition_1_1"):
        points = stored[name].reshape(-1, 6, 2)[:900]
        recordings.append((fill_lost(points, np.full(points.shape[:2], np.nan)), 60.0))
    bins = clustering.draw_bins(recordings, most=10_000, seed=42)
    assert bins.features.shape == (4 * 149, 36)
    forest = clustering.fit_forest(bins, clustering.find_motifs(bins, seed=42), seed=42)
    for points, fps in recordings:
        motif = clustering.predict_windows(forest, points, fps)
        assert len(motif) == 900 - 1 - 6
        assert set(motif) <= set(range(forest.n_classes_))
