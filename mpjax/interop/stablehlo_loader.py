"""Scores clips with the model in this folder; needs only `pip install jax flatbuffers`.

    python load.py CLIPS.npy [OUT.npz]

CLIPS.npy holds uint8 RGB [b, t, h, w, 3], see model.json; OUT.npz gets p, log_p and embedding.
"""

import json
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export


def load(folder: str | Path) -> tuple[Any, dict[str, Any]]:
    """Returns (score, description); `score(clips)` returns p, log_p and embedding."""
    description = json.loads((Path(folder) / "model.json").read_text())
    exported = export.deserialize(bytearray((Path(folder) / "model.stablehlo").read_bytes()))
    return jax.jit(exported.call), description


def average_views(log_p: Any, temperature: float) -> Any:
    """Returns calibrated p [b, classes] of clips in several views, log_p [b, v, heads, classes]."""
    mean = jax.scipy.special.logsumexp(log_p, axis=1) - np.log(log_p.shape[1])
    return jax.nn.softmax(mean / temperature).mean(axis=1)


def main(clips: str, out: str = "") -> None:
    """Scores a file of clips, prints the class of each, and saves the figures to `out`."""
    score, description = load(Path(__file__).parent)
    found: dict[str, Any] = {
        name: np.asarray(value) for name, value in score(np.load(clips)).items()
    }
    for row in found["p"]:
        print(f"{description['classes'][row.argmax()]}\t{row.max():.3f}")
    if out:
        np.savez(out, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
