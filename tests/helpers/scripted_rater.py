"""A rater that is right as often as it is told to be: writes the file that the page would export.

python tests/helpers/scripted_rater.py OUT.key.json ANSWERS.json NAME --fine=0.2133 --coarse=0.48
"""

import argparse
import json
from pathlib import Path

import numpy as np

from mpjax.analysis.raters import files


def answer(key, rater, *, fine=0.2133, coarse=0.48, learning=0.0, seed=0, clips=None):
    """Returns a sealed file of answers, right with the given chances.

    Where the class is right, so is its group; `coarse` is the chance that the group is.

    Args:
        key: a `rater_files.Key`.
        rater: name.
        fine: chance of the right class.
        coarse: chance of the right group, at least `fine`.
        learning: what the chance of the right class gains from the first trial to the last.
        seed: of chance and order.
        clips: how many are answered; None: all.
    """
    rng = np.random.default_rng(seed)
    taxonomy = key.taxonomy
    group = np.asarray(taxonomy.fine_to_coarse or [0] * len(taxonomy.fine))
    order = rng.permutation(key.clips.index).tolist()
    trials = []
    for number, clip in enumerate(order[:clips]):
        true = int(key.clips.loc[clip, "label"])
        luck = rng.random()
        right = luck < fine + learning * (number / max(len(order) - 1, 1) - 0.5)
        alike = group == group[true] if luck < coarse else group != group[true]
        others = np.flatnonzero(alike & (np.arange(len(group)) != true))
        if not len(others):  # a group of one class, or one group of all
            others = np.flatnonzero(np.arange(len(group)) != true)
        named = true if right else int(rng.choice(others))
        sure = rng.integers(2, 6) if right else rng.integers(1, 5)
        trials.append(
            {
                "clip": clip,
                "fine": taxonomy.fine[named],
                "coarse": taxonomy.coarse[group[named]] if taxonomy.coarse else None,
                "confidence": int(sure),
                "response_ms": int(rng.lognormal(9, 0.4)),
                "revised": 0,
            }
        )
    return files.seal(
        {
            "format": files.ANSWERS_FORMAT, "package": key.package, "rater": rater,
            "started": "2026-01-01T00:00:00Z", "exported": "2026-01-01T01:00:00Z", "order": order,
            "trials": trials, "undone": 0, "sessions": 1, "examples_seen": 0,
        }
    )  # fmt: skip


def write(path, value):
    """Writes answers as the page does."""
    Path(path).write_text(json.dumps(value, ensure_ascii=False, indent=1), encoding="utf-8")
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("key", "out", "rater"):
        parser.add_argument(name)
    parser.add_argument("--fine", type=float, default=0.2133)
    parser.add_argument("--coarse", type=float, default=0.48)
    parser.add_argument("--learning", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chances = {name: getattr(given, name) for name in ("fine", "coarse", "learning", "seed")}
    write(given.out, answer(files.read_key(given.key), given.rater, **chances))
