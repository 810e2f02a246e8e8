"""`.ci/installs.py` finds install lines where they are written; what is said of Python agrees."""

import importlib
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture
def load(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / ".ci"))
    return importlib.import_module


@pytest.mark.parametrize(
    ("command", "wanted"),
    [
        ("-c constraints.txt -e '.[prep,cuda]'", ("mpjax[prep,cuda]",)),
        ("-c constraints.txt '.[tpu,gcs]' ", ("mpjax[tpu,gcs]",)),
        ("'mpjax[nwb]'", ("mpjax[nwb]",)),
        ("--no-deps wheels/*.whl", ()),
        ("torch==2.14.1\n    torchvision==0.29.1", ("torch==2.14.1", "torchvision==0.29.1")),
        ("'.[prep]' 'jax[cuda13]'", ("mpjax[prep]", "jax[cuda13]")),
        ("'mpjax[{extra}]'", ()),
        ("'{extra}' in str(error.value)", ()),
    ],
)
def test_an_install_line_is_read_as_pip_would(load, command, wanted):
    assert load("installs").parse(command) == wanted


def test_lines_of_pages_and_messages_and_every_extra_are_collected(load):
    found = load("installs").collect()
    assert any(place.startswith("docs/scaling.md") for place in found["mpjax[tpu,gcs]",])
    assert any(place.startswith("mpjax/profiling/aot.py") for place in found["mpjax[aot]",])
    assert {(f"mpjax[{extra}]",) for extra in PROJECT["optional-dependencies"]} <= set(found)


def test_what_is_said_of_python_agrees(load):
    versions = load("interpreters").VERSIONS
    said = [c.split()[-1] for c in PROJECT["classifiers"] if "Python" in c]
    assert tuple(said) == versions
    oldest, newest = (int(version.split(".")[1]) for version in (versions[0], versions[-1]))
    assert PROJECT["requires-python"] == f">=3.{oldest},<3.{newest + 1}"
    makefile = (ROOT / "Makefile").read_text()
    assert f"(3, {oldest}) <= sys.version_info[:2] <= (3, {newest})" in makefile
    assert ", ".join(versions[:-1]) + f" or {versions[-1]}" in (ROOT / "README.md").read_text()
