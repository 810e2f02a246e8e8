"""The predictions of a study's heads, with what made them."""

import importlib.metadata
import platform
from typing import Any

import pandas as pd
from etils import epath

from mpjax.heads import probe
from mpjax.studies.windows import read_embeddings
from mpjax.studies.workdir import Workdir
from mpjax.training import artifacts

_REPORTED_VERSIONS = ("mpjax", "jax", "flax", "optax", "grain", "numpy", "scipy")


def predict(workdir: epath.PathLike) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Returns the table and the metadata of predictions.parquet.

    Raises:
        ValueError: a stage is missing, or was run for another dataset.
    """
    workdir = Workdir(workdir)
    embedded, splits = read_embeddings(workdir)
    table = probe.predict(embedded, splits, workdir.heads)
    heads = artifacts.read_metadata(workdir.heads)
    versions = {name: importlib.metadata.version(name) for name in _REPORTED_VERSIONS}
    provenance = {
        "cohort": splits.cohort,
        "dataset": embedded.meta["dataset"],
        "projector": embedded.meta["projector"],
        "views": embedded.meta["views"],
        "training": heads["training"],
        "split seed": splits.seed,
        "versions": versions | {"python": platform.python_version()},
    }
    return table, {
        "taxonomy": splits.taxonomy.to_dict(),
        "group": splits.group,
        "scheme": splits.scheme,
        "fingerprint": heads["fingerprint"],
        "exclude": splits.exclude,
        "provenance": provenance,
    }
