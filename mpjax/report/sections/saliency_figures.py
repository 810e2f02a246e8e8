"""Saliency in the report: curves of the check, and the pictures of the clips as data: URIs."""

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from etils import epath
from markupsafe import Markup

from mpjax import formatting
from mpjax.report.panels import Figures, Panel, make_panel
from mpjax.report.plots import saliency as plots
from mpjax.report.sections.saliency import describe_neighbours, headline


def draw_saliency(found: Mapping[str, Any]) -> Figures:
    """Draws deletion and insertion curves, as far as there are any.

    Args:
        found: what metrics.json holds under `saliency`; empty: nothing.
    """
    panels = list(_curves(found)) if "curves" in found else []
    return {"saliency_curves": panels} if panels else {}


def _curves(found: Mapping[str, Any]) -> Iterator[Panel]:
    curves = found["curves"]
    for test in ("deletion", "insertion"):
        own = {name: of_map[test] for name, of_map in curves.items() if name != "levels"}
        areas = "; ".join(
            f"{plots.MAPS[name][3]} {formatting.number(check[test]['area'])}"
            for name, check in found["check"].items()
        )
        random = next(iter(found["check"].values()))[test]["random_area"]
        svg = plots.draw_curves(own, curves["levels"], test=test, name=f"saliency-{test}")
        yield make_panel(
            svg,
            f"Probability of the named class while cells of the clip are "
            f"{'erased' if test == 'deletion' else 'shown'}, the most important first. Area under "
            f"the curve: {areas}; random order {formatting.number(random)}.",
        )


def fill(found: Mapping[str, Any], folder: epath.PathLike | None) -> dict[str, Any]:
    """Returns what the section's template shows beside figures and tables.

    Args:
        found: what metrics.json holds under `saliency`; empty: nothing.
        folder: of the pictures; those that are not there are left out.

    Returns:
        `answers`, sentences; `shown`, of each clip with a picture {"clip", "uri", "near"}: its row,
        the picture as a data: URI, and its nearest training clips in words.
    """
    shown = []
    for clip in found.get("clips", []) if folder is not None else []:
        path = epath.Path(folder) / clip["file"]
        if clip["kind"] != "drawn" and path.exists():
            encoded = base64.b64encode(path.read_bytes()).decode()
            uri = Markup(f"data:image/webp;base64,{encoded}")
            shown.append({"clip": clip, "uri": uri, "near": describe_neighbours(clip)})
    return {"answers": headline(found), "shown": shown}
