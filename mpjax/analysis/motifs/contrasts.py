"""The contrasts: pain with no pain, days with days, drug with vehicle, label with label."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from mpjax.analysis.drug import sessions as drug_sessions
from mpjax.analysis.drug.sessions import VEHICLE, NoTrial
from mpjax.analysis.motifs.usage import SESSION, Measured
from mpjax.analysis.pain_score import why_no_pain_score
from mpjax.analysis.stats import effect_size, permutation
from mpjax.analysis.stats.estimates import ALPHA
from mpjax.analysis.stats.multiple_testing import false_discovery_rate
from mpjax.analysis.stats.units import unit_of
from mpjax.data.splits import classification_rows
from mpjax.taxonomy import NO_PAIN, Taxonomy, parse_fine_name

# The figures that are adjusted together, within one kind of contrast.
FAMILIES = {
    "usage": "usage", "unlike": "usage", "bout_length": "bouts", "bouts_per_minute": "bouts",
    "transition": "transitions",
}  # fmt: skip
_LEAST_SHARE = 0.5  # of a contrast's units that must have a figure for it to be tested


@dataclasses.dataclass(frozen=True)
class Setting:
    """How contrasts are tested."""

    group: str  # `animal` or `cage`, what the cohort is divided by
    permutations: int  # drawn per contrast
    seed: int  # of the draws


Row = dict[str, Any]


def contrast_all(
    recordings: Measured, *, taxonomy: Taxonomy, setting: Setting
) -> tuple[list[Row], list[Row]]:
    """Makes every contrast that the cohort allows.

    Returns:
        A row per test, with `q` adjusted within its family; and, of contrasts that could not be
        made, {"kind", "contrast", "why"}.
    """
    parts = [_pain, _days, _drug] if all(map(parse_fine_name, taxonomy.fine)) else [_labels, _drug]
    found = [row for part in parts for row in part(recordings, taxonomy, setting)]
    rows = [row for row in found if "why" not in row]
    for own in _by_family(rows).values():
        for row, q in zip(own, false_discovery_rate([r["p"] for r in own]), strict=True):
            row["q"] = q
    return rows, [row for row in found if "why" in row]


def describe_families(rows: Sequence[Row]) -> list[Row]:
    """Returns per family how many tests it has and finds, and whether it could find one at all."""
    return [
        {
            "family": family,
            "tests": len(own),
            "found": sum(row["q"] <= ALPHA for row in own),
            "least_p": (least := min(row["least_p"] for row in own)),
            # A single effect must have a p below alpha / tests.
            "could_find_one": least * len(own) <= ALPHA,
        }
        for family, own in _by_family(rows).items()
    ]


def _by_family(rows: Sequence[Row]) -> dict[str, list[Row]]:
    families: dict[str, list[Row]] = {}
    for row in rows:
        families.setdefault(row["family"], []).append(row)
    return families


def _what(kind: str, contrast: str, group: str, reference: str) -> Row:
    return {"kind": kind, "contrast": contrast, "group": group, "reference": reference}


def _why(kind: str, contrast: str, why: str) -> Row:
    return {"kind": kind, "contrast": contrast, "why": why}


def coarse_of(recordings: Measured, taxonomy: Taxonomy) -> pd.Series:
    """Returns the coarse class of each recording; empty for one of no (single) trained class."""
    names = {label: taxonomy.coarse[group] for label, group in enumerate(taxonomy.fine_to_coarse)}
    return recordings.table["label"].map(lambda label: names.get(label, ""))


def _pain(recordings: Measured, taxonomy: Taxonomy, setting: Setting) -> Iterator[Row]:
    """Yields each pain type against no pain, over the days on which both were filmed."""
    if why := why_no_pain_score(taxonomy):
        yield _why("pain", "pain against no pain", why)
        return
    sessions = _untreated(recordings, taxonomy)
    coarse = sessions.table["coarse"]
    free = sessions.table.groupby("animal")["coarse"].transform(lambda own: (own == NO_PAIN).all())
    for kind in [name for name in taxonomy.coarse if name != NO_PAIN]:
        either = sessions.take((coarse == kind) | free)
        days = [set(own["day"]) for _, own in either.table.groupby(either.table["coarse"])]
        shared = set.intersection(*days) if len(days) == 2 else set()
        if shared:
            either = either.take(either.table["day"].isin(shared))
        what = _what("pain", f"{kind} against {NO_PAIN}", kind, NO_PAIN)
        if not shared:
            what["note"] = "filmed on no common day, so days and pain cannot be distinguished"
        yield from _two_groups(either, either.table["coarse"] == kind, setting, what)


def _untreated(recordings: Measured, taxonomy: Taxonomy) -> Measured:
    """Returns the sessions outside the drug part that are of a trained class."""
    table = recordings.table
    untreated = (table["split"] != "drug") & (table["drug"] == "")
    kept = recordings.take(untreated & (table["label"] >= 0))
    return kept.assign(coarse=coarse_of(kept, taxonomy)).average(SESSION)


def _per_unit(sessions: Measured, unit: str, by: str) -> Measured:
    """Averages sessions per animal (then per cage, where cages are the units) and value of `by`."""
    units = sessions.average(["animal", by])
    return units.average(["cage", by]) if unit == "cage" else units


def _two_groups(sessions: Measured, treated: pd.Series, setting: Setting, what: Row) -> list[Row]:
    """Compares two groups of animals (or cages) by the mean over each one's sessions."""
    unit = unit_of(sessions.table, treated.to_numpy(), group=setting.group)
    units = _per_unit(sessions.assign(treated=treated), unit, "treated")
    side = units.table["treated"].to_numpy(bool)
    sizes = {"group": int(side.sum()), "reference": int((~side).sum())}
    if min(sizes.values()) < 2:
        why = (
            f"each side needs 2 {unit}s; {what['group']} has {sizes['group']}, "
            f"{what['reference']} {sizes['reference']}"
        )
        return [_why(what["kind"], what["contrast"], why)]
    units = _testable(units)
    tested = permutation.compare_groups(
        units.values, side, permutations=setting.permutations, seed=setting.seed
    )
    effects = _effects(units.values[side], units.values[~side])
    return _rows(units, tested, effects, what | {"unit": unit})


