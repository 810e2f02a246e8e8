"""The figures of the motifs, each with its text alternative."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mpjax import formatting
from mpjax.report.panels import Figures, Panel, make_panel
from mpjax.report.plots import motifs as plots
from mpjax.report.plots.style import COLOURS, colour_of

_SHOWN = 4  # motifs drawn animal by animal
_COMPARED = ("pain", "label", "drug")


def draw_motifs(found: Mapping[str, Any]) -> Figures:
    """Draws stability, effects, usage, course and ethogram, as far as there are any.

    Args:
        found: what metrics.json holds under `motifs`; empty: nothing.
    """
    if "tests" not in found:
        return {}
    leading = _leading(found["tests"])
    figures = {
        "motif_stability": list(_stability(found["codebook"])),
        "motif_effects": list(_effects(found["tests"])),
        "motif_usage": list(_usage(found["sessions"])),
        "motif_animals": list(_animals(found["sessions"], leading[:_SHOWN])),
        "motif_profile": list(_profile(found["profile"])),
        "motif_ethogram": list(_ethogram(found["ethogram"], leading)),
    }
    return {name: panels for name, panels in figures.items() if panels}


def _leading(tests: Sequence[Mapping[str, Any]]) -> list[int]:
    """Returns the motifs by the q of their usage, the clearest first."""
    usage = [row for row in tests if row["measure"] == "usage"]
    usage.sort(key=lambda row: (row["q"], -abs(row["effect"].get("value") or 0)))
    return list(dict.fromkeys(row["motif"] for row in usage))


def _stability(book: Mapping[str, Any]) -> Iterator[Panel]:
    rows = book["stability"]
    if rows:
        told = ", ".join(
            f"{formatting.number(row['adjusted_rand'])} with {row['motifs']} motifs (without "
            f"structure "
            f"{formatting.number(row['without_structure'])})"
            for row in rows
        )
        svg = plots.draw_stability(rows, chosen=book["motifs"], name="motif-stability")
        yield make_panel(
            svg,
            f"Stability by number of motifs; {book['motifs']} are chosen. Adjusted Rand: {told}.",
        )


def _effects(tests: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    usage = [row for row in tests if row["measure"] == "usage" and row["kind"] in _COMPARED]
    for i, contrast in enumerate(dict.fromkeys(row["contrast"] for row in usage)):
        own = [row for row in usage if row["contrast"] == contrast]
        hits = [row for row in own if row["q"] <= 0.05]
        told = "; ".join(
            f"motif {row['motif']} {formatting.estimate(row['effect'], 1)}" for row in hits
        )
        yield make_panel(
            plots.draw_effects(own, title=contrast, name=f"motif-effects-{i}"),
            f"Standardised effect on the usage of each of {len(own)} motifs against its p, "
            f"{contrast}. Found: {told or 'none'}.",
        )


def _cells(sessions: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], dict[str, list]]:
    """Returns per (condition, day), or (label, ""), each untreated animal's lists of usage."""
    cells: dict[tuple[str, str], dict[str, list]] = {}
    rows = [row for row in sessions if row["split"] != "drug" and row["label"] is not None]
    whole = all(row["coarse"] is not None and row["condition"] for row in rows)
    for row in sorted(rows, key=lambda row: (row["condition"], row["day"], row["label"])):
        key = (row["condition"], f"d{row['day']}") if whole else (row["label"], "")
        cells.setdefault(key, {}).setdefault(row["animal"], []).append(row["usage"])
    return cells


def _mean(lists: Sequence[Sequence[float]]) -> list[float]:
    return [sum(values) / len(values) for values in zip(*lists, strict=True)]


def _usage(sessions: Sequence[Mapping[str, Any]]) -> Iterator[Panel]:
    cells = {
        key: _mean([_mean(own) for own in animals.values()])
        for key, animals in _cells(sessions).items()
    }
    if cells:
        rows = list(zip(*cells.values(), strict=True))
        told = "; ".join(
            f"{' '.join(filter(None, key))}: motif {max(range(len(own)), key=own.__getitem__)} "
            f"{formatting.percent(max(own))}"
            for key, own in cells.items()
        )
        yield make_panel(
            plots.draw_usage(rows, list(cells), name="motif-usage"),
            f"Share of the time per motif, mean over animals. The most used each: {told}.",
        )


def _animals(sessions: Sequence[Mapping[str, Any]], motifs: Sequence[int]) -> Iterator[Panel]:
    cells = _cells(sessions)
    colours = colour_of(list(dict.fromkeys(condition for condition, _ in cells)))
    for motif in motifs if cells else ():
        points = {
            key: [_mean(own)[motif] for own in animals.values()] for key, animals in cells.items()
        }
        told = "; ".join(
            f"{' '.join(filter(None, key))} {formatting.percent(sum(own) / len(own))}"
            for key, own in points.items()
        )
        svg = plots.draw_animals(
            points, colours=colours, title=f"motif {motif}", name=f"motif-animals-{motif}"
        )
        yield make_panel(svg, f"Usage of motif {motif}, a dot per animal; means: {told}.")


def _profile(profile: Mapping[str, Any]) -> Iterator[Panel]:
    if "usage" in profile:
        svg = plots.draw_profile(profile["usage"], minutes=profile["minutes"], name="motif-profile")
        ends = "; ".join(
            f"motif {motif} {formatting.percent(own[0])} to {formatting.percent(own[-1])}"
            for motif, own in enumerate(profile["usage"])
        )
        yield make_panel(svg, f"Usage from the first to the last part of a recording: {ends}.")


def _ethogram(recordings: Sequence[Mapping[str, Any]], leading: Sequence[int]) -> Iterator[Panel]:
    if recordings:
        colours = dict(zip(leading, COLOURS[:6], strict=False))
        svg = plots.draw_ethogram(recordings, colours=colours, name="motif-ethogram")
        told = "; ".join(
            f"{row['class']}, animal {row['animal']}: {formatting.count(len(row['bouts']), 'bout')}"
            for row in recordings
        )
        yield make_panel(svg, f"What held-out animals did, bout by bout. {told}.")
