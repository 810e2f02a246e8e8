"""Accuracy: scores per level, recall, confusion, days off, the splits, and the map of the clips."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from mpjax.analysis.classification import embedding_map
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.stats.units import LEVELS
from mpjax.formatting import percent
from mpjax.report import columns as col
from mpjax.report.drawing import (
    COLOURS,
    INK,
    MARKERS,
    MUTED,
    SHARES,
    colour_of,
    draw_grid,
    draw_interval,
    new_axes,
    new_rows,
    note,
    to_svg,
)
from mpjax.report.panels import Figures, Panel, drawn
from mpjax.report.sections.answers import UNITS, headline_level, name_task
from mpjax.report.tables import WHY, Column, Row, Table, by_name, reason, remark, spread
from mpjax.taxonomy import parse_fine_name

_MOST_NUMBERED = 25  # classes; beyond it the counts in the cells cannot be read
_MOST_NAMED = 14  # names in the key of a map
_WIDEST = 7.2  # inch
_EXTRA = {"macro_f1": "Macro F1", "top3_accuracy": "Top-3 accuracy"}
_SCORES = [
    col.share_estimate("Accuracy", "accuracy"),
    col.share_estimate("Mean-class accuracy", "mean_class_accuracy"),
]


def tabulate(metrics: Mapping[str, Any], tasks: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of accuracy and of the splits, from all of metrics.json."""
    return by_name(
        [
            _levels(tasks), _confusion(tasks), _day_distance(tasks), _separate(tasks),
            *(_recall(kind, task) for kind, task in tasks.items()),
            _splits(metrics["splits"]), _comparison(metrics.get("comparison", {}), tasks),
        ]
    )  # fmt: skip


def _scores(scores: Mapping[str, Any], *keys: str) -> Row:
    row: Row = {}
    for key in ("accuracy", "mean_class_accuracy", *keys):
        row |= spread(key, scores.get(key, {}))
    return row


def _levels(tasks: Mapping[str, Any]) -> Table:
    rows: list[Row] = [
        {"task": name_task(task, kind), "classes": len(task["classes"]), "level": name,
         "n": task[level]["accuracy"].get("n"), **_scores(task[level], *_EXTRA),
         "permutation_p": task[level].get("permutation", {}).get("p"),
         "chance": task["chance"]["value"], "majority": task["majority"][level]["value"],
         WHY: reason(task[level]["accuracy"])}
        for kind, task in tasks.items()
        for level, name in LEVELS.items()
    ]  # fmt: skip
    optional = {key: col.share_estimate(heading, key) for key, heading in _EXTRA.items()}
    optional["permutation_p"] = col.p_value("Permutation p", "permutation_p")
    columns = [
        col.text("Task", "task"), col.text("Level", "level"), col.integer("n", "n"), *_SCORES,
        *(column for key, column in optional.items() if any(row[key] is not None for row in rows)),
        col.share("Chance", "chance"), col.share("Majority class", "majority"),
    ]  # fmt: skip
    return Table("levels", "Accuracy by level", rows, columns, labels=2)


def _recall(kind: str, task: Mapping[str, Any]) -> Table:
    level = headline_level(task)
    scored = task[level]["accuracy"]["value"] is not None
    rows: list[Row] = [
        {"class": name, "level": LEVELS[level], "n": entry["n"], **spread("recall", entry),
         "note": remark(entry)}
        for name, entry in (task[level]["recall"].items() if scored else ())
    ]  # fmt: skip
    columns = [
        col.text("Class", "class"), col.integer("n", "n"), col.share_estimate("Recall", "recall"),
        *col.notes(rows),
    ]  # fmt: skip
    return Table(f"recall_{kind}", "Recall per class", rows, columns)


def _confusion(tasks: Mapping[str, Any]) -> Table:
    rows = [
        {"classes": len(task["classes"]), "level": LEVELS[level], "true": true,
         "predicted": predicted, "units": task[level]["confusion"][i][j]}
        for task in tasks.values()
        for level in LEVELS
        if task[level]["accuracy"]["value"] is not None
        for i, true in enumerate(task["classes"])
        for j, predicted in enumerate(task["classes"])
    ]  # fmt: skip
    return Table("confusion", "Confusion matrices, all levels", rows)


