"""The figures of classification and embeddings, each with its text alternative."""

from collections.abc import Iterator, Mapping
from typing import Any

from mpjax import formatting
from mpjax.analysis.classification import embedding_map
from mpjax.analysis.predictions import Predictions
from mpjax.report.panels import Figures, Panel, make_panel
from mpjax.report.plots import classification
from mpjax.report.plots import maps as map_plots


def draw_classification(metrics: Mapping[str, Any], tasks: Mapping[str, Any]) -> Figures:
    """Draws confusion, recall, calibration and leak demonstration, as far as there are any."""
    figures: Figures = {}
    for kind, task in tasks.items():
        level = formatting.headline_level(task)
        scores, units = task[level], formatting.UNITS[level]
        if scores["accuracy"]["value"] is None:
            continue
        classes = f"{len(task['classes'])} classes"
        figures[f"{kind}_confusion"] = [
            make_panel(
                classification.draw_confusion(
                    scores["confusion"], task["classes"], name=f"{kind}-confusion"
                ),
                f"Confusion matrix of {classes}, {units}: rows are true classes, columns "
                f"predicted ones. {formatting.percent(scores['accuracy']['value'])} of "
                f"{scores['accuracy']['n']} lie on the diagonal; {_confused(scores, task)}",
            )
        ]
        figures[f"{kind}_recall"] = [
            make_panel(
                classification.draw_recall(
                    scores["recall"], chance=task["chance"]["value"], name=f"{kind}-recall"
                ),
                f"Recall per class with 95 % intervals: {_recalls(scores['recall'])}.",
            )
        ]
    calibration = metrics.get("calibration") or {}
    figures["reliability"] = list(_reliability(calibration, tasks))
    figures["coverage"] = list(_coverage(calibration.get("coverage") or {}, tasks))
    figures["leak"] = list(_leak(metrics["leak"].get("demonstration") or {}, tasks))
    return {name: panels for name, panels in figures.items() if panels}


def _confused(scores: Mapping[str, Any], task: Mapping[str, Any]) -> str:
    """Names the most frequent error."""
    errors = [
        (units, task["classes"][i], task["classes"][j])
        for i, row in enumerate(scores["confusion"])
        for j, units in enumerate(row)
        if i != j and units
    ]
    if not errors:
        return "there is no error."
    units, true, predicted = max(errors, key=lambda error: error[0])
    return f"the most frequent error is {true} taken for {predicted} ({units})."


def _recalls(recall: Mapping[str, Any]) -> str:
    return "; ".join(
        f"{name} "
        f"{formatting.percent(entry['value']) if entry['value'] is not None else 'not evaluated'}"
        for name, entry in recall.items()
    )


def _label(task: Mapping[str, Any], kind: str) -> str:
    return f"{len(task['classes'])} {'classes' if kind == 'fine' else 'groups'}"


def _reliability(calibration: Mapping[str, Any], tasks: Mapping[str, Any]) -> Iterator[Panel]:
    for kind, task in tasks.items():
        bins = (calibration.get(kind) or {}).get("reliability")
        if not bins:
            continue
        told = "; ".join(
            f"at {formatting.percent(each['confidence'])} {formatting.percent(each['accuracy'])}"
            for each in bins
        )
        yield make_panel(
            classification.draw_reliability(
                bins, title=_label(task, kind), name=f"reliability-{kind}"
            ),
            f"Reliability diagram, {_label(task, kind)}: accuracy against confidence of clips in "
            f"{len(bins)} bins, with the diagonal of perfect calibration. Accuracy {told}.",
        )


def _coverage(coverage: Mapping[str, Any], tasks: Mapping[str, Any]) -> Iterator[Panel]:
    curves = {
        _label(task, kind): coverage[kind]
        for kind, task in tasks.items()
        if isinstance(coverage.get(kind), list)
    }
    if curves:
        told = "; ".join(
            f"{label}: {formatting.percent(points[0]['accuracy'])} of the surest "
            f"{formatting.percent(points[0]['coverage'])}, "
            f"{formatting.percent(points[-1]['accuracy'])} of "
            f"all that are answered"
            for label, points in curves.items()
        )
        yield make_panel(
            classification.draw_coverage(curves, name="coverage"),
            f"Accuracy against the share of recordings answered, the surest first. {told}.",
        )


def _leak(demonstration: Mapping[str, Any], tasks: Mapping[str, Any]) -> Iterator[Panel]:
    rows = [
        (_label(task, kind), demonstration[kind], task["chance"]["value"])
        for kind, task in tasks.items()
        if "animal_split" in (demonstration.get(kind) or {})
    ]
    if rows:
        told = "; ".join(
            f"{label}: {formatting.percent(entry['animal_split'])} with animals kept apart, "
            f"{formatting.percent(entry['clip_split'])} with clips shuffled"
            for label, entry, _ in rows
        )
        yield make_panel(
            classification.draw_leak(
                [row[:2] for row in rows], chances=[row[2] for row in rows], name="leak"
            ),
            f"Clip accuracy of the same head under two splits. {told}.",
        )


def draw_maps(predictions: Predictions) -> tuple[Figures, int]:
    """Draws the held-out clips on the plane of their embeddings, by class and by animal.

    Returns:
        The figures, and how many clips they show; none where the embeddings are not kept.
    """
    embedding, held_out = predictions.embedding, predictions.evaluated
    if embedding is None or not held_out.any():
        return {}, 0
    plane = embedding_map.project(embedding[held_out])
    if plane is None:
        return {}, 0
    rows = predictions.table[held_out].iloc[plane.rows]
    taxonomy = predictions.taxonomy
    names = taxonomy.coarse or taxonomy.fine
    index = rows["label"].to_numpy()
    if taxonomy.coarse:
        index = [taxonomy.fine_to_coarse[label] for label in index]
    panels = [
        make_panel(
            map_plots.draw_map(
                plane.coordinates, each, title=title, explained=plane.explained, name=name
            ),
            f"Embeddings of {len(rows)} clips on their first two principal components, {title}: "
            f"{len(set(each))} colours.",
        )
        for title, name, each in (
            ("coloured by class", "map-class", [names[i] for i in index]),
            ("coloured by animal", "map-animal", rows["animal"].tolist()),
        )
    ]
    return {"map": panels}, len(rows)
