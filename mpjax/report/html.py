"""One self-contained HTML page: answers in words first, then figures, tables and limits."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
from etils import epath

from mpjax.analysis.predictions import Predictions
from mpjax.analysis.units import LEVELS
from mpjax.files import write_aside
from mpjax.report import (
    arrive,
    beside_tables,
    classification_tables,
    confound_tables,
    drug_figures,
    drug_tables,
    figures,
    methods,
    motif_figures,
    motif_tables,
    progression_figures,
    progression_tables,
    rater_tables,
    saliency_figures,
    saliency_tables,
    words,
)
from mpjax.report.panels import Pictures

# In their order on the page: each is templates/sections/<name>.html.j2.
SECTIONS = (
    "classification",
    "beside",
    "raters",
    "calibration",
    "leak",
    "confounds",
    "motifs",
    "saliency",
    "days",
    "drug",
    "specificity",
    "map",
    "methods",
    "arrive",
    "limits",
    "provenance",
)
# arXiv 2508.05138 (2025), abstract: accuracy in % on its own dataset, which is not public.
PUBLISHED = (
    ("Reference method", 48.41, 73.1),
    ("B-SOiD", 30.52, 58.43),
    ("Human experts", 21.33, 48.0),
    ("Chance", 6.67, 33.3),
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

    Args:
        path: the file to write.
        metrics: what `mpjax.analysis.metrics.evaluate` returned for `predictions`.
        predictions: the evaluated predictions; their provenance is shown.
        title: of the page.
        pictures: what it shows beside figures.
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

    A part that the metrics do not have is left out; a part without a value shows the reason.
    """
    tasks = {kind: metrics[kind] for kind in ("fine", "coarse") if kind in metrics}
    levels = {kind: words.headline_level(task) for kind, task in tasks.items()}
    maps, mapped = figures.draw_maps(predictions)
    drug_answers = drug_tables.headline(metrics["drug"])
    provenance = predictions.meta["provenance"]
    rated, salient = metrics.get("raters", {}), metrics.get("saliency", {})
    motifs, audited = metrics.get("motifs", {}), metrics.get("confounds", {})
    template = _environment().get_template("report.html.j2")
    return template.render(
        title=title,
        sections=SECTIONS,
        metrics=metrics,
        tasks=tasks,
        levels=levels,
        units=words.UNITS,
        level_names=LEVELS,
        scheme=words.SCHEMES[metrics["scheme"]],
        verdicts={kind: words.verdict(task, levels[kind]) for kind, task in tasks.items()},
        notes=words.notes(tasks),
        drug_answers=drug_answers,
        figures={
            **figures.draw_classification(metrics, tasks),
            **progression_figures.draw_progression(metrics["progression"]),
            **drug_figures.draw_drug(metrics["drug"]),
            **confound_tables.draw_confounds(audited),
            **motif_figures.draw_motifs(motifs),
            **saliency_figures.draw_saliency(salient),
            **maps,
        },
        mapped=mapped,
        tables={
            **classification_tables.tabulate(metrics, tasks),
            **progression_tables.tabulate(metrics["progression"]),
            **drug_tables.tabulate(metrics["drug"]),
            **beside_tables.tabulate(metrics.get("methods", {}), rated),
            **rater_tables.tabulate(rated),
            **confound_tables.tabulate(audited),
            **motif_tables.tabulate(motifs, tasks),
            **saliency_tables.tabulate(salient),
        },
        galleries=pictures.galleries or {},
        saliency_part=saliency_figures.fill(salient, pictures.saliency),
        rater_answers=rater_tables.sentences(rated),
        rater_notes=rater_tables.notes(rated),
        methods=methods.describe(metrics, provenance),
        arrive=arrive.fill(
            metrics, predictions, answers=[*words.answers(tasks, levels), *drug_answers]
        ),
        provenance=_flatten(provenance),
        published=PUBLISHED,
    )


def _environment() -> jinja2.Environment:
    """Returns what renders the templates; what the data hold is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("mpjax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": words.percent,
        "interval": words.interval,
        "number": words.number,
        "estimate": words.estimate,
        "count": words.count,
        "experimental_units": words.units,
        "permutation": words.permutation,
        "reasons": drug_tables.reasons,
        "by_drug": drug_tables.by_drug,
        "contents": _contents,
    }
    return environment


def _contents(page: str) -> list[tuple[str, str]]:
    """Lists the sections that are there, as (id, short name): their h2 say both."""
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
