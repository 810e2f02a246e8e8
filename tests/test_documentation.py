"""What the guides print must be what the code takes: links, recipes, slices, flags."""

import math
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mpjax.config import StudyConfig, from_config_dict, to_config_dict

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GUIDE = (ROOT / "docs" / "scaling.md").read_text()


def blocks(text, language):
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def recipe(path):
    return from_config_dict(runpy.run_path(str(ROOT / path))["get_config"]())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page):
    text = page.read_text()
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", text)
    missing = [link for link in links if not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_that_are_named_exist(page):
    config = to_config_dict(StudyConfig())
    named = set(re.findall(r"config((?:\.[a-z_0-9]+)+)\b(?!\()", page.read_text()))
    unknown = []
    for name in named:
        value = config
        for part in name[1:].split("."):
            if not hasattr(value, "keys") or part not in value:
                unknown.append(name)
                break
            value = value[part]
    assert not unknown


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_recipes_benchmarks_and_modules_that_are_named_exist(page):
    text = page.read_text()
    for path in re.findall(r"\b(?:configs|tests/benchmarks|colab)/\w+\.(?:py|ipynb)\b", text):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ((?:mpjax|data_prep)[\w.]*)", text):
        path = ROOT / module.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_the_batches_of_the_scaling_guide_can_be_cut_over_its_slices():
    job = next(d for d in yaml.safe_load_all(blocks(GUIDE, "yaml")[0]) if d["kind"] == "Job")
    pod = job["spec"]["template"]["spec"]
    container = pod["containers"][0]
    shape = pod["nodeSelector"]["cloud.google.com/gke-tpu-topology"]
    chips = math.prod(map(int, shape.split("x")))
    assert container["resources"]["limits"]["google.com/tpu"] * job["spec"]["completions"] == chips
    assert job["spec"]["completions"] == job["spec"]["parallelism"]
    slices = {chips, *map(int, re.findall(r"accelerator-type=v5litepod-(\d+)", GUIDE))}
    batch = recipe("configs/finetune.py").train.batch_size
    assert len(slices) == 1
    assert batch % slices.pop() == 0
    assert "--config=finetune" in container["command"]


def test_a_pod_that_was_stopped_comes_back():
    job = next(d for d in yaml.safe_load_all(blocks(GUIDE, "yaml")[0]) if d["kind"] == "Job")
    command = job["spec"]["template"]["spec"]["containers"][0]["command"]
    status = next(int(w.split("=")[1]) for w in command if w.startswith("--stopped_status="))
    ignored = [
        code
        for rule in job["spec"]["podFailurePolicy"]["rules"]
        if rule["action"] == "Ignore"
        for code in rule.get("onExitCodes", {}).get("values", [])
    ]
    assert status in ignored
    done = subprocess.run(
        [sys.executable, "-m", *command[2:3], "--help"], capture_output=True, text=True, check=True
    )
    assert "--stopped_status=" in done.stdout
