"""Figures of the course of pain: trajectories, excess over no pain, time within a recording."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mpjax.report.plots.style import GRID, INK, MUTED, draw_interval, new_figure, to_svg

_DASHES = (0, (4, 3))
_LABELLED = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)  # probabilities with a tick, as far as seen
_ROOM = 0.06  # of an axis beyond its data


def draw_days(
    scores: Sequence[Mapping[str, Any]],
    means: Sequence[Mapping[str, Any]],
    *,
    control: Mapping[str, Sequence[Mapping[str, Any]]],
    limits: tuple[float, float],
    title: str,
    days: Sequence[int],
    colour: str,
    marker: str,
    onset: int | None,
    name: str,
) -> str:
    """Draws one condition's pain score over days: animals thin, their mean bold with its band.

    Args:
        scores: {"animal", "day", "score"} of one condition, as in metrics.json.
        means: {"day", "value", "band95"} of the condition.
        control: the same of each condition without pain, to compare with; none in its own panel.
        limits: ends of the axis of scores (logit).
        title: of the panel.
        days: the ticks, those of all conditions.
        colour: of the condition.
        marker: of the mean.
        onset: the day to mark; None: no mark.
        name: of the figure on the page.
    """
    with new_figure(2.7, 2.7) as figure:
        axes = figure.add_subplot()
        for animal in dict.fromkeys(row["animal"] for row in scores):
            own = [(row["day"], row["score"]) for row in scores if row["animal"] == animal]
            axes.plot(
                *zip(*own, strict=True), "-o", color=colour, alpha=0.3, lw=0.8, ms=2.5, mew=0
            )  # fmt: skip
        for rows in control.values():
            _draw_mean(axes, rows, colour=MUTED, line=_DASHES, marker="", width=1.6)
        _draw_mean(axes, means, colour=colour, line="-", marker=marker, width=2.2)
        if onset is not None:
            _mark_day(axes, onset, "onset")
        shown = [p for p in _LABELLED if limits[0] <= _logit(p) <= limits[1]]
        axes.set_yticks([_logit(p) for p in shown], [f"{100 * p:g} %" for p in shown])
        axes.set(ylim=limits, title=title, ylabel="probability of pain (logit scale)")
        _draw_day_axis(axes, days)
        return to_svg(figure, name)


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))


def _draw_mean(
    axes: Axes,
    rows: Sequence[Mapping[str, Any]],
    *,
    colour: str,
    line: Any,
    marker: str,
    width: float,
) -> None:
    """Draws means over days as a line, and their simultaneous band where there is one."""
    banded = [row for row in rows if row.get("band95")]
    if banded:
        low, high = zip(*(row["band95"] for row in banded), strict=True)
        axes.fill_between([row["day"] for row in banded], low, high, color=colour, alpha=0.16, lw=0)
    axes.plot(
        [row["day"] for row in rows], [row["value"] for row in rows], ls=line, marker=marker,
        color=colour, lw=width, ms=5.5, mec="white",
    )  # fmt: skip


def _mark_day(axes: Axes, day: int, text: str) -> None:
    """Marks a day by a dotted line with its name above the axes."""
    axes.axvline(day, color=INK, lw=1, ls=(0, (1, 2)))
    axes.annotate(
        text, (day, 1), (2, -2), xycoords=("data", "axes fraction"), textcoords="offset points",
        va="top", fontsize=7.5, color=INK,
    )  # fmt: skip


def _draw_day_axis(axes: Axes, days: Sequence[int]) -> None:
    room = max(0.8, _ROOM * (max(days) - min(days)))
    axes.set_xlabel("day after induction")
    axes.set_xticks(list(days))
    axes.set_xlim(min(days) - room, max(days) + room)
    axes.yaxis.grid(True, color=GRID, lw=0.7)


def draw_excess(
    rows: Sequence[Mapping[str, Any]],
    *,
    limits: tuple[float, float],
    title: str,
    days: Sequence[int],
    colour: str,
    marker: str,
    points: Mapping[str, int],
    name: str,
) -> str:
    """Draws how far one condition's score lies above no pain, with both intervals of each day.

    Args:
        rows: {"day", "value", "ci95", "band95"} of one condition; days without a value are left
            out.
        limits: ends of the axis (logit).
        title: of the panel.
        days: the ticks, those of all conditions.
        colour: of the condition.
        marker: of the estimates.
        points: days to mark, by their names; those of one day are written under each other.
        name: of the figure on the page.
    """
    known = [row for row in rows if row["value"] is not None]
    with new_figure(3.6, 2.7) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=MUTED, lw=1, ls=_DASHES)
        axes.plot(
            [row["day"] for row in known], [row["value"] for row in known], color=colour, lw=1
        )
        for row in known:
            axes.plot([row["day"]] * 2, row["band95"], color=colour, lw=0.9, zorder=3)
            draw_interval(axes, row["day"], row, colour=colour, marker=marker)
        for day in sorted(set(points.values())):
            _mark_day(axes, day, "\n".join(text for text, at in points.items() if at == day))
        axes.set(ylim=limits, title=title, ylabel="above no pain (logit)")
        _draw_day_axis(axes, days)
        return to_svg(figure, name)


def draw_within(
    bins: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    colours: Mapping[str, str],
    markers: Mapping[str, str],
    name: str,
) -> str:
    """Draws the pain score by the time since a recording's start, a line per condition.

    Args:
        bins: per condition, {"start_s", "end_s", "value", "ci95"}.
        colours: per condition.
        markers: per condition.
        name: of the figure on the page.
    """
    longest = max(row["end_s"] for rows in bins.values() for row in rows)
    with new_figure(5.0, 3.1) as figure:
        axes = figure.add_subplot()
        for i, (condition, rows) in enumerate(bins.items()):
            colour, marker = colours[condition], markers[condition]
            # Points of one time are set side by side.
            at = [(row["start_s"] + row["end_s"]) / 2 + 0.008 * longest * i for row in rows]
            axes.plot(at, [row["value"] for row in rows], color=colour, lw=1.2)
            for x, row in zip(at, rows, strict=True):
                draw_interval(axes, x, row, colour=colour, marker=marker)
            axes.plot([], [], "-", marker=marker, color=colour, label=condition)
        axes.set(xlabel="seconds since the recording's start", ylabel="pain score (logit)")
        axes.yaxis.grid(True, color=GRID, lw=0.7)
        figure.legend(loc="outside upper left", ncols=2, frameon=False)
        return to_svg(figure, name)
