"""The motif codebook: kinds of windows, found without a label and then frozen.

Embeddings are standardised, projected onto the principal components along which windows of one
animal differ, whitened, and clustered by k-means (Lloyd) on a bounded sample that is spread evenly
over the training animals: an animal filmed for longer has no more weight. Mini-batch k-means, which
could use all windows, stops before it converges, at another place for every order of the windows.

Source: Arthur & Vassilvitskii (2007), k-means++: the advantages of careful seeding.
"""

import dataclasses
import hashlib
import json
import zipfile
from typing import Any, NamedTuple

import numpy as np
from etils import epath
from jaxtyping import Bool, Float, Int, Shaped
from sklearn.utils import gen_batches

from mpjax.analysis.motifs import model_selection
from mpjax.analysis.stats import whitening
from mpjax.analysis.stats.whitening import BLOCK, Space
from mpjax.config import MotifConfig
from mpjax.io import files

FORMAT = "mpjax.codebook/1"
_RESTARTS = 10  # of k-means
_SPACE = tuple(field.name for field in dataclasses.fields(Space))
# The settings that a codebook depends on: fields of the config, and what its file calls them.
_SETTINGS = ("candidates", "components", "variance", "shrinkage", "gate", "seed")
_SIZES = {
    "max_windows": "sample",
    "stability_draws": "halves",
    "max_windows_per_half": "half_sample",
}
_ARRAYS = (*_SPACE, "centres", "gate", "usage")


class Assigned(NamedTuple):
    """The motifs of windows."""

    motif: Int[np.ndarray, " n"]  # 0.., the most used one first
    distance: Float[np.ndarray, " n"]  # to the motif's centre, in the whitened space
    unlike: Bool[np.ndarray, " n"]  # whether it is unlike anything the codebook was fitted on


@dataclasses.dataclass(frozen=True)
class Codebook:
    """Frozen motifs.

    `meta` holds the `fingerprint` of everything it depends on, `config`, `n` (training windows and
    groups), `chosen` (how the number of motifs was chosen), `stability` (a row per candidate).
    """

    space: Space  # the map from embeddings to the whitened space
    centres: Float[np.ndarray, "k q"]  # of the motifs, the most used one first
    gate: Float[np.ndarray, " k"]  # the distance from which a window is unlike the motif's own
    residual_gate: float  # the distance off the space's plane from which a window is unlike any
    usage: Float[np.ndarray, " k"]  # share of the training windows
    meta: dict[str, Any]

    @property
    def fingerprint(self) -> str:
        """Hash of the training windows, their groups and the settings."""
        return str(self.meta["fingerprint"])

    def assign(self, embedding: Shaped[np.ndarray, "n d"]) -> Assigned:
        """Labels windows; a window's label does not depend on the others in the batch.

        Raises:
            ValueError: the width differs from that of the training windows, or a row is not finite.
        """
        width = len(self.space.mean)
        if embedding.shape[1] != width:
            raise ValueError(
                f"embeddings of {embedding.shape[1]} values, but the codebook was fitted on "
                f"{width}; fit one on these"
            )
        rows = np.arange(len(embedding))
        _check_finite(embedding, rows)
        motif, distance, residual = _assign(self.space, self.centres, embedding, rows)
        unlike = (distance > self.gate[motif]) | (residual > self.residual_gate)
        return Assigned(motif, distance, unlike)

    def describe(self) -> dict[str, Any]:
        """Returns the part `codebook` of metrics.json."""
        return {
            "motifs": len(self.centres),
            "components": len(self.space.whitener),
            "explained": float(self.space.explained.sum()),
            "usage": self.usage.tolist(),
            "gate": self.meta["config"]["gate"],
            **{key: self.meta[key] for key in ("fingerprint", "chosen", "stability", "n")},
        }