def _testable(units: Measured) -> Measured:
    """Returns the figures that enough units have and that vary among them."""
    values = pd.DataFrame(units.values)
    able = (values.notna().mean() >= _LEAST_SHARE) & (values.max() > values.min())
    kept = np.flatnonzero(able)
    measures = tuple(units.measures[column] for column in kept)
    return dataclasses.replace(units, measures=measures, values=units.values[:, kept])


def _effects(
    group: Float[np.ndarray, "n m"], reference: Float[np.ndarray, "r m"] | None = None
) -> list[Row]:
    """Returns per figure both sides' means, their difference and its standardised size.

    Without a reference, `group` holds changes of animals, whose mean is the difference.
    """
    if reference is None:
        found, reference = effect_size.standardised_mean(group), group[:0]
    else:
        found = effect_size.hedges_g(group, reference)
    sizes = [np.isfinite(side).sum(0).tolist() for side in (group, reference)]
    return [
        {
            "effect": effect,
            "difference": own if own is None or other is None else own - other,
            "mean": own,
            "reference_mean": other,
            "n": {"group": n, "reference": n_other},
        }
        for effect, own, other, n, n_other in zip(
            found, _means(group), _means(reference), *sizes, strict=True
        )
    ]


def _means(values: Float[np.ndarray, "n m"]) -> list[float | None]:
    """Returns the mean of each figure without missing values; None where there is no value."""
    columns = (own[np.isfinite(own)] for own in values.T)
    return [float(own.mean()) if len(own) else None for own in columns]


def _rows(
    units: Measured, tested: permutation.Tested, effects: Sequence[Row], what: Row
) -> list[Row]:
    """Returns a row per figure that has a p."""
    return [
        {
            "family": f"{what['kind']}: {FAMILIES[measure.kind]}", **what,
            "measure": measure.kind, "motif": measure.motif, "to": measure.to,
            **effect, "p": float(p), "least_p": tested.least_p,
        }
        for measure, p, effect in zip(units.measures, tested.p, effects, strict=True)
        if np.isfinite(p)
    ]  # fmt: skip


def _days(recordings: Measured, taxonomy: Taxonomy, setting: Setting) -> Iterator[Row]:
    """Yields each condition's trend over days, and that of pain against that without."""
    if not taxonomy.coarse:
        yield _why("days", "trend over days", "there are no coarse classes")
        return
    sessions = _untreated(recordings, taxonomy)
    courses: dict[str, list[Measured]] = {}
    for (condition, kind), own in sessions.table.groupby(["condition", "coarse"]):
        what = _what("days", f"{condition} over days", str(condition), "")
        unit = unit_of(own, own["condition"].to_numpy(), group=setting.group)
        found = _course(sessions.take(sessions.table.index.isin(own.index)), unit)
        if isinstance(found, str):
            if len(set(own["day"])) > 1 or kind != NO_PAIN:  # a baseline day alone is no course
                yield _why("days", what["contrast"], found)
            continue
        units, time, place = found
        tested = permutation.judge_trend(
            units.values, time, place, permutations=setting.permutations, seed=setting.seed
        )
        each = permutation.slopes(units.values, time, place)
        yield from _rows(units, tested, _effects(each), what | {"unit": unit})
        first = units.table.groupby(place).first()
        courses.setdefault(str(kind), []).append(
            Measured(first.assign(coarse=kind), units.measures, each)
        )
    for kind in [name for name in courses if name != NO_PAIN and NO_PAIN in courses]:
        yield from _two_courses(courses[kind], courses[NO_PAIN], kind, setting)


