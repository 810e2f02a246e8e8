"""The model as StableHLO: a process that has only JAX gives the study's own numbers."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import small_study
from scipy.special import logsumexp, softmax

from mpjax.analysis import predictions
from mpjax.data import pipeline, records
from mpjax.data.clips import Views
from mpjax.data.splits import Splits, write_splits
from mpjax.io import files
from mpjax.models import swin
from mpjax.studies import export, stages
from mpjax.studies.predictions import predict
from mpjax.studies.projector import projector_of
from mpjax.taxonomy import Taxonomy

small_dataset = small_study.small_dataset
CLIPS, FOLDS, TURNS = 24, 3, 2
# What `pip install jax flatbuffers` puts there, and nothing else.
JAX_ALONE = (
    "jax", "jaxlib", "numpy", "numpy.libs", "scipy", "scipy.libs", "ml_dtypes", "opt_einsum",
    "flatbuffers",
)  # fmt: skip
RUN = """
import importlib.util, runpy, sys
sys.path.append(sys.argv[1])
for name in ("mpjax", "flax", "orbax", "optax", "einops", "jaxtyping", "pandas"):
    assert importlib.util.find_spec(name) is None, name
sys.argv = sys.argv[2:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def brighter(i):
    """Noise, a little brighter from class to class, so that there is something to calibrate."""
    rng = np.random.default_rng(i)
    shape = (small_dataset.FRAMES, small_dataset.HEIGHT, small_dataset.WIDTH, 3)
    level = 60 + 25 * (i % 3) + rng.normal(0, 25)
    return small_dataset.encode_frames(rng.normal(level, 20, shape).clip(0, 255).astype(np.uint8))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A finished study of three folds, whose clips are seen in two views each."""
    workdir = tmp_path_factory.mktemp("study")
    dataset = small_dataset.write(workdir / "dataset", CLIPS, encode=brighter)
    manifest = files.read_json(dataset / records.MANIFEST_FILE)
    video = {"frames": small_dataset.FRAMES, "fps": 10.0, "short_side": 32, "stride": 6}
    files.write_json(dataset / records.MANIFEST_FILE, manifest | {"video": video})
    folds = {f"v{i}.mp4": i % FOLDS for i in range(CLIPS // 4)}
    taxonomy = Taxonomy(("x", "y", "z"), ("pain", "none"), (0, 0, 1))
    write_splits(dataset, Splits("kfold", "animal", taxonomy, [], 0, "cohort.csv", folds))
    config = small_study.study_config(
        "train.what='probe'", f"projector.rotations={TURNS}", "head.l2=(1.0,)"
    )
    stages.embed(config, workdir)
    stages.train(config, workdir)
    table, meta = predict(workdir)
    predictions.write_predictions(workdir / "predictions.parquet", table, meta)
    return config, workdir


@pytest.fixture(scope="module")
def exported(study, tmp_path_factory):
    """The folder of the artefact, and what its own loader makes of all views in a bare process."""
    config, workdir = study
    out = tmp_path_factory.mktemp("out")
    export.run(workdir, out, what=["model"])
    bare = tmp_path_factory.mktemp("bare")
    site = Path(np.__file__).parents[1]
    for name in JAX_ALONE:
        if (site / name).exists():
            (bare / name).symlink_to(site / name)
    source = records.RecordSource(workdir / "dataset")
    views = Views(config.projector.size, 0, 1, 1, TURNS)
    batches = pipeline.eval_batches(source, batch_size=CLIPS * TURNS, views=views)
    np.save(out / "clips.npy", next(iter(batches))["clips"])
    argv = [out / "model" / "load.py", out / "clips.npy", out / "found.npz"]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RUN, bare, *argv],
        env={"JAX_PLATFORMS": "cpu"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out / "model", dict(np.load(out / "found.npz")), done.stdout


def test_a_process_with_only_jax_gives_the_studys_own_probabilities(study, exported):
    _, workdir = study
    folder, found, _ = exported
    read = predictions.read_predictions(workdir / "predictions.parquet", embedding=True)
    heads = json.loads((folder / "model.json").read_text())["heads"]
    assert heads == ["fold_0", "fold_1", "fold_2", "final"]
    log_p = found["log_p"].reshape(CLIPS, TURNS, len(heads), 3)
    clip_log_p = logsumexp(log_p, axis=1) - np.log(TURNS)
    own = clip_log_p[np.arange(CLIPS), read.table["fold"]]
    np.testing.assert_allclose(np.exp(own), read.p, rtol=1e-5, atol=1e-6)
    embedding = found["embedding"].reshape(CLIPS, TURNS, -1).mean(1)
    np.testing.assert_allclose(embedding, read.embedding, rtol=1e-5, atol=1e-5)


def test_the_heads_calibrated_probabilities_are_averaged(exported):
    folder, found, printed = exported
    told = json.loads((folder / "model.json").read_text())
    temperature = told["calibration"]["value"]
    assert temperature == told["temperature"]
    assert abs(temperature - 1) > 0.05
    expected = softmax(found["log_p"] / temperature, axis=-1).mean(1)
    np.testing.assert_allclose(found["p"], expected, rtol=1e-5)
    classes = np.array(told["classes"])[found["p"].argmax(1)]
    assert [line.split("\t")[0] for line in printed.splitlines()] == list(classes)


def test_the_loader_averages_views_before_it_calibrates(exported):
    folder, found, _ = exported
    spec = importlib.util.spec_from_file_location("load_exported", folder / "load.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    log_p = found["log_p"].reshape(CLIPS, TURNS, -1, 3)
    mean = np.log(np.exp(log_p).mean(1))
    expected = softmax(mean / 3.0, axis=-1).mean(1)
    np.testing.assert_allclose(module.average_views(log_p, 3.0), expected, rtol=1e-5)


def test_the_description_says_what_a_user_must_know(study, exported):
    folder, *_ = exported
    told = json.loads((folder / "model.json").read_text())
    assert told["platforms"] == ["cpu", "tpu", "cuda"]
    assert told["bytes"] == (folder / "model.stablehlo").stat().st_size
    assert (told["classes"], told["coarse"]) == (["x", "y", "z"], ["pain", "none"])
    assert told["fine_to_coarse"] == [0, 0, 1]
    assert (told["input"]["frames"], told["input"]["size"]) == (6, 16)
    assert told["clips"]["views"]["turns"] == TURNS
    assert told["clips"]["fps"] == [10.0]
    metadata = files.read_json(study[1] / "heads" / "metadata.json")
    assert told["fingerprints"]["heads"] == metadata["fingerprint"]
    assert "6 months newer" in told["compatibility"]
    assert any("clinical" in limit for limit in told["card"]["limits"])


def test_a_projector_that_is_not_the_studys_is_refused_and_nothing_is_written(study, tmp_path):
    _, workdir = study
    with pytest.raises(ValueError, match="name the study's own with --weights"):
        export.run(workdir, tmp_path / "out", what=["model"], weights="kinetics400")
    assert not (tmp_path / "out").exists()


def test_a_video_swin_is_exported_in_plain_xla(study):
    projector = projector_of(study[0])
    portable = swin.plain_form(projector, scan=False)
    assert (portable.config.attention_impl, portable.config.scan) == ("xla", False)
    assert portable.fingerprint == projector.fingerprint
