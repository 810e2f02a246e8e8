"""Figures of the motifs: stability, effects, usage over days, course of a recording, ethogram."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from mpjax.formatting import count, estimate, number, percent
from mpjax.report.drawing import (
    COLOURS,
    DASHES,
    GRID,
    MUTED,
    SHARES,
    colour_of,
    draw_grid,
    marker_of,
    new_axes,
    new_rows,
    note,
    to_svg,
)
from mpjax.report.panels import Figures, Panel, drawn

_SHOWN = 4  # motifs drawn animal by animal
_COMPARED = ("pain", "label", "drug")
_CHANGE = LinearSegmentedColormap.from_list("change", [COLOURS[1], "#ffffff", COLOURS[0]])
_UNLIKE, _OTHERS = "#f0e4c8", (GRID, "#cdd4da")

Rows = Sequence[Mapping[str, Any]]
Cells = dict[tuple[str, str], dict[str, list]]


def draw(found: Mapping[str, Any]) -> Figures:
    """Draws stability, effects, usage, course and ethogram."""
    if "tests" not in found:
        return {}
    usage = [row for row in found["tests"] if row["measure"] == "usage"]
    by_strength = sorted(usage, key=lambda row: (row["q"], -abs(row["effect"].get("value") or 0)))
    leading = list(dict.fromkeys(row["motif"] for row in by_strength))
    compared = [row for row in usage if row["kind"] in _COMPARED]
    contrasts = enumerate(dict.fromkeys(row["contrast"] for row in compared))
    book, cells, profile = found["codebook"], _cells(found["sessions"]), found["profile"]
    return drawn(
        {
            "motif_stability": [_stability(book)] if book["stability"] else [],
            "motif_effects": (
                _effects([row for row in compared if row["contrast"] == contrast], i)
                for i, contrast in contrasts
            ),
            "motif_usage": [_usage(cells)] if cells else [],
            "motif_animals": (_animals(cells, motif) for motif in leading[:_SHOWN] if cells),
            "motif_profile": [_profile(profile)] if "usage" in profile else [],
            "motif_ethogram": [_ethogram(found["ethogram"], leading)] if found["ethogram"] else [],
        }
    )


def _stability(book: Mapping[str, Any]) -> Panel:
    """Draws the agreement of two halves' codebooks by number of motifs, each draw a dot."""
    rows, blue = book["stability"], COLOURS[1]
    at, numbers = list(range(len(rows))), [row["motifs"] for row in rows]
    means, null = ([row[key] for row in rows] for key in ("adjusted_rand", "without_structure"))
    with new_axes(4.6, 2.9) as (figure, axes):
        for x, row in zip(at, rows, strict=True):
            draws = row["draws"]
            axes.plot([x] * len(draws), draws, "o", color=blue, alpha=0.35, ms=3.5, mew=0)
        label = "halves of the animals"
        axes.plot(at, means, "-o", color=blue, lw=1.8, ms=6, mec="white", label=label)
        axes.plot(at, null, color=MUTED, lw=1.4, ls=DASHES, label="data without structure")
        if book["motifs"] in numbers:
            chosen = numbers.index(book["motifs"])
            axes.axvline(chosen, color=COLOURS[0], lw=1.2, label="chosen")
        axes.set_xticks(at, list(map(str, numbers)))
        low = min(min(0.0, *row["draws"], row["without_structure"]) for row in rows)
        axes.set(ylim=(low - 0.03, 1.03), xlabel="number of motifs", ylabel="adjusted Rand index")
        figure.legend(loc="outside upper left", ncols=3, handlelength=1.6)
    listed = ", ".join(
        f"{number(row['adjusted_rand'])} with {row['motifs']} motifs (without structure "
        f"{number(row['without_structure'])})"
        for row in rows
    )
    alt = f"Stability by number of motifs; {book['motifs']} are chosen. Adjusted Rand: {listed}."
    return Panel(to_svg(figure, "motif-stability"), alt)


