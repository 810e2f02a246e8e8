"""The projector of a study: the one that its settings name, or the one that was trained."""

import dataclasses
import json
from typing import Any

from etils import epath

from mpjax.config import ProjectorConfig, StudyConfig, TrainConfig, from_config_dict, rules
from mpjax.io import files
from mpjax.models.projector import Projector, load_projector
from mpjax.studies.workdir import Workdir


def projector_of(config: StudyConfig, trained: epath.PathLike | None = None) -> Projector:
    """Loads the projector of a study.

    Args:
        config: of the study.
        trained: folder that training left, taken where `config.train` trains the projector; None:
            the projector that training starts from.

    Raises:
        ValueError: the projector has not been trained yet, or cannot be read.
    """
    chosen = config.projector
    weights, kind = chosen.weights, chosen.kind
    # Weights that are not random bring their own architecture.
    architecture = chosen.architecture if weights == "random" and kind == "swin" else None
    if trained is not None and config.train.what in ("lora", "all"):
        if not epath.Path(trained).exists():
            raise ValueError(f"{trained}: no trained projector; run `python -m mpjax.train` first")
        weights, kind, architecture = str(trained), "swin", None
    return load_projector(
        weights,
        kind=kind,
        seed=chosen.seed,
        dtype=chosen.dtype,
        attention_impl=chosen.attention_impl,
        architecture=architecture,
    )


def remember_projector(config: StudyConfig, workdir: Workdir) -> None:
    """Notes how the projector of a study is loaded, for `recall_projector`."""
    noted = {"projector": dataclasses.asdict(config.projector), "what": config.train.what}
    path = workdir.projector_note
    if not path.exists() or files.read_json(path) != json.loads(json.dumps(noted)):
        files.write_json(path, noted)


def recall_projector(
    workdir: Workdir, fingerprint: str, *, weights: str = ""
) -> tuple[Projector, int]:
    """Loads the projector that embedded a study; returns it and its batch size in views.

    Args:
        workdir: of the study.
        fingerprint: of the projector, as the heads note it.
        weights: path or name, where they have moved; empty: as noted, or the packaged ones in
            studies without a note.

    Raises:
        ValueError: the weights are others, or cannot be read.
    """
    path = workdir.projector_note
    noted: dict[str, Any] = {"projector": {}, "what": "probe"}
    if path.exists():
        noted = files.read_json(path)
    settings = rules.rename_fields(noted["projector"], "projector")
    try:
        chosen = from_config_dict(settings, ProjectorConfig, path="projector")
    except ValueError as error:
        raise ValueError(
            f"{path}: of another version of mpjax ({error}); run `mpjax study` in this folder again"
        ) from error
    if weights:
        chosen = dataclasses.replace(chosen, weights=weights, kind="")
    config = StudyConfig(projector=chosen, train=TrainConfig(what=noted["what"]))
    loaded = projector_of(config, None if weights else workdir.projector)
    if loaded.fingerprint != fingerprint:
        raise ValueError(
            f"{workdir}: its heads were trained on embeddings of the projector {fingerprint}, but "
            f"{chosen.weights} gives {loaded.fingerprint}; name the study's own with --weights"
        )
    return loaded, chosen.batch_size
