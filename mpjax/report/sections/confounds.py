"""The audit of confounds in the report: tables, figure, and the backgrounds of the classes."""

from collections.abc import Iterator, Mapping
from typing import Any

from markupsafe import Markup

from mpjax import formatting
from mpjax.report.panels import Figures, Panel, make_panel
from mpjax.report.plots import confounds as plots
from mpjax.report.tables import (
    WHY,
    Column,
    Row,
    Table,
    integer,
    p_value,
    real,
    share,
    share_estimate,
    spread,
    text,
)

TASKS = {"fine": "fine classes", "coarse": "coarse classes, within days"}
STATUS = {
    "red": "red: above chance",
    "amber": "amber: cannot be tested",
    "green": "green",
    "apart": "apart: may be behaviour",
    "unknown": "not known",
}


def tabulate(confounds: Mapping[str, Any]) -> dict[str, Table]:
    """Builds the tables of the audit, as far as there is anything to show.

    Args:
        confounds: what metrics.json holds under `confounds`; empty: nothing.
    """
    families = confounds.get("families") or {}
    rows = [row for entry in families.values() for row in _rows(entry)]
    tables = {}
    if rows:
        tables["confounds"] = Table(
            "confounds",
            "What tells the class besides behaviour",
            rows,
            [
                text("Family", "family"),
                text("Told", "task"),
                text("Status", "status"),
                share_estimate("Balanced accuracy", "accuracy"),
                share("Chance", "chance"),
                p_value("p", "p"),
                p_value("p, Holm", "p_holm"),
                p_value("p of means, Holm", "p_means_holm"),
                share("Could be found from", "detectable"),
                integer("Recordings", "n"),
            ],
            labels=3,
        )
    features = [
        {"family": entry["title"], **{k: v for k, v in feature.items() if k != "sentence"}}
        for entry in families.values()
        for feature in entry["strongest"]
    ]
    if features:
        tables["confound_features"] = Table(
            "confound_features",
            "Features by which classes differ most",
            features,
            [
                text("Family", "family"),
                text("Class", "class"),
                text("Feature", "what"),
                real("Mean", "mean"),
                real("Others", "others"),
                real("Difference in SD", "standard_deviations", digits=1),
            ],
            labels=3,
        )
    return tables | _stills(confounds.get("stills") or {})


def _rows(entry: Mapping[str, Any]) -> Iterator[Row]:
    """Yields a row per task of a family; one with the reason where there is none."""
    for name, task in (entry["tasks"] or {"": {"value": None, "why": entry.get("why")}}).items():
        yield {
            "family": entry["title"],
            "task": TASKS.get(name, ""),
            "status": STATUS[entry["status"]],
            **spread("accuracy", task),
            "chance": task.get("chance"),
            "p": task.get("p"),
            "p_holm": task.get("p_holm"),
            "p_means_holm": task.get("means", {}).get("p_holm"),
            "detectable": task.get("detectable", {}).get("value"),
            "n": task.get("n"),
            WHY: task.get("why") if task.get("value") is None else None,
        }


def _stills(stills: Mapping[str, Any]) -> dict[str, Table]:
    """Builds the table of clips against still frames and against empty chambers."""
    against = {"frame": "single frames", "background": "median backgrounds"}
    rows = []
    for kind, tasks in stills.items():
        for name, found in ({"": tasks} if "why" in tasks else tasks).items():
            rows.append(
                {
                    "against": against.get(kind, kind),
                    "task": TASKS.get(name, ""),
                    "clip": (found.get("clip") or {}).get("value"),
                    "still": (found.get("still") or {}).get("value"),
                    **spread("difference", found.get("difference") or {}),
                    "chance": found.get("chance"),
                    "n": (found.get("difference") or {}).get("n"),
                    WHY: found.get("why"),
                }
            )
    if not rows:
        return {}
    columns: list[Column] = [
        text("Clips against", "against"),
        text("Told", "task"),
        share("Clips", "clip"),
        share("Stills", "still"),
        share_estimate("Difference", "difference"),
        share("Chance", "chance"),
        integer("Recordings", "n"),
    ]
    caption = "Embeddings of clips against embeddings of stills"
    return {"confound_stills": Table("confound_stills", caption, rows, columns, labels=2)}


def draw_confounds(confounds: Mapping[str, Any]) -> Figures:
    """Draws each family's accuracy against chance, a panel per task, as far as there are any."""
    families = confounds.get("families") or {}
    panels = []
    for kind, title in TASKS.items():
        rows = [
            (entry["title"].split(",")[0], entry["status"], entry["tasks"][kind])
            for entry in families.values()
            if entry["status"] in plots.LOOKS
            and entry["tasks"].get(kind, {}).get("value") is not None
        ]
        if rows:
            chance = rows[0][2]["chance"]
            told = "; ".join(
                f"{label} {formatting.percent(task['value'])} ({STATUS[status]})"
                for label, status, task in rows
            )
            svg = plots.draw_families(rows, chance=chance, title=title, name=f"confounds-{kind}")
            panels.append(
                make_panel(
                    svg,
                    f"Balanced accuracy of {title} by family of features, against chance of "
                    f"{formatting.percent(chance)}: {told}.",
                )
            )
    figures: Figures = {"confounds": panels} if panels else {}
    pictures = [_picture(each) for each in confounds.get("backgrounds") or []]
    return figures | ({"confound_backgrounds": pictures} if pictures else {})


def _picture(background: Mapping[str, Any]) -> Panel:
    """Returns a mean background as an SVG that holds the PNG; the names are escaped."""
    caption = f"{background['class']} (n = {background['n']})"
    svg = Markup(
        '<svg viewBox="0 0 110 124" style="--width: 165px; --least: 110px">'
        '<image href="data:image/png;base64,{png}" width="110" height="104" '
        'preserveAspectRatio="xMidYMid meet"/>'
        '<text x="0" y="118" font-size="9">{caption}</text></svg>'
    ).format(png=background["png"], caption=caption)
    told = f"Mean background of {formatting.count(background['animals'], 'animal')}, {caption}"
    return Panel(svg, told)
