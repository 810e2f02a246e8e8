"""Figures of the report as SVG text: same input, same bytes."""

import io
import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from mpjax.taxonomy import parse_fine_name

# Okabe & Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_INK, _MUTED, _GRID = "#1f2933", "#6b7785", "#e3e7eb"
_SHARE = LinearSegmentedColormap.from_list("share", ["#ffffff", "#b9d3ea", "#4a8cc2", "#0b4a80"])
_WIDTH = 7.2  # inch, of every full-width figure
_PX_PER_POINT = 1.45  # on the page: text of 8.5 points becomes 12 px
_MOST_NUMBERED = 25  # classes; beyond it the counts in the cells cannot be read

_STYLE = {
    "axes.edgecolor": _MUTED,
    "axes.labelcolor": _INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "font.family": ["DejaVu Sans"],  # measured with; the page's own font replaces it
    "font.size": 8.5,
    "svg.fonttype": "none",
    "svg.hashsalt": "mpjax",
    "text.color": _INK,
    "text.parse_math": False,  # names may hold a dollar sign
    "xtick.color": _MUTED,
    "xtick.labelcolor": _INK,
    "ytick.color": _MUTED,
    "ytick.labelcolor": _INK,
}


def draw_confusion(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> str:
    """Draws a confusion matrix: colour is the share of the true class, numbers are units.

    Args:
        confusion: units by true class (rows) and predicted class (columns).
        classes: names, in the order of the matrix.
    """
    counts = np.asarray(confusion)
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    side = 0.6 if len(classes) <= 6 else 0.45  # inch, of a cell
    cells, text = side * len(classes), 0.08 * max(map(len, classes))
    width, height = cells + text + 0.4, cells + 0.6 * text + 0.5
    shrink = min(1, _WIDTH / width)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(shrink * width, shrink * height), layout="constrained")
        axes = figure.add_subplot()
        edges = np.arange(len(classes) + 1) - 0.5
        axes.pcolormesh(edges, edges, share, cmap=_SHARE, vmin=0, vmax=1, edgecolors=_GRID, lw=0.6)
        axes.set(aspect="equal")
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        if len(classes) <= _MOST_NUMBERED:
            for row, column in np.argwhere(counts).tolist():
                colour = "white" if share[row, column] > 0.55 else _INK
                axes.text(
                    column, row, str(counts[row, column]), color=colour,
                    ha="center", va="center", fontsize=8,
                )  # fmt: skip
        _label_classes(axes, classes)
        return _to_svg(figure, f"confusion{len(classes)}")


