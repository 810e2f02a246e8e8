"""A drawing of the report with its text alternative."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from etils import epath
from markupsafe import Markup


@dataclasses.dataclass(frozen=True)
class Panel:
    """One drawing."""

    svg: Markup  # matplotlib's own and already escaped
    alt: str  # what it shows, in words, for readers who cannot see it


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images that the report shows in addition to figures; None: there are none."""

    galleries: dict[int, Any] | None = None  # per motif, images as data URIs, what it resembles
    saliency: epath.PathLike | None = None  # folder of the explained clips' images


Figures = dict[str, list[Panel]]


def drawn(figures: Mapping[str, Iterable[Panel]]) -> Figures:
    """Returns the figures that have panels, by their names."""
    listed = {name: list(panels) for name, panels in figures.items()}
    return {name: panels for name, panels in listed.items() if panels}
