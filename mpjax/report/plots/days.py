"""Figure of the course of pain: one panel per condition, a thin line per animal."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpjax.report.plots.style import GRID, new_figure, to_svg


def draw_days(
    rows: Sequence[Mapping[str, Any]],
    *,
    title: str,
    days: Sequence[int],
    colour: str,
    marker: str,
    name: str,
) -> str:
    """Draws one condition's probability of pain over days: animals thin, their mean bold.

    Args:
        rows: {"day", "value", "animals"} of one condition, as in metrics.json under `progression`.
        title: of the panel.
        days: the ticks, those of all conditions.
        colour: of the lines.
        marker: of the mean.
        name: of the figure on the page.
    """
    with new_figure(2.75, 2.5) as figure:
        axes = figure.add_subplot()
        for animal in dict.fromkeys(name for row in rows for name in row["animals"]):
            own = [(row["day"], row["animals"][animal]) for row in rows if animal in row["animals"]]
            axes.plot(
                *zip(*own, strict=True), "-o", color=colour, alpha=0.35, lw=0.9, ms=3, mew=0
            )  # fmt: skip
        axes.plot(
            [row["day"] for row in rows], [row["value"] for row in rows], "-",
            marker=marker, color=colour, lw=2.2, ms=5.5, mec="white",
        )  # fmt: skip
        axes.set(ylim=(-0.03, 1.03), yticks=[0, 0.5, 1], title=title)
        axes.set(xlabel="day after induction", ylabel="probability of pain")
        axes.set_xticks(list(days))
        axes.set_xlim(min(days) - 0.8, max(days) + 0.8)
        axes.yaxis.grid(True, color=GRID, lw=0.7)
        return to_svg(figure, name)
