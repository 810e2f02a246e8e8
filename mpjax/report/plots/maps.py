"""Figure of the embedding: clips on a plane, coloured by a name."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from mpjax.report.plots.style import MUTED, colour_of, marker_of, new_figure, to_svg

_MOST_NAMED = 14  # names in the key of a panel


def draw_map(
    coordinates: Float[np.ndarray, "n 2"],
    names: Sequence[str],
    *,
    title: str,
    explained: Float[np.ndarray, " 2"],
    name: str,
) -> str:
    """Draws points on a plane in the colour and marker of their name; the points are an image.

    Args:
        coordinates: of the clips.
        names: of the clips: their class, or their animal.
        title: of the panel.
        explained: share of the variance along either axis, 0..1.
        name: of the figure on the page.
    """
    kinds = sorted(set(names))
    # Colours repeat after 7 and markers change with each round, so 49 names stay apart.
    colours = colour_of(kinds)
    markers = dict(zip(kinds, _rounds(len(kinds)), strict=True))
    rows = min(len(kinds), _MOST_NAMED) // 2 + 1
    with new_figure(3.7, 3.3 + 0.16 * rows) as figure:
        axes = figure.add_subplot()
        each = np.array(names)
        for kind in kinds:
            points = coordinates[each == kind]
            axes.plot(
                points[:, 0], points[:, 1], markers[kind], color=colours[kind], ms=3.2, mew=0,
                alpha=0.6, rasterized=True,
            )  # fmt: skip
            if len(kinds) <= _MOST_NAMED:
                axes.plot([], [], markers[kind], color=colours[kind], ms=5, mew=0, label=kind)
        axes.set(title=title, xticks=[], yticks=[])
        axes.spines[:].set_color(MUTED)
        axes.set_xlabel(f"first component ({100 * explained[0]:.0f} % of variance)")
        axes.set_ylabel(f"second ({100 * explained[1]:.0f} %)")
        if len(kinds) <= _MOST_NAMED:
            figure.legend(
                loc="outside lower left", ncols=2, frameon=False, handletextpad=0.1, fontsize=7.5
            )  # fmt: skip
        return to_svg(figure, name)


def _rounds(count: int) -> list[str]:
    markers = list(marker_of([str(i) for i in range(7)]).values())
    return [markers[(i // 7) % 7] for i in range(count)]
