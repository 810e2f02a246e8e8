"""The drug part as a trial: one score per animal and session, one change per animal."""

from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.special import logit

from mpjax.analysis.pain_score import MARGIN, pain_probability, why_no_pain_score
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.units import unit_of
from mpjax.taxonomy import NO_PAIN, Taxonomy, parse_fine_name

VEHICLE = "vehicle"
OUTCOMES = {
    "pain": "probability of any pain",
    "own_type": "probability of the pain type of the animal's own condition",
}
PHASES = ("baseline", "pre", "post")

# What distinguishes an animal's sessions.
_SESSION = ["animal", "phase", "day", "minutes_post_dose"]
_OF_ANIMAL = ["cage", "sex", "condition", "coarse", "arm", "drug", "dose_mg_per_kg"]


class NoTrial(ValueError):
    """The cohort allows no inference on a drug; the message says why."""


def score_sessions(
    predictions: Predictions, p: Float[np.ndarray, "n fine"], *, outcome: str
) -> pd.DataFrame:
    """Scores every session of the drug part.

    Clips are averaged within a recording, recordings within a session, so that long recordings
    do not count more. An animal's sessions are `baseline` (untreated, before induction: day < 0),
    `pre` (untreated, on the day of its treatment, or else the last recorded day before it; or
    filmed before the dose: minutes_post_dose < 0) and `post`. Other sessions are left out.

    Args:
        predictions: with rows of split `drug`.
        p: calibrated probabilities, rows as in `predictions.table`.
        outcome: the score's probability, see `OUTCOMES`.

    Returns:
        A row per animal and session: `animal, cage, sex, condition, coarse, arm, drug,
        dose_mg_per_kg, phase, day, minutes_post_dose` (NaN: not given), `clips`, `p_pain, p_own`
        (means of probabilities) and `score` (mean of the logit of the outcome's probability).

    Raises:
        NoTrial: no drug part, no vehicle arm, an animal on several arms, no probability of pain,
            or no condition of the drug part is one that was trained on.
    """
    clips = predictions.table[predictions.table["split"] == "drug"]
    _check_trial(clips, predictions.taxonomy)
    clips = with_arms(clips)
    taxonomy, p = predictions.taxonomy, p[clips.index]
    coarse = clips["condition"].map(_coarse_of_conditions(taxonomy))
    pain = pain_probability(taxonomy, p)
    own = np.select(
        [coarse.eq(name).to_numpy() for name in taxonomy.coarse],
        list(taxonomy.coarse_probabilities(p).T),
        np.nan,
    )
    # An animal of a condition without pain has no pain type of its own.
    own = np.where(coarse == NO_PAIN, np.nan, own)
    chosen = own if outcome == "own_type" else pain
    chosen = np.where(coarse == NO_PAIN, pain, chosen)
    if coarse.isna().all():
        raise NoTrial(
            f"the conditions of the drug part ({', '.join(sorted(set(clips['condition'])))}) are "
            "none of the trained ones"
        )
    clips = clips.assign(
        coarse=coarse.fillna(""),
        p_pain=pain,
        p_own=own,
        score=logit(np.clip(chosen, MARGIN, 1 - MARGIN)),
        clips=1,
    )
    clips = clips[(clips["phase"] != "") & (clips["coarse"] != "")]
    how = dict.fromkeys(_OF_ANIMAL, "first") | {"clips": "sum"}
    how |= dict.fromkeys(("p_pain", "p_own", "score"), "mean")
    videos = clips.groupby([*_SESSION, "video"], dropna=False, as_index=False).agg(how)
    sessions = videos.groupby(_SESSION, dropna=False, as_index=False).agg(how)
    return sessions.sort_values(
        ["condition", "arm", "animal", "phase", "minutes_post_dose"],
        key=lambda column: column.map(PHASES.index) if column.name == "phase" else column,
        ignore_index=True,
    )


def _check_trial(clips: pd.DataFrame, taxonomy: Taxonomy) -> None:
    if clips.empty:
        raise NoTrial("the cohort has no drug part (no row of split 'drug')")
    if (clips["drug"] == "").all():
        raise NoTrial("no row of split 'drug' names a drug or vehicle")
    if why := why_no_pain_score(taxonomy):
        raise NoTrial(why)
    if (clips["animal"] == "").any():
        raise NoTrial("rows of split 'drug' have no animal id; the animal is the unit of a test")
    given = set(clips["drug"]) - {""}
    if VEHICLE not in given:
        raise NoTrial(
            f"no vehicle arm (drugs given: {', '.join(sorted(given))}): what {VEHICLE!r} alone "
            "does over a session cannot be distinguished from the drug's effect"
        )
    if given == {VEHICLE}:
        raise NoTrial("no drug arm: every treated row is vehicle")


