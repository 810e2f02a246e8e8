"""Trains on clips; writes the projector and the head as the later stages read them."""

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
    """Trains the projector `start`, or a head on it, on the clips of a dataset; see `loop.train`.

    Checkpoints and logs go to the folder `run`; where the projector is trained too, it replaces
    what is in the folder `projector`, with the head as its native one.
    """
    classes = tuple(splits.taxonomy.fine)
    result = loop.train(dataset, run, start, len(classes), config)
    if partitioning.is_writer() and config.train.what != "head":
        weights = result.params.get("projector")
        if weights is None:
            weights = lora.merge(
                compiled_steps.trainable(start.params), result.params["adapters"], config.train.lora
            )
        epath.Path(projector).rmtree(missing_ok=True)
        swin_files.save(
            projector,
            dataclasses.replace(start.config, num_classes=len(classes)),
            {**weights, "head": result.params["head"]},
            provenance={
                "trained": config.train.what,
                "step": result.step,
                "from": {"weights": config.projector.weights, "fingerprint": start.fingerprint},
            },
            classes=classes,
        )
    partitioning.wait_for_all("the projector is written")
    return result


def write_head(directory: epath.PathLike, result: loop.Result, metadata: Any) -> None:
    """Writes the trained head as the final one; the first process does, the others wait."""
    if partitioning.is_writer():
        head = result.params["head"]
        width = len(head["kernel"])
        # The published head does not standardise its input.
        scaler = {"mean": np.zeros(width, np.float32), "std": np.ones(width, np.float32)}
        artifacts.save(
            directory, {"final": {"params": {"linear": head}, "scaler": scaler}}, metadata
        )
    partitioning.wait_for_all("the head is written")
