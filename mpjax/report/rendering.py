"""Renders the templates of this room."""

from collections.abc import Callable
from typing import Any

import jinja2


def environment(*filters: Callable[..., Any]) -> jinja2.Environment:
    """Returns what renders templates, with `filters` by their names; text of data is escaped."""
    made = jinja2.Environment(
        loader=jinja2.PackageLoader("mpjax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {each.__name__: each for each in filters}
    return made
