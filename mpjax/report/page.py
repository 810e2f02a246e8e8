"""One self-contained HTML page: answers in words first, then figures, tables and limits."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

import jinja2
from etils import epath

from mpjax import formatting
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.units import LEVELS
from mpjax.io.files import write_aside
from mpjax.report.panels import Pictures
from mpjax.report.sections import (
    arrive,
    baselines,
    classification,
    classification_figures,
    confounds,
    drug,
    drug_figures,
    methods,
    motif_figures,
    progression,
    progression_figures,
    raters,
    saliency,
    saliency_figures,
)
from mpjax.report.sections import (
    motifs as motif_tables,
)

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
        metrics: what `mpjax.analysis.classification.evaluate.evaluate` returned for `predictions`.
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
    levels = {kind: formatting.headline_level(task) for kind, task in tasks.items()}
    maps, mapped = classification_figures.draw_maps(predictions)
    drug_answers = drug.headline(metrics["drug"])
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
        units=formatting.UNITS,
        level_names=LEVELS,
        scheme=formatting.SCHEMES[metrics["scheme"]],
        verdicts={kind: formatting.verdict(task, levels[kind]) for kind, task in tasks.items()},
        notes=formatting.notes(tasks),
        drug_answers=drug_answers,
        figures={
            **classification_figures.draw_classification(metrics, tasks),
            **progression_figures.draw_progression(metrics["progression"]),
            **drug_figures.draw_drug(metrics["drug"]),
            **confounds.draw_confounds(audited),
            **motif_figures.draw_motifs(motifs),
            **saliency_figures.draw_saliency(salient),
            **maps,
        },
        mapped=mapped,
        tables={
            **classification.tabulate(metrics, tasks),
            **progression.tabulate(metrics["progression"]),
            **drug.tabulate(metrics["drug"]),
            **baselines.tabulate(metrics.get("methods", {}), rated),
            **raters.tabulate(rated),
            **confounds.tabulate(audited),
            **motif_tables.tabulate(motifs, tasks),
            **saliency.tabulate(salient),
        },
        galleries=pictures.galleries or {},
        saliency_part=saliency_figures.fill(salient, pictures.saliency),
        rater_answers=raters.sentences(rated),
        rater_notes=raters.notes(rated),
        methods=methods.describe(metrics, provenance),
        arrive=arrive.fill(
            metrics, predictions, answers=[*formatting.answers(tasks, levels), *drug_answers]
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
        "percent": formatting.percent,
        "interval": formatting.interval,
        "number": formatting.number,
        "estimate": formatting.estimate,
        "count": formatting.count,
        "experimental_units": formatting.units,
        "permutation": formatting.permutation,
        "reasons": drug.reasons,
        "by_drug": drug.by_drug,
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