def _course(
    sessions: Measured, unit: str
) -> tuple[Measured, Float[np.ndarray, " n"], np.ndarray] | str:
    """Returns the figures per animal (or cage) and day, the day from 0 to 1, and whose they are.

    The day is its rank among the recorded ones, so a slope is the change from the first to the
    last of them. Or why there is no course.
    """
    daily = _per_unit(sessions, unit, "day")
    daily = daily.take(daily.table.groupby(unit)["day"].transform("nunique") > 1)
    place = pd.factorize(daily.table[unit])[0]
    if not len(place) or place.max() < 1:
        return f"fewer than 2 {unit}s were filmed on 2 days or more"
    rank = np.unique(daily.table["day"], return_inverse=True)[1]
    return _testable(daily), rank / max(rank.max(), 1), place


def _two_courses(
    pain: Sequence[Measured], free: Sequence[Measured], kind: str, setting: Setting
) -> list[Row]:
    """Compares the slopes of animals in pain with those of animals without."""
    parts = [*pain, *free]
    shared = set.intersection(*(set(part.measures) for part in parts))
    names = tuple(measure for measure in parts[0].measures if measure in shared)
    values = [part.values[:, [part.measures.index(name) for name in names]] for part in parts]
    table = pd.concat([part.table for part in parts], ignore_index=True)
    contrast = f"trend of {kind} against that of {NO_PAIN}"
    what = _what("days_against_no_pain", contrast, kind, NO_PAIN)
    joined = Measured(table, names, np.concatenate(values))
    return _two_groups(joined, table["coarse"] == kind, setting, what)


def _drug(recordings: Measured, taxonomy: Taxonomy, setting: Setting) -> Iterator[Row]:
    """Yields the change from before to after the dose of every arm against vehicle's."""
    del taxonomy
    part = recordings.take(recordings.table["split"] == "drug")
    given = set(part.table["drug"]) - {""}
    if not given:
        return
    try:
        if VEHICLE not in given or given == {VEHICLE}:
            missing = "drug" if VEHICLE in given else VEHICLE
            raise NoTrial(f"the drug part has no {missing} arm")
        changed = _changes(part)
    except NoTrial as error:
        yield _why("drug", "drug against vehicle", str(error))
        return
    setting = dataclasses.replace(setting, group=drug_sessions.unit_of_trial(changed.table))
    for condition in sorted(set(changed.table["condition"])):
        own = changed.take(changed.table["condition"] == condition)
        for arm in drug_sessions.dose_arms(own.table):
            both = own.take(own.table["arm"].isin([arm, VEHICLE]))
            what = _what("drug", f"{condition}: {arm} against {VEHICLE}", arm, VEHICLE)
            what["condition"] = condition
            yield from _two_groups(both, both.table["arm"] == arm, setting, what)


def _changes(part: Measured) -> Measured:
    """Returns post - pre per animal that has both, phases as in `drug_sessions.score_sessions`."""
    table = drug_sessions.with_arms(part.table)
    marked = part.take(part.table.index.isin(table.index))
    marked = dataclasses.replace(marked, table=table.reset_index(drop=True))
    marked = marked.take(marked.table["phase"].isin(["pre", "post"]))
    phases = marked.average(["animal", "phase", "day", "minutes_post_dose"])
    phases = phases.average(["animal", "phase"])
    phases = phases.take(phases.table["animal"].duplicated(keep=False))
    if not len(phases.table):
        raise NoTrial("no animal has a session before and one after its dose")
    pre, post = (phases.take(phases.table["phase"] == phase) for phase in ("pre", "post"))
    return dataclasses.replace(post, values=post.values - pre.values)


def _labels(recordings: Measured, taxonomy: Taxonomy, setting: Setting) -> Iterator[Row]:
    """Yields each label against all others."""
    table = recordings.table
    held = recordings.take(classification_rows(table))
    if not len(held.table):
        yield _why("label", "label against the others", "no recording has a single label")
        return
    several = held.table[["animal", "label"]].drop_duplicates()["animal"].duplicated().any()
    for index in sorted(set(held.table["label"])):
        name, chosen = taxonomy.fine[index], held.table["label"] == index
        what = _what("label", f"{name} against the others", name, "the others")
        compare = _within_animals if several else _two_groups
        yield from compare(held, chosen, setting, what)


def _within_animals(held: Measured, treated: pd.Series, setting: Setting, what: Row) -> list[Row]:
    """Compares an animal's recordings of one label with its others."""
    animal = held.table["animal"]
    inside = treated.groupby(animal).transform("nunique").to_numpy() > 1
    if (both := animal[inside].nunique()) < 2:
        why = f"{both} animal(s) have recordings of it and of another label; 2 are needed"
        return [_why(what["kind"], what["contrast"], why)]
    held, chosen = _testable(held.take(inside)), treated.to_numpy()[inside]
    place = pd.factorize(held.table["animal"])[0]
    tested = permutation.compare_within(
        held.values, chosen, place, permutations=setting.permutations, seed=setting.seed
    )
    differences = permutation.slopes(held.values, chosen.astype(float), place)
    effects = _effects(differences)
    sides = zip(_means(held.values[chosen]), _means(held.values[~chosen]), strict=True)
    for effect, (own, others) in zip(effects, sides, strict=True):
        effect |= {"mean": own, "reference_mean": others}
    return _rows(held, tested, effects, what | {"unit": "recording"})
