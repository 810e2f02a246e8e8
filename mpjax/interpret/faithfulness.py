"""Tests saliency maps: deletion and insertion curves compared with random orders.

Cells are erased in the order of a map, the most important first, while the probability of the
predicted class is measured (deletion); or they are added one by one to the empty background
(insertion). With a good map the first curve falls early and the second rises early. Source:
Petsiuk, Das & Saenko (2018), RISE (arXiv 1806.07421), section 4.2.
"""

import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped
from scipy.special import softmax

from mpjax.analysis.stats import bootstrap
from mpjax.config import SaliencyConfig
from mpjax.interpret import attribution

_RESAMPLES = 2000
_REVERSED = " reversed"


def measure(
    subject: attribution.Subject,
    found: attribution.Attribution,
    members: Bool[np.ndarray, " head"],
    config: SaliencyConfig,
    clip_id: str,
) -> dict[str, Any]:
    """Measures the probability of the explained class while cells are erased in every order.

    `members` are the head's classes that make up the explained one.

    Returns:
        Per map {"deletion", "insertion"}, curves over the share of cells erased or shown; `random`
        has lists of curves. Erasing an order from its end is showing it from its beginning, so
        each random curve, read backwards, is one of insertion.
    """
    orders = plan_orders(found.cells, config, clip_id)
    keep = attribution.deletion_masks(list(orders.values()), config.levels)
    inner = subject.logits(keep.reshape(-1, keep.shape[-1]))

    def probability(logits: np.ndarray) -> np.ndarray:
        return softmax(logits.astype(np.float64), axis=-1)[..., members].sum(axis=-1)

    within = probability(inner).reshape(len(orders), config.levels - 1)
    whole, empty = (np.full(len(orders), p) for p in probability(found.ends))
    curves = dict(zip(orders, np.column_stack([whole, within, empty]), strict=True))
    both: dict[str, Any] = {
        name: {
            "deletion": curves[name].tolist(),
            "insertion": curves[name + _REVERSED][::-1].tolist(),
        }
        for name in found.cells
    }
    random = np.array([curve for name, curve in curves.items() if name.startswith("random ")])
    both["random"] = {"deletion": random.tolist(), "insertion": random[:, ::-1].tolist()}
    return both


def plan_orders(
    cells: Mapping[str, Float[np.ndarray, " cells"]], config: SaliencyConfig, clip_id: str
) -> dict[str, Int[np.ndarray, " cells"]]:
    """Returns the orders in which cells are erased: each map's, its reverse, and random ones.

    `cells` holds per map the importance of each cell. Every clip has its own random orders.
    """
    orders = {}
    for name, values in cells.items():
        orders[name] = np.argsort(-values, kind="stable")
        orders[name + _REVERSED] = orders[name][::-1]
    generator = np.random.default_rng([config.seed, zlib.crc32(clip_id.encode())])
    count = len(next(iter(cells.values())))
    return orders | {f"random {k}": generator.permutation(count) for k in range(config.random)}


def summarise(
    rows: Sequence[Mapping[str, Any]],
    groups: Shaped[np.ndarray, " n"],
    *,
    unit: str,
    config: SaliencyConfig,
) -> dict[str, Any]:
    """Compares every map with random orders over all clips.

    Args:
        rows: of the clips, each with its `curves`.
        groups: the animal (or cage) of each clip.
        unit: what a group is called.

    Returns:
        `check`: per map and test, `better` (how much its area improves on the mean of the random
        ones, positive is better in both tests; {"value", "ci95", "n"}, clips averaged, the interval
        over animals) and `share` of clips in which it does; `area` and `random_area`, means.
        `curves`: `levels` and per map and test the mean curve; for `random` {"mean", "low",
        "high"}, the range of the random orders' mean curves.
    """
    levels = np.linspace(0, 1, config.levels + 1)
    names, group = np.unique(groups, return_inverse=True)
    weights = bootstrap.draw_weights(len(names), resamples=_RESAMPLES, seed=config.seed)
    maps = [name for name in rows[0]["curves"] if name != "random"]
    check: dict[str, Any] = {name: {} for name in maps}
    curves: dict[str, Any] = {"levels": levels.tolist(), "random": {}} | {n: {} for n in maps}
    for test in ("deletion", "insertion"):
        random = np.array([row["curves"]["random"][test] for row in rows])  # clips, orders, levels
        random_area = attribution.area_under(random).mean(axis=1)
        of_orders = random.mean(axis=0)
        curves["random"][test] = {
            "mean": of_orders.mean(axis=0).tolist(),
            "low": of_orders.min(axis=0).tolist(),
            "high": of_orders.max(axis=0).tolist(),
        }
        for name in maps:
            own = np.array([row["curves"][name][test] for row in rows])
            area = attribution.area_under(own)
            better = (area - random_area) * (-1 if test == "deletion" else 1)
            curves[name][test] = own.mean(axis=0).tolist()
            check[name][test] = {
                "better": bootstrap.estimate_mean(better, group, weights, unit=unit),
                "share": bootstrap.estimate_mean(better > 0, group, weights, unit=unit),
                "area": float(area.mean()),
                "random_area": float(random_area.mean()),
            }
    return {"check": check, "curves": curves}


def without_curves(row: Mapping[str, Any]) -> dict[str, Any]:
    """Returns a clip's row with the areas under its curves in place of the curves."""
    areas = {
        name: {
            test: float(np.mean(attribution.area_under(np.array(curve))))
            for test, curve in found.items()
        }
        for name, found in row["curves"].items()
    }
    return {key: value for key, value in row.items() if key != "curves"} | {"areas": areas}
