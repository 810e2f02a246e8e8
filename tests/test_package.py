"""What the package ships, without building it: data files, types, dependencies."""

import subprocess
import tomllib
from pathlib import Path

import pytest

from mpjax.config import find_config

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
WEIGHTY = ("apache-beam", "torch", "av", "jupyterlab", "umap-learn", "sleap-io", "tensorflow")


def shipped():
    """Returns the files, other than modules, that the patterns of package data match."""
    found = set()
    for package, patterns in PROJECT["tool"]["setuptools"]["package-data"].items():
        for pattern in patterns:
            matched = [path for path in (ROOT / package).glob(pattern) if path.is_file()]
            assert matched, f"{package}: {pattern} matches nothing"
            found |= set(matched)
    return found


def test_every_data_file_beside_the_modules_is_shipped():
    listed = subprocess.run(
        ["git", "ls-files", "mpjax", "data_prep"], capture_output=True, text=True, cwd=ROOT
    )
    if listed.returncode:
        pytest.skip("not a git checkout")
    data = {ROOT / name for name in listed.stdout.split() if not name.endswith(".py")}
    data = {path for path in data if path.is_file()}  # not the link to configs/
    assert data == shipped()
    names = {path.name for path in data}
    assert {"py.typed", "kinetics400.txt", "metrics.schema.json"} <= names


def test_every_folder_of_modules_is_a_package():
    for folder in ("mpjax", "data_prep"):
        for module in (ROOT / folder).rglob("*.py"):
            assert (module.parent / "__init__.py").exists(), module


def test_the_configs_are_a_folder_of_the_package():
    files = {path.name for path in (ROOT / "configs").glob("*.py")}
    assert {path.name for path in (ROOT / "mpjax" / "configs").glob("*.py")} == files
    for name in files:
        assert Path(find_config(name.removesuffix(".py"))).samefile(ROOT / "configs" / name)


def test_a_plain_installation_is_without_beam_and_torch():
    plain = {
        name.split(">")[0].split("=")[0].split("[")[0]
        for name in PROJECT["project"]["dependencies"]
    }
    assert not plain & set(WEIGHTY)
    extras = PROJECT["project"]["optional-dependencies"]
    assert extras["prep"] == ["mpjax[video]"]
    assert any(name.startswith("apache-beam") for name in extras["beam"])
    assert any(name.startswith("av>") for name in extras["video"])
    assert any(name.startswith("torch") for name in extras["convert"])
