"""A drawing of the report and what it says in words."""

import dataclasses

from markupsafe import Markup


@dataclasses.dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        svg: matplotlib's own and already escaped.
        alt: what it shows, in words, for who cannot see it.
    """

    svg: Markup
    alt: str


Figures = dict[str, list[Panel]]


def make_panel(svg: str, alt: str) -> Panel:
    """Joins an SVG text of `plots` with its text alternative, which may hold names of the data."""
    return Panel(Markup(svg), alt)
