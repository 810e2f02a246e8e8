"""A drawing of the report and what it says in words."""

import dataclasses
from typing import Any

from etils import epath
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


@dataclasses.dataclass(frozen=True)
class Pictures:
    """What the report shows beside figures.

    Attributes:
        galleries: per motif its pictures as data URIs, and what it resembles; None: none were made.
        saliency: folder of the explained clips' pictures; None: there are none.
    """

    galleries: dict[int, Any] | None = None
    saliency: epath.PathLike | None = None


Figures = dict[str, list[Panel]]


def make_panel(svg: str, alt: str) -> Panel:
    """Joins an SVG text of `plots` with its text alternative, which may hold names of the data."""
    return Panel(Markup(svg), alt)
