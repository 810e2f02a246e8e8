"""The projector that learned nothing: a baseline that shows what the weights are worth."""

import jax
from etils import epath

from mpjax.config import StudyConfig
from mpjax.data import embeddings, records
from mpjax.data.splits import Splits
from mpjax.embedding import dataset as embedding
from mpjax.heads import probe
from mpjax.io import files
from mpjax.models import i3d, swin
from mpjax.models.projector import Projector
from mpjax.training import partitioning


def like(projector: Projector, *, seed: int, dtype: str) -> Projector | None:
    """Returns a projector of the same form with random weights; None where the form is unknown."""
    if isinstance(projector.config, swin.SwinConfig):
        params = swin.init_params(projector.config, jax.random.key(seed))
        return swin.make_projector(projector.config, params)
    if projector.name == "i3d":
        return i3d.load("random", seed=seed, dtype=dtype)
    return None


def train(
    workdir: epath.PathLike,
    out: epath.PathLike,
    projector: Projector,
    splits: Splits,
    config: StudyConfig,
) -> bool:
    """Embeds the study's clips by random weights and fits heads on them, as for the model's own.

    Args:
        workdir: of the study.
        out: folder; `embeddings.parquet` and `heads` are written there.
        projector: the study's, to be matched in form.
        splits: of the study.
        config: of the study: views, batch size and heads are as there.

    Returns:
        False where `out` already holds them, or the projector's form is unknown.
    """
    random = like(projector, seed=config.baselines.seed, dtype=config.projector.dtype)
    if random is None:
        return False
    out, dataset = epath.Path(out), epath.Path(workdir) / "dataset"
    files.make_folder(out)
    path = out / "embeddings.parquet"
    mesh = partitioning.make_mesh(config.mesh)
    label = "embedding (random weights)"
    changed = embedding.embed(dataset, path, random, config.projector, mesh=mesh, label=label)
    fingerprint = records.read_manifest(dataset)["fingerprint"]
    embedded = embeddings.read(path, dataset=fingerprint)
    return probe.train(embedded, splits, config.head, out / "heads") or changed
