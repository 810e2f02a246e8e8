"""Intervals where raters and animals both vary: the same clips are answered by several raters.

Both are resampled with replacement, independently, and an answer counts as often as its rater
times its animal (Owen 2007, The pigeonhole bootstrap, doi:10.1214/07-AOAS122): the interval then
holds for other animals and other raters. With a single rater it holds for that rater alone, and
the note says so.
"""

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from mpjax.analysis.stats import bootstrap


@dataclasses.dataclass(frozen=True)
class Crossed:
    """How answers by rater and clip are resampled: how often each group and rater occurs."""

    group: Int[np.ndarray, " clips"]  # animal or cage, 0..groups-1
    unit: str  # what a group is called, `animal` or `cage`
    weights: Int[np.ndarray, "resamples groups"]
    rater_weights: Int[np.ndarray, "resamples raters"]

    @classmethod
    def draw(
        cls, group: Int[np.ndarray, " clips"], *, raters: int, unit: str, resamples: int, seed: int
    ) -> "Crossed":
        """Draws the resamples."""
        groups = int(group.max()) + 1
        return cls(
            group,
            unit,
            bootstrap.draw_weights(groups, resamples=resamples, seed=seed),
            # Another seed: with as many raters as groups the two draws would be one.
            bootstrap.draw_weights(raters, resamples=resamples, seed=seed + 1),
        )

    def resample_mean(
        self, values: Float[np.ndarray, "raters clips"]
    ) -> Float[np.ndarray, " resamples"]:
        """Returns the mean of every resample's answers; `values` is NaN where there is none."""
        there = np.isfinite(values)
        member = np.eye(self.weights.shape[1])[self.group]
        total = np.where(there, values, 0.0) @ member  # raters x groups
        count = there.astype(float) @ member
        by_rater = self.rater_weights.astype(float)
        sums, counts = (((by_rater @ cells) * self.weights).sum(1) for cells in (total, count))
        return np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)

    def estimate(self, values: Float[np.ndarray, "raters clips"]) -> dict[str, Any]:
        """Returns the mean of all answers (NaN: none) and its interval over animals and raters.

        As {"value", "ci95", "n"}, n being answers, with a "note" where care is needed.
        """
        interval = bootstrap.percentile_interval(
            self.resample_mean(values), groups=self.weights.shape[1], unit=self.unit
        )
        raters = len(values)
        notes = [interval["note"]] if "note" in interval else []
        if raters == 1:
            notes.append("of one rater, so it does not hold for other raters")
        elif raters < bootstrap.ROUGH_BELOW:
            notes.append(f"rough, as it rests on {raters} raters only")
        n = int(np.isfinite(values).sum())
        found = {"value": float(np.nanmean(values)), **interval, "n": n}
        return found | ({"note": "; ".join(notes)} if notes else {})

    def estimate_one(self, values: Float[np.ndarray, " clips"]) -> dict[str, Any]:
        """Returns the mean of one rater's or method's values and its interval over animals."""
        there, group = np.isfinite(values), self.group
        return bootstrap.estimate_mean(values[there], group[there], self.weights, unit=self.unit)
