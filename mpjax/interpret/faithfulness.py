"""Puts saliency maps to the test: deletion and insertion curves against random orders.

Cells are erased in the order of a map, the most important ones first, and the probability of the
class that was named is followed (deletion); or they are shown one after the other on the empty
background (insertion). A map that knows what matters makes the first curve fall early and the
second rise early. Source: Petsiuk, Das & Saenko (2018), RISE (arXiv 1806.07421), section 4.2.
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
    """Follows the probability of the class asked about while cells are erased in every order.

    Args:
        subject: the clip.
        found: its maps.
        members: which of the head's classes make up the one asked about.
        config: levels, and how many random orders.
        clip_id: of the clip.

    Returns:
        As `read_curves`.
    """
    orders = plan_orders(found.cells, config, clip_id)
    keep = attribution.deletion_masks(list(orders.values()), config.levels)
    inner = subject.logits(keep.reshape(-1, keep.shape[-1]))
    return read_curves(list(orders), inner, found.ends, config.levels, members)


def plan_orders(
    cells: Mapping[str, Float[np.ndarray, " cells"]], config: SaliencyConfig, clip_id: str
) -> dict[str, Int[np.ndarray, " cells"]]:
    """Returns the orders in which cells are erased: each map's, its reverse, and random ones.

    Args:
        cells: per map, the importance of each cell.
        config: how many random orders, and their seed.
        clip_id: of the clip; every clip has random orders of its own.
    """
    orders = {}
    for name, values in cells.items():
        orders[name] = np.argsort(-values, kind="stable")
        orders[name + _REVERSED] = orders[name][::-1]
    generator = np.random.default_rng([config.seed, zlib.crc32(clip_id.encode())])
    count = len(next(iter(cells.values())))
    return orders | {f"random {k}": generator.permutation(count) for k in range(config.random)}


def read_curves(
    names: Sequence[str],
    inner: Float[np.ndarray, "n head"],
    ends: Float[np.ndarray, "2 head"],
    levels: int,
    members: Bool[np.ndarray, " head"],
) -> dict[str, Any]:
    """Turns the logits of altered clips into curves of the probability of the class asked about.

    Args:
        names: of the orders of `plan_orders`.
        inner: logits at the inner levels of each order, `attribution.deletion_masks`.
        ends: logits of the clip itself and of its background.
        levels: steps from the one to the other.
        members: which of the head's classes make up the one asked about.

    Returns:
        Per map {"deletion", "insertion"}, curves over the share of cells erased or shown; `random`
        has lists of curves. An order erased from its end is an order shown from its beginning, so
        that each random curve, read backwards, is one of insertion.
    """

    def probability(logits: np.ndarray) -> np.ndarray:
        return softmax(logits.astype(np.float64), axis=-1)[..., members].sum(axis=-1)

    within = probability(inner).reshape(len(names), levels - 1)
    whole, empty = probability(ends)
    curves = np.column_stack([np.full(len(names), whole), within, np.full(len(names), empty)])
    by_name = dict(zip(names, curves, strict=True))
    found: dict[str, Any] = {}
    for name in names:
        if name.startswith("random ") or name.endswith(_REVERSED):
            continue
        found[name] = {
            "deletion": by_name[name].tolist(),
            "insertion": by_name[name + _REVERSED][::-1].tolist(),
        }
    random = [by_name[name] for name in names if name.startswith("random ")]
    found["random"] = {
        "deletion": [curve.tolist() for curve in random],
        "insertion": [curve[::-1].tolist() for curve in random],
    }
    return found


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
        config: levels and seed.

    Returns:
        `check`: per map and test, `better` (by how much its area beats the mean of the random
        ones, so that more is better in both tests; {"value", "ci95", "n"}, clips averaged, the
        interval over animals) and `share` of clips in which it does; `area` and `random_area`,
        means. `curves`: `levels` and per map and test the mean curve; of `random` {"mean", "low",
        "high"}, the band from the least to the largest of the random orders' mean curves.
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
    curves = row["curves"]
    tests = ("deletion", "insertion")
    areas = {
        name: {
            test: np.mean(attribution.area_under(np.array(found[test]))).item() for test in tests
        }
        for name, found in curves.items()
    }
    return {key: value for key, value in row.items() if key != "curves"} | {"areas": areas}
