"""The zero-shot drug analysis: animals that were never trained on, before and after a dose."""

from typing import Any

import numpy as np
import pandas as pd

from mpjax.analysis import contrasts as tests
from mpjax.analysis import drug_sessions, mixed_model, reversal, specificity
from mpjax.analysis.calibration import Calibrated
from mpjax.analysis.contrasts import absent
from mpjax.analysis.drug_sessions import VEHICLE, NoTrial
from mpjax.analysis.drug_summary import summarise
from mpjax.analysis.predictions import Predictions
from mpjax.taxonomy import NO_PAIN

_OUTCOMES = {
    "pain": "the calibrated probability of any pain",
    "own_type": "the calibrated probability of the pain type of the animal's own condition",
}


def analyse_drugs(
    predictions: Predictions, calibrated: Calibrated, *, outcome: str = "pain", seed: int = 0
) -> dict[str, Any]:
    """Analyses the rows of split `drug`; the animal is the unit of every test.

    Declared beforehand, for any cohort: the outcome is the change of the score from before to
    after the dose; the primary contrasts are those of each drug's highest dose with vehicle, and
    the primary comparison of pain types is `interaction`.

    Args:
        predictions: of a study.
        calibrated: its calibrated probabilities.
        outcome: see `drug_sessions.score_sessions`.
        seed: of permutations and resampling.

    Returns:
        The part `drug` of metrics.json (see its schema), or {"value": None, "why": …} with the
        same under `interaction` and `reversal`.

    Raises:
        ValueError: unknown outcome, or a clip of an animal of the drug part was trained on.
    """
    _assert_never_trained(predictions)
    try:
        sessions = drug_sessions.score_sessions(predictions, calibrated.p, outcome=outcome)
        animals = drug_sessions.changes(sessions)
        if animals.empty:
            raise NoTrial("no animal has a session before and one after its dose")
    except NoTrial as error:
        nothing = absent(str(error))
        return nothing | {"interaction": nothing, "reversal": nothing}
    result = analyse_sessions(sessions, seed=seed)
    result["outcome"] = {
        "name": outcome,
        "scale": "logit",
        "primary": f"change from before to after the dose of the logit of {_OUTCOMES[outcome]}, "
        "averaged over the clips of a session; the highest dose of each drug against vehicle",
    }
    result["specificity"] = specificity.describe_specificity(
        predictions, sessions, result["contrasts"], seed=seed
    )
    result["summary"] = summarise(result)
    return result


def _assert_never_trained(predictions: Predictions) -> None:
    """Raises if an animal of the split `drug` has clips in any other split.

    Raises:
        ValueError: naming the animals.
    """
    table = predictions.table
    treated = set(table.loc[table["split"] == "drug", "animal"])
    seen = treated & set(table.loc[table["split"] != "drug", "animal"])
    astray = set(table.loc[table["drug"] != "", "animal"]) - treated
    if seen or astray:
        first = sorted(seen | astray)[0]
        raise ValueError(
            f"{len(seen | astray)} animal(s) with a drug or vehicle, first {first!r}, have clips "
            "outside the split 'drug': the test would not be zero-shot"
        )


def analyse_sessions(sessions: pd.DataFrame, *, seed: int = 0) -> dict[str, Any]:
    """Analyses a trial at the level of sessions: all but what needs clips.

    Args:
        sessions: of `drug_sessions.score_sessions`.
        seed: of permutations and resampling.

    Returns:
        `rows, arms, top, sessions, contrasts, interaction, interactions, mixed_model, reversal,
        dose_response`.
    """
    animals = drug_sessions.changes(sessions)
    conditions = sorted(set(animals["condition"]))
    types = drug_sessions.pain_types(animals)
    model = mixed_model.fit_mixed_model(
        sessions, vehicle=VEHICLE, reference=NO_PAIN if NO_PAIN in set(sessions["coarse"]) else ""
    )
    interactions = compare_types(animals, types, fitted="why" not in model, seed=seed)
    probabilities = drug_sessions.changes(sessions, "p_pain")
    reversals, doses = {}, {}
    for condition in conditions:
        rows = probabilities[probabilities["condition"] == condition]
        if (rows["coarse"] == NO_PAIN).all():
            continue
        reversals[condition] = reversal.reversals(rows)
        doses[condition] = _dose_response(rows, seed=seed)
    return {
        "rows": describe_phases(sessions),
        "arms": _arms(animals),
        "top": drug_sessions.top_arms(animals),
        "sessions": drug_sessions.to_records(sessions),
        "contrasts": {
            condition: _contrasts(sessions[sessions["condition"] == condition], seed=seed)
            for condition in conditions
        },
        "interaction": interactions[0],
        "interactions": interactions,
        "mixed_model": model,
        "reversal": reversals,
        "dose_response": doses,
    }


