"""Writes the report: one HTML page with answers in words first, then figures and tables."""

import collections
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


def write_report(
    path: epath.PathLike,
    metrics: Mapping[str, Any],
    predictions: Predictions,
    *,
    title: str,
    pictures: Pictures = Pictures(),
) -> None:
    """Writes the report as one HTML file, aside then renamed; same input, same bytes.

    `metrics` are those of the evaluated `predictions`, whose provenance is shown too.
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
    part = collections.defaultdict(dict, {name: each for name, each in metrics.items() if each})
    maps, mapped = classification.draw_maps(predictions)
    figures: Figures = {
        **classification.draw(metrics, tasks),
        **calibration.draw(part["calibration"], tasks),
        **progression_figures.draw(part["progression"]),
        **drug_figures.draw(part["drug"]),
        **confounds.draw(part["confounds"]),
        **motif_figures.draw(part["motifs"]),
        **saliency.draw(part["saliency"]),
        **maps,
    }
    tables = {
        **classification.tabulate(metrics, tasks),
        **calibration.tabulate(part["calibration"], tasks),
        **progression.tabulate(part["progression"]),
        **drug.tabulate(part["drug"]),
        **baselines.tabulate(part["methods"], part["raters"], tasks),
        **raters.tabulate(part["raters"]),
        **confounds.tabulate(part["confounds"]),
        **motifs.tabulate(part["motifs"], tasks),
        **saliency.tabulate(part["saliency"]),
    }
    drug_answers = drug.headline(part["drug"])
    provenance = predictions.meta["provenance"]
    results = [*answers.answers(tasks, levels), *drug_answers]
    template = make_environment().get_template("report.html.j2")
    return template.render(
        title=title,
        metrics=metrics,
        tasks=tasks,
        levels=levels,
        notes=answers.notes(tasks),
        drug_answers=drug_answers,
        figures=figures,
        mapped=mapped,
        tables=tables,
        galleries=pictures.galleries or {},
        saliency_answers=saliency.headline(part["saliency"]),
        saliency_clips=saliency.show_clips(part["saliency"], pictures.saliency),
        rater_answers=raters.sentences(part["raters"]),
        rater_notes=raters.notes(part["raters"]),
        methods=methods.describe(metrics, provenance),
        arrive=arrive.fill(metrics, predictions, answers=results),
        provenance=_flatten(provenance),
    )


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
