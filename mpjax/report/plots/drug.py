"""Figures of the drug test: estimation plots, time course, dose-response."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import NullLocator

from mpjax.report.plots.style import (
    COLOURS,
    GRID,
    INK,
    MARKERS,
    MUTED,
    draw_interval,
    new_figure,
    to_svg,
    wrap_arm,
)

_DASHES = (0, (4, 3))
_HALF = 0.22  # between the middle of an arm and its pre or post sessions, in arms


def draw_estimation(
    pairs: Mapping[str, Sequence[tuple[float, float]]],
    contrasts: Mapping[str, Mapping[str, Any]],
    *,
    colours: Mapping[str, str],
    limits: tuple[tuple[float, float], tuple[float, float]],
    title: str,
    name: str,
) -> str:
    """Draws a Cumming plot: each animal's score before and after, below it the effect with its CI.

    Args:
        pairs: per arm, vehicle first, each animal's score (before, after) on the logit scale.
        contrasts: per arm but vehicle, {"value", "ci95"}: its change minus vehicle's.
        colours: per arm.
        limits: ends of the two axes, of scores and of effects.
        title: of the figure: the condition.
        name: of the figure on the page.

    Source: Ho et al., Moving beyond P values: data analysis with estimation graphics, Nature
        Methods 16 (2019).
    """
    arms = list(pairs)
    with new_figure(max(3.4, 0.65 + 0.9 * len(arms)), 4.3) as figure:
        above, below = figure.subplots(2, sharex=True, height_ratios=[1.25, 1])
        for at, arm in enumerate(arms):
            _draw_pairs(above, at, pairs[arm], colour=colours[arm])
            if arm in contrasts:
                draw_interval(below, at, contrasts[arm], colour=colours[arm], marker="D")
                if contrasts[arm]["value"] is None:
                    below.annotate(
                        "not\nestimable", (at, 0), (0, -4), textcoords="offset points",
                        ha="center", va="top", fontsize=7.5, color=MUTED,
                    )  # fmt: skip
        below.axhline(0, color=MUTED, lw=1, ls=_DASHES)
        if "vehicle" in arms:
            below.plot(arms.index("vehicle"), 0, "o", color=MUTED, ms=5)
        above.set(ylim=limits[0], title=title, ylabel="pain score (logit)\npre → post, each animal")
        below.set(ylabel="change − vehicle's\n(logit, 95 % CI)")
        below.set(xlim=(-0.5, len(arms) - 0.5), ylim=limits[1])
        below.set_xticks(range(len(arms)), [wrap_arm(arm) for arm in arms])
        for axes in (above, below):
            axes.yaxis.grid(True, color=GRID, lw=0.7)
            axes.tick_params(axis="x", length=0)
        above.tick_params(axis="x", labelbottom=False)
        figure.align_ylabels()
        return to_svg(figure, name)


def _draw_pairs(
    axes: Axes, at: float, pairs: Sequence[tuple[float, float]], *, colour: str
) -> None:
    """Draws a line per animal and a bar at the mean of either side."""
    places = [at - _HALF, at + _HALF]
    for pair in pairs:
        axes.plot(places, pair, "-o", color=colour, alpha=0.55, lw=0.9, ms=3.5, mew=0)
    for x, mean in zip(places, np.mean(pairs, axis=0) if len(pairs) else (), strict=False):
        axes.plot([x - 0.1, x + 0.1], [mean, mean], color=INK, lw=2.2, zorder=4)


def draw_time_course(
    contrasts: Mapping[str, Sequence[Mapping[str, Any]]],
    *,
    colours: Mapping[str, str],
    limits: tuple[float, float],
    title: str,
    name: str,
) -> str:
    """Draws the effect against vehicle over the minutes after the dose, a line per arm.

    Args:
        contrasts: per arm, [{"minutes_post_dose", "value", "ci95"}].
        colours: per arm.
        limits: ends of the axis of effects.
        title: of the panel: the condition.
        name: of the figure on the page.
    """
    minutes = sorted({row["minutes_post_dose"] for rows in contrasts.values() for row in rows})
    step = 0.025 * (minutes[-1] - minutes[0] or 1)
    with new_figure(3.6, 2.7) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=MUTED, lw=1, ls=_DASHES)
        for i, (arm, rows) in enumerate(contrasts.items()):
            shown = sorted(
                (row for row in rows if row["value"] is not None),
                key=lambda row: row["minutes_post_dose"],
            )
            at = [row["minutes_post_dose"] + step * i for row in shown]
            axes.plot(at, [row["value"] for row in shown], color=colours[arm], lw=1)
            marker = MARKERS[i % len(MARKERS)]
            for x, row in zip(at, shown, strict=True):
                draw_interval(axes, x, row, colour=colours[arm], marker=marker)
            axes.plot([], [], "-", marker=marker, color=colours[arm], label=arm)
        axes.set(title=title, xlabel="minutes after the dose", ylabel="change − vehicle's (logit)")
        axes.set_ylim(limits)
        axes.set_xticks(minutes)
        axes.yaxis.grid(True, color=GRID, lw=0.7)
        figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=8)
        return to_svg(figure, name)


def draw_dose_response(
    responses: Mapping[str, Mapping[str, Any]],
    *,
    colours: Mapping[str, str],
    limits: tuple[float, float],
    title: str,
    name: str,
) -> str:
    """Draws per cent reversal against one drug's dose on a log axis, with ED50 where estimated.

    Args:
        responses: per condition, {"doses": [{"dose_mg_per_kg", "value", "ci95"}], "ed50"}.
        colours: per condition.
        limits: ends of the axis of reversal, in per cent.
        title: of the panel: the drug.
        name: of the figure on the page.
    """
    with new_figure(5.0, 3.2) as figure:
        axes = figure.add_subplot()
        axes.axhline(0, color=MUTED, lw=1, ls=_DASHES)
        axes.axhline(100, color=GRID, lw=1)
        ticks = sorted(
            {row["dose_mg_per_kg"] for each in responses.values() for row in each["doses"]}
        )
        for i, (condition, each) in enumerate(responses.items()):
            shown = [row for row in each["doses"] if row["value"] is not None]
            at = [row["dose_mg_per_kg"] * 1.03**i for row in shown]
            colour, marker = colours[condition], MARKERS[i % len(MARKERS)]
            axes.plot(at, [row["value"] for row in shown], color=colour, lw=1.2)
            for x, row in zip(at, shown, strict=True):
                draw_interval(axes, x, row, colour=colour, marker=marker)
            axes.plot([], [], "-", marker=marker, color=colour, label=condition)
            _mark_ed50(axes, each["ed50"], colour=colour)
        axes.set_xscale("log")
        axes.set_xticks(ticks, [f"{dose:g}" for dose in ticks])
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_xlim(ticks[0] / 1.4, ticks[-1] * 1.4)
        axes.set(xlabel="dose (mg/kg, log axis)", ylabel="reversal (%), minus vehicle's")
        axes.set(title=title, ylim=limits)
        axes.yaxis.grid(True, color=GRID, lw=0.7)
        figure.legend(loc="outside upper left", ncols=3, frameon=False)
        return to_svg(figure, name)


def _mark_ed50(axes: Axes, ed50: Mapping[str, Any], *, colour: str) -> None:
    """Marks ED50 as a vertical line, its interval as a band."""
    if ed50["value"] is None:
        return
    axes.axvline(ed50["value"], color=colour, lw=1.1, ls=(0, (1, 2)))
    if ed50.get("ci95") is not None:
        axes.axvspan(*ed50["ci95"], color=colour, alpha=0.08, lw=0)
    axes.annotate(
        "ED50", (ed50["value"], 1), (2, -2), xycoords=("data", "axes fraction"),
        textcoords="offset points", va="top", fontsize=7.5, color=INK,
    )  # fmt: skip


def draw_forest(rows: Sequence[tuple[str, Mapping[str, Any]]], *, label: str, name: str) -> str:
    """Draws a list of estimates with their intervals about zero.

    Args:
        rows: (label, {"value", "ci95"}), from top to bottom.
        label: of the axis of values.
        name: of the figure on the page.
    """
    with new_figure(5.2, 0.75 + 0.3 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=MUTED, lw=1, ls=_DASHES)
        for y, (_, entry) in enumerate(rows):
            draw_interval(axes, y, entry, colour=COLOURS[1], vertical=False)
        axes.set_yticks(range(len(rows)), [text for text, _ in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel=label)
        axes.xaxis.grid(True, color=GRID, lw=0.7)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return to_svg(figure, name)
