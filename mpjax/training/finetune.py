"""What training on clips leaves behind: a projector and a head, as the later stages read them."""

import dataclasses
import json
from typing import Any

import numpy as np
from etils import epath

from mpjax.config import ProjectorConfig, StudyConfig, TrainConfig, from_config_dict, rules
from mpjax.data import records
from mpjax.data.splits import Splits
from mpjax.embedding import dataset as embedding
from mpjax.io import files
from mpjax.models import lora, projector
from mpjax.models.projector import Projector
from mpjax.models.swin import checkpoint as swin_files
from mpjax.training import artifacts, compiled_steps, loop, partitioning

TRAINED = "projector"  # folder of a projector that was trained
NOTE = "projector.json"  # of a study: how its projector is loaded
RUN = "train"  # folder of a run


def projector_of(config: StudyConfig, workdir: epath.PathLike, *, trained: bool) -> Projector:
    """Loads the projector of a study.

    Args:
        config: of the study.
        workdir: folder of the study.
        trained: take the one that training has left, where `config.train` trains the projector.
    """
    chosen = config.projector
    weights, kind = chosen.weights, chosen.kind
    # Other weights than random ones bring their own.
    architecture = chosen.architecture if weights == "random" and kind == "swin" else None
    if trained and config.train.what in ("lora", "all"):
        path = epath.Path(workdir) / TRAINED
        if not path.exists():
            raise ValueError(f"{path}: no trained projector; run `python -m mpjax.train` first")
        weights, kind, architecture = str(path), "swin", None
    return projector.load_projector(
        weights,
        kind=kind,
        seed=chosen.seed,
        dtype=chosen.dtype,
        attention_impl=chosen.attention_impl,
        architecture=architecture,
    )


def remember_projector(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Notes in `workdir` how its projector is loaded, for later recordings (`recall_projector`)."""
    noted = {"projector": dataclasses.asdict(config.projector), "what": config.train.what}
    path = epath.Path(workdir) / NOTE
    if not path.exists() or files.read_json(path) != json.loads(json.dumps(noted)):
        files.write_json(path, noted)


def recall_projector(
    workdir: epath.PathLike, fingerprint: str, *, weights: str = ""
) -> tuple[Projector, int]:
    """Loads the projector that embedded a study, and says how many views it takes at once.

    Args:
        workdir: folder of the study.
        fingerprint: that the projector must have.
        weights: path or name of its weights, where they have moved; empty: as noted, or in studies
            from before there were notes, the packaged ones.

    Raises:
        ValueError: the weights are others, or cannot be read.
    """
    path = epath.Path(workdir) / NOTE
    noted: dict[str, Any] = {"projector": {}, "what": "probe"}
    if path.exists():
        noted = files.read_json(path)
    chosen = from_config_dict(
        rules.rename_fields(noted["projector"], "projector"), ProjectorConfig, path=str(path)
    )
    if weights:
        chosen = dataclasses.replace(chosen, weights=weights, kind="")
    config = StudyConfig(projector=chosen, train=TrainConfig(what=noted["what"]))
    loaded = projector_of(config, workdir, trained=not weights)
    if loaded.fingerprint != fingerprint:
        raise ValueError(
            f"{workdir}: its heads were trained on embeddings of the projector {fingerprint}, but "
            f"{chosen.weights} gives {loaded.fingerprint}; name the study's own with --weights"
        )
    return loaded, chosen.batch_size


def train(workdir: epath.PathLike, splits: Splits, config: StudyConfig) -> bool:
    """Trains on the clips of `workdir`, then writes its projector and its head.

    Returns:
        False where `workdir` already holds what this config gives.

    Raises:
        ValueError: the division has folds, so that one model cannot serve.
        loop.Stopped: as `loop.train`.
    """
    workdir = epath.Path(workdir)
    if splits.scheme != "fixed":
        raise ValueError(
            f"config.train.what={config.train.what} trains one model, but the division is "
            f"{splits.scheme}: one model per fold; build with config.split.scheme=fixed"
        )
    start = projector_of(config, workdir, trained=False)
    dataset = workdir / "dataset"
    fingerprint = records.read_manifest(dataset)["fingerprint"]
    stamp = files.fingerprint(
        config.train, config.projector, fingerprint, splits.fingerprint, start.fingerprint
    )
    if (artifacts.read_metadata(workdir / "heads") or {}).get("fingerprint") == stamp:
        return False
    result = loop.train(dataset, workdir / RUN, start, len(splits.taxonomy.fine), config)
    if partitioning.is_writer() and config.train.what != "head":
        _write_projector(workdir / TRAINED, start, result, splits, config)
    partitioning.wait_for_all("the projector is written")
    trained = projector_of(config, workdir, trained=True)  # which all processes read together
    metadata = {
        "fingerprint": stamp,
        "embeddings": embedding.describe(fingerprint, trained, config.projector),
        "division": splits.fingerprint,
        "fine": list(splits.taxonomy.fine),
        "training": {"what": config.train.what, "step": result.step},
    }
    if partitioning.is_writer():
        artifacts.save(workdir / "heads", {"final": _head(result.params["head"])}, metadata)
    partitioning.wait_for_all("the head is written")
    return True


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
