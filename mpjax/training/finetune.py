"""What training on clips leaves behind: a projector and a head, as the later stages read them."""

import dataclasses
from typing import Any

import numpy as np
from etils import epath

from mpjax.config import StudyConfig
from mpjax.data.splits import Splits
from mpjax.models import lora
from mpjax.models.projector import Projector
from mpjax.models.swin import checkpoint as swin_files
from mpjax.training import artifacts, compiled_steps, loop, partitioning


def train(
    dataset: epath.PathLike,
    start: Projector,
    splits: Splits,
    config: StudyConfig,
    *,
    run: epath.PathLike,
    projector: epath.PathLike,
) -> loop.Result:
    """Trains on the clips of a dataset, and writes the projector where it is trained too.

    Args:
        dataset: folder of the records.
        start: the projector that training starts from.
        splits: of the dataset.
        config: of the study.
        run: folder of checkpoints and logs.
        projector: folder of the trained projector.

    Raises:
        loop.Stopped: as `loop.train`.
    """
    result = loop.train(dataset, run, start, len(splits.taxonomy.fine), config)
    if partitioning.is_writer() and config.train.what != "head":
        _write_projector(epath.Path(projector), start, result, splits, config)
    partitioning.wait_for_all("the projector is written")
    return result


def write_head(directory: epath.PathLike, result: loop.Result, metadata: Any) -> None:
    """Writes the trained head as the final one; the first process does, the others wait."""
    if partitioning.is_writer():
        artifacts.save(directory, {"final": _head(result.params["head"])}, metadata)
    partitioning.wait_for_all("the head is written")


def _write_projector(
    directory: epath.Path,
    start: Projector,
    result: loop.Result,
    splits: Splits,
    config: StudyConfig,
) -> None:
    """Writes the trained projector with the head as its native one, in place of an older one."""
    weights = result.params.get("projector")
    if weights is None:
        weights = lora.merge(
            compiled_steps.trainable(start.params), result.params["adapters"], config.train.lora
        )
    directory.rmtree(missing_ok=True)
    swin_files.save(
        directory,
        dataclasses.replace(start.config, num_classes=len(splits.taxonomy.fine)),
        {**weights, "head": result.params["head"]},
        provenance={
            "trained": config.train.what,
            "step": result.step,
            "from": {"weights": config.projector.weights, "fingerprint": start.fingerprint},
        },
        classes=tuple(splits.taxonomy.fine),
    )


def _head(head: Any) -> Any:
    """Returns variables of `LinearHead`; the published head does not standardise its input."""
    width = len(head["kernel"])
    scaler = {"mean": np.zeros(width, np.float32), "std": np.ones(width, np.float32)}
    return {"params": {"linear": head}, "scaler": scaler}
