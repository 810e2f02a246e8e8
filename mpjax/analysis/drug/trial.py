"""The zero-shot drug analysis: animals that were never trained on, before and after a dose."""

import itertools
from typing import Any

import numpy as np
import pandas as pd

from mpjax.analysis.classification.calibration import Calibrated
from mpjax.analysis.drug import interaction, mixed_model, reversal, specificity
from mpjax.analysis.drug import sessions as drug_sessions
from mpjax.analysis.drug.sessions import VEHICLE, NoTrial
from mpjax.analysis.drug.summary import summarise
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats import effect_size
from mpjax.analysis.stats.dunnett import Dunnett
from mpjax.analysis.stats.estimates import absent
from mpjax.analysis.stats.multiple_testing import holm
from mpjax.taxonomy import NO_PAIN


def analyse_drugs(
    predictions: Predictions, calibrated: Calibrated, *, outcome: str = "pain", seed: int = 0
) -> dict[str, Any]:
    """Analyses the rows of split `drug`; the animal is the unit of every test.

    Declared beforehand, for any cohort: the outcome is the change of the score from before to
    after the dose; the primary contrasts are those of each drug's highest dose with vehicle, and
    the primary comparison of pain types is `interaction`.

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
    result["left_out"] = drug_sessions.left_out(predictions, animals)
    kind = "calibrated" if calibrated.meta.get("value") is not None else "uncalibrated"
    result["outcome"] = {
        "name": outcome,
        "scale": "logit",
        "primary": f"change from before to after the dose of the logit of the {kind} "
        f"{drug_sessions.OUTCOMES[outcome]}, averaged over the clips of a session and over all "
        "sessions after the dose; the highest dose of each drug against vehicle",
    }
    result["specificity"] = specificity.describe_specificity(
        predictions, sessions, result["contrasts"], seed=seed
    )
    result["summary"] = summarise(result)
    return result


def _assert_never_trained(predictions: Predictions) -> None:
    """Raises ValueError if an animal of the split `drug` has clips in any other split."""
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
    """Analyses a trial by its sessions (of `score_sessions`): all but what needs clips.

    Where the unit is the cage, its animals' sessions are averaged before any test.
    """
    unit = drug_sessions.unit_of_trial(sessions)
    tested = sessions.assign(animal=sessions["cage"]) if unit == "cage" else sessions
    animals = drug_sessions.changes(tested)
    conditions = sorted(set(animals["condition"]))
    types = drug_sessions.pain_types(animals)
    interactions, model = compare_types(tested, animals, types, seed=seed)
    probabilities = drug_sessions.changes(tested, "p_pain")
    reversals, doses = {}, {}
    for condition in conditions:
        rows = probabilities[probabilities["condition"] == condition]
        if (rows["coarse"] == NO_PAIN).all():
            continue
        reversals[condition] = reversal.reversals(rows)
        doses[condition] = {
            drug: reversal.dose_response(rows[rows["drug"].isin([VEHICLE, drug])], seed=seed)
            for drug in drug_sessions.top_arms(rows)
        }
    return {
        "unit": unit,
        "rows": describe_phases(sessions),
        "arms": _arms(animals),
        "top": drug_sessions.top_arms(animals),
        "sessions": drug_sessions.to_records(sessions),
        "contrasts": {
            condition: _contrasts(tested[tested["condition"] == condition])
            for condition in conditions
        },
        "interaction": interactions[0],
        "interactions": interactions,
        "mixed_model": model,
        "reversal": reversals,
        "dose_response": doses,
    }


def _arms(animals: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Returns the drug and dose of each arm, vehicle first."""
    arms = animals.drop_duplicates("arm").set_index("arm")[["drug", "dose_mg_per_kg"]]
    given = arms.loc[drug_sessions.dose_arms(animals)].to_dict("index")
    vehicle = {VEHICLE: {"drug": VEHICLE, "dose_mg_per_kg": None}} if VEHICLE in arms.index else {}
    return vehicle | given


