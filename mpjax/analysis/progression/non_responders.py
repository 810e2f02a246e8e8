"""Non-responders: animals of a condition with pain that show none are flagged, never left out."""

from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from mpjax.analysis.progression.onset import Compared
from mpjax.analysis.stats.estimates import ALPHA, absent

LEAST_ANIMALS = 3  # that limits or expectations rest on
_DRAWS = 10_000


def flag_non_responders(
    compared: Compared, *, period: tuple[int, int | None], seed: int
) -> dict[str, Any]:
    """Flags the animals whose score stays in the range of no-pain animals from the onset on.

    On each day the range ends at the upper prediction limit of one more no-pain animal, over all
    these days at once: an animal without any pain stays within it on all of them, and is flagged,
    with a probability of 95 %. How many animals in pain are flagged depends on how far pain moves
    the score; this is estimated as if all animals of the condition, the flagged ones included, were
    of one kind. Both assume normal scores, with one variance between animals and one between the
    days of an animal. `compared` is of animals, not cages; `period` is the onset, and the day from
    which on pain is resolved.

    Returns:
        {"rule", "days", "limits": {day: upper limit}, "n", "n_reference", "flagged": [{"animal",
        "scores": {day: score}}], "expected_by_chance"}, or {"value": None, "why"}.

    Source: simultaneous prediction limits: Hahn & Meeker, Statistical Intervals (1991), ch. 4.
    """
    if compared.other is None:
        return absent("there are no animals without pain to define the range")
    day, (first, end) = np.array(compared.days), period
    used = (day >= first) & (day < (np.inf if end is None else end))
    used &= np.isfinite(compared.other).sum(0) >= LEAST_ANIMALS
    if not used.any():
        return absent(f"on no day from the onset on were {LEAST_ANIMALS} no-pain animals recorded")
    days = [str(each) for each in day[used]]
    score, other = compared.own[:, used], compared.other[:, used]
    limits = _prediction_limits(other, seed=seed)
    known = np.isfinite(score)
    flagged = known.any(1) & ~(np.where(known, score, -np.inf) > limits).any(1)
    expected = absent(f"fewer than {LEAST_ANIMALS} animals of the condition on some day")
    if (known.sum(0) >= LEAST_ANIMALS).all():
        spread = _spread(score)
        drawn = spread.mean + spread.draw(np.random.default_rng(seed))
        expected = {"value": float(len(score) * (drawn <= limits).all(axis=1).mean())}
    return {
        "rule": "no higher than the upper limit that one more no-pain animal would stay below on "
        "all these days with a probability of 95 %",
        "days": day[used].tolist(),
        "limits": dict(zip(days, limits.tolist(), strict=True)),
        "n": len(score),
        "n_reference": len(other),
        "flagged": [
            {
                "animal": compared.names[i],
                "scores": {days[k]: float(score[i, k]) for k in np.flatnonzero(known[i])},
            }
            for i in np.flatnonzero(flagged)
        ],
        "expected_by_chance": expected,
    }


class _Spread(NamedTuple):
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
    known, mean = np.isfinite(score), np.nanmean(score, axis=0)
    there = known.any(axis=1)
    rest = score[there] - mean
    level = np.nanmean(rest, axis=1, keepdims=True)
    free = known.sum() - there.sum() - score.shape[1] + 1  # of the residuals within animals
    within = float(np.nansum((rest - level) ** 2) / free) if free > 0 else 0.0
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