def _effects(rows: Rows, place: int) -> Panel:
    """Draws every motif's standardised effect against its p; found ones are numbered."""
    able = [row for row in rows if row["effect"].get("value") is not None]
    height, title = [-np.log10(row["p"]) for row in able], rows[0]["contrast"]
    with new_axes(3.5, 3.1, grid="both") as (figure, axes):
        axes.axvline(0, color=MUTED, lw=1, ls=DASHES)
        for row, y in zip(able, height, strict=True):
            x = row["effect"]["value"]
            if row["q"] > 0.05:
                axes.plot(x, y, "x", color=MUTED, ms=4.5, clip_on=False)
                continue
            colour = COLOURS[0] if x > 0 else COLOURS[1]
            axes.plot(x, y, "o", color=colour, ms=6, mec="white", clip_on=False)
            note(axes, str(row["motif"]), (x, y), (5, 3))
        widest = max([1.0, *(abs(row["effect"]["value"]) for row in able)])
        axes.set(xlim=(-1.15 * widest, 1.15 * widest), ylim=(0, 1.12 * max([1.5, *height])))
        axes.set(
            title=title.replace(": ", ":\n"), xlabel="Hedges g of the usage", ylabel="−log₁₀ p"
        )
    listed = "; ".join(
        f"motif {row['motif']} {estimate(row['effect'], 1)}" for row in rows if row["q"] <= 0.05
    )
    return Panel(
        to_svg(figure, f"motif-effects-{place}"),
        f"Standardised effect on the usage of each of {len(rows)} motifs and its p, {title}. "
        f"Found: {listed or 'none'}.",
    )


def _cells(sessions: Rows) -> Cells:
    """Returns per (condition, day), or (label, ""), each untreated animal's lists of usage."""
    cells: Cells = {}
    rows = [row for row in sessions if row["split"] != "drug" and row["label"] is not None]
    whole = all(row["coarse"] is not None and row["condition"] for row in rows)
    for row in sorted(rows, key=lambda row: (row["condition"], row["day"], row["label"])):
        key = (row["condition"], f"d{row['day']}") if whole else (row["label"], "")
        cells.setdefault(key, {}).setdefault(row["animal"], []).append(row["usage"])
    return cells


def _usage(cells: Cells) -> Panel:
    """Draws the usage of every motif (rows) per condition and day (columns) as a heat map."""
    columns = list(cells)
    means = [np.mean([np.mean(own, 0) for own in each.values()], 0) for each in cells.values()]
    share, n = 100 * np.array(means).T, len(columns)
    with new_axes(min(7.2, 1.6 + 0.42 * n), 1.2 + 0.2 * len(share), grid="") as (figure, axes):
        # Rare motifs would all be white on a linear scale.
        mesh = draw_grid(axes, np.sqrt(share), cmap=SHARES, vmin=0, lw=0.5)
        _name_motifs(axes, len(share))
        axes.set_xticks(np.arange(n) + 0.5, [day for _, day in columns])
        starts = [i for i in range(n) if i == 0 or columns[i][0] != columns[i - 1][0]]
        for start, stop in zip(starts, [*starts[1:], n], strict=True):
            note(axes, columns[start][0], ((start + stop) / 2, 0), (0, 4), ha="center")
            axes.axvline(start, color=MUTED, lw=0.9)
        shown = [tick for tick in (0, 1, 5, 10, 20, 40, 60, 80) if tick <= share.max()]
        ticks = {float(np.sqrt(tick)): str(tick) for tick in shown}
        _draw_bar(figure, axes, mesh, ticks, label="share of the time (%)")
    listed = "; ".join(
        f"{' '.join(filter(None, key))}: motif {own.argmax()} {percent(own.max())}"
        for key, own in zip(columns, means, strict=True)
    )
    alt = f"Share of the time per motif, mean over animals. The most used in each: {listed}."
    return Panel(to_svg(figure, "motif-usage"), alt)


def _name_motifs(axes: Axes, motifs: int) -> None:
    axes.set_yticks(np.arange(motifs) + 0.5, [str(motif) for motif in range(motifs)])
    axes.set_ylabel("motif")


def _draw_bar(
    figure: Figure, axes: Axes, mesh: ScalarMappable, ticks: Mapping[float, str], label: str = ""
) -> None:
    bar = figure.colorbar(mesh, ax=axes, shrink=0.8)
    bar.set_ticks(list(ticks), labels=list(ticks.values()))
    bar.set_label(label)
    bar.outline.set_visible(False)


