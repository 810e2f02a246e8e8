"""Figure of the check of saliency maps: the probability while cells are erased or shown."""

from collections.abc import Mapping, Sequence
from typing import Any

from mpjax.report.plots.style import COLOURS, GRID, MUTED, new_figure, to_svg

# Colour, marker and line of each map, and what it is called.
MAPS = {
    "occlusion": (COLOURS[0], "o", "-", "map by occlusion"),
    "gradients": (COLOURS[1], "s", "-", "map by gradients"),
    "difference": (COLOURS[2], "^", (0, (4, 2)), "where the animal is"),
}


def draw_curves(curves: Mapping[str, Any], levels: Sequence[float], *, test: str, name: str) -> str:
    """Draws the mean probability of the named class along every order, and the random band.

    Args:
        curves: per map, its mean curve; `random` with "mean", "low" and "high".
        levels: share of the cells erased or shown, 0..1.
        test: deletion or insertion.
        name: of the figure on the page.
    """
    at = [100 * level for level in levels]
    with new_figure(3.7, 3.1) as figure:
        axes = figure.add_subplot()
        random = curves["random"]
        axes.fill_between(at, random["low"], random["high"], color=MUTED, alpha=0.3, lw=0)
        axes.plot(at, random["mean"], color=MUTED, lw=1.4, label="random order")
        for kind, (colour, marker, line, label) in MAPS.items():
            if kind in curves:
                axes.plot(
                    at, curves[kind], ls=line, marker=marker, color=colour, lw=1.8, ms=5,
                    mec="white", mew=0.7, label=label, clip_on=False,
                )  # fmt: skip
        erased = test == "deletion"
        axes.set(xlim=(0, 100), ylim=(0, 1), ylabel="probability of the named class")
        axes.set_xlabel(f"{'erased' if erased else 'shown'}, most important first (% of the clip)")
        axes.set_title("Erasing" if erased else "Showing")
        axes.yaxis.grid(True, color=GRID, lw=0.7)
        figure.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=7.5)
        return to_svg(figure, name)
