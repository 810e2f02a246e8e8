"""Shared fixtures. Every jaxtyping signature of the package is checked while the tests run."""

import os
from pathlib import Path

import jaxtyping

# Where libtpu is installed and no TPU there, JAX's profiler crashes unless it is told so.
os.environ.setdefault("JAX_PLATFORMS", "cpu")

jaxtyping.install_import_hook(["mpjax", "data_prep"], "typechecker.check")

import pytest  # noqa: E402
from absl import flags  # noqa: E402

# Grain's workers and config flags read absl flags, which pytest never parses.
flags.FLAGS.mark_as_parsed()

SHARED = Path(__file__).resolve().parents[1].parent / "shared"


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference data beside the repository; skips the test where it is absent."""
    if not SHARED.is_dir():
        pytest.skip(f"no reference data at {SHARED}")
    return SHARED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Runs the files that hold slow tests first: the last to start should not be the longest."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)