def _arms(animals: pd.DataFrame) -> dict[str, dict[str, Any]]:
    found = animals[["arm", "drug", "dose_mg_per_kg"]].drop_duplicates()
    found = found.sort_values(["drug", "dose_mg_per_kg"])
    found = found.sort_values("drug", key=lambda drug: drug != VEHICLE, kind="stable")
    return {
        str(row.arm): {
            "drug": row.drug,
            "dose_mg_per_kg": None if row.drug == VEHICLE else float(row.dose_mg_per_kg),
        }
        for row in found.itertuples()
    }


def describe_phases(sessions: pd.DataFrame) -> list[dict[str, Any]]:
    """Tabulates the probability of pain per condition, arm and phase, as means over animals."""
    per_animal = sessions.groupby(
        ["condition", "arm", "drug", "dose_mg_per_kg", "phase", "animal"], as_index=False
    ).agg(p_pain=("p_pain", "mean"), day=("day", "max"))
    minutes = sessions.groupby(["condition", "arm", "phase"])["minutes_post_dose"]
    ranges = minutes.agg(["min", "max"])
    rows = []
    for (condition, arm, drug, dose, phase), part in per_animal.groupby(
        ["condition", "arm", "drug", "dose_mg_per_kg", "phase"]
    ):
        range_ = ranges.loc[(condition, arm, phase)]
        rows.append(
            {
                "condition": str(condition),
                "arm": str(arm),
                "dose_mg_per_kg": None if drug == VEHICLE else float(dose),
                "day": int(part["day"].max()),
                "phase": str(phase),
                "minutes_post_dose": None if range_.isna().any() else range_.tolist(),
                "value": float(part["p_pain"].mean()),
                "n": len(part),
                "animals": dict(zip(part["animal"].astype(str), part["p_pain"], strict=True)),
            }
        )
    phase = {name: rank for rank, name in enumerate(drug_sessions.PHASES)}
    return sorted(
        rows,
        key=lambda row: (
            row["condition"], row["arm"] != VEHICLE, row["dose_mg_per_kg"] or 0, phase[row["phase"]]
        ),
    )  # fmt: skip


def _contrasts(sessions: pd.DataFrame, *, seed: int) -> list[dict[str, Any]]:
    """Compares the arms of one condition with vehicle: by dose, then by time after the dose."""
    animals = drug_sessions.changes(sessions)
    tops = set(drug_sessions.top_arms(animals).values())
    rows = [
        row | {"kind": "dose", "minutes_post_dose": None, "primary": row["arm"] in tops}
        for row in compare_arms(animals, seed=seed)
    ]
    post = sessions["phase"] == "post"
    times = sorted(sessions.loc[post, "minutes_post_dose"].dropna().unique())
    if len(times) < 2:
        return rows
    timed = []
    for minutes in times:
        at = sessions[~post | (sessions["minutes_post_dose"] == minutes)]
        timed += [
            row | {"kind": "time", "minutes_post_dose": float(minutes), "primary": False}
            for row in compare_arms(drug_sessions.changes(at), seed=seed)
        ]
    # One error rate over all times and arms: p_adjusted is Holm's, the intervals are Dunnett's.
    tested = [row for row in timed if row["value"] is not None]
    adjusted = tests.holm([row["p"] for row in tested]) if tested else []
    for row, p in zip(tested, adjusted, strict=True):
        row |= {"p_adjusted": p, "method": "Holm"}
    return [*rows, *timed]


