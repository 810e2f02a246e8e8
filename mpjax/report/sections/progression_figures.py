"""Figures of the course of pain: trajectories, excess over no pain, time within a recording."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mpjax.formatting import number, span
from mpjax.report.drawing import (
    DASHES,
    MUTED,
    colour_of,
    draw_series,
    mark,
    marker_of,
    new_axes,
    shared_limits,
    to_svg,
)
from mpjax.report.panels import Figures, Panel, drawn
from mpjax.report.sections.progression import list_of

_LABELLED = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # probabilities with a tick, where visible
_ROOM = 0.06  # of an axis beyond its data

Rows = Sequence[Mapping[str, Any]]
Looks = Mapping[str, str]  # colour or marker, by condition


def draw(progression: Mapping[str, Any]) -> Figures:
    """Draws trajectories, excess over no pain and time within a recording."""
    means, excess = list_of(progression, "means"), list_of(progression, "excess")
    bins = list_of(progression.get("within_recording") or {}, "bins")
    conditions = sorted({row["condition"] for row in (*means, *bins)})
    look = (colour_of(conditions), marker_of(conditions))
    scored = _conditions(means if progression.get("trajectories") else [])
    known = _conditions([row for row in excess if row["value"] is not None])
    return drawn(
        {
            "days": [_days(progression, name, i, *look) for i, name in enumerate(scored)],
            "excess": [_excess(progression, name, i, *look) for i, name in enumerate(known)],
            "within_recording": [_within(bins, *look)] if bins else [],
        }
    )


def _conditions(rows: Rows) -> list[str]:
    return list(dict.fromkeys(row["condition"] for row in rows))


def _of(rows: Rows, condition: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["condition"] == condition]


def _days(
    progression: Mapping[str, Any], condition: str, place: int, colours: Looks, markers: Looks
) -> Panel:
    """Draws one condition's pain score over days: animals thin, their mean bold with its band."""
    colour, onset = colours[condition], progression["onset"]
    # The bands of very few animals are wider than all there is to see.
    low, high = limits = shared_limits(row["score"] for row in progression["trajectories"])
    scores, means = _of(progression["trajectories"], condition), progression["means"]
    begins = onset.get(condition, {}).get("value")
    with new_axes(2.7, 2.7) as (figure, axes):
        for animal in dict.fromkeys(row["animal"] for row in scores):
            own = [(row["day"], row["score"]) for row in scores if row["animal"] == animal]
            axes.plot(*zip(*own, strict=True), "-o", color=colour, alpha=0.3, lw=0.8, ms=2.5, mew=0)
        for name in colours if condition in onset else ():
            if name not in onset:  # without pain, to compare with
                _draw_mean(axes, _of(means, name), color=MUTED, ls=DASHES, lw=1.6)
        _draw_mean(axes, _of(means, condition), color=colour, marker=markers[condition], lw=2.2)
        if begins is not None:
            mark(axes, begins, "onset")
        ticks = {float(np.log(p / (1 - p))): f"{100 * p:g} %" for p in _LABELLED}
        ticks = {at: text for at, text in ticks.items() if low <= at <= high}
        axes.set_yticks(list(ticks), list(ticks.values()))
        axes.set(title=condition, ylabel="probability of pain (logit scale)", ylim=limits)
        _draw_days(axes, progression["trajectories"])
    listed = ", ".join(
        f"{number(row['value'])} on day {row['day']}" for row in _of(means, condition)
    )
    marked = f" The onset, day {begins}, is marked." if begins is not None else ""
    return Panel(
        to_svg(figure, f"days-{place}"),
        f"Pain score over days, {condition}: a thin line per animal, a bold line for their mean on "
        f"the logit scale, which is {listed}; the band covers it on all days at once.{marked}",
    )


def _draw_mean(axes: Axes, rows: Rows, *, color: str, **line: Any) -> None:
    """Draws means over days as a line, and their simultaneous band where there is one."""
    banded = [row for row in rows if row.get("band95")]
    if banded:
        low, high = zip(*(row["band95"] for row in banded), strict=True)
        axes.fill_between([row["day"] for row in banded], low, high, color=color, alpha=0.16, lw=0)
    days, values = ([row[key] for row in rows] for key in ("day", "value"))
    axes.plot(days, values, color=color, ms=5.5, mec="white", **line)


def _draw_days(axes: Axes, rows: Rows) -> None:
    days = sorted({row["day"] for row in rows})
    room = max(0.8, _ROOM * (days[-1] - days[0]))
    axes.set(xlabel="day after induction", xticks=days, xlim=(days[0] - room, days[-1] + room))


def _excess(
    progression: Mapping[str, Any], condition: str, place: int, colours: Looks, markers: Looks
) -> Panel:
    """Draws how far a condition's score lies above no pain, with both intervals of each day."""
    known = [row for row in progression["excess"] if row["value"] is not None]
    limits = shared_limits([0.0, *(bound for row in known for bound in row["band95"])])
    rows = _of(known, condition)
    points: dict[int, list[str]] = {}
    for name in ("onset", "peak", "resolution"):
        if (day := progression[name][condition]["value"]) is not None:
            points.setdefault(day, []).append(name)
    colour, marker = colours[condition], markers[condition]
    with new_axes(3.6, 2.7) as (figure, axes):
        axes.axhline(0, color=MUTED, lw=1, ls=DASHES)
        for row in rows:
            axes.plot([row["day"]] * 2, row["band95"], color=colour, lw=0.9, zorder=3)
        at = [row["day"] for row in rows]
        draw_series(axes, at, rows, colour=colour, marker=marker, width=1)
        for day, names in sorted(points.items()):
            mark(axes, day, "\n".join(names))
        axes.set(title=condition, ylabel="above no pain (logit)", ylim=limits)
        _draw_days(axes, progression["excess"])
    listed = "; ".join(
        f"day {row['day']} {number(row['value'])} ({span({'ci95': row['band95']})})" for row in rows
    )
    return Panel(
        to_svg(figure, f"excess-{place}"),
        f"How far the pain score of {condition} lies above no pain, with intervals over all days "
        f"at once: {listed}.",
    )


def _within(bins: Rows, colours: Looks, markers: Looks) -> Panel:
    longest = max(row["end_s"] for row in bins)
    lines = {name: _of(bins, name) for name in _conditions(bins)}
    with new_axes(5.0, 3.1) as (figure, axes):
        for i, (name, rows) in enumerate(lines.items()):
            # Points at the same time are drawn next to each other.
            at = [(row["start_s"] + row["end_s"]) / 2 + 0.008 * longest * i for row in rows]
            look = {"colour": colours[name], "marker": markers[name]}
            draw_series(axes, at, rows, width=1.2, label=name, **look)
        axes.set(xlabel="seconds since the start of the recording", ylabel="pain score (logit)")
        figure.legend(loc="outside upper left", ncols=2)
        svg = to_svg(figure, "within-recording")
    listed = "; ".join(
        f"{name} from {number(rows[0]['value'])} to {number(rows[-1]['value'])}"
        for name, rows in lines.items()
    )
    return Panel(svg, f"Pain score by the time since the recording's start: {listed} (logit).")
