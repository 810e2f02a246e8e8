"""Trials with a known truth, at the level of sessions: what the drug analysis must recover."""

import dataclasses

import numpy as np
import pandas as pd
from scipy.special import expit

PAIN_TYPES = ("neuropathic", "inflammatory")
SEXES = "mf"


@dataclasses.dataclass(frozen=True)
class Trial:
    """One trial: conditions x arms x animals, each filmed before induction, before, after a dose.

    Attributes:
        animals: per condition and arm.
        doses: mg/kg of the drug; vehicle comes first.
        effect: per pain type, what the top dose takes off the score (logit); half of it the lower.
        animal_sd, cage_sd, session_sd: standard deviations of the random effects on the score.
        drift: what a session does to the score whatever the arm (handling, habituation).
    """

    animals: int = 8
    doses: tuple[float, ...] = (30.0, 100.0)
    effect: tuple[float, float] = (0.0, 0.0)
    animal_sd: float = 0.6
    cage_sd: float = 0.3
    session_sd: float = 0.35
    drift: float = 0.2
    injury: float = 1.5

    @property
    def interaction(self) -> float:
        """The true drug x pain-type interaction of the top dose."""
        return self.effect[1] - self.effect[0]

    @property
    def interaction_se(self) -> float:
        """The standard error of its estimate, were the standard deviations known."""
        return float(np.sqrt(4 * 2 * self.session_sd**2 / self.animals))


def simulate(trial: Trial, *, seed: int) -> pd.DataFrame:
    """Draws the sessions of a trial, as `drug_sessions.score_sessions` gives them."""
    rng = np.random.default_rng(seed)
    arms = [("vehicle", 0.0), *(("gabapentin", dose) for dose in trial.doses)]
    rows = []
    for condition in (*PAIN_TYPES, "no_pain"):
        for k in range(trial.animals * len(arms)):
            if k % 2 == 0:  # two animals to a cage
                cage, cage_effect = f"{condition}-cage{k // 2}", rng.normal(0, trial.cage_sd)
            drug, dose = arms[k % len(arms)]
            own = rng.normal(0, trial.animal_sd) + cage_effect
            arm = f"{drug} {dose:g} mg/kg" if dose else drug
            for phase in ("baseline", "pre", "post"):
                score = own - 0.5 + rng.normal(0, trial.session_sd)
                if condition in PAIN_TYPES and phase != "baseline":
                    score += trial.injury
                if phase == "post":
                    score += trial.drift
                    if condition in PAIN_TYPES and dose:
                        share = 1.0 if dose == max(trial.doses) else 0.5
                        score -= share * trial.effect[PAIN_TYPES.index(condition)]
                rows.append(
                    {
                        "animal": f"{condition}{k}", "cage": cage, "sex": SEXES[k // 2 % 2],
                        "condition": condition, "coarse": condition, "arm": arm, "drug": drug,
                        "dose_mg_per_kg": dose, "phase": phase,
                        "day": -1 if phase == "baseline" else 14,
                        "minutes_post_dose": 60.0 if phase == "post" else np.nan,
                        "clips": 10, "score": score, "p_pain": expit(score), "p_own": np.nan,
                    }
                )  # fmt: skip
    return pd.DataFrame(rows)
