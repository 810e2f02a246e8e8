"""The configs in `configs/`: all are valid and say what they do; each recipe runs, at toy width."""

import csv
import importlib.util
import json
import os
import shutil
import textwrap
from pathlib import Path

import numpy as np
import pytest

from data_prep import build, cohort, synthetic
from mpjax import config as configs
from mpjax.analysis import predictions
from mpjax.studies import evaluation, stages
from mpjax.training import artifacts

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted(path.stem for path in (ROOT / "configs").glob("*.py"))

# What each recipe trains.
RECIPES = {
    "pretrain_kinetics": "all",
    "linear_probe": "probe",
    "linear_probe_published": "head",
    "lora": "lora",
    "finetune": "all",
    "mammalnet": "probe",
    "chimpbehave": "probe",
}


def load_module(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "configs" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def toy(name):
    """Returns a recipe on small pictures, by a narrow random network, for two epochs."""
    config = load_module(name).get_config()
    config.synthetic.task = "behaviours"
    config.synthetic.animals = 6
    config.synthetic.clips_per_behaviour = 1
    config.synthetic.seconds = 2.0
    config.synthetic.size = 64
    config.video.fps = 8.0
    config.video.frames = 8
    config.video.stride = 8
    config.video.short_side = 32
    config.split.group = "animal"
    config.projector.kind = "swin"
    config.projector.weights = "random"
    config.projector.attention_impl = "xla"  # compiles faster
    config.projector.size = 32
    config.projector.crops = 1
    config.projector.batch_size = 8
    config.projector.architecture.embed_dim = 8
    config.projector.architecture.depths = (2,)
    config.projector.architecture.num_heads = (2,)
    config.projector.architecture.window = (4, 4, 4)
    config.train.epochs = 2.0
    config.train.batch_size = 8
    config.train.eval_every = 2
    config.train.log_every = 1
    config.train.processes = 0
    config.eval.bootstrap = 20
    return configs.from_config_dict(config)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A dataset of 7 behaviours of 6 animals; the working directory is the workers' import path."""
    os.chdir(ROOT)
    folder = tmp_path_factory.mktemp("recipes")
    config = toy("linear_probe_published")
    path = synthetic.generate(folder / "cohort", config.synthetic)
    read = cohort.read_cohort(path, split=config.split)
    build.build(read, folder / "dataset", clip_config=config.video, config=config.build)
    return folder / "dataset"


@pytest.mark.parametrize("name", CONFIGS)
def test_every_config_is_valid_and_says_how_to_run_it_and_what_to_expect(name):
    module = load_module(name)
    assert configs.from_config_dict(module.get_config()).name
    for line in ("Run:", "Takes:", "Expect:"):
        assert f"\n{line} " in module.__doc__
    assert f"--config={name} " in module.__doc__.replace("\n", " ")


@pytest.mark.parametrize(("name", "what"), RECIPES.items())
def test_a_recipe_that_trains_one_model_divides_the_animals_once(name, what):
    config = configs.from_config_dict(load_module(name).get_config())
    assert config.train.what == what
    assert what == "probe" or config.split.scheme == "fixed"


@pytest.mark.parametrize("name", ["mammalnet", "chimpbehave"])
def test_the_docstring_turns_published_lists_into_a_cohort(name, tmp_path, monkeypatch):
    """The code of the docstring is run on lists of the published form."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "miniclips").mkdir()
    numbered = {"sitting": 0, "climbing_down": 5}
    rows = [
        f"Benga1_{i}_77_{label}_clip_0_19.mp4 {k}\n"
        for i, (label, k) in enumerate([*numbered.items()] * 3)
    ]
    for part, lines in {"train": rows[:2], "val": rows[2:4], "test": rows[4:]}.items():
        for file in (f"{part}_base.txt", f"chimpbehave_{part}.txt"):
            (tmp_path / file).write_text("".join(lines))
    lines = load_module(name).__doc__.splitlines()
    block = [line for line in lines if line.startswith("    ") and not line.startswith(" " * 10)]
    first = block.index(next(line for line in block if line.startswith("    import csv")))
    code = "\n".join(line for line in lines[lines.index(block[first]) :])
    code = textwrap.dedent(code.split("\n\n", maxsplit=1)[0])
    exec(compile(code, name, "exec"), {})
    written = next(tmp_path.rglob("cohort.csv"))
    with written.open() as file:
        videos = [row["video"] for row in csv.DictReader(file)]
    for video in videos:
        (written.parent / video).touch()
    config = configs.from_config_dict(load_module(name).get_config())
    read = cohort.read_cohort(written, split=config.split)
    assert read.scheme == "fixed"
    classes = {"mammalnet": {"0", "5"}, "chimpbehave": set(numbered)}
    assert set(read.taxonomy.fine) == classes[name]
    assert {"train", "test"} <= set(read.table["split"])


@pytest.mark.slow
@pytest.mark.parametrize(("name", "what"), RECIPES.items())
def test_a_recipe_runs_from_clips_to_figures_and_is_done_once(
    name, what, dataset, tmp_path, capsys
):
    shutil.copytree(dataset, tmp_path / "dataset")
    config = toy(name)

    def run_all():
        on_clips = what != "probe"
        order = (stages.train, stages.embed)
        for stage in order if on_clips else order[::-1]:
            stage(config, tmp_path)
        evaluation.run(config, tmp_path)
        return capsys.readouterr().out

    assert "unchanged" not in run_all()
    read = predictions.read_predictions(tmp_path / "predictions.parquet")
    assert set(read.table["split"]) == {"train", "val", "test"}
    np.testing.assert_allclose(read.p.sum(axis=1), 1.0, atol=1e-5)
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["n"]["animals"] > 0
    assert 0 <= figures["fine"]["recording"]["mean_class_accuracy"]["value"] <= 1
    metadata = artifacts.read_metadata(tmp_path / "heads")
    assert metadata["training"]["what"] == what
    assert (tmp_path / "projector").exists() == (what in ("lora", "all"))
    if what != "probe":
        lines = (tmp_path / "train" / "metrics.jsonl").read_text().splitlines()
        logged = [json.loads(line) for line in lines]
        assert {line["split"] for line in logged} == {"train", "val"}
        assert np.isfinite([line["loss"] for line in logged]).all()
    assert run_all().count("unchanged") == 3
