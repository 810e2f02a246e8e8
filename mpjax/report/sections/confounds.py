"""The audit of confounds: tables, figure, and the backgrounds of the classes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from markupsafe import Markup

from mpjax.formatting import count, percent
from mpjax.report import columns as col
from mpjax.report.drawing import COLOURS, INK, MUTED, draw_interval, new_rows, to_svg
from mpjax.report.panels import Figures, Panel, drawn
from mpjax.report.tables import WHY, Row, Table, by_name, reason, spread

TASKS = {"fine": "classes", "coarse": "groups, within days"}
STATUS = {
    "red": "red: above chance",
    "amber": "amber: cannot be tested",
    "green": "green",
    "apart": "separate: may be behaviour",
    "unknown": "unknown",
}
# Status to colour and marker, so that colour is never the only difference.
_LOOKS = {
    "red": (COLOURS[0], "X"),
    "amber": (COLOURS[4], "s"),
    "green": (COLOURS[2], "o"),
    "apart": (MUTED, "D"),
}
_SINGLE = {"frame": "single frames", "background": "empty chambers"}


def tabulate(confounds: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of tests, of features and of single frames."""
    families = (confounds.get("families") or {}).values()
    tests = Table(
        "confounds",
        "How well each family of features predicts the class",
        [row for entry in families for row in _tests(entry)],
        [
            col.text("Family", "family"), col.text("Predicted", "task"),
            col.text("Status", "status"), col.share_estimate("Balanced accuracy", "accuracy"),
            col.share("Chance", "chance"), col.p_value("p", "p"),
            col.p_value("p, Holm", "p_holm"), col.p_value("p of means, Holm", "p_means_holm"),
            col.share("Smallest detectable", "detectable"), col.integer("Recordings", "n"),
        ],
        labels=3,
    )  # fmt: skip
    features = Table(
        "confound_features",
        "Features by which classes differ most",
        [
            {"family": entry["title"], **{k: v for k, v in feature.items() if k != "sentence"}}
            for entry in families
            for feature in entry["strongest"]
        ],
        [
            col.text("Family", "family"), col.text("Class", "class"), col.text("Feature", "what"),
            col.real("Mean", "mean"), col.real("Others", "others"),
            col.real("Difference in SD", "standard_deviations", digits=1),
        ],
        labels=3,
    )  # fmt: skip
    return by_name([tests, features, _single_frames(confounds.get("stills") or {})])


def _tests(entry: Mapping[str, Any]) -> Iterator[Row]:
    """Yields a row per task of a family; one with the reason where there is none."""
    for name, task in (entry["tasks"] or {"": {"value": None, "why": entry.get("why")}}).items():
        yield {
            "family": entry["title"], "task": TASKS.get(name, ""),
            "status": STATUS[entry["status"]], **spread("accuracy", task),
            **{key: task.get(key) for key in ("chance", "p", "p_holm")},
            "p_means_holm": task.get("means", {}).get("p_holm"),
            "detectable": task.get("detectable", {}).get("value"), "n": task.get("n"),
            WHY: reason(task),
        }  # fmt: skip


def _single_frames(found: Mapping[str, Any]) -> Table:
    """Compares embeddings of clips with those of single frames and of empty chambers."""
    rows = [
        {"against": _SINGLE.get(kind, kind), "task": TASKS.get(name, ""),
         "clip": (each.get("clip") or {}).get("value"),
         "still": (each.get("still") or {}).get("value"),
         **spread("difference", each.get("difference") or {}), "chance": each.get("chance"),
         "n": (each.get("difference") or {}).get("n"), WHY: each.get("why")}
        for kind, tasks in found.items()
        for name, each in ({"": tasks} if "why" in tasks else tasks).items()
    ]  # fmt: skip
    columns = [
        col.text("Compared with", "against"), col.text("Predicted", "task"),
        col.share("Clips", "clip"), col.share("Single images", "still"),
        col.share_estimate("Difference", "difference"), col.share("Chance", "chance"),
        col.integer("Recordings", "n"),
    ]  # fmt: skip
    caption = "Balanced accuracy from clips and from single images"
    return Table("confound_stills", caption, rows, columns, labels=2)


def draw(confounds: Mapping[str, Any]) -> Figures:
    """Draws each family's accuracy, and the backgrounds."""
    families = (confounds.get("families") or {}).values()
    rows = {
        kind: [
            (entry["title"].split(",")[0], entry["status"], entry["tasks"][kind])
            for entry in families
            if entry["status"] in _LOOKS
            and entry["tasks"].get(kind, {}).get("value") is not None
        ]
        for kind in TASKS
    }  # fmt: skip
    return drawn(
        {
            "confounds": [_draw_families(kind, own) for kind, own in rows.items() if own],
            "confound_backgrounds": map(_show, confounds.get("backgrounds") or []),
        }
    )


def _draw_families(kind: str, rows: Sequence[tuple[str, str, Mapping[str, Any]]]) -> Panel:
    """Draws balanced accuracies with intervals against chance, a row per family."""
    labels, chance = [label for label, _, _ in rows], rows[0][2]["chance"]
    label, height = "balanced accuracy, % (95 % CI); dashed: chance", 1.1 + 0.34 * len(rows)
    with new_rows(labels, label, height=height, line=100 * chance) as (figure, axes):
        for y, (_, status, entry) in enumerate(rows):
            colour, marker = _LOOKS[status]
            if entry.get("null"):
                x = 100 * entry["null"]["q95"]
                axes.plot(x, y, "|", color=INK, ms=11, mew=1.4, clip_on=False)
            draw_interval(axes, y, entry, colour=colour, marker=marker, vertical=False, scale=100.0)
        axes.set(xlim=(0, 100), title=TASKS[kind])
    listed = "; ".join(
        f"{label} {percent(task['value'])} ({STATUS[status]})" for label, status, task in rows
    )
    return Panel(
        to_svg(figure, f"confounds-{kind}"),
        f"Balanced accuracy of {TASKS[kind]} by family of features, compared with chance of "
        f"{percent(chance)}: {listed}.",
    )


def _show(background: Mapping[str, Any]) -> Panel:
    """Returns a mean background as an SVG that holds the PNG; the names are escaped."""
    caption = f"{background['class']} (n = {background['n']})"
    svg = Markup(
        '<svg viewBox="0 0 110 124" style="--width: 165px; --least: 110px">'
        '<image href="data:image/png;base64,{png}" width="110" height="104" '
        'preserveAspectRatio="xMidYMid meet"/>'
        '<text x="0" y="118" font-size="9">{caption}</text></svg>'
    ).format(png=background["png"], caption=caption)
    return Panel(svg, f"Mean background of {count(background['animals'], 'animal')}, {caption}")
