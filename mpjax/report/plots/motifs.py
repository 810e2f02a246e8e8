"""Figures of the motifs: stability, effects, usage over days, course of a recording, ethogram."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap

from mpjax.report.plots.style import COLOURS, GRID, INK, MARKERS, MUTED, new_figure, to_svg

_SHARE = LinearSegmentedColormap.from_list("share", ["#ffffff", "#b9d3ea", "#4a8cc2", "#0b4a80"])
_DASHES = (0, (4, 3))
_UNLIKE = "#f0e4c8"


def draw_stability(rows: Sequence[Mapping[str, Any]], *, chosen: int, name: str) -> str:
    """Draws the agreement of two halves' codebooks by number of motifs, each draw a dot.

    Args:
        rows: {"motifs", "adjusted_rand", "draws", "without_structure"}, as in metrics.json.
        chosen: the number of motifs to mark.
        name: of the figure on the page.
    """
    at = list(range(len(rows)))
    with new_figure(4.6, 2.9) as figure:
        axes = figure.add_subplot()
        for x, row in zip(at, rows, strict=True):
            axes.plot([x] * len(row["draws"]), row["draws"], "o", color=COLOURS[1], alpha=0.35,
                      ms=3.5, mew=0)  # fmt: skip
        axes.plot(at, [row["adjusted_rand"] for row in rows], "-o", color=COLOURS[1], lw=1.8,
                  ms=6, mec="white", label="halves of the animals")  # fmt: skip
        axes.plot(at, [row["without_structure"] for row in rows], color=MUTED, lw=1.4, ls=_DASHES,
                  label="data without structure")  # fmt: skip
        numbers = [row["motifs"] for row in rows]
        if chosen in numbers:
            axes.axvline(numbers.index(chosen), color=COLOURS[0], lw=1.2, label="chosen")
        axes.set_xticks(at, [str(number) for number in numbers])
        low = min(min(0.0, *row["draws"], row["without_structure"]) for row in rows)
        axes.set(ylim=(low - 0.03, 1.03), xlabel="number of motifs", ylabel="adjusted Rand index")
        axes.yaxis.grid(True, color=GRID, lw=0.7)
        figure.legend(loc="outside upper left", ncols=3, frameon=False, handlelength=1.6)
        return to_svg(figure, name)


def draw_effects(rows: Sequence[Mapping[str, Any]], *, title: str, name: str) -> str:
    """Draws every motif's standardised effect against its p; found ones are numbered.

    Args:
        rows: {"motif", "effect": {"value"}, "p", "q"} of one contrast.
        title: of the panel.
        name: of the figure on the page.
    """
    able = [row for row in rows if row["effect"].get("value") is not None]
    with new_figure(3.5, 3.1) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=MUTED, lw=1, ls=_DASHES)
        height = [-np.log10(row["p"]) for row in able]
        for row, y in zip(able, height, strict=True):
            found = row["q"] <= 0.05
            x = row["effect"]["value"]
            colour = (COLOURS[0] if x > 0 else COLOURS[1]) if found else MUTED
            axes.plot(x, y, "o" if found else "x", color=colour, ms=6 if found else 4.5,
                      mec="white" if found else colour, clip_on=False)  # fmt: skip
            if found:
                axes.annotate(str(row["motif"]), (x, y), (5, 3), textcoords="offset points",
                              fontsize=8, color=INK)  # fmt: skip
        widest = max([1.0, *(abs(row["effect"]["value"]) for row in able)])
        axes.set(xlim=(-1.15 * widest, 1.15 * widest), ylim=(0, 1.12 * max([1.5, *height])))
        axes.set(title=title, xlabel="Hedges g of the usage", ylabel="−log₁₀ p")
        axes.grid(True, color=GRID, lw=0.7)
        return to_svg(figure, name)


def draw_usage(
    usage: Sequence[Sequence[float]], columns: Sequence[tuple[str, str]], *, name: str
) -> str:
    """Draws the usage of every motif (rows) per condition and day (columns) as a heat map.

    Args:
        usage: share of the time, a row per motif.
        columns: (condition, day) of each column; days of one condition follow each other.
        name: of the figure on the page.
    """
    share = 100 * np.asarray(usage)
    motifs, count = share.shape
    with new_figure(min(7.2, 1.6 + 0.42 * count), 1.2 + 0.2 * motifs) as figure:
        axes = figure.add_subplot()
        # Rare motifs would all be white on a linear scale.
        mesh = axes.pcolormesh(np.sqrt(share), cmap=_SHARE, vmin=0, edgecolors=GRID, lw=0.5)
        axes.invert_yaxis()
        axes.set_yticks(np.arange(motifs) + 0.5, [str(motif) for motif in range(motifs)])
        axes.set_xticks(np.arange(count) + 0.5, [day for _, day in columns])
        axes.set_ylabel("motif")
        starts = [i for i in range(count) if i == 0 or columns[i][0] != columns[i - 1][0]]
        for start, stop in zip(starts, [*starts[1:], count], strict=True):
            axes.annotate(columns[start][0], ((start + stop) / 2, 0), (0, 4), ha="center",
                          textcoords="offset points", fontsize=8)  # fmt: skip
            axes.axvline(start, color=MUTED, lw=0.9)
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(mesh, ax=axes, shrink=0.8)
        shown = [tick for tick in (0, 1, 5, 10, 20, 40, 60, 80) if tick <= share.max()]
        bar.set_ticks([float(np.sqrt(tick)) for tick in shown], labels=[str(t) for t in shown])
        bar.set_label("share of the time (%)")
        bar.outline.set_visible(False)
        return to_svg(figure, name)


def draw_animals(
    points: Mapping[tuple[str, str], Sequence[float]],
    *,
    colours: Mapping[str, str],
    title: str,
    name: str,
) -> str:
    """Draws one motif's usage per condition and day: a dot per animal, a bar for their mean.

    Args:
        points: per (condition, day) the animals' shares of the time.
        colours: per condition.
        title: of the panel.
        name: of the figure on the page.
    """
    order = list(colours)
    with new_figure(min(7.2, 1.2 + 0.36 * len(points)), 2.5) as figure:
        axes = figure.add_subplot()
        for x, ((condition, _), values) in enumerate(points.items()):
            colour, marker = colours[condition], MARKERS[order.index(condition) % len(MARKERS)]
            spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1)
            axes.plot(x + spread, 100 * np.asarray(values), marker, color=colour, alpha=0.5, ms=4,
                      mew=0, clip_on=False)  # fmt: skip
            axes.plot([x - 0.3, x + 0.3], [100 * float(np.mean(values))] * 2, color=colour, lw=2)
        axes.set_xticks(range(len(points)), [day for _, day in points])
        for condition in order:
            if any(own == condition for own, _ in points):
                axes.plot([], [], MARKERS[order.index(condition) % len(MARKERS)],
                          color=colours[condition], ms=5, mew=0, label=condition)  # fmt: skip
        figure.legend(loc="outside upper left", ncols=3, frameon=False, handletextpad=0.2)
        axes.set(title=title, ylabel="share of the time (%)")
        axes.set_ylim(bottom=0)
        axes.yaxis.grid(True, color=GRID, lw=0.7)
        return to_svg(figure, name)


def draw_profile(usage: Sequence[Sequence[float]], *, minutes: float, name: str) -> str:
    """Draws how the motifs' usage changes over the course of a recording, relative to its mean.

    Args:
        usage: share of the time per motif (rows) and part of the recording (columns).
        minutes: usual length of a recording.
        name: of the figure on the page.
    """
    share = np.asarray(usage)
    mean = share.mean(1, keepdims=True)
    change = np.divide(share, mean, out=np.ones_like(share), where=mean > 0)
    colours = LinearSegmentedColormap.from_list("change", [COLOURS[1], "#ffffff", COLOURS[0]])
    with new_figure(4.4, 1.2 + 0.18 * len(share)) as figure:
        axes = figure.add_subplot()
        mesh = axes.pcolormesh(change, cmap=colours, vmin=0, vmax=2, edgecolors=GRID, lw=0.4)
        axes.invert_yaxis()
        axes.set_yticks(np.arange(len(share)) + 0.5, [str(motif) for motif in range(len(share))])
        axes.set_xticks([0, share.shape[1]], ["start", f"end ({minutes:.1f} min)"])
        axes.set(ylabel="motif", xlabel="time within a recording")
        axes.spines[:].set_visible(False)
        axes.tick_params(length=0)
        bar = figure.colorbar(mesh, ax=axes, shrink=0.8)
        bar.set_ticks([0, 1, 2], labels=["none", "as usual", "twice"])
        bar.outline.set_visible(False)
        return to_svg(figure, name)


def draw_ethogram(
    recordings: Sequence[Mapping[str, Any]], *, colours: Mapping[int, str], name: str
) -> str:
    """Draws the bouts of some recordings as a raster; motifs without a colour are grey.

    Args:
        recordings: {"animal", "class", "day", "bouts": [[start, end, motif]]}; -1: unlike any.
        colours: of the motifs that matter most.
        name: of the figure on the page.
    """
    with new_figure(7.0, 1.1 + 0.3 * len(recordings)) as figure:
        axes = figure.add_subplot()
        for y, row in enumerate(recordings):
            begin = min(bout[0] for bout in row["bouts"])
            spans = [(start - begin, end - start) for start, end, _ in row["bouts"]]
            motifs = [int(motif) for _, _, motif in row["bouts"]]
            # Other motifs in two greys by turns, so that their bouts can be told apart.
            faces = [
                colours.get(motif, _UNLIKE if motif < 0 else (GRID, "#cdd4da")[motif % 2])
                for motif in motifs
            ]
            boxes = [
                [(x, y - 0.4), (x, y + 0.4), (x + width, y + 0.4), (x + width, y - 0.4)]
                for x, width in spans
            ]
            axes.add_collection(PolyCollection(boxes, facecolors=faces, linewidths=0))
        for motif, colour in colours.items():
            axes.plot([], [], "s", color=colour, ms=7, label=f"motif {motif}")
        axes.plot([], [], "s", color="#cdd4da", ms=7, label="others")
        axes.plot([], [], "s", color=_UNLIKE, ms=7, label="unlike any")
        axes.set_yticks(
            range(len(recordings)), [f"{row['class']} · {row['animal']}" for row in recordings]
        )
        axes.autoscale_view()
        axes.set(ylim=(len(recordings) - 0.4, -0.6), xlabel="time within the recording (s)")
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        figure.legend(loc="outside upper left", ncols=5, frameon=False, handletextpad=0.2)
        return to_svg(figure, name)
