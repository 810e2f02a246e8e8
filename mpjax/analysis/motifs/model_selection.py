"""How many motifs: as many as two halves of the animals agree on, beyond what no structure gives.

Stability as a criterion: Ben-Hur, Elisseeff & Guyon (2002), Pac. Symp. Biocomput. 7; its reference
without structure: Tibshirani, Walther & Hastie (2001), doi:10.1111/1467-9868.00293. The highest
stability alone is often that of the fewest motifs: any two halves agree on one great divide, with
or without clusters.
"""

import dataclasses
import warnings
from typing import Any

import numpy as np
from jaxtyping import Float, Int, Shaped
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from mpjax.analysis.stats import whitening
from mpjax.config import MotifConfig

RULE = (
    "the most motifs whose stability (adjusted Rand between codebooks of two halves of the "
    "animals, on windows of others, corrected for what data without structure give) lies within "
    "one standard error of the best"
)
_RESTARTS = 3  # of k-means on a half
_HELD_OUT = 5  # one group in so many is in neither half
_PIECES = 10  # that windows are cut into where there are too few groups for halves
_CHANCE_DRAWS = 3  # of data without structure, at most; their stability varies little
_CLEAR = 3.0  # standard errors that the best corrected stability must exceed 0 by


# Points of a half, and the held-out ones in the space of that half.
_Half = tuple[Float[np.ndarray, "_ _"], Float[np.ndarray, "_ _"]]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Stability by number of motifs.

    Attributes:
        candidates: numbers of motifs, ascending.
        observed: adjusted Rand index per draw of halves.
        chance: the same, in fewer draws, of data without structure: Gaussian, of the same
            covariance.
        note: how the halves were made, where not of animals; else empty.
    """

    candidates: Int[np.ndarray, " k"]
    observed: Float[np.ndarray, "draws k"]
    chance: Float[np.ndarray, "fewer k"]
    note: str = ""

    @property
    def corrected(self) -> Float[np.ndarray, "draws k"]:
        """Share of the way from the stability of no structure (0) to full agreement (1)."""
        chance = self.chance.mean(0)
        return (self.observed - chance) / (1 - chance)

    def choose(self) -> tuple[int, str]:
        """Returns the number of motifs by `RULE`, and a warning where nothing supports it."""
        mean, error = self.corrected.mean(0), _standard_error(self.corrected)
        best = int(mean.argmax())
        if mean[best] <= _CLEAR * error[best]:
            return int(self.candidates[0]), (
                "no number of motifs is more stable than in data without structure, so the fewest "
                "are taken; what they show may be arbitrary cuts"
            )
        within = np.flatnonzero(mean >= mean[best] - error[best])
        return int(self.candidates[within.max()]), ""

    def to_rows(self) -> list[dict[str, Any]]:
        """Returns a row per number of motifs for metrics.json."""
        columns = zip(
            self.candidates, self.observed.T, self.chance.T, self.corrected.T,
            _standard_error(self.corrected), strict=True,
        )  # fmt: skip
        return [
            {
                "motifs": int(count),
                "adjusted_rand": float(seen.mean()),
                "sd": float(seen.std(ddof=1)) if len(seen) > 1 else 0.0,
                "draws": [float(value) for value in seen],
                "without_structure": float(chance.mean()),
                "corrected": float(corrected.mean()),
                "standard_error": float(error),
            }
            for count, seen, chance, corrected, error in columns
        ]


def _standard_error(values: Float[np.ndarray, "draws k"]) -> Float[np.ndarray, " k"]:
    if len(values) < 2:
        return np.zeros(values.shape[1])
    return values.std(0, ddof=1) / np.sqrt(len(values))


def cluster(
    points: Float[np.ndarray, "n q"], count: int, *, restarts: int, seed: int
) -> Float[np.ndarray, "count q"]:
    """Returns the centres of k-means, the best of several starts.

    On one thread: what several threads sum up depends on which of them is done first.

    Raises:
        ValueError: fewer distinct points than centres.
    """
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of too few points: raised below
        fitted = KMeans(count, n_init=restarts, random_state=seed).fit(points)
    if (distinct := len(np.unique(fitted.labels_))) < count:
        raise ValueError(
            f"the training windows hold {distinct} distinct embedding(s), which cannot make "
            f"{count} motifs; take fewer in config.motifs.candidates"
        )
    return fitted.cluster_centers_.astype(np.float64)


def measure_stability(
    embedding: Shaped[np.ndarray, "n d"],
    rows: Int[np.ndarray, " m"],
    group: Int[np.ndarray, " m"],
    *,
    config: MotifConfig,
) -> Curve:
    """Measures how well codebooks of two halves of the animals agree on windows of other animals.

    Args:
        embedding: of all windows.
        rows: the training windows.
        group: the animal (or cage) of each of `rows`, 0..
        config: candidates, draws of halves, windows per half.
    """
    group, note = _divisible(group)
    candidates = sorted(set(config.candidates))
    observed, chance = [], []
    for draw in range(config.stability_draws):
        generator = np.random.default_rng([config.seed, draw])
        parts = [
            mine[whitening.even_sample(group[mine], config.max_windows_per_half, generator)]
            for mine in _divide(group, generator)
        ]
        held_out, first, second = (rows[part] for part in parts)
        fitted = [
            _project(embedding, own, group[part], held_out, config=config)
            for own, part in ((first, parts[1]), (second, parts[2]))
        ]
        fits = [k for k in candidates if k < min(map(len, parts))]
        observed.append([_agreement(fitted, count, seed=draw) for count in fits])
        if draw < _CHANCE_DRAWS:
            shapeless = _without_structure(fitted, generator)
            chance.append([_agreement(shapeless, count, seed=draw) for count in fits])
    fewest = min(map(len, observed))
    if not fewest:
        raise ValueError(
            f"{len(rows)} training windows are too few for {candidates[0]} motifs in each half of "
            "the animals; take a shorter stride, or fewer in config.motifs.candidates"
        )
    seen, by_chance = (np.array([row[:fewest] for row in table]) for table in (observed, chance))
    return Curve(np.array(candidates[:fewest]), seen, by_chance, note)


def _divisible(group: Int[np.ndarray, " m"]) -> tuple[Int[np.ndarray, " m"], str]:
    """Returns groups that can be held out and halved; stretches of windows where they are few."""
    groups = len(np.unique(group))
    if groups >= 3:
        return group, ""
    piece = np.arange(len(group)) * _PIECES // len(group)
    return piece, (
        f"{groups} training group(s) only: the halves are stretches of their windows, so the "
        "stability says nothing of other animals"
    )


def _divide(
    group: Int[np.ndarray, " m"], generator: np.random.Generator
) -> list[Int[np.ndarray, "_"]]:
    """Returns the windows that are held out, and those of two halves; a group is in one of them."""
    order = generator.permutation(np.unique(group))
    held = max(1, len(order) // _HELD_OUT)
    rest = order[held:]
    return [np.flatnonzero(np.isin(group, part)) for part in (order[:held], rest[::2], rest[1::2])]


def _project(
    embedding: Shaped[np.ndarray, "n d"],
    rows: Int[np.ndarray, " m"],
    group: Int[np.ndarray, " m"],
    held_out: Int[np.ndarray, " h"],
    *,
    config: MotifConfig,
) -> _Half:
    """Fits a space on one half; returns its points and those that are held out."""
    space = whitening.fit_space(
        embedding,
        rows,
        whitening.units_of(group),
        components=config.components,
        variance=config.variance,
        shrinkage=config.shrinkage,
    )
    return space.project(embedding[rows])[0], space.project(embedding[held_out])[0]


def _without_structure(fitted: list[_Half], generator: np.random.Generator) -> list[_Half]:
    """Draws Gaussian points of the covariance of the held-out ones, as many as in each half."""
    (first, held_out), (second, _) = fitted
    sd = held_out.std(0)
    drawn = [
        (generator.standard_normal((size, len(sd))) * sd).astype(np.float32)
        for size in map(len, (first, second, held_out))
    ]
    return [(drawn[0], drawn[2]), (drawn[1], drawn[2])]


def _agreement(halves: list[_Half], count: int, *, seed: int) -> float:
    """Returns the adjusted Rand index of two halves' codebooks on the held-out windows.

    Source: Hubert & Arabie (1985), doi:10.1007/BF01908075.
    """
    labels = [
        whitening.nearest(
            held_out, cluster(points, count, restarts=_RESTARTS, seed=2 * seed + half)
        )[0]
        for half, (points, held_out) in enumerate(halves)
    ]
    return float(adjusted_rand_score(*labels))