def compare_arms(animals: pd.DataFrame, *, seed: int) -> list[dict[str, Any]]:
    """Compares every arm of one condition with vehicle.

    Args:
        animals: of `drug_sessions.changes`, one condition.
        seed: of the bootstrap of Hedges' g.

    Returns:
        Per arm {"arm", "value", "ci95", "p", "p_adjusted", "method", "n", "hedges_g",
        "detectable"}, or why there is none.
    """
    groups = tests.split_arms(animals)
    arms = drug_sessions.dose_arms(animals)
    sizes = {
        arm: {"arm": len(groups[arm]), "vehicle": len(groups.get(VEHICLE, []))} for arm in arms
    }
    why = (
        tests.why_not_compared(groups) if VEHICLE in groups else "no vehicle arm in this condition"
    )
    if why:
        return [{"arm": arm, **absent(why), "n": sizes[arm]} for arm in arms]
    found = tests.dunnett(groups[VEHICLE], {arm: groups[arm] for arm in arms})
    spread = tests.pool(list(groups.values()))
    rows = []
    for arm in arms:
        se = spread.sd * np.sqrt(1 / sizes[arm]["arm"] + 1 / sizes[arm]["vehicle"])
        rows.append(
            {"arm": arm, **found[arm], "method": "Dunnett", "n": sizes[arm]}
            | {
                "hedges_g": tests.hedges_g(groups[arm], groups[VEHICLE], seed=seed),
                "detectable": tests.detectable(se, spread.df),
            }
        )
    return rows


def compare_types(
    animals: pd.DataFrame, types: list[str], *, fitted: bool, seed: int
) -> list[dict[str, Any]]:
    """Compares every drug's effect, at its highest dose, between all pairs of pain types.

    Args:
        animals: of `drug_sessions.changes`.
        types: of `drug_sessions.pain_types`, the declared pair first.
        fitted: whether the mixed model could be fitted; else permutations are used.
        seed: of the permutations.

    Returns:
        Per drug and pair {"value", "ci95", "p", "p_adjusted" (Holm), "method", "n", "arm", "of",
        "detectable"}, or why there is none.
    """
    pairs = [(a, b) for i, a in enumerate(types) for b in types[i + 1 :]]
    if not pairs:
        return [absent(f"it takes two pain types; the drug part has {', '.join(types) or 'none'}")]
    found = [
        _interaction(animals, arm, pair, fitted=fitted, seed=seed)
        for arm in drug_sessions.top_arms(animals).values()
        for pair in pairs
    ]
    tested = [row for row in found if row["value"] is not None]
    for row, p in zip(tested, tests.holm([row["p"] for row in tested] or [1.0]), strict=False):
        row["p_adjusted"] = p
    return found


def _interaction(
    animals: pd.DataFrame, arm: str, types: tuple[str, str], *, fitted: bool, seed: int
) -> dict[str, Any]:
    cells = [(kind, given) for kind in types for given in (arm, VEHICLE)]
    rows = [animals[(animals["coarse"] == k) & (animals["arm"] == g)] for k, g in cells]
    what = {"arm": arm, "of": list(types)}
    groups = {
        f"{given} in {kind}": part["change"].to_numpy()
        for (kind, given), part in zip(cells, rows, strict=True)
    }
    if why := tests.why_not_compared(groups):
        return absent(why) | what
    change = np.concatenate(list(groups.values()))
    cell = np.repeat(np.arange(4), [len(part) for part in rows])
    estimate = tests.interaction(change, cell)
    if fitted and min(map(len, groups.values())) >= tests.SMALL:
        test = estimate.t_test() | {"method": "mixed model"}
    else:
        test = tests.permute_interaction(change, cell, seed=seed) | {"method": "permutation"}
    detectable = tests.detectable(estimate.se, estimate.df)
    return test | {"n": len(change), **what, "detectable": detectable}


def _dose_response(animals: pd.DataFrame, *, seed: int) -> dict[str, Any]:
    """Fits one condition's doses of the drug that has most of them."""
    doses = animals[animals["drug"] != VEHICLE].groupby("drug")["dose_mg_per_kg"].nunique()
    if doses.empty:
        return {"doses": [], "ed50": absent("no dose in this condition")}
    rows = animals[animals["drug"].isin([VEHICLE, doses.idxmax()])]
    return {"drug": str(doses.idxmax())} | reversal.dose_response(rows, seed=seed)
