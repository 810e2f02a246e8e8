"""The figures of the drug part, each with its text alternative."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mpjax import formatting
from mpjax.report.panels import Figures, Panel, make_panel
from mpjax.report.plots import drug, specificity
from mpjax.report.plots.style import arm_colours, colour_of
from mpjax.report.sections.drug import by_condition, by_drug

Span = tuple[float, float]


def draw_drug(found: Mapping[str, Any]) -> Figures:
    """Draws estimation plots, time course, dose-response and specificity, as far as there are any.

    Args:
        found: what metrics.json holds under `drug`.
    """
    arms = list(found.get("arms") or {})
    arms.sort(key=lambda arm: arm != "vehicle")
    colours = arm_colours(arms)
    contrasts = found.get("contrasts") or {}
    figures = {
        "estimation": list(_estimation(found, arms, colours)),
        "time_course": list(_time_course(contrasts, colours)),
        "dose_response": list(_dose_response(found.get("dose_response") or {})),
        **dict(_specificity(found.get("specificity") or {})),
    }
    return {name: panels for name, panels in figures.items() if panels}


def _estimation(
    found: Mapping[str, Any], arms: Sequence[str], colours: Mapping[str, str]
) -> Iterator[Panel]:
    sessions = found.get("sessions") or []
    shown: dict[str, tuple[dict, dict]] = {}
    for condition in dict.fromkeys(row["condition"] for row in sessions):
        own = [row for row in sessions if row["condition"] == condition]
        pairs = {arm: _pairs([row for row in own if row["arm"] == arm]) for arm in arms}
        rows = (found.get("contrasts") or {}).get(condition, [])
        effects = {row["arm"]: row for row in rows if row["kind"] == "dose"}
        if any(pairs.values()):
            shown[condition] = ({arm: each for arm, each in pairs.items() if each}, effects)
    scores = _limits(
        score for pairs, _ in shown.values() for each in pairs.values() for pair in each
        for score in pair
    )  # fmt: skip
    spans = _limits(
        bound for _, effects in shown.values() for row in effects.values() for bound in _ends(row)
    )
    for i, (condition, (pairs, effects)) in enumerate(shown.items()):
        told = "; ".join(
            f"{arm}: {formatting.estimate(row)} (n = {len(pairs.get(arm, []))})"
            for arm, row in effects.items()
        )
        svg = drug.draw_estimation(
            pairs, effects, colours=colours, limits=(scores, spans), title=condition,
            name=f"estimation-{i}",
        )  # fmt: skip
        yield make_panel(
            svg,
            f"Estimation plot, {condition}. Above: each animal's pain score before and after the "
            f"dose, per arm. Below: change minus vehicle's change, logit scale. {told}.",
        )


def _limits(values: Iterable[float]) -> Span:
    """Returns the ends of an axis that all panels share, so that they can be compared."""
    values = list(values) or [0.0]
    margin = 0.06 * (max(values) - min(values)) or 1.0
    return min(values) - margin, max(values) + margin


def _ends(row: Mapping[str, Any]) -> list[float]:
    """Returns what an axis of effects must show: zero, and the interval or the value alone."""
    return [0.0, *(row.get("ci95") or ([] if row["value"] is None else [row["value"]]))]


def _pairs(sessions: Sequence[Mapping[str, Any]]) -> list[tuple[float, float]]:
    """Returns the mean score before and after of every animal that has both."""
    pairs = []
    for animal in dict.fromkeys(row["animal"] for row in sessions):
        sides = [
            [row["score"] for row in sessions if (row["animal"], row["phase"]) == (animal, phase)]
            for phase in ("pre", "post")
        ]
        if all(sides):
            before, after = (sum(side) / len(side) for side in sides)
            pairs.append((before, after))
    return pairs


def _time_course(
    contrasts: Mapping[str, Sequence[Mapping[str, Any]]], colours: Mapping[str, str]
) -> Iterator[Panel]:
    shown = {
        condition: [row for row in rows if row["kind"] == "time" and row["value"] is not None]
        for condition, rows in contrasts.items()
    }
    limits = _limits(bound for rows in shown.values() for row in rows for bound in _ends(row))
    for i, (condition, rows) in enumerate(shown.items()):
        if not rows:
            continue
        arms: dict[str, list] = {}
        for row in rows:
            arms.setdefault(row["arm"], []).append(row)
        told = "; ".join(
            f"{row['arm']} after {row['minutes_post_dose']:g} minutes {formatting.estimate(row)}"
            for row in rows
        )
        svg = drug.draw_time_course(
            arms, colours=colours, limits=limits, title=condition, name=f"time-{i}"
        )
        yield make_panel(
            svg, f"Effect against vehicle over the minutes after the dose, {condition}. {told}."
        )


def _dose_response(responses: Mapping[str, Any]) -> Iterator[Panel]:
    """Draws a panel per drug, in it a curve per condition."""
    shown: dict[str, dict[str, Any]] = {}
    for condition, name, each in by_drug(responses):
        if any(row["value"] is not None for row in each["doses"]):
            shown.setdefault(name, {})[condition] = each
    curves = [each for conditions in shown.values() for each in conditions.values()]
    limits = _limits(
        [100.0, *(bound for each in curves for row in each["doses"] for bound in _ends(row))]
    )
    for i, (name, conditions) in enumerate(shown.items()):
        told = "; ".join(
            f"{condition}: "
            + ", ".join(
                f"{formatting.number(row['value'], 0)} % at {row['dose_mg_per_kg']:g} mg/kg"
                for row in each["doses"]
            )
            + f"; ED50 {formatting.estimate(each['ed50'], 0)}"
            for condition, each in conditions.items()
        )
        svg = drug.draw_dose_response(
            conditions, colours=colour_of(list(responses)), limits=limits, title=name,
            name=f"dose-response-{i}",
        )  # fmt: skip
        yield make_panel(
            svg, f"Per cent reversal against the dose of {name} on a log axis. {told}."
        )


def _specificity(found: Mapping[str, Any]) -> Iterator[tuple[str, list[Panel]]]:
    moved = [
        (f"{condition} · {row['arm']}", row)
        for condition, row in by_condition(found.get("locomotion"))
        if row.get("value") is not None
    ]
    if moved:
        svg = drug.draw_forest(
            moved, label="log motion: change − vehicle's (95 % CI)", name="locomotion"
        )
        told = "; ".join(f"{label} {formatting.estimate(row)}" for label, row in moved)
        yield "locomotion", [make_panel(svg, f"Effect of the drug on locomotion. {told}.")]
    shifts = [
        (f"{condition} · {row['arm']}", row)
        for condition, row in by_condition(found.get("shift"))
        if row["along"].get("value") is not None
    ]
    if shifts:
        told = "; ".join(
            f"{label} along {formatting.number(row['along']['value'])}, orthogonal "
            f"{formatting.number(row['orthogonal'].get('value'))}"
            for label, row in shifts
        )
        svg = specificity.draw_shift(shifts, name="shift")
        yield "shift", [make_panel(svg, f"Shift of the embedding under the drug. {told}.")]
    far = [
        (f"{row['condition']} · {row['arm']} · {row['phase']}", row)
        for row in (found.get("manifold") or {}).get("rows") or []
    ]
    if far:
        flagged = [label for label, row in far if row["flag"]]
        svg = specificity.draw_manifold(far, name="manifold")
        told = f"Flagged: {', '.join(flagged) or 'none'}."
        yield "manifold", [make_panel(svg, f"Share of clips far from the training data. {told}")]
