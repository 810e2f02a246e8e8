"""A drawing of the report with its text alternative."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath
from markupsafe import Markup


@dataclasses.dataclass(frozen=True)
class Panel:
    """One drawing.

    Attributes:
        svg: matplotlib's own and already escaped.
        alt: what it shows, in words, for readers who cannot see it.
    """

    svg: Markup
    alt: str


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images that the report shows in addition to figures.

    Attributes:
        galleries: per motif its images as data URIs, and what it resembles; None: none were made.
        saliency: folder of the explained clips' images; None: there are none.
    """

    galleries: dict[int, Any] | None = None
    saliency: epath.PathLike | None = None


Figures = dict[str, list[Panel]]


def drawn(figures: Mapping[str, Iterable[Panel]]) -> Figures:
    """Returns the figures that have panels, by their names."""
    listed = {name: list(panels) for name, panels in figures.items()}
    return {name: panels for name, panels in listed.items() if panels}