def fit(
    embedding: Shaped[np.ndarray, "n d"],
    *,
    group: Shaped[np.ndarray, " n"],
    config: MotifConfig,
    mask: Bool[np.ndarray, " n"] | None = None,
) -> Codebook:
    """Fits a codebook on training windows; no other row has any influence on it.

    Args:
        embedding: of all windows; float32 of up to several 100,000 rows is not copied as a whole.
        group: the animal or cage of each window.
        config: see `MotifConfig`; among several `candidates` the most stable number is chosen.
        mask: the training windows; None: all.

    Raises:
        ValueError: shapes that do not fit, a row that is not finite, too few windows, or windows
            that are all alike.
    """
    rows, codes = _training_rows(embedding, group, mask)
    _check_finite(embedding, rows)
    count, chosen, stability = _choose(embedding, rows, codes, config=config)
    generator = np.random.default_rng(config.seed)
    sample = whitening.even_sample(codes, config.max_windows, generator)
    space = model_selection.fit_space(embedding, rows[sample], codes[sample], config)
    points = np.concatenate([space.project(embedding[block])[0] for block in _blocks(rows[sample])])
    centres = model_selection.cluster(points, count, restarts=_RESTARTS, seed=config.seed)
    motif, distance, residual = _assign(space, centres, embedding, rows)
    used = np.bincount(motif, minlength=count)
    order = np.argsort(-used, kind="stable")
    # Two gates; each may reject half of the share that is rejected.
    share = 1 - (1 - config.gate) / 2
    gate = [np.quantile(distance[motif == each], share, method="higher") for each in order]
    off = float(np.quantile(residual, share, method="higher"))
    whole = space.components.shape[0] == space.components.shape[1]  # nothing lies off the plane
    return Codebook(
        space=space,
        centres=centres[order],
        gate=np.array(gate, np.float64),
        residual_gate=float("inf") if whole else off,
        usage=used[order] / len(rows),
        meta={
            "fingerprint": _fingerprint(embedding, rows, codes, config),
            "config": _settings(config),
            "n": {"windows": len(rows), "groups": int(codes.max()) + 1, "sample": len(sample)},
            "chosen": chosen,
            "stability": stability,
        },
    )


def identify(
    embedding: Shaped[np.ndarray, "n d"],
    *,
    group: Shaped[np.ndarray, " n"],
    config: MotifConfig,
    mask: Bool[np.ndarray, " n"] | None = None,
) -> str:
    """Returns the fingerprint that `fit` of the same arguments would give its codebook."""
    return _fingerprint(embedding, *_training_rows(embedding, group, mask), config)


def _training_rows(
    embedding: np.ndarray, group: np.ndarray, mask: np.ndarray | None
) -> tuple[Int[np.ndarray, " m"], Int[np.ndarray, " m"]]:
    """Returns the positions of the training windows and their groups' codes, 0.."""
    if mask is None:
        mask = np.ones(len(embedding), bool)
    if not len(embedding) == len(group) == len(mask):
        sizes = f"{len(embedding)} embeddings, {len(group)} groups and a mask of {len(mask)}"
        raise ValueError(f"{sizes}: give one of each per window")
    rows = np.flatnonzero(mask)
    if not len(rows):
        raise ValueError("no training window for the motifs; the mask leaves out every row")
    return rows, np.unique(np.asarray(group)[rows], return_inverse=True)[1]


def _choose(
    embedding: np.ndarray, rows: np.ndarray, codes: np.ndarray, *, config: MotifConfig
) -> tuple[int, dict[str, Any], list[dict[str, Any]]]:
    """Returns the number of motifs, how it was chosen, and the stability per candidate."""
    candidates = sorted(set(config.candidates))
    if len(rows) <= candidates[0]:
        raise ValueError(
            f"{len(rows)} training windows cannot make {candidates[0]} motifs; use a shorter "
            "stride, or fewer in config.motifs.candidates"
        )
    if len(candidates) == 1:
        return candidates[0], {"by": "config", "rule": "the only candidate of the config"}, []
    curve = model_selection.measure_stability(embedding, rows, codes, config=config)
    count, warning = curve.choose()
    notes = "; ".join(filter(None, (warning, curve.note)))
    chosen = {"by": "stability", "rule": model_selection.RULE, "structure": not warning}
    return count, chosen | ({"note": notes} if notes else {}), curve.to_rows()


