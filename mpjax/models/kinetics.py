"""Names of the Kinetics-400 classes, and which of them clips resemble: an analogy, no finding.

A network trained on people doing things has no class for a mouse that licks its paw; its native
head only says which human actions the movement resembles.
"""

import importlib.resources
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
from jaxtyping import UInt8
from scipy.special import softmax

from mpjax.models.projector import Projector


def class_names() -> tuple[str, ...]:
    """Returns the 400 names in the order of the logits of networks trained on Kinetics-400."""
    text = (importlib.resources.files("mpjax.models") / "kinetics400.txt").read_text("utf-8")
    return tuple(line for line in text.splitlines() if line and not line.startswith("#"))


def names_of(num_classes: int | None) -> tuple[str, ...] | None:
    """Returns the names for public weights that carry none: of a head of 400 classes, Kinetics'."""
    return class_names() if num_classes == 400 else None


def describe_actions(
    projector: Projector,
    clips: Iterable[UInt8[np.ndarray, "t h w 3"]],
    *,
    batch_size: int = 4,
    top: int = 3,
) -> dict[str, Any]:
    """Finds the classes of the projector's native head that clips resemble, taken together.

    Args:
        clips: views of one shape, e.g. of the typical clips of a motif.
        batch_size: clips at a time; bounds the memory, and one program serves any number of clips.

    Returns:
        {"top": [{"name", "p"}, …], "p": [num_classes], "n"}: probabilities averaged over the clips,
        the largest `top` of them named; {"value": None, "why"} where the projector has no head,
        no names for its classes, or there is no clip.
    """
    if projector.num_classes is None:
        return {"value": None, "why": f"projector {projector.name} has no classification head"}
    if projector.classes is None:
        return {"value": None, "why": f"the classes of projector {projector.name} have no names"}
    total, n = np.zeros(projector.num_classes), 0
    remaining = iter(clips)
    while batch := list(itertools.islice(remaining, batch_size)):
        padded = np.stack(batch + batch[:1] * (batch_size - len(batch)))
        logits = np.asarray(projector.logits(padded), np.float64)[: len(batch)]
        total += softmax(logits, axis=1).sum(axis=0)
        n += len(batch)
    if not n:
        return {"value": None, "why": "no clip"}
    p = total / n
    order = np.argsort(-p, kind="stable")[:top]
    named = [{"name": projector.classes[k], "p": float(p[k])} for k in order]
    return {"top": named, "p": p.tolist(), "n": n}