def _animals(cells: Cells, motif: int) -> Panel:
    points = {
        key: [np.mean(own, 0)[motif] for own in animals.values()] for key, animals in cells.items()
    }
    conditions = list(dict.fromkeys(condition for condition, _ in points))
    colours, markers = colour_of(conditions), marker_of(conditions)
    with new_axes(min(7.2, 1.2 + 0.36 * len(points)), 2.5) as (figure, axes):
        for x, ((condition, _), values) in enumerate(points.items()):
            colour, marker = colours[condition], markers[condition]
            at = x + (np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1))
            axes.plot(at, 100 * np.array(values), marker, color=colour, alpha=0.5, ms=4, mew=0,
                      clip_on=False)  # fmt: skip
            axes.plot([x - 0.3, x + 0.3], [100 * float(np.mean(values))] * 2, color=colour, lw=2)
        axes.set_xticks(range(len(points)), [day for _, day in points])
        for name in conditions:
            axes.plot([], [], markers[name], color=colours[name], ms=5, mew=0, label=name)
        figure.legend(loc="outside upper left", ncols=3, handletextpad=0.2)
        axes.set(title=f"motif {motif}", ylabel="share of the time (%)")
        axes.set_ylim(bottom=0)
        svg = to_svg(figure, f"motif-animals-{motif}")
    listed = "; ".join(
        f"{' '.join(filter(None, key))} {percent(sum(own) / len(own))}"
        for key, own in points.items()
    )
    return Panel(svg, f"Usage of motif {motif}, a dot per animal; means: {listed}.")


def _profile(profile: Mapping[str, Any]) -> Panel:
    """Draws how the motifs' usage changes over the course of a recording, relative to its mean."""
    share = np.asarray(profile["usage"])
    mean = share.mean(1, keepdims=True)
    change = np.divide(share, mean, out=np.ones_like(share), where=mean > 0)
    with new_axes(4.4, 1.2 + 0.18 * len(share), grid="") as (figure, axes):
        mesh = draw_grid(axes, change, cmap=_CHANGE, vmin=0, vmax=2, lw=0.4)
        _name_motifs(axes, len(share))
        axes.set_xticks([0, share.shape[1]], ["start", f"end ({profile['minutes']:.1f} min)"])
        axes.set_xlabel("time within a recording")
        _draw_bar(figure, axes, mesh, {0: "none", 1: "mean", 2: "twice the mean"})
        svg = to_svg(figure, "motif-profile")
    ends = "; ".join(
        f"motif {motif} {percent(own[0])} to {percent(own[-1])}"
        for motif, own in enumerate(profile["usage"])
    )
    return Panel(svg, f"Usage from the first to the last part of a recording: {ends}.")


def _ethogram(recordings: Rows, leading: Sequence[int]) -> Panel:
    """Draws the bouts of some recordings as a raster; motifs without a colour are grey."""
    colours = dict(zip(leading, COLOURS[:6], strict=False))
    labels = [f"{row['class']} · {row['animal']}" for row in recordings]
    label, height = "time within the recording (s)", 1.1 + 0.3 * len(recordings)
    with new_rows(labels, label, height=height, width=7.0) as (figure, axes):
        axes.grid(False)
        for y, row in enumerate(recordings):
            begin = min(bout[0] for bout in row["bouts"])
            boxes, faces = [], []
            for start, end, motif in row["bouts"]:
                x, stop = start - begin, end - begin
                boxes.append([(x, y - 0.4), (x, y + 0.4), (stop, y + 0.4), (stop, y - 0.4)])
                # Other motifs alternate between two greys, so that their bouts stay apart.
                other = _UNLIKE if motif < 0 else _OTHERS[int(motif) % 2]
                faces.append(colours.get(int(motif), other))
            axes.add_collection(PolyCollection(boxes, facecolors=faces, linewidths=0))
        keys = {f"motif {motif}": colour for motif, colour in colours.items()}
        keys |= {"others": _OTHERS[1], "unlike training": _UNLIKE}
        for text, colour in keys.items():
            axes.plot([], [], "s", color=colour, ms=7, label=text)
        axes.autoscale_view(scaley=False)
        figure.legend(loc="outside upper left", ncols=5, handletextpad=0.2)
        svg = to_svg(figure, "motif-ethogram")
    listed = "; ".join(
        f"{row['class']}, animal {row['animal']}: {count(len(row['bouts']), 'bout')}"
        for row in recordings
    )
    return Panel(svg, f"Behaviour of held-out animals, bout by bout. {listed}.")