def _blocks(rows: Int[np.ndarray, " m"]) -> list[Int[np.ndarray, "_"]]:
    return [rows[block] for block in gen_batches(len(rows), BLOCK)] or [rows]


def _assign(
    space: Space, centres: np.ndarray, embedding: np.ndarray, rows: Int[np.ndarray, " m"]
) -> tuple[np.ndarray, ...]:
    """Returns motif, distance to its centre and distance off the plane, block by block."""
    parts = []
    for block in _blocks(rows):
        points, residual = space.project(embedding[block])
        parts.append((*whitening.nearest(points, centres), residual))
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def _check_finite(embedding: np.ndarray, rows: Int[np.ndarray, " m"]) -> None:
    for block in _blocks(rows):
        finite = np.isfinite(embedding[block]).all(1)
        if not finite.all():
            where = f"embedding of window {block[np.argmin(finite)]}"
            raise ValueError(f"{where} is not finite; embed its recording again")


def _fingerprint(
    embedding: np.ndarray, rows: np.ndarray, codes: np.ndarray, config: MotifConfig
) -> str:
    """Hashes the training windows, their groups, and the settings that a codebook depends on."""
    digest = hashlib.sha256(codes.astype(np.int64).tobytes())
    for block in _blocks(rows):
        digest.update(np.ascontiguousarray(embedding[block]).tobytes())
    shape = [len(rows), embedding.shape[1], str(embedding.dtype)]
    return files.fingerprint(FORMAT, shape, digest.hexdigest(), _settings(config))


def _settings(config: MotifConfig) -> dict[str, Any]:
    """Returns the settings that a codebook depends on, as they are read back from JSON."""
    names = dict(zip(_SETTINGS, _SETTINGS, strict=True)) | _SIZES
    settings = {name: getattr(config, field) for field, name in names.items()}
    return json.loads(json.dumps(settings))


def save(path: epath.PathLike, codebook: Codebook) -> None:
    """Writes a codebook as npz, aside then renamed; the same codebook gives the same bytes."""
    arrays = {name: getattr(codebook.space, name) for name in _SPACE}
    arrays |= {name: getattr(codebook, name) for name in ("centres", "gate", "usage")}
    meta = {"format": FORMAT, "residual_gate": repr(codebook.residual_gate), **codebook.meta}
    encoded = np.frombuffer(json.dumps(meta, sort_keys=True).encode(), np.uint8)
    with files.write_aside(path) as aside, aside.open("wb") as file:
        np.savez(file, meta=encoded, **arrays)


def load(path: epath.PathLike, *, fingerprint: str | None = None) -> Codebook:
    """Reads and checks a codebook.

    Args:
        path: the file.
        fingerprint: that the codebook must have, see `identify`; None: any.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a codebook, damaged, or of another fingerprint.
    """
    path = epath.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file; fit the motifs first")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in _ARRAYS}
            meta = json.loads(stored["meta"].tobytes())
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a whole codebook ({error}); delete it") from error
    if meta.pop("format", None) != FORMAT:
        raise ValueError(f"{path}: not of format {FORMAT}; delete it to fit it again")
    if fingerprint is not None and meta["fingerprint"] != fingerprint:
        raise ValueError(
            f"{path}: made of other windows or settings (fingerprint {meta['fingerprint']}, "
            f"expected {fingerprint}); delete it to fit it again"
        )
    wide, (count, deep) = len(arrays["mean"]), arrays["centres"].shape
    shapes = {
        "mean": (wide,), "inverse_sd": (wide,), "components": (wide, deep), "whitener": (deep,),
        "explained": (deep,), "centres": (count, deep), "gate": (count,), "usage": (count,),
    }  # fmt: skip
    for name, array in arrays.items():
        if array.shape != shapes[name] or not np.isfinite(array).all():
            raise ValueError(
                f"{path}: {name} of shape {array.shape}, expected {shapes[name]} finite numbers"
            )
    space = Space(**{name: arrays.pop(name) for name in _SPACE})
    return Codebook(space, residual_gate=float(meta.pop("residual_gate")), meta=meta, **arrays)
