"""Saliency: whether its maps pass their check, the curves of the check, and the explained clips."""

import base64
from collections.abc import Mapping
from typing import Any

from etils import epath
from markupsafe import Markup

from mpjax.formatting import count, join, number, percent, span
from mpjax.report import columns as col
from mpjax.report.drawing import COLOURS, DASHES, MUTED, new_axes, to_svg
from mpjax.report.panels import Figures, Panel, drawn
from mpjax.report.tables import Column, Row, Table, by_name, remark, spread

_TESTS = {"deletion": "erasing", "insertion": "showing"}
_KINDS = {"right": "most confident correct", "wrong": "most confident wrong", "drawn": "at random"}
# Colour, marker and line of each map, and what it is called.
_MAPS = {
    "occlusion": (COLOURS[0], "o", "-", "occlusion map"),
    "gradients": (COLOURS[1], "s", "-", "gradient map"),
    "difference": (COLOURS[2], "^", DASHES, "where the animal is"),
}


def headline(found: Mapping[str, Any]) -> list[str]:
    """Says whether the maps show what the model used, and what it predicts without the animal."""
    if "check" not in found:
        return []
    plain = found["check"]["difference"]["deletion"]["better"]
    between = f" (95 % CI {span(plain, 3)})" if plain.get("ci95") else ""
    p, empty = (
        sum(clip[key] for clip in found["clips"]) / len(found["clips"])
        for key in ("p", "p_background")
    )
    return [
        *(_verdict(found["check"], name) for name in ("occlusion", "gradients")),
        "For comparison: erasing the places where the animal is first, without any map, makes "
        f"the area smaller by {number(plain['value'], 3)}{between}.",
        f"The model gives the class that it predicts a probability of {percent(p)} on average, "
        f"and of {percent(empty)} with the animal erased from all frames (chance, 1 in "
        f"{len(found['classes'])}: {percent(1 / len(found['classes']))}). No map can show what the "
        "model reads from the empty chamber.",
    ]


def _verdict(check: Mapping[str, Any], name: str) -> str:
    better, hits = check[name]["deletion"]["better"], check[name]["deletion"]["share"]
    within = f", 95 % CI {span(better, 3)}" if better.get("ci95") else ""
    text = (
        f"Erasing first what the {_MAPS[name][3]} ranks highest: in "
        f"{round(hits['value'] * hits['n'])} of {count(hits['n'], 'clip')} the probability fell "
        "faster than in random order (area under the curve smaller by "
        f"{number(better['value'], 3)}{within})"
    )
    if better.get("ci95") is None:
        return f"{text}; no verdict, because {better['why']}."
    low, high = better["ci95"]
    if low > 0:
        return f"{text}. The map shows what the model used."
    if high < 0:
        return f"{text}. This is worse than random: do not use this map."
    return f"{text}. This cannot be distinguished from random: do not rely on this map."


