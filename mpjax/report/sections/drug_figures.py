"""Figures of the drug part: estimation plots, time course, dose-response, specificity."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from mpjax.formatting import estimate, number
from mpjax.report.drawing import (
    COLOURS,
    DASHES,
    GRID,
    INK,
    MARKERS,
    MUTED,
    arm_colours,
    colour_of,
    draw_interval,
    draw_series,
    mark,
    new_axes,
    new_figure,
    new_rows,
    note,
    shared_limits,
    to_svg,
    wrap_arm,
)
from mpjax.report.panels import Figures, Panel, drawn
from mpjax.report.sections.drug import by_condition, by_drug

_HALF = 0.22  # between the middle of an arm and its pre or post sessions, in arms
_EXPECTED = 5  # per cent of untreated held-out clips lie beyond the threshold, by its definition

Row = Mapping[str, Any]
Pairs = dict[str, list[tuple[float, float]]]  # per arm, every animal's score before and after
Effects = dict[str, Row]  # per arm but vehicle, its change minus vehicle's


def draw(found: Mapping[str, Any]) -> Figures:
    """Draws estimation plots, time course, dose-response and specificity."""
    arms = sorted(found.get("arms") or {}, key=lambda arm: arm != "vehicle")
    colours, specificity = arm_colours(arms), found.get("specificity") or {}
    responses = found.get("dose_response") or {}
    return drawn(
        {
            "estimation": _estimations(found, arms, colours),
            "time_course": _time_courses(found.get("contrasts") or {}, colours),
            "dose_response": _dose_responses(responses, colour_of(list(responses))),
            "locomotion": _locomotion(specificity.get("locomotion")),
            "shift": _shift(specificity.get("shift")),
            "manifold": _manifold((specificity.get("manifold") or {}).get("rows") or []),
        }
    )


def _estimations(found: Row, arms: Sequence[str], colours: Mapping[str, str]) -> Iterator[Panel]:
    sessions = found.get("sessions") or []
    shown: dict[str, tuple[Pairs, Effects]] = {}
    for condition in dict.fromkeys(row["condition"] for row in sessions):
        own = [row for row in sessions if row["condition"] == condition]
        pairs = {arm: _pairs([row for row in own if row["arm"] == arm]) for arm in arms}
        rows = (found.get("contrasts") or {}).get(condition, [])
        effects = {row["arm"]: row for row in rows if row["kind"] == "dose"}
        if any(pairs.values()):
            shown[condition] = ({arm: each for arm, each in pairs.items() if each}, effects)
    scores = shared_limits(
        score for pairs, _ in shown.values() for each in pairs.values() for pair in each
        for score in pair
    )  # fmt: skip
    spans = shared_limits(
        bound for _, effects in shown.values() for row in effects.values() for bound in _ends(row)
    )
    for i, (condition, (pairs, effects)) in enumerate(shown.items()):
        with new_figure(max(3.4, 0.65 + 0.9 * len(pairs)), 4.3) as figure:
            above, below = figure.subplots(2, sharex=True, height_ratios=[1.25, 1])
            _draw_estimation(above, below, pairs, effects, colours)
            above.set(ylim=scores, title=condition)
            below.set_ylim(spans)
            figure.align_ylabels()
        listed = "; ".join(
            f"{arm}: {estimate(row)} (n = {len(pairs.get(arm, []))})"
            for arm, row in effects.items()
        )
        yield Panel(
            to_svg(figure, f"estimation-{i}"),
            f"Estimation plot, {condition}. Above: each animal's pain score before and after the "
            f"dose, per arm. Below: change minus vehicle's change, logit scale. {listed}.",
        )


def _ends(row: Row) -> list[float]:
    """Returns what an axis of effects must show: zero, and the interval or the value alone."""
    return [0.0, *(row.get("ci95") or ([] if row["value"] is None else [row["value"]]))]


def _pairs(sessions: Sequence[Row]) -> list[tuple[float, float]]:
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


def _draw_estimation(
    above: Axes, below: Axes, pairs: Pairs, effects: Effects, colours: Mapping[str, str]
) -> None:
    """Draws a Cumming plot: each animal's score before and after, below it the effect with its CI.

    Source: Ho et al., Moving beyond P values: data analysis with estimation graphics, Nature
        Methods 16 (2019).
    """
    arms = list(pairs)
    for at, arm in enumerate(arms):
        places, colour = (at - _HALF, at + _HALF), colours[arm]
        for pair in pairs[arm]:
            above.plot(places, pair, "-o", color=colour, alpha=0.55, lw=0.9, ms=3.5, mew=0)
        for x, mean in zip(places, np.mean(pairs[arm], axis=0), strict=True):
            above.plot([x - 0.1, x + 0.1], [mean, mean], color=INK, lw=2.2, zorder=4)
        if arm in effects:
            draw_interval(below, at, effects[arm], colour=colour, marker="D")
            if effects[arm]["value"] is None:
                style = {"ha": "center", "va": "top", "fontsize": 7.5, "color": MUTED}
                note(below, "not\nestimable", (at, 0), (0, -4), **style)
    below.axhline(0, color=MUTED, lw=1, ls=DASHES)
    if "vehicle" in arms:
        below.plot(arms.index("vehicle"), 0, "o", color=MUTED, ms=5)
    above.set(ylabel="pain score (logit)\npre → post, each animal")
    below.set(ylabel="change − vehicle's\n(logit, 95 % CI)", xlim=(-0.5, len(arms) - 0.5))
    below.set_xticks(range(len(arms)), [wrap_arm(arm) for arm in arms])
    for axes in (above, below):
        axes.grid(True, axis="y")
        axes.tick_params(axis="x", length=0)
    above.tick_params(axis="x", labelbottom=False)


def _time_courses(
    contrasts: Mapping[str, Sequence[Row]], colours: Mapping[str, str]
) -> Iterator[Panel]:
    shown = {
        condition: [row for row in rows if row["kind"] == "time" and row["value"] is not None]
        for condition, rows in contrasts.items()
    }
    limits = shared_limits(bound for rows in shown.values() for row in rows for bound in _ends(row))
    for i, (condition, rows) in enumerate(shown.items()):
        if not rows:
            continue
        minutes = sorted({row["minutes_post_dose"] for row in rows})
        step = 0.025 * (minutes[-1] - minutes[0] or 1)
        with new_axes(3.6, 2.7) as (figure, axes):
            axes.axhline(0, color=MUTED, lw=1, ls=DASHES)
            for j, arm in enumerate(dict.fromkeys(row["arm"] for row in rows)):
                own = [row for row in rows if row["arm"] == arm]
                own.sort(key=lambda row: row["minutes_post_dose"])
                at = [row["minutes_post_dose"] + step * j for row in own]
                look = {"colour": colours[arm], "marker": MARKERS[j % len(MARKERS)]}
                draw_series(axes, at, own, width=1, label=arm, **look)
            axes.set(title=condition, xlabel="minutes after the dose", xticks=minutes)
            axes.set(ylabel="change − vehicle's (logit)", ylim=limits)
            figure.legend(loc="outside lower left", ncols=2, fontsize=8)
        listed = "; ".join(
            f"{row['arm']} after {row['minutes_post_dose']:g} minutes {estimate(row)}"
            for row in rows
        )
        alt = "Effect compared with vehicle over the minutes after the dose"
        yield Panel(to_svg(figure, f"time-{i}"), f"{alt}, {condition}. {listed}.")


def _dose_responses(responses: Mapping[str, Any], colours: Mapping[str, str]) -> Iterator[Panel]:
    """Draws per cent reversal by dose: a panel per drug, in it a curve per condition."""
    shown: dict[str, dict[str, Any]] = {}
    for condition, name, each in by_drug(responses):
        if any(row["value"] is not None for row in each["doses"]):
            shown.setdefault(name, {})[condition] = each
    doses = [row for drug in shown.values() for each in drug.values() for row in each["doses"]]
    limits = shared_limits([100.0, *(bound for row in doses for bound in _ends(row))])
    for i, (name, conditions) in enumerate(shown.items()):
        with new_axes(5.0, 3.2) as (figure, axes):
            _draw_curves(axes, conditions, colours)
            axes.set(title=name, ylim=limits)
            figure.legend(loc="outside upper left", ncols=3)
            svg = to_svg(figure, f"dose-response-{i}")
        listed = "; ".join(
            f"{condition}: "
            + ", ".join(
                f"{number(row['value'], 0)} % at {row['dose_mg_per_kg']:g} mg/kg"
                for row in each["doses"]
            )
            + f"; ED50 {estimate(each['ed50'], 0)}"
            for condition, each in conditions.items()
        )
        yield Panel(svg, f"Per cent reversal by the dose of {name} on a log axis. {listed}.")


def _draw_curves(axes: Axes, conditions: Mapping[str, Row], colours: Mapping[str, str]) -> None:
    axes.axhline(0, color=MUTED, lw=1, ls=DASHES)
    axes.axhline(100, color=GRID, lw=1)
    for i, (condition, each) in enumerate(conditions.items()):
        rows = [row for row in each["doses"] if row["value"] is not None]
        at = [row["dose_mg_per_kg"] * 1.03**i for row in rows]
        colour, marker, ed50 = colours[condition], MARKERS[i % len(MARKERS)], each["ed50"]
        draw_series(axes, at, rows, colour=colour, marker=marker, width=1.2, label=condition)
        if ed50["value"] is not None:
            mark(axes, ed50["value"], "ED50", colour=colour)
            if ed50.get("ci95") is not None:
                axes.axvspan(*ed50["ci95"], color=colour, alpha=0.08, lw=0)
    doses = {row["dose_mg_per_kg"] for each in conditions.values() for row in each["doses"]}
    axes.set_xscale("log")
    axes.set_xticks(sorted(doses), [f"{dose:g}" for dose in sorted(doses)])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set(xlim=(min(doses) / 1.4, max(doses) * 1.4), xlabel="dose (mg/kg, log axis)")
    axes.set_ylabel("reversal (%), minus vehicle's")


def _locomotion(found: Row | None) -> Iterator[Panel]:
    named = {f"{name} · {row['arm']}": row for name, row in by_condition(found)}
    rows = {name: row for name, row in named.items() if row.get("value") is not None}
    if rows:
        label, height = "change of log motion − vehicle's (95 % CI)", 0.75 + 0.3 * len(rows)
        with new_rows(list(rows), label, height=height, line=0) as (figure, axes):
            for y, row in enumerate(rows.values()):
                draw_interval(axes, y, row, colour=COLOURS[1], vertical=False)
        listed = "; ".join(f"{name} {estimate(row)}" for name, row in rows.items())
        yield Panel(to_svg(figure, "locomotion"), f"Effect of the drug on locomotion. {listed}.")


def _shift(found: Row | None) -> Iterator[Panel]:
    named = {f"{name} · {row['arm']}": row for name, row in by_condition(found)}
    rows = {name: row for name, row in named.items() if row["along"].get("value") is not None}
    parts = (
        ("along", COLOURS[1], "o", -0.14, "along the pain axis"),
        ("orthogonal", COLOURS[0], "D", 0.14, "orthogonal to it"),
    )
    if rows:
        label, height = "shift of the embedding (95 % CI)", 1.05 + 0.36 * len(rows)
        with new_rows(list(rows), label, height=height, line=0) as (figure, axes):
            for part, colour, marker, off, key in parts:
                look: dict[str, Any] = {"colour": colour, "marker": marker, "vertical": False}
                for y, row in enumerate(rows.values()):
                    draw_interval(axes, y + off, row[part], **look)
                axes.plot([], [], marker, color=colour, ms=6, mec="white", label=key)
            figure.legend(loc="outside upper left", ncols=2, handletextpad=0.3)
        listed = "; ".join(
            f"{name} along {number(row['along']['value'])}, orthogonal "
            f"{number(row['orthogonal'].get('value'))}"
            for name, row in rows.items()
        )
        yield Panel(to_svg(figure, "shift"), f"Shift of the embedding under the drug. {listed}.")


def _manifold(found: Sequence[Row]) -> Iterator[Panel]:
    """Draws the share of clips far from the training data; flagged rows are marked."""
    labels = [f"{row['condition']} · {row['arm']} · {row['phase']}" for row in found]
    label = f"distant clips (%); dashed: {_EXPECTED} %"
    if labels:
        height = 1.0 + 0.24 * len(labels)
        with new_rows(labels, label, height=height, line=_EXPECTED) as (figure, axes):
            for y, row in enumerate(found):
                if row["value"] is None:
                    continue
                x = 100 * row["value"]
                colour, marker = (COLOURS[0], "X") if row["flag"] else (COLOURS[1], "o")
                axes.plot(x, y, marker, color=colour, ms=7, mec="white", clip_on=False)
                if row["flag"]:
                    note(axes, "flag", (x, y), (7, 0), va="center")
            axes.set_xlim(0, max(12, *(112 * (row["value"] or 0) for row in found)))
            svg = to_svg(figure, "manifold")
        flagged = [label for label, row in zip(labels, found, strict=True) if row["flag"]]
        listed = f"Flagged: {', '.join(flagged) or 'none'}."
        yield Panel(svg, f"Share of clips far from the training data. {listed}")