def _label_classes(axes: Axes, classes: Sequence[str]) -> None:
    """Labels both axes; classes `<condition>@d<day>` get the day, and the condition once a run."""
    parsed = [name for name in map(parse_fine_name, classes) if name is not None]
    at = np.arange(len(classes))
    if len(parsed) < len(classes):
        axes.set_xticks(at, list(classes), rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(at, list(classes))
        axes.set(xlabel="predicted", ylabel="true")
        return
    days = [f"d{day}" for _, day in parsed]
    axes.set_xticks(at, days)
    axes.set_yticks(at, days)
    centres, names, start = [], [], 0
    for condition, run in itertools.groupby(parsed, key=lambda pair: pair[0]):
        length = len(list(run))
        centres.append(start + (length - 1) / 2)
        names.append(condition)
        start += length
        if start < len(classes):
            axes.axhline(start - 0.5, color=_MUTED, lw=0.8)
            axes.axvline(start - 0.5, color=_MUTED, lw=0.8)
    below = axes.secondary_xaxis(-0.055)
    below.set_xticks(centres, names)
    below.set_xlabel("predicted", labelpad=6)
    left = axes.secondary_yaxis(-0.075)
    left.set_yticks(centres, names, rotation=90, va="center")
    left.set_ylabel("true", labelpad=8)
    for outer in (below, left):
        outer.tick_params(length=0)
        outer.spines[:].set_visible(False)


def draw_recall(recall: Mapping[str, Mapping[str, Any]], *, chance: float) -> str:
    """Draws each class's recall with its 95 % interval, its n, and chance as a dashed line.

    Args:
        recall: class name -> {"value", "ci95", "n"}, as in metrics.json.
        chance: share expected from guessing, 0..1.
    """
    at = list(range(len(recall)))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 0.9 + 0.25 * len(recall)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(100 * chance, color=_MUTED, lw=1, ls=(0, (4, 3)))
        for y, entry in zip(at, recall.values(), strict=True):
            if entry["value"] is None:
                axes.text(1, y, "not evaluated", va="center", color=_MUTED, fontsize=8)
                continue
            if entry["ci95"] is not None:
                low, high = entry["ci95"]
                axes.plot([100 * low, 100 * high], [y, y], color=COLOURS[1], lw=1.6)
            axes.plot(100 * entry["value"], y, "o", color=COLOURS[1], ms=5.5, clip_on=False)
        axes.set_yticks(at, list(recall))
        axes.set(xlim=(0, 100), ylim=(len(recall) - 0.4, -0.6))
        axes.set_xlabel("recall (%), 95 % interval; dashed: chance")
        axes.xaxis.grid(True, color=_GRID, lw=0.7)
        axes.set_axisbelow(True)
        numbers = axes.secondary_yaxis("right")
        numbers.set_yticks(at, [f"n = {entry['n']}" for entry in recall.values()])
        for side in (axes.yaxis, numbers.yaxis):
            side.set_tick_params(length=0, pad=7)
        numbers.spines[:].set_visible(False)
        axes.spines["left"].set_visible(False)
        return _to_svg(figure, f"recall{len(recall)}")


def draw_days(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draws the probability of pain over days, a panel per condition: animals thin, mean bold.

    Args:
        rows: {"condition", "day", "value", "animals"}, as in metrics.json under `progression`.
    """
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    columns = min(3, len(conditions))
    lines = -(-len(conditions) // columns)
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(_WIDTH, 0.5 + 2.3 * lines), layout="constrained")
        grid = figure.subplots(lines, columns, sharex=True, sharey=True, squeeze=False)
        for spare in grid.flat[len(conditions) :]:
            spare.set_visible(False)
        for index, condition in enumerate(conditions):
            axes = grid.flat[index]
            colour = COLOURS[index % len(COLOURS)]
            own = [row for row in rows if row["condition"] == condition]
            for animal in dict.fromkeys(name for row in own for name in row["animals"]):
                days = [row["day"] for row in own if animal in row["animals"]]
                values = [row["animals"][animal] for row in own if animal in row["animals"]]
                axes.plot(days, values, "-o", color=colour, alpha=0.35, lw=0.9, ms=3.2, mew=0)
            axes.plot(
                [row["day"] for row in own], [row["value"] for row in own], "-",
                marker=MARKERS[index % len(MARKERS)], color=colour, lw=2.2, ms=5.5, mec="white",
            )  # fmt: skip
            _finish_probability(axes, title=condition)
            axes.set_xticks(sorted({row["day"] for row in rows}))
        for axes in grid[:, 0]:
            axes.set_ylabel("probability of pain")
        figure.supxlabel("day after induction", fontsize=8.5)
        return _to_svg(figure, "days")


def draw_drugs(rows: Sequence[Mapping[str, Any]]) -> str:
    """Draws the probability of pain per arm and session, a panel per condition; lines are animals.

    Args:
        rows: {"condition", "arm", "day", "phase", "value", "animals"}, as in metrics.json under
            `drug.rows`.
    """
    conditions = sorted({row["condition"] for row in rows})
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    sessions = sorted(
        {(row["day"], row["phase"]) for row in rows}, key=lambda s: (s[0], s[1] == "post")
    )
    step = len(sessions) + 0.6
    place = {
        (arm, *session): a * step + s
        for a, arm in enumerate(arms)
        for s, session in enumerate(sessions)
    }
    width = max(_WIDTH, 0.45 * len(place))
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(width, 0.6 + 1.75 * len(conditions)), layout="constrained")
        grid = figure.subplots(len(conditions), sharex=True, squeeze=False)[:, 0]
        for axes, condition in zip(grid, conditions, strict=True):
            for a, arm in enumerate(arms):
                own = [row for row in rows if (row["condition"], row["arm"]) == (condition, arm)]
                own.sort(key=lambda row: place[arm, row["day"], row["phase"]])
                _draw_arm(axes, own, place, colour=COLOURS[(a + 1) % len(COLOURS)])
            _finish_probability(axes, title=condition)
            axes.set_ylabel("probability of pain")
        one_day = len({day for day, _ in sessions}) == 1
        names = [phase if one_day else f"d{day} {phase}" for _ in arms for day, phase in sessions]
        grid[-1].set_xticks(list(place.values()), names, rotation=0 if one_day else 45)
        below = grid[-1].secondary_xaxis(-0.2 if one_day else -0.4)
        below.set_xticks([a * step + (len(sessions) - 1) / 2 for a in range(len(arms))], arms)
        below.tick_params(length=0)
        below.spines[:].set_visible(False)
        return _to_svg(figure, "drugs")


def _draw_arm(
    axes: Axes, rows: Sequence[Mapping[str, Any]], place: Mapping[tuple, float], *, colour: str
) -> None:
    at = [place[row["arm"], row["day"], row["phase"]] for row in rows]
    for animal in dict.fromkeys(name for row in rows for name in row["animals"]):
        own = [
            (x, row["animals"][animal])
            for x, row in zip(at, rows, strict=True)
            if animal in row["animals"]
        ]
        axes.plot(*zip(*own, strict=True), "-o", color=colour, alpha=0.5, lw=0.9, ms=3.5, mew=0)
    for x, row in zip(at, rows, strict=True):
        axes.plot([x - 0.22, x + 0.22], [row["value"]] * 2, color=_INK, lw=2)


def _finish_probability(axes: Axes, *, title: str) -> None:
    axes.set_title(title, loc="left")
    axes.set(ylim=(-0.03, 1.03), yticks=[0, 0.5, 1])
    axes.yaxis.grid(True, color=_GRID, lw=0.7)
    axes.set_axisbelow(True)


def _to_svg(figure: Figure, name: str) -> str:
    """Renders the <svg> element alone, its ids prefixed so that figures can share a page."""
    text = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    FigureCanvasSVG(figure)
    figure.savefig(text, format="svg", metadata=metadata, bbox_inches="tight", pad_inches=0.03)
    svg = text.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r' width="([\d.]+)pt" height="[\d.]+pt"', _set_width, svg, count=1)
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg)


def _set_width(points: re.Match[str]) -> str:
    """Replaces the size in points by a CSS width, which the page may narrow."""
    return f' style="--width: {_PX_PER_POINT * float(points[1]):.0f}px"'