def describe_phases(sessions: pd.DataFrame) -> list[dict[str, Any]]:
    """Tabulates the probability of pain per condition, arm and phase, as means over animals."""
    rows = []
    by = ["condition", "arm", "dose_mg_per_kg", "phase"]
    for (condition, arm, dose, phase), part in sessions.groupby(by):
        minutes = part["minutes_post_dose"].agg(["min", "max"])
        pain = part.groupby("animal")["p_pain"].mean()
        rows.append(
            {
                "condition": str(condition),
                "arm": str(arm),
                "dose_mg_per_kg": None if arm == VEHICLE else float(dose),
                "day": int(part["day"].max()),
                "phase": str(phase),
                "minutes_post_dose": None if minutes.isna().any() else minutes.tolist(),
                "value": float(pain.mean()),
                "n": len(pain),
                "animals": {str(animal): value for animal, value in pain.items()},
            }
        )

    def order(row: dict[str, Any]) -> tuple[Any, ...]:
        dose, phase = row["dose_mg_per_kg"] or 0, drug_sessions.PHASES.index(row["phase"])
        return row["condition"], row["arm"] != VEHICLE, dose, phase

    return sorted(rows, key=order)


def _contrasts(sessions: pd.DataFrame) -> list[dict[str, Any]]:
    """Compares the arms of one condition with vehicle: by dose, then by time after the dose."""
    animals = drug_sessions.changes(sessions)
    tops = set(drug_sessions.top_arms(animals).values())
    rows = [
        row | {"kind": "dose", "minutes_post_dose": None, "primary": row["arm"] in tops}
        for row in compare_arms(animals)
    ]
    post = sessions["phase"] == "post"
    at = {
        float(minutes): drug_sessions.changes(
            sessions[~post | (sessions["minutes_post_dose"] == minutes)]
        )
        for minutes in sorted(sessions.loc[post, "minutes_post_dose"].dropna().unique())
    }
    # Times recorded for some animals only, as read off a watch, are not part of the design.
    planned = {minutes: each for minutes, each in at.items() if len(each) > len(animals) / 2}
    if len(planned) < 2:
        return rows
    return rows + [
        row | {"kind": "time", "minutes_post_dose": minutes, "primary": False}
        for minutes, each in planned.items()
        for row in compare_arms(each, times=len(planned))
    ]


def compare_arms(animals: pd.DataFrame, *, times: int = 1) -> list[dict[str, Any]]:
    """Compares every arm of one condition (see `sessions.changes`) with vehicle.

    `times` is the number of times after the dose that are compared and share the error rate.

    Returns:
        Per arm {"arm", "value", "ci95", "p", "p_adjusted", "method", "n", "hedges_g",
        "detectable"}, or why there is none.
    """
    groups = drug_sessions.split_arms(animals)
    vehicle = groups.get(VEHICLE, np.empty(0))
    arms = {arm: groups[arm] for arm in drug_sessions.dose_arms(animals)}
    able = {arm: values for arm, values in arms.items() if len(values) > 1}
    why = drug_sessions.why_not_compared({VEHICLE: vehicle, **(able or arms)})
    tests = Dunnett(vehicle, able, times)
    rows = []
    for arm, values in arms.items():
        n = {"arm": len(values), "vehicle": len(vehicle)}
        if why or arm not in able:
            reason = why or drug_sessions.why_not_compared({VEHICLE: vehicle, arm: values})
            rows.append({"arm": arm, **absent(str(reason)), "n": n})
            continue
        effect = effect_size.hedges_g(values[:, None], vehicle[:, None])[0]
        if effect["value"] is not None:
            effect["n"] = len(values) + len(vehicle)
        rows.append(
            {
                "arm": arm,
                **tests.test(arm),
                **_note_on_spread(values, vehicle),
                "method": "Dunnett" if times == 1 else f"Dunnett, Bonferroni over {times} times",
                "n": n,
                "hedges_g": effect,
                "detectable": effect_size.detectable(
                    tests.se(arm), tests.pooled.df, critical=tests.critical
                ),
            }
        )
    return rows