def tabulate(found: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the check, of the clips and of their neighbours."""
    clips = found.get("clips", [])
    return by_name([_check(found.get("check", {})), _clips(clips), _neighbours(clips)])


def _check(check: Mapping[str, Any]) -> Table:
    rows: list[Row] = [
        {"map": _MAPS[name][3], "test": _TESTS[test], "n": entry["better"]["n"],
         "area": entry["area"], "random_area": entry["random_area"],
         **spread("better", entry["better"]), **spread("share", entry["share"]),
         "note": remark(entry["better"])}
        for name, tests in check.items() for test, entry in tests.items()
    ]  # fmt: skip
    columns = [
        col.text("Order", "map"), col.text("Test", "test"), col.integer("n clips", "n"),
        col.real("Area", "area", digits=3), col.real("Random order", "random_area", digits=3),
        col.estimate("Better by", "better", digits=3),
        col.share_estimate("Share of clips", "share"), *col.notes(rows),
    ]  # fmt: skip
    return Table("saliency_check", "Maps compared with random order", rows, columns, labels=2)


_AT = Column("At", lambda row: f"{number(row['start_s'], 1)} s")


def _clips(clips: list[Row]) -> Table:
    keys = ("true", "predicted", "p", "p_background")
    rows = [
        {"animal": clip["animal"], "video": clip["video"], "start_s": clip["start_s"],
         "chosen": _KINDS[clip["kind"]], **{key: clip[key] for key in keys},
         **{f"{name}_{test}": areas[test] for name, areas in clip["areas"].items()
            for test in _TESTS}}
        for clip in clips
    ]  # fmt: skip
    columns = [
        col.text("Animal", "animal"), col.text("Recording", "video"), _AT,
        col.text("Chosen as", "chosen"), col.text("True class", "true"),
        col.text("Predicted", "predicted"), col.share("Probability", "p"),
        col.share("Without the animal", "p_background"),
    ]  # fmt: skip
    return Table("saliency_clips", "Clips that were explained", rows, columns, labels=2)


def _neighbours(clips: list[Row]) -> Table:
    rows = [
        {"of_animal": clip["animal"], "of_video": clip["video"], "of_start_s": clip["start_s"],
         "named": clip["predicted"], "rank": rank, **each}
        for clip in clips for rank, each in enumerate(clip.get("neighbours", []), 1)
    ]  # fmt: skip
    columns = [
        col.text("Animal", "of_animal"), col.text("Recording", "of_video"),
        col.text("Predicted", "named"), col.integer("Rank", "rank"),
        col.text("Neighbour", "animal"), col.text("Its recording", "video"), _AT,
        col.text("Its class", "class"), col.real("Distance", "distance"),
    ]  # fmt: skip
    return Table("saliency_neighbours", "Nearest training clips", rows, columns, labels=2)


def draw(found: Mapping[str, Any]) -> Figures:
    """Draws deletion and insertion curves."""
    tests = _TESTS if "curves" in found else ()
    return drawn({"saliency_curves": [_draw_curves(found, test) for test in tests]})


def _draw_curves(found: Mapping[str, Any], test: str) -> Panel:
    """Draws the mean probability of the predicted class along every order, and the random band."""
    at = [100 * level for level in found["curves"]["levels"]]
    random = found["curves"]["random"][test]
    title, done = ("Erasing", "erased") if test == "deletion" else ("Showing", "shown")
    with new_axes(3.7, 3.1) as (figure, axes):
        axes.fill_between(at, random["low"], random["high"], color=MUTED, alpha=0.3, lw=0)
        axes.plot(at, random["mean"], color=MUTED, lw=1.4, label="random order")
        for kind, (colour, marker, line, label) in _MAPS.items():
            if kind in found["curves"]:
                axes.plot(at, found["curves"][kind][test], ls=line, marker=marker, color=colour,
                          lw=1.8, ms=5, mec="white", mew=0.7, label=label,
                          clip_on=False)  # fmt: skip
        axes.set(xlim=(0, 100), ylim=(0, 1), ylabel="probability of the predicted class")
        axes.set(xlabel=f"{done}, most important first (% of the clip)", title=title)
        figure.legend(loc="outside lower left", ncols=2, fontsize=7.5)
    areas = "; ".join(
        f"{_MAPS[name][3]} {number(tests[test]['area'])}" for name, tests in found["check"].items()
    )
    chance = next(iter(found["check"].values()))[test]["random_area"]
    return Panel(
        to_svg(figure, f"saliency-{test}"),
        f"Probability of the predicted class while cells of the clip are {done}, the most "
        f"important first. Area under the curve: {areas}; random order {number(chance)}.",
    )


def show_clips(found: Mapping[str, Any], folder: epath.PathLike | None) -> list[dict[str, Any]]:
    """Returns the explained clips that have an image in `folder`.

    Of each {"clip", "uri", "near"}: its row, the image as a data: URI, and the classes of its
    nearest training clips in words.
    """
    shown = []
    for clip in found.get("clips", []) if folder is not None else []:
        path = epath.Path(folder) / clip["file"]
        if clip["kind"] != "drawn" and path.exists():
            encoded = base64.b64encode(path.read_bytes()).decode()
            classes = [each["class"] for each in clip.get("neighbours", [])]
            listed = join([f"{name} ({classes.count(name)})" for name in dict.fromkeys(classes)])
            near = f"Nearest training clips, of other animals: {listed}." if listed else ""
            uri = Markup(f"data:image/webp;base64,{encoded}")
            shown.append({"clip": clip, "uri": uri, "near": near})
    return shown
