"""Calibration: error before and after temperature scaling, reliability, accuracy by coverage."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mpjax.formatting import percent
from mpjax.report import columns as col
from mpjax.report.drawing import COLOURS, DASHES, MARKERS, MUTED, new_axes, to_svg
from mpjax.report.panels import Figures, Panel, drawn
from mpjax.report.sections.answers import name_task
from mpjax.report.tables import Table, by_name


def tabulate(calibration: Mapping[str, Any], tasks: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of calibration error, reliability and coverage."""
    each = [(name_task(task, kind), calibration.get(kind) or {}) for kind, task in tasks.items()]
    scored = [
        {"classes": label, "probabilities": when, **found[when]}
        for label, found in each
        for when in ("before", "after")
        if "ece" in found.get(when, {})
    ]
    bins = [
        {"classes": label, **entry}
        for label, found in each
        for entry in found.get("reliability", [])
    ]
    points = [
        {"classes": label, **point}
        for label, curve in _coverage(calibration, tasks).items()
        for point in curve
    ]
    task = col.text("Task", "classes")
    return by_name(
        [
            Table(
                "calibration", "Calibration error", scored,
                [task, col.text("Temperature scaling", "probabilities"),
                 col.share("Expected calibration error", "ece"),
                 col.real("Negative log-likelihood", "nll", digits=3)],
                labels=2,
            ),
            Table(
                "reliability", "Reliability: accuracy by confidence", bins,
                [task, col.share("Mean confidence", "confidence"),
                 col.share("Accuracy", "accuracy"), col.integer("Clips", "n")],
            ),
            Table(
                "coverage", "Accuracy by coverage", points,
                [task, col.share("Recordings answered", "coverage"),
                 col.share("Accuracy among them", "accuracy"),
                 col.real("Lowest confidence", "threshold")],
            ),
        ]
    )  # fmt: skip


def _coverage(calibration: Mapping[str, Any], tasks: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the curve of each task that has one, by the task's name."""
    found = calibration.get("coverage") or {}
    return {
        name_task(task, kind): found[kind]
        for kind, task in tasks.items()
        if isinstance(found.get(kind), list)
    }


def draw(calibration: Mapping[str, Any], tasks: Mapping[str, Any]) -> Figures:
    """Draws reliability and accuracy by coverage."""
    curves = _coverage(calibration, tasks)
    reliability = [
        _draw_reliability(bins, title=name_task(task, kind), name=f"reliability-{kind}")
        for kind, task in tasks.items()
        if (bins := (calibration.get(kind) or {}).get("reliability"))
    ]
    coverage = [_draw_coverage(curves)] if curves else []
    return drawn({"reliability": reliability, "coverage": coverage})


def _draw_reliability(bins: Sequence[Mapping[str, Any]], *, title: str, name: str) -> Panel:
    """Draws accuracy against confidence per bin; the dot's area is the share of clips.

    Source: Guo et al., On Calibration of Modern Neural Networks (2017), fig. 1.
    """
    x, y = ([100 * entry[key] for entry in bins] for key in ("confidence", "accuracy"))
    n = np.array([entry["n"] for entry in bins])
    with new_axes(3.5, 3.3, grid="both") as (figure, axes):
        axes.plot([0, 100], [0, 100], color=MUTED, lw=1, ls=DASHES)
        axes.plot(x, y, color=COLOURS[1], lw=1.3)
        dots: dict[str, Any] = {"ec": "white", "lw": 0.7, "zorder": 3, "clip_on": False}
        axes.scatter(x, y, s=14 + 160 * n / n.sum(), color=COLOURS[1], **dots)
        axes.set(xlim=(0, 102), ylim=(0, 102), aspect="equal", title=title)
        axes.set(xlabel="confidence (%)", ylabel="accuracy (%)")
    listed = "; ".join(
        f"at {percent(each['confidence'])} {percent(each['accuracy'])}" for each in bins
    )
    return Panel(
        to_svg(figure, name),
        f"Reliability diagram, {title}: accuracy against confidence of clips in {len(bins)} bins, "
        f"with the diagonal of perfect calibration. Accuracy {listed}.",
    )


def _draw_coverage(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Panel:
    with new_axes(3.9, 3.1, grid="both") as (figure, axes):
        for i, (label, points) in enumerate(curves.items()):
            x, y = ([100 * point[key] for point in points] for key in ("coverage", "accuracy"))
            axes.plot(x, y, marker=MARKERS[i], color=COLOURS[1 - i], lw=1.5, ms=4.5, mec="white",
                      mew=0.6, label=label, clip_on=False)  # fmt: skip
        axes.set(xlim=(0, 103), ylim=(0, 103))
        axes.set(xlabel="share of recordings answered (%)", ylabel="accuracy among them (%)")
        figure.legend(loc="outside upper left", ncols=2, handlelength=1.6)
    listed = "; ".join(
        f"{label}: {percent(points[0]['accuracy'])} of the most confident "
        f"{percent(points[0]['coverage'])}, {percent(points[-1]['accuracy'])} of all "
        "that are answered"
        for label, points in curves.items()
    )
    return Panel(
        to_svg(figure, "coverage"),
        f"Accuracy against the share of recordings answered, the most confident first. {listed}.",
    )
