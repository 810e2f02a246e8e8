"""One self-contained HTML page: answers in words first, then figures, tables and limits."""

from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
from etils import epath
from markupsafe import Markup

from mpjax.analysis.metrics import LEVELS
from mpjax.analysis.predictions import Predictions
from mpjax.files import write_aside
from mpjax.report import plots

# arXiv 2508.05138 (2025), abstract: accuracy in % on its own dataset, which is not public.
PUBLISHED = (
    ("Reference method", 48.41, 73.1),
    ("B-SOiD", 30.52, 58.43),
    ("Human experts", 21.33, 48.0),
    ("Chance", 6.67, 33.3),
)
_UNITS = {"clip": "clips", "recording": "recordings", "animal_day": "animal × day units"}
_SCHEMES = {
    "fixed": "one fixed split",
    "kfold": "grouped cross-validation",
    "leave_one_group_out": "leave-one-group-out cross-validation",
}


def write_report(
    path: epath.PathLike, metrics: Mapping[str, Any], predictions: Predictions, *, title: str
) -> None:
    """Writes the report as one HTML file, aside then renamed; same input, same bytes.

    Args:
        path: the file to write.
        metrics: what `mpjax.analysis.metrics.evaluate` returned for `predictions`.
        predictions: the evaluated predictions; their provenance is shown.
        title: of the page.
    """
    page = render_report(metrics, predictions, title=title)
    with write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")


def render_report(metrics: Mapping[str, Any], predictions: Predictions, *, title: str) -> str:
    """Renders the report to HTML; every name from the data is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mpjax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"percent": _percent, "interval": _interval, "decimal": "{:.2f}".format}
    tasks = {kind: metrics[kind] for kind in ("fine", "coarse") if kind in metrics}
    levels = {kind: _headline_level(task) for kind, task in tasks.items()}
    return environment.get_template("report.html.j2").render(
        title=title,
        metrics=metrics,
        tasks=tasks,
        levels=levels,
        units=_UNITS,
        level_names=LEVELS,
        scheme=_SCHEMES[metrics["scheme"]],
        verdicts={kind: _verdict(task, levels[kind]) for kind, task in tasks.items()},
        notes=_notes(tasks),
        figures=_figures(metrics, tasks, levels),
        provenance=_flatten(predictions.meta["provenance"]),
        published=PUBLISHED,
    )


def _headline_level(task: Mapping[str, Any]) -> str:
    """Chooses recordings; clips where a recording has no class of its own."""
    return "clip" if task["recording"]["accuracy"]["value"] is None else "recording"


def _verdict(task: Mapping[str, Any], level: str) -> str:
    """Compares the interval of mean-class accuracy (rare classes count too) to chance."""
    score = task[level]["mean_class_accuracy"]
    chance = task["chance"]["value"]
    if score["value"] is None or score["ci95"] is None:
        return f"Whether this is more than chance cannot be said: {score['why']}."
    low, high = score["ci95"]
    caution = " Mind the note on the intervals." if "note" in score else ""
    if low > chance:
        return f"This is above chance: the whole interval of it lies above.{caution}"
    if high < chance:
        return f"This is below chance: the whole interval of it lies below.{caution}"
    return f"This cannot be told from chance, which the interval includes.{caution}"


def _notes(tasks: Mapping[str, Any]) -> list[str]:
    """Collects what the intervals of the main scores say about themselves, once each."""
    scores = [
        task[level][score]
        for task in tasks.values()
        for level in LEVELS
        for score in ("accuracy", "mean_class_accuracy")
    ]
    return sorted({score["note"] for score in scores if "note" in score})


def _figures(
    metrics: Mapping[str, Any], tasks: Mapping[str, Any], levels: Mapping[str, str]
) -> dict[str, Markup]:
    """Draws what can be drawn; the SVG is matplotlib's own and already escaped."""
    figures = {}
    for kind, task in tasks.items():
        scores = task[levels[kind]]
        if scores["accuracy"]["value"] is None:
            continue
        figures[f"{kind}.confusion"] = plots.draw_confusion(scores["confusion"], task["classes"])
        figures[f"{kind}.recall"] = plots.draw_recall(
            scores["recall"], chance=task["chance"]["value"]
        )
    if "rows" in metrics["progression"]:
        figures["days"] = plots.draw_days(metrics["progression"]["rows"])
    if "rows" in metrics["drug"]:
        figures["drugs"] = plots.draw_drugs(metrics["drug"]["rows"])
    return {name: Markup(svg) for name, svg in figures.items()}


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yields a nested mapping as (dotted name, text) pairs in its own order."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield prefix + str(name), ", ".join(map(str, value)) or "none"
        else:
            yield prefix + str(name), str(value)


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _interval(score: Mapping[str, Any]) -> str:
    """Formats a 95 % interval in per cent, or a dash where there is none."""
    if score.get("ci95") is None:
        return "–"
    low, high = score["ci95"]
    return f"{100 * low:.1f}–{100 * high:.1f} %"
