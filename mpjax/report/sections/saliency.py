"""Saliency in words and tables: whether its maps hold, and which clips they are of."""

from collections.abc import Mapping
from typing import Any

from mpjax import formatting
from mpjax.report.plots.saliency import MAPS
from mpjax.report.tables import (
    Column,
    Row,
    Table,
    estimate,
    integer,
    real,
    remark,
    share,
    share_estimate,
    spread,
    text,
)

_TESTS = {"deletion": "erasing", "insertion": "showing"}
_KINDS = {"right": "surest right", "wrong": "surest wrong", "drawn": "at random"}


def headline(found: Mapping[str, Any]) -> list[str]:
    """Says whether the maps show what the model used, and what the empty chamber tells it.

    Args:
        found: what metrics.json holds under `saliency`; empty: nothing is said.
    """
    if "check" not in found:
        return []
    told = [_verdict(found["check"], name) for name in ("occlusion", "gradients")]
    plain = found["check"]["difference"]["deletion"]["better"]
    told.append(
        "For comparison: erasing first wherever the animal is, whatever the model thinks, makes "
        f"the area smaller by {formatting.number(plain['value'], 3)}"
        + (f" (95 % CI {formatting.span(plain, 3)})." if plain.get("ci95") else ".")
    )
    clips = found["clips"]
    p, empty = ([clip[key] for clip in clips] for key in ("p", "p_background"))
    told.append(
        f"Of the class that it named, the model was {formatting.percent(sum(p) / len(p))} sure on "
        f"average; with the animal erased from all frames, "
        f"{formatting.percent(sum(empty) / len(empty))}"
        f" (with {len(found['classes'])} classes, chance is "
        f"{formatting.percent(1 / len(found['classes']))}). What the empty chamber gives away no "
        f"map "
        "can show."
    )
    return told


def _verdict(check: Mapping[str, Any], name: str) -> str:
    better, hits = check[name]["deletion"]["better"], check[name]["deletion"]["share"]
    count = round(hits["value"] * hits["n"])
    within = f", 95 % CI {formatting.span(better, 3)}" if better.get("ci95") else ""
    found = (
        f"in {count} of {formatting.count(hits['n'], 'clip')} the probability fell faster than in "
        f"random order (area under the curve smaller by "
        f"{formatting.number(better['value'], 3)}{within})"
    )
    subject = f"Erasing first what the {MAPS[name][3]} calls important"
    if better.get("ci95") is None:
        return f"{subject}: {found}; no verdict, because of this: {better['why']}."
    low, high = better["ci95"]
    if low > 0:
        return f"{subject}: {found}. The map shows what the model used."
    if high < 0:
        return f"{subject}: {found}. This is worse than random: do not read this map."
    return f"{subject}: {found}. This cannot be told from random: do not rely on this map."


def tabulate(found: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the check, of the clips and of their neighbours; none without rows.

    Args:
        found: what metrics.json holds under `saliency`; empty: none.
    """
    tables = [_check(found.get("check", {})), *_clips(found.get("clips", []))]
    return {table.name: table for table in tables if table.rows}


def _check(check: Mapping[str, Any]) -> Table:
    rows: list[Row] = [
        {"map": MAPS[name][3], "test": _TESTS[test], "n": entry["better"]["n"],
         "area": entry["area"], "random_area": entry["random_area"],
         **spread("better", entry["better"]), **spread("share", entry["share"]),
         "note": remark(entry["better"])}
        for name, tests in check.items() for test, entry in tests.items()
    ]  # fmt: skip
    columns = [
        text("Order", "map"), text("Test", "test"), integer("n clips", "n"),
        real("Area", "area", digits=3), real("Random", "random_area", digits=3),
        estimate("Better by", "better", digits=3), share_estimate("In clips", "share"),
        *([text("Note", "note")] if any(row["note"] for row in rows) else []),
    ]  # fmt: skip
    return Table("saliency_check", "Maps against random order", rows, columns, labels=2)


def _clips(clips: list[Row]) -> tuple[Table, Table]:
    rows = [
        {"animal": clip["animal"], "video": clip["video"], "start_s": clip["start_s"],
         "chosen": _KINDS[clip["kind"]], "true": clip["true"], "predicted": clip["predicted"],
         "p": clip["p"], "p_background": clip["p_background"],
         **{f"{name}_{test}": areas[test] for name, areas in clip["areas"].items()
            for test in _TESTS}}
        for clip in clips
    ]  # fmt: skip
    at = Column("At", lambda row: f"{formatting.number(row['start_s'], 1)} s")
    columns = [
        text("Animal", "animal"), text("Recording", "video"), at, text("Chosen as", "chosen"),
        text("True", "true"), text("Named", "predicted"), share("Sure", "p"),
        share("Without animal", "p_background"),
    ]  # fmt: skip
    neighbours = [
        {"of_animal": clip["animal"], "of_video": clip["video"], "of_start_s": clip["start_s"],
         "named": clip["predicted"], "rank": rank, **each}
        for clip in clips for rank, each in enumerate(clip.get("neighbours", []), 1)
    ]  # fmt: skip
    near = [
        text("Animal", "of_animal"), text("Recording", "of_video"), text("Named", "named"),
        integer("Rank", "rank"), text("Neighbour", "animal"), text("Its recording", "video"), at,
        text("Its class", "class"), real("Distance", "distance"),
    ]  # fmt: skip
    return (
        Table("saliency_clips", "Clips that were explained", rows, columns, labels=2),
        Table("saliency_neighbours", "Nearest training clips", neighbours, near, labels=2),
    )


def describe_neighbours(clip: Mapping[str, Any]) -> str:
    """Names the classes of a clip's nearest training clips, in words; empty without any."""
    classes = [each["class"] for each in clip.get("neighbours", [])]
    counted = [f"{name} ({classes.count(name)})" for name in dict.fromkeys(classes)]
    if not counted:
        return ""
    return f"Nearest training clips, of other animals: {formatting.join(counted)}."
