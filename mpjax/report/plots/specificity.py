"""Figures of specificity: shift along the pain axis and off it, distance to the manifold."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpjax.report.plots.style import COLOURS, GRID, INK, MUTED, draw_interval, new_figure, to_svg

_EXPECTED = 5  # per cent of untreated held-out clips lie beyond the threshold, by its definition


def draw_shift(rows: Sequence[tuple[str, Mapping[str, Any]]], *, name: str) -> str:
    """Draws the shift of the embedding along the pain axis and orthogonal to it, row by row.

    Args:
        rows: (label, {"along", "orthogonal"}), two estimates each.
        name: of the figure on the page.
    """
    parts = (("along", COLOURS[1], "o", -0.14), ("orthogonal", COLOURS[0], "D", 0.14))
    with new_figure(5.2, 1.05 + 0.36 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(0, color=MUTED, lw=1, ls=(0, (4, 3)))
        for part, colour, marker, off in parts:
            for y, (_, entry) in enumerate(rows):
                draw_interval(
                    axes, y + off, entry[part], colour=colour, marker=marker, vertical=False
                )
            axes.plot([], [], marker, color=colour, ms=6, mec="white", label=f"{part} the pain axis"
                      if part == "along" else "orthogonal to it")  # fmt: skip
        axes.set_yticks(range(len(rows)), [text for text, _ in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6), xlabel="shift of the embedding (95 % CI)")
        axes.xaxis.grid(True, color=GRID, lw=0.7)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        figure.legend(loc="outside upper left", ncols=2, frameon=False, handletextpad=0.3)
        return to_svg(figure, name)


def draw_manifold(rows: Sequence[tuple[str, Mapping[str, Any]]], *, name: str) -> str:
    """Draws the share of clips far from the training data; flagged rows are marked.

    Args:
        rows: (label, {"value", "flag"}), the share 0..1.
        name: of the figure on the page.
    """
    with new_figure(5.2, 1.0 + 0.24 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(_EXPECTED, color=MUTED, lw=1, ls=(0, (4, 3)))
        for y, (_, row) in enumerate(rows):
            if row["value"] is None:
                continue
            colour, marker = (COLOURS[0], "X") if row["flag"] else (COLOURS[1], "o")
            axes.plot(100 * row["value"], y, marker, color=colour, ms=7, mec="white", clip_on=False)
            if row["flag"]:
                axes.annotate("flag", (100 * row["value"], y), (7, 0), va="center", fontsize=8,
                              textcoords="offset points", color=INK)  # fmt: skip
        axes.set_yticks(range(len(rows)), [text for text, _ in rows])
        axes.set(ylim=(len(rows) - 0.4, -0.6))
        axes.set_xlim(0, max(12, *(112 * (row["value"] or 0) for _, row in rows)))
        axes.set_xlabel("far-off clips (%); dashed: 5 %")
        axes.xaxis.grid(True, color=GRID, lw=0.7)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return to_svg(figure, name)
