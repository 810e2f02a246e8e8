"""ARRIVE 2.0 Essential 10, filled from the cohort as far as it says anything.

Source: Percie du Sert et al., The ARRIVE guidelines 2.0, PLoS Biology 18(7): e3000410 (2020).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from mpjax import formatting
from mpjax.analysis.predictions import Predictions
from mpjax.taxonomy import parse_fine_name


@dataclasses.dataclass(frozen=True)
class Item:
    """One item of the checklist.

    Attributes:
        title: of the item.
        known: sentences, from the data.
        missing: what the authors must fill in, as nouns.
    """

    title: str
    known: Sequence[str]
    missing: Sequence[str] = ()


def fill(
    metrics: Mapping[str, Any], predictions: Predictions, *, answers: Sequence[str]
) -> list[Item]:
    """Fills the ten items.

    Args:
        metrics: the content of metrics.json.
        predictions: the evaluated predictions.
        answers: the report's headline sentences, for the item on results.
    """
    return [
        *_plan(metrics, predictions),
        Item("Outcome measures", _outcomes(metrics)),
        Item("Statistical methods", _statistics(metrics)),
        *_conduct(predictions),
        Item("Results", answers),
    ]


def _plan(metrics: Mapping[str, Any], predictions: Predictions) -> list[Item]:
    """Fills items 1 to 5: what was planned, and what kept the results from being biased."""
    labelled = _is_labelled(predictions)
    treated = _treated(predictions)
    order = ["order of filming"]
    allocation = [
        "how animals were allocated to conditions and arms",
        "order of filming and dosing",
    ]
    when = "when labels were given" if labelled else "during induction, dosing and filming"
    unit = f"{formatting.units(metrics)} Clips and recordings are never counted as independent."
    scored = (
        "Scoring was automatic: no person rated a recording for a figure of this report, and the "
        "classifier that scored an animal was never told its class."
    )
    return [
        Item("Study design", [_groups(predictions), _arms(treated), unit]),
        Item(
            "Sample size",
            [
                _sizes(predictions),
                formatting.left_out(metrics["drug"]),
                *_detectable(metrics["drug"]),
            ],
            ["how the number of animals was decided"],
        ),
        Item(
            "Inclusion and exclusion",
            _exclusions(metrics),
            ["criteria set before the experiment", "animals excluded before filming"],
        ),
        Item(
            "Randomisation",
            _division(metrics, predictions.meta["provenance"]),
            order if labelled else allocation,
        ),
        Item("Blinding", [scored], [f"who was blinded {when}"]),
    ]


def _conduct(predictions: Predictions) -> list[Item]:
    """Fills items 8 and 9: the animals, and what was done to them."""
    animals = predictions.table.drop_duplicates("animal")
    treated = _treated(predictions)
    unknown = ["species, strain and substrain", "age or weight", "source", "health status"]
    if (animals["sex"] == "").any():
        unknown.append("sex of some animals")
    done = [] if _is_labelled(predictions) else ["how pain was induced"]
    done += ["housing and husbandry", "filming set-up"]
    done += ["anaesthesia, analgesia and humane end points"]
    if (treated["route"] == "").any():
        done.append("route of administration")
    return [
        Item("Experimental animals", [_sexes(animals)], unknown),
        Item("Experimental procedures", _procedures(predictions.table, treated), done),
    ]


def _treated(predictions: Predictions) -> pd.DataFrame:
    return predictions.table[predictions.table["drug"] != ""]


def _is_labelled(predictions: Predictions) -> bool:
    """Tells a cohort of labels from one of conditions and days."""
    return not any(map(parse_fine_name, predictions.taxonomy.fine))


def _per_condition(table: pd.DataFrame) -> str:
    counts = table.groupby("condition")["animal"].nunique()
    return ", ".join(f"{name} {n}" for name, n in counts.items())


def _groups(predictions: Predictions) -> str:
    table = predictions.table
    if _is_labelled(predictions):
        return f"Classes are labels: {formatting.join(predictions.taxonomy.fine)}."
    days = sorted(map(float, table.loc[table["split"] != "drug", "day"].unique()))
    sides = (
        ("before", [formatting.number(day, 0) for day in days if day < 0]),
        ("after", [formatting.number(day, 0) for day in days if day >= 0]),
    )
    recorded = formatting.join(
        [
            f"{formatting.count(len(side), 'day')} {name} induction ({', '.join(side)})"
            for name, side in sides
            if side
        ]
    )
    conditions = formatting.join(sorted(table["condition"].unique()))
    return f"Conditions: {conditions}" + (f"; recorded on {recorded}." if recorded else ".")


def _arms(treated: pd.DataFrame) -> str:
    if treated.empty:
        return "No drug was tested."
    arms = _in_order(treated.assign(arm=_arm_names(treated)))
    return f"Drug test in animals of its own; arms: {formatting.join(arms)}."


def _arm_names(treated: pd.DataFrame) -> list[str]:
    return [
        name if name == "vehicle" or pd.isna(dose) else f"{name} {dose:g} mg/kg"
        for name, dose in zip(treated["drug"], treated["dose_mg_per_kg"], strict=True)
    ]


def _in_order(treated: pd.DataFrame) -> list[str]:
    """Lists the arms: vehicle, then by drug and dose."""
    control = treated["drug"] != "vehicle"
    arms = treated.assign(control=control).sort_values(["control", "drug", "dose_mg_per_kg"])
    return [str(arm) for arm in arms["arm"].unique()]


def _sizes(predictions: Predictions) -> str:
    table = predictions.table
    drug = table[table["split"] == "drug"]
    rest = table[table["split"] != "drug"]
    if _is_labelled(predictions):
        return f"{formatting.count(table['animal'].nunique(), 'animal')}."
    text = f"Animals per condition: {_per_condition(rest)}."
    if drug.empty:
        return text
    arms = drug[drug["drug"] != ""].assign(arm=lambda rows: _arm_names(rows))
    listed = "; ".join(
        f"{condition}: "
        + ", ".join(
            f"{arm} {rows.loc[rows['arm'] == arm, 'animal'].nunique()}" for arm in _in_order(rows)
        )
        for condition, rows in arms.groupby("condition")
    )
    return f"{text} Drug test, animals per arm: {listed}."


def _detectable(drug: Mapping[str, Any]) -> list[str]:
    found = (drug.get("interaction") or {}).get("detectable") or {}
    if found.get("value") is None:
        return []
    return [
        f"With these animals, an interaction of {formatting.number(found['value'])} (logit) "
        f"would be "
        "found with 80 % power at α = 0.05."
    ]


def _exclusions(metrics: Mapping[str, Any]) -> list[str]:
    n = metrics["n"]
    listed = formatting.join(metrics["exclude"]) if metrics["exclude"] else "none"
    return [
        f"Classes left out by configuration: {listed}.",
        f"Held-out clips of classes that were not trained, not counted: {n['left_out_clips']:,}.",
        f"Clips padded because the recording was too short, counted: {n['padded_clips']:,}.",
        "Recordings that could not be decoded are listed in the dataset's manifest and are not in "
        "this table.",
        formatting.left_out(metrics["drug"]),
    ]


def _division(metrics: Mapping[str, Any], provenance: Mapping[str, Any]) -> list[str]:
    seed = provenance.get("split seed")
    by = f" by seed {seed}" if seed is not None else ""
    return [
        "The cohort file does not record how animals were allocated. For the evaluation, whole "
        f"{metrics['group']}s were divided between training and testing{by} "
        f"({formatting.SCHEMES[metrics['scheme']]})."
    ]


def _outcomes(metrics: Mapping[str, Any]) -> list[str]:
    classes = len(metrics["fine"]["classes"])
    known = [f"Classifier: accuracy and mean-class accuracy over {classes} classes."]
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
    if "formula" in model:
        known.append(f"Mixed model: {model['formula']}.")
    return known


def _sexes(animals: pd.DataFrame) -> str:
    given = animals.loc[animals["sex"] != "", "sex"]
    if given.empty:
        return (
            f"{formatting.count(len(animals), 'animal')}; sex is not recorded in the cohort file."
        )
    counts = ", ".join(f"{name} {n}" for name, n in given.value_counts().sort_index().items())
    unknown = len(animals) - len(given)
    rest = f", not recorded {unknown}" if unknown else ""
    return f"{formatting.count(len(animals), 'animal')}; sex: {counts}{rest}."


def _procedures(table: pd.DataFrame, treated: pd.DataFrame) -> list[str]:
    known = [
        f"{formatting.count(table['video'].nunique(), 'recording')} on video, analysed at "
        f"{formatting.join([f'{fps:g}' for fps in sorted(table['fps'].unique())])} frames a second."
    ]
    if treated.empty:
        return known
    minutes = sorted(treated["minutes_post_dose"].dropna().unique())
    routes = sorted(set(treated["route"]) - {""})
    when = f"filmed {', '.join(f'{m:g}' for m in minutes)} minutes after the dose" if minutes else (
        "time after the dose not recorded"
    )  # fmt: skip
    how = f"route {formatting.join(routes)}" if routes else "route not recorded"
    return [*known, f"{_arms(treated)} {how.capitalize()}; {when}."]