def _day_distance(tasks: Mapping[str, Any]) -> Table:
    rows = []
    for level, name in LEVELS.items():
        found = tasks["fine"][level].get("day_distance") or {}
        of = found.get("within_condition")
        for steps, units in sorted(found.get("steps", {}).items(), key=lambda at: int(at[0])):
            share = units / of if of else None
            rows.append({"level": name, "steps": int(steps), "units": units, "share": share})
    columns = [
        col.text("Level", "level"), col.integer("Recording days off", "steps"),
        col.integer("Units", "units"),
        col.share("Share of those with the correct condition", "share"),
    ]  # fmt: skip
    return Table("day_distance", "Error in the predicted day", rows, columns)


def _separate(tasks: Mapping[str, Any]) -> Table:
    """Compares groups summed from their classes with a head trained on the groups."""
    coarse = tasks.get("coarse", {})
    separate = coarse.get("separate", {})
    rows = [
        {"level": LEVELS[level], "head": head, **_scores(scores)}
        for level in LEVELS
        if level in separate
        for head, scores in (("sums over the classes", coarse[level]),
                             ("a separate head", separate[level]))
    ]  # fmt: skip
    columns = [col.text("Level", "level"), col.text("Groups from", "head"), *_SCORES]
    return Table("separate_head", "Two ways to predict the groups", rows, columns, labels=2)


def _splits(splits: list[Row]) -> Table:
    def side(row: Row) -> str:
        return row["split"] if row["fold"] is None else f"{row['split']}, fold {row['fold']}"

    columns = [
        Column("Side", side, numeric=False), col.integer("Clips", "clips"),
        col.integer("Recordings", "recordings"), col.integer("Animals", "animals"),
        Column("Cages", lambda row: str(row["cages"] or "–")),
    ]  # fmt: skip
    return Table("splits", "Training and test data", splits, columns)


def _comparison(comparison: Mapping[str, Any], tasks: Mapping[str, Any]) -> Table:
    rows = [
        {"classes": name_task(task, kind), "level": LEVELS[level], "n": found["accuracy"].get("n"),
         **spread("difference", found["accuracy"]), WHY: reason(found["accuracy"])}
        for kind, task in tasks.items()
        for level, found in comparison.get(kind, {}).items()
    ]  # fmt: skip
    columns = [
        col.text("Task", "classes"), col.text("Level", "level"), col.integer("n", "n"),
        col.share_estimate("Difference in accuracy", "difference"),
    ]  # fmt: skip
    return Table("comparison", "Compared with another method", rows, columns, labels=2)


def draw(metrics: Mapping[str, Any], tasks: Mapping[str, Any]) -> Figures:
    """Draws confusion, recall and the demonstration of leakage, from all of metrics.json."""
    figures: dict[str, Any] = {}
    for kind, task in tasks.items():
        level = headline_level(task)
        if task[level]["accuracy"]["value"] is not None:
            figures[f"{kind}_confusion"] = [_draw_confusion(kind, task, level)]
            figures[f"{kind}_recall"] = [_draw_recall(kind, task, level)]
    demonstration = metrics["leak"].get("demonstration") or {}
    rows = [
        (name_task(task, kind), demonstration[kind], task["chance"]["value"])
        for kind, task in tasks.items()
        if "animal_split" in (demonstration.get(kind) or {})
    ]
    return drawn(figures | {"leak": [_draw_leak(rows)] if rows else []})


