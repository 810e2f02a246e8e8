"""Figure of the audit of confounds: how well each family of features tells the class."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpjax.report.plots.style import COLOURS, GRID, INK, MUTED, draw_interval, new_figure, to_svg

# Status to colour and marker, so that colour is never the only difference.
LOOKS = {
    "red": (COLOURS[0], "X"),
    "amber": (COLOURS[4], "s"),
    "green": (COLOURS[2], "o"),
    "apart": (MUTED, "D"),
}


def draw_families(
    rows: Sequence[tuple[str, str, Mapping[str, Any]]], *, chance: float, title: str, name: str
) -> str:
    """Draws balanced accuracies with intervals against chance, a row per family.

    Args:
        rows: (label, status, {"value", "ci95", "null": {"q95"}}), top to bottom.
        chance: of the task.
        title: of the panel.
        name: of the figure on the page.
    """
    with new_figure(5.2, 1.1 + 0.34 * len(rows)) as figure:
        axes = figure.add_subplot()
        axes.axvline(100 * chance, color=MUTED, lw=1, ls=(0, (4, 3)))
        for y, (_, status, entry) in enumerate(rows):
            colour, marker = LOOKS[status]
            if entry.get("null"):
                axes.plot(
                    100 * entry["null"]["q95"], y, "|", color=INK, ms=11, mew=1.4, clip_on=False
                )
            draw_interval(axes, y, entry, colour=colour, marker=marker, vertical=False, scale=100.0)
        axes.set_yticks(range(len(rows)), [label for label, _, _ in rows])
        axes.set(xlim=(0, 100), ylim=(len(rows) - 0.4, -0.6), title=title)
        axes.set_xlabel("balanced accuracy, % (95 % CI); dashed: chance")
        axes.xaxis.grid(True, color=GRID, lw=0.7)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        return to_svg(figure, name)
