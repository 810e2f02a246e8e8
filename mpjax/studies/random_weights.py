"""The study's projector with random weights: the baseline that shows what training it is worth."""

import jax

from mpjax.config import StudyConfig
from mpjax.data import embeddings
from mpjax.data.splits import Splits
from mpjax.embedding import dataset as embedding
from mpjax.heads import probe
from mpjax.io import files
from mpjax.models import i3d, swin
from mpjax.models.projector import Projector
from mpjax.studies.workdir import Workdir
from mpjax.training import partitioning


def like(projector: Projector, *, seed: int, dtype: str) -> Projector | None:
    """Returns a projector of the same form with random weights; None where the form is unknown."""
    if isinstance(projector.config, swin.SwinConfig):
        params = swin.init_params(projector.config, jax.random.key(seed))
        return swin.make_projector(projector.config, params)
    if projector.name == "i3d":
        return i3d.load("random", seed=seed, dtype=dtype)
    return None


def train(workdir: Workdir, projector: Projector, splits: Splits, config: StudyConfig) -> bool:
    """Embeds the study's clips by random weights and fits heads on them, as for the model's own.

    Returns:
        False where the heads are there already, or the form of the study's projector is unknown.
    """
    random = like(projector, seed=config.baselines.seed, dtype=config.projector.dtype)
    if random is None:
        return False
    out = workdir.random_embeddings
    files.make_folder(out.parent)
    mesh = partitioning.make_mesh(config.mesh)
    label = "embedding (random weights)"
    print("random weights: all clips once more, which takes about as long as their embedding")
    changed = embedding.embed(
        workdir.dataset, out, random, config.projector, mesh=mesh, label=label
    )
    return probe.train(embeddings.read(out), splits, config.head, workdir.random_heads) or changed
