"""What all figures share: colours, type, axes, marks of an interval, and the way to SVG text."""

import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.collections import QuadMesh
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

# Okabe & Ito, Color Universal Design (2008), https://jfly.uni-koeln.de/color/
COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK, MUTED, GRID = "#1f2933", "#6b7785", "#e3e7eb"
SHARES = LinearSegmentedColormap.from_list("share", ["#ffffff", "#b9d3ea", "#4a8cc2", "#0b4a80"])
DASHES = (0, (4, 3))
_DOTS = (0, (1, 2))
_PX_PER_POINT = 1.45  # on the page: text of 8.5 points becomes 12 px
_SMALLEST_TEXT = 0.62  # how far a narrow page may shrink a figure before its box scrolls
_PAD = 0.03  # inch, around the drawing

_STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "font.family": ["DejaVu Sans"],  # measured with; the page's own font replaces it
    "font.size": 8.5,  # points
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "savefig.dpi": 220,  # of what is drawn as an image: thousands of points
    "svg.fonttype": "none",
    "svg.hashsalt": "mpjax",
    "text.color": INK,
    "text.parse_math": False,  # names may hold a dollar sign
    "xtick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.color": MUTED,
    "ytick.labelcolor": INK,
}


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Figure]:
    """Opens a figure of the report's style; sizes in inches: a width of 3.7 fills a phone."""
    with matplotlib.rc_context(_STYLE):
        yield Figure(figsize=(width, height), layout="constrained")


@contextmanager
def new_axes(
    width: float, height: float, *, grid: Literal["x", "y", "both", ""] = "y"
) -> Iterator[tuple[Figure, Axes]]:
    """Opens a figure with one pair of axes; `grid` is along "x", "y" or "both"; "": no frame."""
    with new_figure(width, height) as figure:
        axes = figure.add_subplot()
        if grid:
            axes.grid(True, axis=grid)
        else:
            axes.spines[:].set_visible(False)
            axes.tick_params(length=0)
        yield figure, axes


@contextmanager
def new_rows(
    labels: Sequence[str],
    label: str,
    *,
    height: float,
    width: float = 5.2,
    line: float | None = None,
) -> Iterator[tuple[Figure, Axes]]:
    """Opens axes with one named row per estimate, from top to bottom; sizes in inches.

    `label` names the axis of values; at `line` (chance, or no effect) a dashed line runs through.
    """
    with new_axes(width, height, grid="x") as (figure, axes):
        if line is not None:
            axes.axvline(line, color=MUTED, lw=1, ls=DASHES)
        axes.set_yticks(range(len(labels)), labels)
        axes.set(ylim=(len(labels) - 0.4, -0.6), xlabel=label)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        yield figure, axes


def to_svg(figure: Figure, name: str) -> Markup:
    """Renders the <svg> element alone.

    Its ids get `name` as a prefix (unique on the page; letters, digits and hyphens), so that
    figures can share a page. CSS widths, the wanted and the least one, replace the size in points.
    """
    text = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    FigureCanvasSVG(figure)
    with matplotlib.rc_context(_STYLE):  # ticks are made while the figure is drawn
        figure.savefig(text, format="svg", metadata=metadata, bbox_inches="tight", pad_inches=_PAD)
    head, points, rest = re.split(
        r' width="([\d.]+)pt" height="[\d.]+pt"', text.getvalue(), maxsplit=1
    )
    width = _PX_PER_POINT * float(points)
    size = f' style="--width: {width:.0f}px; --least: {_SMALLEST_TEXT * width:.0f}px"'
    svg = head[head.index("<svg") :] + size + rest.rstrip()
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    return Markup(re.sub(r'(url\(|href=")#', rf"\1#{name}-", svg))


def colour_of(names: Sequence[str]) -> dict[str, str]:
    """Gives each name a colour; they repeat after seven."""
    return {name: COLOURS[i % len(COLOURS)] for i, name in enumerate(names)}


def marker_of(names: Sequence[str]) -> dict[str, str]:
    """Gives each name a marker, so that colour is never the only difference."""
    return {name: MARKERS[i % len(MARKERS)] for i, name in enumerate(names)}


def arm_colours(arms: Sequence[str]) -> dict[str, str]:
    """Gives vehicle the muted grey and every other arm a colour of the palette."""
    order = (COLOURS[1], COLOURS[0], *COLOURS[2:])
    others = [arm for arm in arms if arm != "vehicle"]
    return {"vehicle": MUTED} | {arm: order[i % len(order)] for i, arm in enumerate(others)}


def shared_limits(values: Iterable[float]) -> tuple[float, float]:
    """Returns the ends of an axis that shows all values, with some room."""
    values = list(values) or [0.0]
    room = 0.06 * (max(values) - min(values)) or 1.0
    return min(values) - room, max(values) + room


def draw_interval(
    axes: Axes,
    at: float,
    entry: Mapping[str, Any],
    *,
    colour: str,
    marker: str = "o",
    vertical: bool = True,
    scale: float = 1.0,
) -> None:
    """Draws an estimate as a point with its 95 % interval as a bar; nothing where it has no value.

    `entry` is {"value", "ci95"} as in metrics.json, multiplied by `scale` (100: per cent); `at` is
    the place on the other axis, x where the value is `vertical`.
    """
    if entry.get("value") is None:
        return
    if entry.get("ci95") is not None:
        span = [scale * bound for bound in entry["ci95"]]
        line = ([at, at], span) if vertical else (span, [at, at])
        axes.plot(*line, color=colour, lw=1.8, solid_capstyle="butt", zorder=3)
    value = scale * entry["value"]
    place = (at, value) if vertical else (value, at)
    axes.plot(*place, marker, color=colour, ms=6, mec="white", mew=0.7, clip_on=False, zorder=4)


def draw_series(
    axes: Axes,
    at: Sequence[float],
    rows: Sequence[Mapping[str, Any]],
    *,
    colour: str,
    marker: str,
    width: float,
    label: str = "",
) -> None:
    """Draws estimates joined by a line, each with its interval; `label` names it in the key."""
    axes.plot(at, [row["value"] for row in rows], color=colour, lw=width)
    for x, row in zip(at, rows, strict=True):
        draw_interval(axes, x, row, colour=colour, marker=marker)
    if label:
        axes.plot([], [], "-", marker=marker, color=colour, label=label)


def draw_grid(axes: Axes, *values: Any, **options: Any) -> QuadMesh:
    """Draws a table of numbers as coloured cells, its first row on top."""
    mesh = axes.pcolormesh(*values, edgecolors=GRID, **options)
    axes.invert_yaxis()
    return mesh


def note(axes: Axes, text: str, at: tuple, offset: tuple[float, float], **style: Any) -> None:
    """Writes text next to a place, `offset` points away."""
    axes.annotate(text, at, offset, textcoords="offset points", **({"fontsize": 8} | style))


def mark(axes: Axes, at: float, text: str, *, colour: str = INK) -> None:
    """Marks a place on the x axis by a dotted line with its name at the top."""
    axes.axvline(at, color=colour, lw=1.1, ls=_DOTS)
    note(axes, text, (at, 1), (2, -2), xycoords=("data", "axes fraction"), va="top", fontsize=7.5)


def wrap_arm(name: str) -> str:
    """Breaks `gabapentin 30 mg/kg` before its dose, to fit under a tick."""
    return re.sub(r" (?=\S+ mg/kg$)", "\n", name)
