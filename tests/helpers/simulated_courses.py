"""Courses of pain with a known truth, at the level of an animal's score of a day."""

import dataclasses

import numpy as np
import pandas as pd

from mpjax.taxonomy import default_taxonomy, fine_name

DAYS = (1, 3, 7, 14, 21)
DELAYED = (0.0, 0.0, 1.0, 1.0, 1.0)  # no pain on days 1 and 3, from day 7 on
NONE = (0.0,) * 5


@dataclasses.dataclass(frozen=True)
class Course:
    """One cohort: two pain types and sham, filmed on every day.

    Attributes:
        animals: per condition.
        levels: per pain type, the pain level on each of `days`.
        injury: what full pain adds to the score (logit).
        animal_sd, cage_sd, session_sd: standard deviations of the random effects on the score.
        drift: what each day does to the score of every animal (habituation, age, light).
        before: days before induction that are filmed, too.
    """

    animals: int = 8
    levels: tuple[tuple[float, ...], ...] = (DELAYED, NONE)
    injury: float = 1.5
    animal_sd: float = 0.6
    cage_sd: float = 0.0
    session_sd: float = 0.35
    drift: tuple[float, ...] = (0.3, 0.1, 0.0, -0.1, -0.2)
    before: tuple[int, ...] = ()
    days: tuple[int, ...] = DAYS


CONDITIONS = ("neuropathic", "inflammatory", "sham")


def taxonomy_of(course: Course):
    days = (*course.before, *course.days)
    return default_taxonomy(fine_name(c, d) for c in CONDITIONS for d in days)


def simulate(course: Course, *, seed: int) -> pd.DataFrame:
    """Draws a cohort's scores, as `daily_scores.score_days` gives them."""
    rng = np.random.default_rng(seed)
    rows = []
    for c, condition in enumerate(CONDITIONS):
        levels = course.levels[c] if c < 2 else (0.0,) * len(course.days)
        for k in range(course.animals):
            if k % 2 == 0:
                cage_effect = rng.normal(0, course.cage_sd)
            own = rng.normal(0, course.animal_sd) + cage_effect
            base = {"animal": f"{condition}{k}", "cage": f"{condition}-cage{k // 2}"}
            base |= {"sex": "fm"[k // 2 % 2], "condition": condition, "recordings": 1, "clips": 10}
            for day in course.before:
                rows.append(base | {"day": day, "score": own + rng.normal(0, course.session_sd)})
            for day, level, drift in zip(course.days, levels, course.drift, strict=True):
                score = own + drift + course.injury * level + rng.normal(0, course.session_sd)
                rows.append(base | {"day": day, "score": score - 0.5})
    return pd.DataFrame(rows)
