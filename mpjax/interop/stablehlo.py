"""The trained projector and head as one file of StableHLO, which runs without mpjax.

Source: `jax.export`, https://docs.jax.dev/en/latest/export/export.html; `COMPATIBILITY` states its
guarantee.
"""

import importlib.util
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax import export
from jaxtyping import Array, UInt8

from mpjax.io import files
from mpjax.models.classifier import LinearHead
from mpjax.models.projector import Projector

MODEL, DESCRIPTION, LOADER = "model.stablehlo", "model.json", "load.py"
PLATFORMS = ("cpu", "tpu", "cuda")
FORMAT = "mpjax.model/1"
COMPATIBILITY = (
    "jax.export guarantees that the file runs under JAX and jaxlib up to 6 months newer and up to "
    "3 weeks older than those that wrote it (`jax` above); otherwise, export the study again"
)


def write(
    out: epath.PathLike,
    projector: Projector,
    heads: dict[str, Any],
    *,
    clip: tuple[int, int],
    temperature: float,
    description: dict[str, Any],
) -> dict[str, Any]:
    """Writes the model, its description and its loader into a folder.

    Args:
        out: folder; files of an earlier export are replaced.
        projector: of the study, in a form that lowers for all of `PLATFORMS`.
        heads: variables of `LinearHead` by name; their calibrated probabilities are averaged, as
            for any recording that none of them was trained on.
        clip: frames of a clip, and px of its sides.
        temperature: divides the log-probabilities; 1 if none was fitted.
        description: further entries of model.json.

    Returns:
        The content of model.json.

    Raises:
        ImportError: the package flatbuffers is missing.
    """
    if importlib.util.find_spec("flatbuffers") is None:
        raise ImportError(
            "exporting the model needs the package flatbuffers: pip install 'mpjax[export]'"
        )
    out, (frames, size) = epath.Path(out), clip
    started = time.monotonic()
    exported = trace(projector, heads, clip=clip, temperature=temperature)
    content = bytes(exported.serialize())
    classes = _count_classes(heads)
    entries = {
        "format": FORMAT,
        **description,
        "heads": list(heads),
        "temperature": temperature,
        "input": {
            "clips": f"uint8 [b, {frames}, {size}, {size}, 3], RGB, 0 to 255, any b from 1 on",
            "frames": frames,
            "size": size,
            "normalised": {
                "where": "inside: (pixel - mean) / std",
                "mean": list(projector.mean),
                "std": list(projector.std),
            },
        },
        "output": {
            "p": f"float32 [b, {classes}]: probabilities of the classes, calibrated by the "
            "temperature, the mean over the heads",
            "log_p": f"float32 [b, {len(heads)}, {classes}]: of each head, before calibration; "
            "average them over several views of a clip by load.average_views",
            "embedding": f"float32 [b, {projector.embedding_dim}]",
        },
        "platforms": list(exported.platforms),
        "jax": jax.__version__,
        "calling_convention": exported.calling_convention_version,
        "compatibility": COMPATIBILITY,
        "needs": ["jax", "flatbuffers"],
        "bytes": len(content),
        "seconds_to_export": round(time.monotonic() - started, 1),
    }
    loader = Path(__file__).with_name("stablehlo_loader.py").read_bytes()
    for name, data in ((MODEL, content), (LOADER, loader)):
        with files.write_aside(out / name) as aside:
            aside.write_bytes(data)
    files.write_json(out / DESCRIPTION, entries)
    return entries


def trace(
    projector: Projector, heads: dict[str, Any], *, clip: tuple[int, int], temperature: float
) -> export.Exported:
    """Lowers projector and heads for all platforms and any number of clips; see `write`."""
    params = jax.tree.map(np.asarray, projector.params)
    classifier = LinearHead(_count_classes(heads))

    def score(clips: UInt8[Array, "b t h w 3"]) -> dict[str, Array]:
        # The barrier keeps XLA from precomputing, at compile time, what depends on weights alone:
        # that would take more than a minute, and round differently from the study.
        weights = jax.lax.optimization_barrier(jax.tree.map(jnp.asarray, params))
        embedding = projector.embed(weights, clips)
        logits = [classifier.apply(head, embedding) for head in heads.values()]
        log_p = jax.nn.log_softmax(jnp.stack(logits, axis=1))
        p = jax.nn.softmax(log_p / temperature).mean(axis=1)
        return {"p": p, "log_p": log_p, "embedding": embedding}

    frames, size = clip
    (batch,) = export.symbolic_shape("b")
    clips = jax.ShapeDtypeStruct((batch, frames, size, size, 3), jnp.uint8)
    return export.export(jax.jit(score), platforms=PLATFORMS)(clips)


def _count_classes(heads: dict[str, Any]) -> int:
    return int(next(iter(heads.values()))["params"]["linear"]["bias"].shape[-1])
