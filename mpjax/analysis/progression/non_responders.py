"""Animals of a condition with pain that show none: flagged and listed, never left out."""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float

from mpjax.analysis.progression.daily_scores import Courses
from mpjax.analysis.progression.onset import Compared
from mpjax.analysis.stats.estimates import ALPHA, absent

LEAST_ANIMALS = 3  # whose spread limits or expectations rest on
_DRAWS = 10_000


def flag_unaffected(
    courses: Courses,
    compared: Compared,
    condition: str,
    *,
    period: tuple[int, int | None],
    seed: int,
) -> dict[str, Any]:
    """Flags the animals whose score stays in the range of no-pain animals from the onset on.

    On each day the range ends at the upper prediction limit of one more no-pain animal, over all
    these days at once: an animal without any pain stays within it on all of them, and is flagged,
    with a probability of 95 %. How many are flagged although they are in pain depends on how far
    pain moves the score; it is computed as if all animals of the condition were of one kind, those
    flagged included. Both rest on normal scores, with one standard deviation between animals and
    one between days of an animal.

    Args:
        courses: of animals, not cages.
        compared: the same animals' scores as they are compared, see `onset.compare`.
        condition: with pain.
        period: first day that is looked at, the onset; and the day from which on pain is resolved.
        seed: of the drawing behind the expected number.

    Returns:
        {"rule", "days", "limits": {day: upper limit}, "n", "n_reference", "flagged": [{"animal",
        "scores": {day: score}}], "expected_by_chance"}, or {"value": None, "why"}.

    Source: simultaneous prediction limits: Hahn & Meeker, Statistical Intervals (1991), ch. 4.
    """
    own, other = compared.own, compared.other
    if other is None:
        return absent("there are no animals without pain whose range could be the measure")
    first, end = period
    looked = [i for i, d in enumerate(compared.days) if d >= first and (end is None or d < end)]
    known = np.isfinite(other[:, looked]).sum(0) >= LEAST_ANIMALS
    looked = [i for i, enough in zip(looked, known, strict=True) if enough]
    if not looked:
        return absent(f"on no day from the onset on were {LEAST_ANIMALS} no-pain animals recorded")
    limits = _prediction_limits(other[:, looked], seed=seed)
    score = own[:, looked]
    there = np.isfinite(score)
    flags = there.any(1) & ~(there & (np.where(there, score, -np.inf) > limits)).any(1)
    names = [n for n, c in zip(courses.name, courses.condition, strict=True) if c == condition]
    days = [compared.days[i] for i in looked]
    return {
        "rule": "no higher than the upper limit that one more no-pain animal would stay below on "
        "all these days with a probability of 95 %",
        "days": days,
        "limits": {str(day): float(limit) for day, limit in zip(days, limits, strict=True)},
        "n": len(score),
        "n_reference": len(other),
        "flagged": [
            {
                "animal": name,
                "scores": {
                    str(day): float(value)
                    for day, value in zip(days, values, strict=True)
                    if np.isfinite(value)
                },
            }
            for name, values, flag in zip(names, score, flags, strict=True)
            if flag
        ],
        "expected_by_chance": _expect(score, limits, n=len(score), seed=seed),
    }


@dataclasses.dataclass(frozen=True)
class _Spread:
    """Scores of like animals: mean of each day, variances between and within animals."""

    mean: Float[np.ndarray, " days"]
    between: float
    within: float

    def draw(self, rng: np.random.Generator) -> Float[np.ndarray, "draws days"]:
        """Draws deviations of new animals from the mean."""
        level = np.sqrt(self.between) * rng.standard_normal((_DRAWS, 1))
        return level + np.sqrt(self.within) * rng.standard_normal((_DRAWS, len(self.mean)))


def _spread(score: Float[np.ndarray, "animals days"]) -> _Spread:
    """Splits the variance about the days' means (Searle, Linear Models (1971), ch. 9)."""
    known = np.isfinite(score)
    mean = np.nanmean(score, axis=0)
    rest = score - mean
    there = known.any(axis=1)
    level = np.nanmean(rest[there], axis=1)
    free = known.sum() - there.sum() - score.shape[1] + 1  # of the residuals within animals
    residual = rest[there] - level[:, None]
    within = float(np.nansum(residual**2) / free) if free > 0 else 0.0
    between = float(level.var(ddof=1) - within / known[there].sum(1).mean())
    return _Spread(mean, max(0.0, between), within)


def _prediction_limits(
    score: Float[np.ndarray, "animals days"], *, seed: int
) -> Float[np.ndarray, " days"]:
    """Returns what one more animal's score stays below on all days, with a probability of 95 %."""
    spread, n = _spread(score), len(score)
    rng = np.random.default_rng(seed)
    total = np.sqrt(spread.between + spread.within)
    if total == 0:
        return spread.mean
    # The estimated variance is as uncertain as one of n animals on a single day.
    chance = np.sqrt(rng.chisquare(n - 1, _DRAWS) / (n - 1))
    greatest = spread.draw(rng).max(axis=1) / total / chance
    reach = np.quantile(greatest, 1 - ALPHA) * total * np.sqrt(1 + 1 / np.isfinite(score).sum(0))
    return spread.mean + reach


def _expect(
    score: Float[np.ndarray, "animals days"],
    limits: Float[np.ndarray, " days"],
    *,
    n: int,
    seed: int,
) -> dict[str, Any]:
    """Returns how many of n animals like these stay within the limits on all days."""
    if len(score) < LEAST_ANIMALS or (np.isfinite(score).sum(0) < LEAST_ANIMALS).any():
        return absent(f"fewer than {LEAST_ANIMALS} animals of the condition on some day")
    spread = _spread(score)
    drawn = spread.mean + spread.draw(np.random.default_rng(seed))
    return {"value": float(n * (drawn <= limits).all(axis=1).mean())}