def _draw_confusion(kind: str, task: Mapping[str, Any], level: str) -> Panel:
    """Draws a confusion matrix: colour is the share of the true class, numbers are units."""
    scores, classes = task[level], task["classes"]
    counts = np.asarray(scores["confusion"])
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    side = 0.6 if len(classes) <= 6 else 0.31  # inch, of a cell
    cells, names = side * len(classes), 0.08 * max(map(len, classes))
    width, height = cells + names + 0.4, cells + 0.6 * names + 0.5
    shrink = min(1, _WIDEST / width)
    with new_axes(shrink * width, shrink * height, grid="") as (figure, axes):
        edges = np.arange(len(classes) + 1) - 0.5
        draw_grid(axes, edges, edges, share, cmap=SHARES, vmin=0, vmax=1, lw=0.6)
        axes.set(aspect="equal")
        for row, column in np.argwhere(counts).tolist() if len(classes) <= _MOST_NUMBERED else ():
            colour = "white" if share[row, column] > 0.55 else INK
            text = str(counts[row, column])
            axes.text(column, row, text, color=colour, ha="center", va="center", fontsize=8)
        _label_classes(axes, classes)
    errors = counts - np.diag(np.diag(counts))
    i, j = np.unravel_index(errors.argmax(), errors.shape)
    most = f"the most frequent error is {classes[i]} predicted as {classes[j]} ({errors[i, j]})"
    most = most if errors.any() else "there is no error"
    return Panel(
        to_svg(figure, f"{kind}-confusion"),
        f"Confusion matrix of {name_task(task, kind)}, {UNITS[level]}: rows are true classes, "
        f"columns predicted ones. {percent(scores['accuracy']['value'])} of "
        f"{scores['accuracy']['n']} lie on the diagonal; {most}.",
    )


def _label_classes(axes: Axes, classes: Sequence[str]) -> None:
    """Labels both axes; classes `<condition>@d<day>` get the day, and the condition once a run."""
    parsed = [name for name in map(parse_fine_name, classes) if name is not None]
    at = np.arange(len(classes))
    if len(parsed) < len(classes):
        axes.set_xticks(at, list(classes), rotation=40, ha="right", rotation_mode="anchor")
        axes.set_yticks(at, list(classes))
        axes.set(xlabel="predicted", ylabel="true")
        return
    days = [f"d{day}" for _, day in parsed]
    axes.set_xticks(at, days)
    axes.set_yticks(at, days)
    centres, names, start = [], [], 0
    for condition, run in itertools.groupby(parsed, key=lambda pair: pair[0]):
        length = len(list(run))
        centres.append(start + (length - 1) / 2)
        names.append(condition)
        start += length
        if start < len(classes):
            axes.axhline(start - 0.5, color=MUTED, lw=0.8)
            axes.axvline(start - 0.5, color=MUTED, lw=0.8)
    below, left = axes.secondary_xaxis(-0.07), axes.secondary_yaxis(-0.1)
    below.set_xticks(centres, names)
    below.set_xlabel("predicted", labelpad=6)
    left.set_yticks(centres, names, rotation=90, va="center")
    left.set_ylabel("true", labelpad=8)
    for outer in (below, left):
        outer.tick_params(length=0)
        outer.spines[:].set_visible(False)


def _draw_recall(kind: str, task: Mapping[str, Any], level: str) -> Panel:
    recall, label = task[level]["recall"], "recall (%), 95 % interval; dashed: chance"
    height, chance = 0.9 + 0.25 * len(recall), 100 * task["chance"]["value"]
    with new_rows(list(recall), label, height=height, line=chance) as (figure, axes):
        for y, entry in enumerate(recall.values()):
            if entry["value"] is None:
                axes.text(1, y, "not evaluated", va="center", color=MUTED, fontsize=8)
            draw_interval(axes, y, entry, colour=COLOURS[1], vertical=False, scale=100)
        axes.set_xlim(0, 100)
        numbers = axes.secondary_yaxis("right")
        numbers.set_yticks(range(len(recall)), [f"n = {each['n']}" for each in recall.values()])
        for side in (axes.yaxis, numbers.yaxis):
            side.set_tick_params(length=0, pad=7)
        numbers.spines[:].set_visible(False)
        svg = to_svg(figure, f"{kind}-recall")
    listed = "; ".join(
        f"{name} {'not evaluated' if entry['value'] is None else percent(entry['value'])}"
        for name, entry in recall.items()
    )
    return Panel(svg, f"Recall per class with 95 % intervals: {listed}.")


