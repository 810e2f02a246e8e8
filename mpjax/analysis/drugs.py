"""The drug part, described: animals that were never trained on, before and after a dose."""

from typing import Any

import pandas as pd

from mpjax.analysis.predictions import Predictions
from mpjax.analysis.progression import (
    animal_mean,
    average_by_animal,
    pain_probability,
    why_no_pain_score,
)

_NOT_INFERRED = "this version describes the drug part and draws no inference from it"
_PHASES = ("pre", "post")


def describe_drugs(predictions: Predictions) -> dict[str, Any]:
    """Tabulates the probability of pain per condition, arm and session of the split `drug`.

    Returns:
        {"rows": [{"condition", "arm", "dose_mg_per_kg", "day", "phase", "minutes_post_dose",
        "value", "n", "animals"}], "interaction", "reversal"}. `phase` is `pre` (untreated, or
        before the dose) or `post`; `minutes_post_dose` is [least, most] or None. An untreated
        session is listed under every arm its animal receives. What is not estimated is
        {"value": None, "why": …}.
    """
    why = _why_not_described(predictions)
    open_question = {"value": None, "why": why or _NOT_INFERRED}
    inference = {"interaction": open_question, "reversal": open_question}
    if why:
        return {"value": None, "why": why} | inference
    mask = (predictions.table["split"] == "drug").to_numpy()
    pain = pain_probability(predictions.taxonomy, predictions.p[mask])
    clips = _by_arm(predictions.table[mask].assign(pain=pain))
    keys = ["condition", "drug", "dose", "day", "phase"]
    sessions = average_by_animal(clips, "pain", by=keys)
    minutes = clips.groupby(keys)["minutes_post_dose"].agg(["min", "max"])
    rows = [
        {
            "condition": str(condition),
            "arm": f"{drug} {dose:g} mg/kg" if dose else str(drug),
            "dose_mg_per_kg": float(dose) if dose else None,
            "day": int(day),
            "phase": _PHASES[phase],
            "minutes_post_dose": _range(minutes.loc[(condition, drug, dose, day, phase)]),
            **animal_mean(part),
        }
        for (condition, drug, dose, day, phase), part in sessions.groupby(keys)
    ]
    rows.sort(key=lambda row: row["arm"] != "vehicle")  # stable: vehicle first, else as grouped
    return {"rows": rows} | inference


def _why_not_described(predictions: Predictions) -> str | None:
    drug = predictions.table[predictions.table["split"] == "drug"]
    if drug.empty:
        return "the cohort has no drug part (no row of split 'drug')"
    if (drug["drug"] == "").all():
        return "no row of split 'drug' names a drug or vehicle"
    return why_no_pain_score(predictions.taxonomy)


def _by_arm(clips: pd.DataFrame) -> pd.DataFrame:
    """Adds `dose` and `phase`; repeats an animal's untreated clips for each arm it is given."""
    treated = clips["drug"] != ""
    after = treated & ~(clips["minutes_post_dose"] < 0)
    clips = clips.assign(dose=clips["dose_mg_per_kg"].fillna(0.0), phase=after.astype(int))
    given = clips.loc[treated, ["animal", "drug", "dose"]].drop_duplicates()
    untreated = clips[~treated].drop(columns=["drug", "dose"]).merge(given, on="animal")
    return pd.concat([clips[treated], untreated], ignore_index=True)


def _range(minutes: pd.Series) -> list[float] | None:
    return None if minutes.isna().any() else [float(minutes["min"]), float(minutes["max"])]
