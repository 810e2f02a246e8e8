"""Figures of accuracy: confusion matrix, recall, reliability, coverage, leak demonstration."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap

from mpjax.report.plots.style import (
    COLOURS,
    GRID,
    INK,
    MARKERS,
    MUTED,
    draw_interval,
    new_figure,
    to_svg,
)
from mpjax.taxonomy import parse_fine_name

_SHARE = LinearSegmentedColormap.from_list("share", ["#ffffff", "#b9d3ea", "#4a8cc2", "#0b4a80"])
_MOST_NUMBERED = 25  # classes; beyond it the counts in the cells cannot be read
_WIDEST = 7.2  # inch
_DASHES = (0, (4, 3))


def draw_confusion(
    confusion: Sequence[Sequence[int]], classes: Sequence[str], *, name: str = "confusion"
) -> str:
    """Draws a confusion matrix: colour is the share of the true class, numbers are units.

    Args:
        confusion: units by true class (rows) and predicted class (columns).
        classes: names, in the order of the matrix.
        name: of the figure on the page.
    """
    counts = np.asarray(confusion)
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    side = 0.6 if len(classes) <= 6 else 0.31  # inch, of a cell
    cells, text = side * len(classes), 0.08 * max(map(len, classes))
    width, height = cells + text + 0.4, cells + 0.6 * text + 0.5
    shrink = min(1, _WIDEST / width)
    with new_figure(shrink * width, shrink * height) as figure:
        axes = figure.add_subplot()
        edges = np.arange(len(classes) + 1) - 0.5
        axes.pcolormesh(edges, edges, share, cmap=_SHARE, vmin=0, vmax=1, edgecolors=GRID, lw=0.6)
        axes.set(aspect="equal")
        axes.invert_yaxis()
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        if len(classes) <= _MOST_NUMBERED:
            for row, column in np.argwhere(counts).tolist():
                colour = "white" if share[row, column] > 0.55 else INK
                axes.text(
                    column, row, str(counts[row, column]), color=colour,
                    ha="center", va="center", fontsize=8,
                )  # fmt: skip
        _label_classes(axes, classes)
        return to_svg(figure, name)


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
            axes.axhline(start - 0.5, color=MUTED, lw=0.8)
            axes.axvline(start - 0.5, color=MUTED, lw=0.8)
    below = axes.secondary_xaxis(-0.07)
    below.set_xticks(centres, names)
    below.set_xlabel("predicted", labelpad=6)
    left = axes.secondary_yaxis(-0.1)
    left.set_yticks(centres, names, rotation=90, va="center")
    left.set_ylabel("true", labelpad=8)
    for outer in (below, left):
        outer.tick_params(length=0)
        outer.spines[:].set_visible(False)


def draw_recall(
    recall: Mapping[str, Mapping[str, Any]], *, chance: float, name: str = "recall"
) -> str:
    """Draws each class's recall with its 95 % interval, its n, and chance as a dashed line.

    Args:
        recall: class name -> {"value", "ci95", "n"}, as in metrics.json.
        chance: share expected from guessing, 0..1.
        name: of the figure on the page.
    """
    at = list(range(len(recall)))
    with new_figure(5.2, 0.9 + 0.25 * len(recall)) as figure:
        axes = figure.add_subplot()
        axes.axvline(100 * chance, color=MUTED, lw=1, ls=_DASHES)
        for y, entry in zip(at, recall.values(), strict=True):
            if entry["value"] is None:
                axes.text(1, y, "not evaluated", va="center", color=MUTED, fontsize=8)
            draw_interval(axes, y, entry, colour=COLOURS[1], vertical=False, scale=100)
        axes.set_yticks(at, list(recall))
        axes.set(xlim=(0, 100), ylim=(len(recall) - 0.4, -0.6))
        axes.set_xlabel("recall (%), 95 % interval; dashed: chance")
        axes.xaxis.grid(True, color=GRID, lw=0.7)
        numbers = axes.secondary_yaxis("right")
        numbers.set_yticks(at, [f"n = {entry['n']}" for entry in recall.values()])
        for side in (axes.yaxis, numbers.yaxis):
            side.set_tick_params(length=0, pad=7)
        numbers.spines[:].set_visible(False)
        axes.spines["left"].set_visible(False)
        return to_svg(figure, name)


def draw_reliability(bins: Sequence[Mapping[str, Any]], *, title: str, name: str) -> str:
    """Draws accuracy against confidence per bin; the dot's area is the share of clips.

    Args:
        bins: {"confidence", "accuracy", "n"}, as in metrics.json under `calibration`.
        title: of the panel.
        name: of the figure on the page.

    Source: Guo et al., On Calibration of Modern Neural Networks (2017), fig. 1.
    """
    x, y = ([100 * entry[key] for entry in bins] for key in ("confidence", "accuracy"))
    n = np.array([entry["n"] for entry in bins])
    with new_figure(3.5, 3.3) as figure:
        axes = figure.add_subplot()
        axes.plot([0, 100], [0, 100], color=MUTED, lw=1, ls=_DASHES)
        axes.plot(x, y, color=COLOURS[1], lw=1.3)
        axes.scatter(
            x, y, s=14 + 160 * n / n.sum(), color=COLOURS[1], ec="white", lw=0.7, zorder=3,
            clip_on=False,
        )  # fmt: skip
        axes.set(xlim=(0, 102), ylim=(0, 102), aspect="equal", title=title)
        axes.set(xlabel="confidence (%)", ylabel="accuracy (%)")
        axes.grid(True, color=GRID, lw=0.7)
        return to_svg(figure, name)


def draw_coverage(curves: Mapping[str, Sequence[Mapping[str, float]]], *, name: str) -> str:
    """Draws accuracy against the share of recordings answered, the surest first.

    Args:
        curves: label of the curve -> [{"coverage", "accuracy"}], shares.
        name: of the figure on the page.
    """
    with new_figure(3.9, 3.1) as figure:
        axes = figure.add_subplot()
        for i, (label, points) in enumerate(curves.items()):
            axes.plot(
                [100 * point["coverage"] for point in points],
                [100 * point["accuracy"] for point in points],
                marker=MARKERS[i], color=COLOURS[1 - i], lw=1.5, ms=4.5, mec="white", mew=0.6,
                label=label, clip_on=False,
            )  # fmt: skip
        axes.set(xlim=(0, 103), ylim=(0, 103))
        axes.set(xlabel="share of recordings answered (%)", ylabel="accuracy among them (%)")
        axes.grid(True, color=GRID, lw=0.7)
        figure.legend(loc="outside upper left", ncols=2, frameon=False, handlelength=1.6)
        return to_svg(figure, name)


def draw_leak(
    rows: Sequence[tuple[str, Mapping[str, Any]]], *, chances: Sequence[float], name: str
) -> str:
    """Draws clip accuracy under the animal split and the clip split, joined by an arrow.

    Args:
        rows: (label, {"animal_split", "clip_split"}) per task, shares.
        chances: share expected from guessing, per task.
        name: of the figure on the page.
    """
    with new_figure(5.2, 1.0 + 0.62 * len(rows)) as figure:
        axes = figure.add_subplot()
        for y, ((_, entry), chance) in enumerate(zip(rows, chances, strict=True)):
            honest, leaky = 100 * entry["animal_split"], 100 * entry["clip_split"]
            axes.plot([100 * chance] * 2, [y - 0.3, y + 0.3], color=MUTED, lw=1, ls=(0, (3, 2)))
            axes.annotate(
                "", (leaky, y), (honest, y),
                arrowprops={"arrowstyle": "->", "color": MUTED, "lw": 1.2, "shrinkA": 5,
                            "shrinkB": 5},
            )  # fmt: skip
            for value, colour, marker in ((honest, COLOURS[1], "o"), (leaky, COLOURS[0], "X")):
                axes.plot(value, y, marker, color=colour, ms=8, mec="white", mew=0.7, clip_on=False)
                axes.annotate(
                    f"{value:.0f} %", (value, y), (0, 9), textcoords="offset points",
                    ha="center", fontsize=8,
                )  # fmt: skip
        for colour, marker, label in (
            (COLOURS[1], "o", "animals kept apart"),
            (COLOURS[0], "X", "clips shuffled (leaks)"),
        ):
            axes.plot([], [], marker, color=colour, ms=7, mec="white", label=label)
        figure.legend(loc="outside upper left", ncols=2, frameon=False, handletextpad=0.3)
        axes.set_yticks(range(len(rows)), [label for label, _ in rows])
        axes.set(xlim=(0, 104), ylim=(len(rows) - 0.5, -0.7))
        axes.set_xlabel("clip accuracy (%); dashed: chance")
        axes.xaxis.grid(True, color=GRID, lw=0.7)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return to_svg(figure, name)
