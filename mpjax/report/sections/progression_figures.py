"""The figures of the course of pain, each with its text alternative."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from mpjax import formatting
from mpjax.report.panels import Figures, Panel, make_panel
from mpjax.report.plots import days
from mpjax.report.plots.style import colour_of, marker_of

Rows = Sequence[Mapping[str, Any]]


def draw_progression(progression: Mapping[str, Any]) -> Figures:
    """Draws trajectories, excess over no pain and time within a recording, as far as there are any.

    Args:
        progression: what metrics.json holds under `progression`.
    """
    means, excess = (_rows(progression.get(name)) for name in ("means", "excess"))
    bins = _rows((progression.get("within_recording") or {}).get("bins"))
    conditions = sorted({row["condition"] for row in (*means, *bins)})
    look = (colour_of(conditions), marker_of(conditions))
    figures = {
        "days": list(_trajectories(progression, means, look)),
        "excess": list(_excess(progression, excess, look)),
        "within_recording": list(_within(bins, look)),
    }
    return {name: panels for name, panels in figures.items() if panels}


Look = tuple[Mapping[str, str], Mapping[str, str]]  # colour and marker of each condition


def _rows(found: Any) -> Rows:
    return found if isinstance(found, list) else []


def _of(rows: Rows, condition: str) -> list[Mapping[str, Any]]:
    return [row for row in rows if row["condition"] == condition]


def _limits(values: Iterable[float]) -> tuple[float, float]:
    """Returns the ends of an axis that shows all values, with some room."""
    values = list(values)
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 1.0
    return low - room, high + room


def _trajectories(progression: Mapping[str, Any], means: Rows, look: Look) -> Iterator[Panel]:
    scores = progression.get("trajectories") or []
    if not means or not scores:
        return
    # The bands of very few animals are wider than all there is to see.
    ends = _limits([row["score"] for row in scores])
    ticks = sorted({row["day"] for row in scores})
    onset = progression["onset"]
    control = {name: _of(means, name) for name in look[0] if name not in onset}
    control = {name: rows for name, rows in control.items() if rows}
    for i, condition in enumerate(dict.fromkeys(row["condition"] for row in means)):
        own = _of(means, condition)
        told = ", ".join(f"{formatting.number(row['value'])} on day {row['day']}" for row in own)
        begins = onset.get(condition, {}).get("value")
        svg = days.draw_days(
            _of(scores, condition), own, control=control if condition in onset else {},
            limits=ends, title=condition, days=ticks, colour=look[0][condition],
            marker=look[1][condition], onset=begins, name=f"days-{i}",
        )  # fmt: skip
        marked = f" The onset, day {begins}, is marked." if begins is not None else ""
        yield make_panel(
            svg,
            f"Pain score over days, {condition}: a thin line per animal, a bold line for their "
            f"mean on the logit scale, which is {told}; the band holds it on all days at once."
            f"{marked}",
        )


def _excess(progression: Mapping[str, Any], excess: Rows, look: Look) -> Iterator[Panel]:
    known = [row for row in excess if row["value"] is not None]
    if not known:
        return
    ends = _limits([0.0, *(bound for row in known for bound in row["band95"])])
    ticks = sorted({row["day"] for row in excess})
    for i, condition in enumerate(dict.fromkeys(row["condition"] for row in known)):
        own = _of(known, condition)
        points = {
            name: day
            for name in ("onset", "peak", "resolution")
            if (day := progression[name][condition]["value"]) is not None
        }
        told = "; ".join(
            f"day {row['day']} {formatting.number(row['value'])} "
            f"({formatting.span({'ci95': row['band95']})})"
            for row in own
        )
        svg = days.draw_excess(
            own, limits=ends, title=condition, days=ticks, colour=look[0][condition],
            marker=look[1][condition], points=points, name=f"excess-{i}",
        )  # fmt: skip
        yield make_panel(
            svg,
            f"How far the pain score of {condition} lies above no pain, with intervals over all "
            f"days at once: {told}.",
        )


def _within(bins: Rows, look: Look) -> Iterator[Panel]:
    if not bins:
        return
    lines = {name: _of(bins, name) for name in dict.fromkeys(row["condition"] for row in bins)}
    told = "; ".join(
        f"{name} from {formatting.number(rows[0]['value'])} to "
        f"{formatting.number(rows[-1]['value'])}"
        for name, rows in lines.items()
    )
    svg = days.draw_within(lines, colours=look[0], markers=look[1], name="within-recording")
    yield make_panel(svg, f"Pain score by the time since the recording's start: {told} (logit).")
