"""How many motifs: as many as two halves of the animals agree on, beyond unstructured data.

Stability as a criterion: Ben-Hur, Elisseeff & Guyon (2002), Pac. Symp. Biocomput. 7; its reference
without structure: Tibshirani, Walther & Hastie (2001), doi:10.1111/1467-9868.00293. The highest
stability alone often favours the fewest motifs: any two halves agree on one large division, with or
without clusters.
"""

import dataclasses
import warnings
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float, Int, Shaped
from scipy import stats
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_rand_score
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

from mpjax.analysis.stats import whitening
from mpjax.config import MotifConfig

RULE = (
    "the largest number of motifs whose stability (adjusted Rand index between codebooks of two "
    "halves of the animals, on windows of other animals, corrected for that of data without "
    "structure) is within one standard error of the best"
)
_RESTARTS = 3  # of k-means on a half
_HELD_OUT = 5  # one group in so many is in neither half
_PIECES = 10  # that windows are cut into where there are too few groups for halves
_CHANCE_DRAWS = 3  # of data without structure, at most; their stability varies little
_CLEAR = 3.0  # standard errors by which the best corrected stability must exceed 0

# Points of a half, and the held-out ones in the space of that half.
_Half = tuple[Float[np.ndarray, "_ _"], ...]


@dataclasses.dataclass(frozen=True)
class Curve:
    """Stability by number of motifs."""

    candidates: Int[np.ndarray, " k"]  # numbers of motifs, ascending
    observed: Float[np.ndarray, "draws k"]  # adjusted Rand index per draw of halves
    # The same of data without structure: Gaussian, of the same covariance.
    chance: Float[np.ndarray, "fewer k"]
    note: str = ""  # how the halves were made, where not of animals

    @property
    def corrected(self) -> Float[np.ndarray, "draws k"]:
        """Stability on a scale from that of data without structure (0) to full agreement (1)."""
        chance = self.chance.mean(0)
        return (self.observed - chance) / (1 - chance)

    @property
    def standard_error(self) -> Float[np.ndarray, " k"]:
        """Of the mean corrected stability; 0 with a single draw."""
        return stats.sem(self.corrected, ddof=min(1, len(self.observed) - 1))

    def choose(self) -> tuple[int, str]:
        """Returns the number of motifs by `RULE`, and a warning where nothing supports it."""
        mean, error = self.corrected.mean(0), self.standard_error
        best = int(mean.argmax())
        if mean[best] <= _CLEAR * error[best]:
            return int(self.candidates[0]), (
                "no number of motifs is more stable than in data without structure, so the "
                "smallest is used; its motifs may be arbitrary"
            )
        within = np.flatnonzero(mean >= mean[best] - error[best])
        return int(self.candidates[within.max()]), ""

    def to_rows(self) -> list[dict[str, Any]]:
        """Returns a row per number of motifs for metrics.json."""
        columns = {
            "motifs": self.candidates,
            "adjusted_rand": self.observed.mean(0),
            "sd": self.observed.std(0, ddof=min(1, len(self.observed) - 1)),
            "draws": self.observed.T.tolist(),
            "without_structure": self.chance.mean(0),
            "corrected": self.corrected.mean(0),
            "standard_error": self.standard_error,
        }
        return pd.DataFrame(columns).to_dict("records")


def cluster(
    points: Float[np.ndarray, "n q"], count: int, *, restarts: int, seed: int
) -> Float[np.ndarray, "count q"]:
    """Returns the centres of k-means, the best of several starts.

    On one thread: with several, sums depend on which thread finishes first.

    Raises:
        ValueError: fewer distinct points than centres.
    """
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # of too few points: raised below
        fitted = KMeans(count, n_init=restarts, random_state=seed).fit(points)
    if (distinct := len(np.unique(fitted.labels_))) < count:
        raise ValueError(
            f"the training windows hold {distinct} distinct embedding(s), which cannot make "
            f"{count} motifs; use fewer in config.motifs.candidates"
        )
    return fitted.cluster_centers_.astype(np.float64)


def fit_space(
    embedding: Shaped[np.ndarray, "n d"],
    rows: Int[np.ndarray, " m"],
    group: Int[np.ndarray, " m"],
    config: MotifConfig,
) -> whitening.Space:
    """Fits the whitened space on some windows, by the settings of the config."""
    names = ("components", "variance", "shrinkage")
    settings = {name: getattr(config, name) for name in names}
    return whitening.fit_space(embedding, rows, whitening.units_of(group), **settings)


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
    note = ""
    if (groups := len(np.unique(group))) < 3:  # too few to hold one out and halve the rest
        group = np.arange(len(group)) * _PIECES // len(group)
        note = (
            f"{groups} training group(s) only: the halves are stretches of their windows, so the "
            "stability says nothing about other animals"
        )
    candidates = sorted(set(config.candidates))
    observed, chance = [], []
    for draw in range(config.stability_draws):
        generator = np.random.default_rng([config.seed, draw])
        held_out, *halves = (
            mine[whitening.even_sample(group[mine], config.max_windows_per_half, generator)]
            for mine in _divide(group, generator)
        )
        fitted = []
        for half in halves:
            space = fit_space(embedding, rows[half], group[half], config)
            fitted.append(tuple(space.project(embedding[rows[p]])[0] for p in (half, held_out)))
        fits = [k for k in candidates if k < min(map(len, (held_out, *halves)))]
        observed.append([_agreement(fitted, count, seed=draw) for count in fits])
        if draw < _CHANCE_DRAWS:
            shapeless = _without_structure(fitted, generator)
            chance.append([_agreement(shapeless, count, seed=draw) for count in fits])
    fewest = min(map(len, observed))
    if not fewest:
        raise ValueError(
            f"{len(rows)} training windows are too few for {candidates[0]} motifs in each half of "
            "the animals; use a shorter stride, or fewer in config.motifs.candidates"
        )
    seen, by_chance = (np.array([row[:fewest] for row in table]) for table in (observed, chance))
    return Curve(np.array(candidates[:fewest]), seen, by_chance, note)


def _divide(
    group: Int[np.ndarray, " m"], generator: np.random.Generator
) -> list[Int[np.ndarray, "_"]]:
    """Returns the held-out windows and those of two halves; each group is in one of the three."""
    order = generator.permutation(np.unique(group))
    held, rest = np.split(order, [max(1, len(order) // _HELD_OUT)])
    return [np.flatnonzero(np.isin(group, part)) for part in (held, rest[::2], rest[1::2])]


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
    labels = []
    for half, (points, held_out) in enumerate(halves):
        centres = cluster(points, count, restarts=_RESTARTS, seed=2 * seed + half)
        labels.append(whitening.nearest(held_out, centres)[0])
    return float(adjusted_rand_score(*labels))