def _draw_leak(rows: Sequence[tuple[str, Mapping[str, Any], float]]) -> Panel:
    """Draws clip accuracy under the animal split and the clip split, joined by an arrow."""
    sides = (
        ("animal_split", COLOURS[1], "o", "animals kept apart"),
        ("clip_split", COLOURS[0], "X", "clips shuffled (leaks)"),
    )
    labels, label = [row[0] for row in rows], "clip accuracy (%); dashed: chance"
    with new_rows(labels, label, height=1.0 + 0.62 * len(rows)) as (figure, axes):
        for y, (_, entry, chance) in enumerate(rows):
            axes.plot([100 * chance] * 2, [y - 0.3, y + 0.3], color=MUTED, lw=1, ls=(0, (3, 2)))
            ends = [(100 * entry[side], y) for side, *_ in sides]
            arrow = {"arrowstyle": "->", "color": MUTED, "lw": 1.2, "shrinkA": 5, "shrinkB": 5}
            axes.annotate("", ends[1], ends[0], arrowprops=arrow)
            for place, (_, colour, marker, _) in zip(ends, sides, strict=True):
                axes.plot(*place, marker, color=colour, ms=8, mec="white", mew=0.7, clip_on=False)
                note(axes, f"{place[0]:.0f} %", place, (0, 9), ha="center")
        for _, colour, marker, text in sides:
            axes.plot([], [], marker, color=colour, ms=7, mec="white", label=text)
        figure.legend(loc="outside upper left", ncols=2, handletextpad=0.3)
        axes.set(xlim=(0, 104), ylim=(len(rows) - 0.5, -0.7))
        svg = to_svg(figure, "leak")
    listed = "; ".join(
        f"{name}: {percent(entry['animal_split'])} with animals kept apart, "
        f"{percent(entry['clip_split'])} with clips shuffled"
        for name, entry, _ in rows
    )
    return Panel(svg, f"Clip accuracy of the same head under two splits. {listed}.")


def draw_maps(predictions: Predictions) -> tuple[Figures, int]:
    """Draws the held-out clips on the plane of their embeddings, by class and by animal.

    Returns the figures, none where the embeddings are not kept, and how many clips they show.
    """
    embedding, held_out = predictions.embedding, predictions.evaluated
    plane = None
    if embedding is not None and held_out.any():
        plane = embedding_map.project(embedding[held_out])
    if plane is None:
        return {}, 0
    rows = predictions.table[held_out].iloc[plane.rows]
    taxonomy, index = predictions.taxonomy, rows["label"].to_numpy()
    classes = [taxonomy.fine[i] for i in index]
    if taxonomy.coarse:
        classes = [taxonomy.coarse[taxonomy.fine_to_coarse[i]] for i in index]
    named = {"class": classes, "animal": rows["animal"].tolist()}
    return {"map": [_draw_map(plane, names, by) for by, names in named.items()]}, len(rows)


def _draw_map(plane: embedding_map.Plane, names: Sequence[str], by: str) -> Panel:
    """Draws points in the colour and marker of their name; the points are an image."""
    kinds, title = sorted(set(names)), f"coloured by {by}"
    # Colours repeat after 7 and markers change with each round, so 49 names stay apart.
    colours = colour_of(kinds)
    markers = {kind: MARKERS[(i // 7) % 7] for i, kind in enumerate(kinds)}
    keyed = len(kinds) <= _MOST_NAMED
    rows = len(kinds) // 2 + 1 if keyed else 0
    with new_axes(3.7, 3.3 + 0.16 * rows) as (figure, axes):
        for kind in kinds:
            points = plane.coordinates[np.array(names) == kind]
            style: dict[str, Any] = {"color": colours[kind], "mew": 0}
            axes.plot(*points.T, markers[kind], ms=3.2, alpha=0.6, rasterized=True, **style)
            if keyed:
                axes.plot([], [], markers[kind], ms=5, label=kind, **style)
        axes.set(title=title, xticks=[], yticks=[])
        axes.spines[:].set_color(MUTED)
        first, second = (f"{100 * share:.0f} %" for share in plane.explained)
        axes.set(xlabel=f"first component ({first} of variance)", ylabel=f"second ({second})")
        if keyed:
            figure.legend(loc="outside lower left", ncols=2, handletextpad=0.1, fontsize=7.5)
    return Panel(
        to_svg(figure, f"map-{by}"),
        f"Embeddings of {len(names)} clips on their first two principal components, {title}: "
        f"{len(kinds)} colours.",
    )
