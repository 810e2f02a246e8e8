"""Writes the report: one HTML page with answers in words first, then figures and tables."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
from etils import epath

from mpjax import formatting
from mpjax.analysis.predictions import Predictions
from mpjax.io.files import write_aside
from mpjax.report.panels import Figures, Pictures
from mpjax.report.rendering import environment
from mpjax.report.sections import (
    answers,
    arrive,
    baselines,
    calibration,
    classification,
    confounds,
    drug,
    drug_figures,
    methods,
    motif_figures,
    motifs,
    progression,
    progression_figures,
    raters,
    saliency,
)
from mpjax.report.tables import Tables


def write_report(
    path: epath.PathLike,
    metrics: Mapping[str, Any],
    predictions: Predictions,
    *,
    title: str,
    pictures: Pictures = Pictures(),
) -> None:
    """Writes the report as one HTML file, aside then renamed; same input, same bytes.

    Args:
        path: the file to write.
        metrics: what `mpjax.analysis.classification.evaluate.evaluate` returned for `predictions`.
        predictions: the evaluated predictions; their provenance is shown.
        title: of the page.
        pictures: images that it shows in addition to figures.
    """
    page = render_report(metrics, predictions, title=title, pictures=pictures)
    with write_aside(path) as aside:
        aside.write_text(page, encoding="utf-8")


def render_report(
    metrics: Mapping[str, Any],
    predictions: Predictions,
    *,
    title: str,
    pictures: Pictures = Pictures(),
) -> str:
    """Renders the report to HTML; every name from the data is escaped.

    Parts that the metrics lack are left out; a part without a value shows the reason.
    """
    tasks = {kind: metrics[kind] for kind in ("fine", "coarse") if kind in metrics}
    levels = {kind: answers.headline_level(task) for kind, task in tasks.items()}
    maps, mapped = classification.draw_maps(predictions)
    drug_answers = drug.headline(metrics["drug"])
    provenance = predictions.meta["provenance"]
    rated, salient = metrics.get("raters", {}), metrics.get("saliency", {})
    results = [*answers.answers(tasks, levels), *drug_answers]
    template = make_environment().get_template("report.html.j2")
    return template.render(
        title=title,
        metrics=metrics,
        tasks=tasks,
        levels=levels,
        notes=answers.notes(tasks),
        drug_answers=drug_answers,
        figures=_draw(metrics, tasks) | maps,
        mapped=mapped,
        tables=_tabulate(metrics, tasks),
        galleries=pictures.galleries or {},
        saliency_answers=saliency.headline(salient),
        saliency_clips=saliency.show_clips(salient, pictures.saliency),
        rater_answers=raters.sentences(rated),
        rater_notes=raters.notes(rated),
        methods=methods.describe(metrics, provenance),
        arrive=arrive.fill(metrics, predictions, answers=results),
        provenance=_flatten(provenance),
    )


def _draw(metrics: Mapping[str, Any], tasks: Mapping[str, Any]) -> Figures:
    return {
        **classification.draw(metrics, tasks),
        **calibration.draw(metrics.get("calibration") or {}, tasks),
        **progression_figures.draw(metrics["progression"]),
        **drug_figures.draw(metrics["drug"]),
        **confounds.draw(metrics.get("confounds", {})),
        **motif_figures.draw(metrics.get("motifs", {})),
        **saliency.draw(metrics.get("saliency", {})),
    }


def _tabulate(metrics: Mapping[str, Any], tasks: Mapping[str, Any]) -> Tables:
    rated = metrics.get("raters", {})
    return {
        **classification.tabulate(metrics, tasks),
        **calibration.tabulate(metrics.get("calibration") or {}, tasks),
        **progression.tabulate(metrics["progression"]),
        **drug.tabulate(metrics["drug"]),
        **baselines.tabulate(metrics.get("methods", {}), rated, tasks),
        **raters.tabulate(rated),
        **confounds.tabulate(metrics.get("confounds", {})),
        **motifs.tabulate(metrics.get("motifs", {}), tasks),
        **saliency.tabulate(metrics.get("saliency", {})),
    }


def make_environment() -> jinja2.Environment:
    """Returns what renders the report and each section of it."""
    made = environment(
        formatting.percent, formatting.interval, formatting.number, formatting.estimate,
        formatting.count, answers.units, answers.permutation, answers.name_task,
        answers.describe_task, answers.mixed_model, answers.incomplete, answers.verdict,
        drug.reasons, drug.by_drug, contents,
    )  # fmt: skip
    made.globals |= {"unit_names": answers.UNITS, "schemes": answers.SCHEMES}
    return made


def contents(page: str) -> list[tuple[str, str]]:
    """Lists the sections of a page as (id, short name): their h2 hold both."""
    return re.findall(r'<h2 id="([^"]+)" data-contents="([^"]+)"', page)


def _flatten(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    """Yields a nested mapping as (dotted name, text) pairs in its own order."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{name}.")
        elif isinstance(value, list | tuple):
            yield prefix + str(name), ", ".join(map(str, value)) or "none"
        else:
            yield prefix + str(name), str(value)
