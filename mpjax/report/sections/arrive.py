"""ARRIVE 2.0 Essential 10, filled in from the cohort file and the evaluation.

Source: Percie du Sert et al., The ARRIVE guidelines 2.0, PLoS Biology 18(7): e3000410 (2020).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mpjax.analysis.predictions import Predictions
from mpjax.formatting import count, join, number
from mpjax.report.sections.answers import SCHEMES, describe_task, incomplete, left_out, units
from mpjax.taxonomy import parse_fine_name


def fill(
    metrics: Mapping[str, Any], predictions: Predictions, *, answers: Sequence[str]
) -> list[dict[str, Any]]:
    """Fills the ten items; `answers` are the report's headline sentences, for the results.

    Each has its `title`, the sentences `known` from the data, and as nouns what is `missing`.
    """
    table, drug = predictions.table, metrics["drug"]
    labelled = not any(map(parse_fine_name, predictions.taxonomy.fine))
    treated = table[table["drug"] != ""]
    groups = f"Classes are labels: {join(predictions.taxonomy.fine)}."
    unit = f"{units(metrics)} Clips and recordings are never counted as independent."
    scored = (
        "Scoring was automatic: no person rated a recording for a figure of this report, and the "
        "classifier was never given the class of an animal that it scored."
    )
    known = {
        "Study design": [groups if labelled else _groups(table), _arms(treated), unit],
        "Sample size": [_sizes(table, labelled), left_out(drug), _detectable(drug)],
        "Inclusion and exclusion": _exclusions(metrics),
        "Randomisation": [_division(metrics, predictions.meta["provenance"])],
        "Blinding": [scored],
        "Outcome measures": _outcomes(metrics),
        "Statistical methods": _statistics(metrics),
        "Experimental animals": [_sexes(table.drop_duplicates("animal"))],
        "Experimental procedures": _procedures(table, treated),
        "Results": answers,
    }
    missing = _missing(table, treated, labelled)
    return [
        {"title": title, "known": sentences, "missing": missing.get(title, ())}
        for title, sentences in known.items()
    ]


def _missing(table: pd.DataFrame, treated: pd.DataFrame, labelled: bool) -> dict[str, list[str]]:
    """Lists what the cohort file does not record, per item."""
    animals = ["species, strain and substrain", "age or weight", "source", "health status"]
    if (table["sex"] == "").any():
        animals.append("sex of some animals")
    done = [] if labelled else ["how pain was induced"]
    done += ["housing and husbandry", "filming set-up"]
    done.append("anaesthesia, analgesia and humane end points")
    if (treated["route"] == "").any():
        done.append("route of administration")
    order = ["how animals were allocated to conditions and arms", "order of filming and dosing"]
    when = "when labels were given" if labelled else "during induction, dosing and filming"
    return {
        "Sample size": ["how the number of animals was decided"],
        "Inclusion and exclusion": [
            "criteria set before the experiment",
            "animals excluded before filming",
        ],
        "Randomisation": ["order of filming"] if labelled else order,
        "Blinding": [f"who was blinded {when}"],
        "Experimental animals": animals,
        "Experimental procedures": done,
    }


def _groups(table: pd.DataFrame) -> str:
    days = sorted(map(float, table.loc[table["split"] != "drug", "day"].unique()))
    recorded = []
    for when, side in (
        ("before", [number(day, 0) for day in days if day < 0]),
        ("after", [number(day, 0) for day in days if day >= 0]),
    ):
        if side:
            recorded.append(f"{count(len(side), 'day')} {when} induction ({', '.join(side)})")
    conditions = join(sorted(table["condition"].unique()))
    return f"Conditions: {conditions}" + (f"; recorded on {join(recorded)}." if recorded else ".")


def _arms(treated: pd.DataFrame) -> str:
    if treated.empty:
        return "No drug was tested."
    arms = join(list(_per_arm(treated)))
    return f"The drug was tested in separate animals; arms: {arms}."


def _per_arm(treated: pd.DataFrame) -> dict[str, int]:
    """Counts the animals of every arm: vehicle, then by drug and dose."""
    keys = ["drug", "dose_mg_per_kg"]
    rows = treated.assign(control=treated["drug"] != "vehicle").sort_values(["control", *keys])
    rows["arm"] = [
        drug if drug == "vehicle" or pd.isna(dose) else f"{drug} {dose:g} mg/kg"
        for drug, dose in zip(rows["drug"], rows["dose_mg_per_kg"], strict=True)
    ]
    return rows.groupby("arm", sort=False)["animal"].nunique().to_dict()


def _sizes(table: pd.DataFrame, labelled: bool) -> str:
    if labelled:
        return f"{count(table['animal'].nunique(), 'animal')}."
    drug = table["split"] == "drug"
    per_condition = table[~drug].groupby("condition")["animal"].nunique()
    text = f"Animals per condition: {_list(per_condition.to_dict())}."
    if not drug.any():
        return text
    treated = table[drug & (table["drug"] != "")].groupby("condition")
    arms = "; ".join(f"{condition}: {_list(_per_arm(rows))}" for condition, rows in treated)
    return f"{text} Drug test, animals per arm: {arms}."


def _list(sizes: Mapping[Any, int]) -> str:
    return ", ".join(f"{name} {n}" for name, n in sizes.items())


def _detectable(drug: Mapping[str, Any]) -> str:
    found = ((drug.get("interaction") or {}).get("detectable") or {}).get("value")
    text = f"With these animals, an interaction of {number(found)} (logit) would be found with "
    return "" if found is None else f"{text}80 % power at α = 0.05."


def _exclusions(metrics: Mapping[str, Any]) -> list[str]:
    return [
        *(incomplete(metrics) or ["No class and no clip was left out."]),
        "Recordings that could not be decoded are listed in the dataset's manifest and are not in "
        "this table.",
        left_out(metrics["drug"]),
    ]


def _division(metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> str:
    seed = provenance.get("split seed")
    by = f" by seed {seed}" if seed is not None else ""
    return (
        "The cohort file does not record how animals were allocated. For the evaluation, whole "
        f"{metrics['group']}s were divided between training and testing{by} "
        f"({SCHEMES[metrics['scheme']]})."
    )


def _outcomes(metrics: Mapping[str, Any]) -> list[str]:
    tasks = [describe_task(metrics[kind], kind) for kind in ("fine", "coarse") if kind in metrics]
    known = [f"Classifier: accuracy and mean-class accuracy over {join(tasks)}."]
    outcome = metrics["drug"].get("outcome")
    if outcome:
        known.append(f"Drug test, primary: {str(outcome['primary']).rstrip('.')}.")
    return known


def _statistics(metrics: Mapping[str, Any]) -> list[str]:
    boot = metrics["bootstrap"]
    known = [
        f"95 % intervals by bootstrap of whole {boot['unit']}s ({boot['resamples']:,} resamples); "
        "the methods section of this report names every test and its n."
    ]
    model = metrics["drug"].get("mixed_model") or {}
    return known + ([f"Mixed model: {model['formula']}."] if "formula" in model else [])


def _sexes(animals: pd.DataFrame) -> str:
    n = count(len(animals), "animal")
    given = animals.loc[animals["sex"] != "", "sex"]
    if given.empty:
        return f"{n}; sex is not recorded in the cohort file."
    unknown = len(animals) - len(given)
    rest = f", not recorded {unknown}" if unknown else ""
    return f"{n}; sex: {_list(given.value_counts().sort_index().to_dict())}{rest}."


def _procedures(table: pd.DataFrame, treated: pd.DataFrame) -> list[str]:
    rates = join([f"{fps:g}" for fps in sorted(table["fps"].unique())])
    known = [
        f"{count(table['video'].nunique(), 'recording')} on video, analysed at {rates} frames per "
        "second."
    ]
    if treated.empty:
        return known
    minutes = sorted(treated["minutes_post_dose"].dropna().unique())
    routes = sorted(set(treated["route"]) - {""})
    when = "time after the dose not recorded"
    if minutes:
        when = f"filmed {', '.join(f'{m:g}' for m in minutes)} minutes after the dose"
    how = f"Route {join(routes)}" if routes else "Route not recorded"
    return [*known, f"{_arms(treated)} {how}; {when}."]