def _note_on_spread(arm: np.ndarray, vehicle: np.ndarray) -> dict[str, str]:
    """Warns where pooling the variance of unlike and unequal groups would mislead."""
    spreads = sorted((arm.std(ddof=1), vehicle.std(ddof=1)))
    if len(arm) == len(vehicle) or spreads[1] <= 2 * spreads[0]:
        return {}
    return {"note": "the arms differ in size and in spread: the p-value may be too small"}


def compare_types(
    sessions: pd.DataFrame, animals: pd.DataFrame, types: list[str], *, seed: int
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Compares every drug's effect, at its highest dose, between all pairs of pain types.

    `animals` is of `sessions.changes`, `types` of `sessions.pain_types`, the declared pair first.

    Returns:
        Per drug and pair {"value", "ci95", "p", "p_adjusted" (Holm), "method", "n", "arm", "of",
        "detectable"}, or why there is none; and the mixed model of the first pair.
    """
    pairs = list(itertools.combinations(types, 2))
    if not pairs:
        held = ", ".join(types) or "none"
        nothing = absent(f"two pain types are needed; the drug part has {held}")
        return [nothing], nothing
    rows, models = [], []
    for arm, pair in itertools.product(drug_sessions.top_arms(animals).values(), pairs):
        groups, members = four_groups(animals, arm, pair)
        if why := drug_sessions.why_not_compared(groups):
            found = model = absent(why)
        else:
            counted = sessions[sessions["animal"].isin(members)]
            model = mixed_model.fit_mixed_model(counted, vehicle=VEHICLE, reference=pair[1])
            found = judge_interaction(groups, model.get("why"), seed=seed)
        rows.append(found | {"arm": arm, "of": list(pair)})
        models.append(model)
    tested = [row for row in rows if row["value"] is not None]
    for row, p in zip(tested, holm([row["p"] for row in tested]), strict=True):
        row["p_adjusted"] = p
    return rows, models[0]


def four_groups(
    animals: pd.DataFrame, arm: str, types: tuple[str, str]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the changes under an arm and under vehicle in both pain types, and whose they are."""
    rows = {
        f"{given} in {kind}": animals[(animals["coarse"] == kind) & (animals["arm"] == given)]
        for kind in types
        for given in (arm, VEHICLE)
    }
    members = [animal for part in rows.values() for animal in part["animal"]]
    return {name: part["change"].to_numpy() for name, part in rows.items()}, members


def judge_interaction(
    groups: dict[str, np.ndarray], why_no_model: str | None, *, seed: int
) -> dict[str, Any]:
    """Tests the interaction in `four_groups` by the mixed model's contrast, or by permutation.

    `why_no_model` is the reason why the mixed model was not fitted, if so.
    """
    change = np.concatenate(list(groups.values()))
    sizes = [len(values) for values in groups.values()]
    cell = np.repeat(np.arange(4), sizes)
    estimate = interaction.interaction(change, cell)
    if why_no_model is None and min(sizes) >= interaction.SMALL:
        # Of complete pairs this is the model's own contrast and t test (tested to agree).
        test = estimate.t_test() | {"method": "mixed model"}
    else:
        test = interaction.permute_interaction(change, cell, seed=seed)
        test["method"] = "permutation or t test, the more cautious"
        test["note"] = why_no_model or f"{min(sizes)} in the smallest of the four groups"
    detectable = effect_size.detectable(estimate.se, estimate.df)
    if min(sizes) < interaction.LEAST_FOR_POWER:
        detectable = absent(f"with {min(sizes)} in a group, permutations have almost no power")
    return test | {"n": len(change), "detectable": detectable}