def with_arms(clips: pd.DataFrame) -> pd.DataFrame:
    """Adds the arm of each animal, with its drug and dose, and the phase of each clip ("": none).

    Raises:
        NoTrial: an animal is on several arms.
    """
    treated = clips[clips["drug"] != ""]
    dose = treated["dose_mg_per_kg"].where(treated["drug"] != VEHICLE).fillna(0.0)
    names = [f"{d} {n:g} mg/kg" if n else d for d, n in zip(treated["drug"], dose, strict=True)]
    animals = treated.assign(dose_mg_per_kg=dose, arm=names).groupby("animal")
    arms = animals["arm"].nunique()
    if len(several := arms.index[arms > 1]):
        raise NoTrial(
            f"{len(several)} animal(s) receive several arms, first {several[0]!r}: a cross-over is "
            "not analysed, only arms of separate animals"
        )
    untreated = clips["drug"] == ""
    day = clips["animal"].map(animals["day"].min())
    before = untreated & (clips["day"] >= 0) & (clips["day"] <= day)
    last_before = clips["animal"].map(clips[before].groupby("animal")["day"].max())
    is_pre = (before & (clips["day"] == last_before)) | (
        ~untreated & (clips["minutes_post_dose"] < 0)
    )
    phase = np.select(
        [untreated & (clips["day"] < 0), is_pre, ~untreated], ["baseline", "pre", "post"], ""
    )
    given = animals[["arm", "drug", "dose_mg_per_kg"]].first()
    columns = {name: clips["animal"].map(given[name]) for name in given}
    # The minutes of a session before the dose distinguish nothing.
    minutes = clips["minutes_post_dose"].where(phase == "post")
    clips = clips.assign(phase=phase, minutes_post_dose=minutes, **columns)
    return clips[clips["arm"].notna()]


def _coarse_of_conditions(taxonomy: Taxonomy) -> dict[str, str]:
    """Returns the coarse group of each condition: that of its days after induction."""
    groups: dict[str, str] = {}
    for name, group in zip(taxonomy.fine, taxonomy.fine_to_coarse, strict=True):
        condition, day = parse_fine_name(name) or (name, 0)
        if day >= 0:
            groups.setdefault(condition, taxonomy.coarse[group])
    return groups


def left_out(predictions: Predictions, animals: pd.DataFrame) -> list[dict[str, Any]]:
    """Lists the animals of the drug part that are in no test (not in `changes`), and why."""
    clips = predictions.table[predictions.table["split"] == "drug"]
    known = _coarse_of_conditions(predictions.taxonomy)
    arms = with_arms(clips).groupby("animal")["arm"].first()
    rows = []
    for animal, own in clips[~clips["animal"].isin(animals["animal"])].groupby("animal"):
        condition, arm = str(own["condition"].iloc[0]), str(arms.get(animal, ""))
        why = "no session before, or none after, the dose"
        if condition not in known:
            why = f"condition {condition!r} is none of the trained ones"
        elif not arm:
            why = "given neither a drug nor vehicle"
        rows.append({"animal": str(animal), "condition": condition, "arm": arm, "why": why})
    return rows


def unit_of_trial(sessions: pd.DataFrame) -> str:
    """Returns `cage` where cages hold several animals and each was given one arm; else `animal`."""
    several = sessions.groupby("cage")["animal"].nunique().max() > 1
    group = "cage" if several else "animal"
    return unit_of(sessions, sessions["arm"].to_numpy(), group=group)


def changes(sessions: pd.DataFrame, value: str = "score") -> pd.DataFrame:
    """Compares one column between an animal's sessions, where it has a `pre` and a `post`.

    Returns:
        A row per animal: `animal, cage, sex, condition, coarse, arm, drug, dose_mg_per_kg`,
        `baseline` (NaN: none), `pre`, `post` (means of sessions) and `change`, post - pre.
    """
    animals = sessions.groupby("animal")[_OF_ANIMAL].first()
    means = sessions.pivot_table(index="animal", columns="phase", values=value, aggfunc="mean")
    means = means.reindex(columns=list(PHASES))
    wide = animals.join(means).dropna(subset=["pre", "post"]).reset_index()
    return wide.assign(change=wide["post"] - wide["pre"])


def split_arms(table: pd.DataFrame, column: str = "change") -> dict[str, Float[np.ndarray, "_"]]:
    """Returns the values of `column` per arm, one per animal, in the order of the table."""
    return {str(arm): rows[column].to_numpy(float) for arm, rows in table.groupby("arm")}


def why_not_compared(groups: dict[str, Float[np.ndarray, "_"]]) -> str | None:
    """Says why the groups' means cannot be compared; None where they can."""
    single = [f"{name} has {len(values)}" for name, values in groups.items() if len(values) < 2]
    if single:
        return f"each arm needs 2 animals (or cages) with sessions before and after: {single[0]}"
    if np.isclose(sum(np.ptp(values) for values in groups.values()), 0):
        return "within every arm all change alike, so there is no variance to judge by"
    return None


def dose_arms(table: pd.DataFrame) -> list[str]:
    """Returns the arms with a drug, by drug and then by dose."""
    arms = table[table["drug"] != VEHICLE].sort_values(["drug", "dose_mg_per_kg"])
    return [str(arm) for arm in arms["arm"].unique()]


def top_arms(table: pd.DataFrame) -> dict[str, str]:
    """Returns, per drug, the arm of its highest dose."""
    arms = table[table["drug"] != VEHICLE].sort_values("dose_mg_per_kg")
    return {str(drug): str(arm) for drug, arm in arms.groupby("drug")["arm"].last().items()}


def pain_types(table: pd.DataFrame) -> list[str]:
    """Returns the coarse groups with pain, neuropathic and inflammatory (so called) first."""
    found = sorted(set(table["coarse"]) - {NO_PAIN, ""})
    first = [name for name in ("neuropathic", "inflammatory") if name in found]
    return [*first, *(name for name in found if name not in first)]


def to_records(sessions: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns the sessions for metrics.json; what is not known is None."""
    columns = sessions.drop(columns="drug").astype(object)
    return columns.where(columns.notna(), None).to_dict("records")
