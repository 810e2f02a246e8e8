"""Tables of the motifs: stability, usage, every test, and the score from usage alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mpjax import formatting
from mpjax.report.tables import (
    WHY,
    Column,
    Row,
    Table,
    estimate,
    integer,
    p_value,
    real,
    remark,
    share,
    share_estimate,
    spread,
    text,
)

_LEADING = 15  # tests of the first table
_MEASURES = {
    "usage": "usage (share of the time)",
    "unlike": "unlike anything seen (share of the time)",
    "bout_length": "bout length (s)",
    "bouts_per_minute": "bouts per minute",
    "transition": "transitions per minute",
}


def tabulate(motifs: Mapping[str, Any], tasks: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the motifs by name; none without rows.

    Args:
        motifs: what metrics.json holds under `motifs`; empty: nothing.
        tasks: its `fine` and `coarse`, for the head's accuracy beside that of the score.
    """
    if "tests" not in motifs:
        return {}
    tests = [_flat(row) for row in motifs["tests"]]
    tables = [_stability(motifs["codebook"]), _motifs(motifs), *_tests(tests)]
    tables += [_families(motifs["families"]), _not_tested(motifs["not_tested"])]
    tables += [_score(motifs["score"], tasks), _weights(motifs["score"])]
    tables += [_sessions(motifs["sessions"]), _unlike(motifs["unlike"])]
    return {table.name: table for table in tables if table.rows}


def name_measure(row: Mapping[str, Any]) -> str:
    """Returns what a test is about: `motif 3`, or `motif 3 → 5`, with its measure."""
    what = _MEASURES[row["measure"]]
    if row["motif"] is None:
        return what
    follows = f" → {row['to']}" if row["to"] is not None else ""
    return f"motif {row['motif']}{follows}: {what}"


def _stability(book: Mapping[str, Any]) -> Table:
    rows = [
        {"motifs": row["motifs"], "adjusted_rand": row["adjusted_rand"], "sd": row["sd"],
         "draws": len(row["draws"]), "without_structure": row["without_structure"],
         "corrected": row["corrected"], "standard_error": row["standard_error"],
         "chosen": row["motifs"] == book["motifs"]}
        for row in book["stability"]
    ]  # fmt: skip
    columns = [
        integer("Motifs", "motifs"), real("Adjusted Rand", "adjusted_rand"), real("sd", "sd"),
        integer("Draws", "draws"), real("Without structure", "without_structure"),
        real("Corrected", "corrected"), real("Standard error", "standard_error"),
        Column("Chosen", lambda row: "yes" if row["chosen"] else "", numeric=False),
    ]  # fmt: skip
    return Table("motif_stability", "Stability by number of motifs", rows, columns)


def _motifs(motifs: Mapping[str, Any]) -> Table:
    rows = [
        {"motif": row["motif"], "usage": row["usage"], "animals": row["animals"],
         "more_in": ", ".join(row["more_in"]), "less_in": ", ".join(row["less_in"]),
         "in_words": describe_motif(row)}
        for row in motifs["motifs"]
    ]  # fmt: skip
    columns = [
        integer("Motif", "motif"), share("Usage, all animals", "usage"),
        integer("Animals that show it", "animals"), text("Found more in", "more_in"),
        text("Found less in", "less_in"),
    ]  # fmt: skip
    return Table("motifs", "Motifs", rows, columns)


def _flat(row: Mapping[str, Any]) -> Row:
    """Lays a test out as one row."""
    return {
        "contrast": row["contrast"], "about": name_measure(row), "family": row["family"],
        "kind": row["kind"], "measure": row["measure"], "motif": row["motif"], "to": row["to"],
        "mean": row["mean"], "reference_mean": row["reference_mean"],
        "difference": row["difference"], **spread("hedges_g", row["effect"]), "p": row["p"],
        "q": row["q"], "n_group": row["n"]["group"], "n_reference": row["n"]["reference"],
        "unit": row["unit"], "note": "; ".join(filter(None, (row.get("note"),
                                                              remark(row["effect"])))),
    }  # fmt: skip


def _tests(rows: Sequence[Row]) -> Iterator[Table]:
    columns = [
        text("Contrast", "contrast"), text("What", "about"), real("Mean", "mean", digits=3),
        real("Reference", "reference_mean", digits=3), real("Difference", "difference", digits=3),
        estimate("Hedges g", "hedges_g"), p_value("p", "p"), p_value("q", "q"),
        Column("n", lambda row: f"{row['n_group']} / {row['n_reference']}"
               if row["n_reference"] else str(row["n_group"])),
    ]  # fmt: skip
    strength = sorted(rows, key=lambda row: (row["q"], row["p"]))
    yield Table(
        "motif_findings", "The clearest tests", strength[:_LEADING], columns, labels=2
    )  # fmt: skip
    shown = [row for row in rows if row["measure"] != "transition"]
    yield Table("motif_tests_usage", "Every test of usage and bouts", shown, columns, labels=2)
    yield Table("motif_tests", "Every test, transitions too", rows, ())


def _families(families: Sequence[Row]) -> Table:
    def able(row: Row) -> str:
        return "" if row["could_find_one"] else "too few animals to find a single effect"

    columns = [
        text("Tests adjusted together", "family"), integer("Tests", "tests"),
        integer("Found (q ≤ 0.05)", "found"), p_value("Least possible p", "least_p"),
        Column("Note", able, numeric=False),
    ]  # fmt: skip
    return Table("motif_families", "Families of tests", families, columns)


def _not_tested(rows: Sequence[Row]) -> Table:
    columns = [text("Contrast", "contrast"), text("Why not", "why")]
    return Table("motif_not_tested", "Contrasts that could not be made", rows, columns)


def _score(score: Mapping[str, Any], tasks: Mapping[str, Any]) -> Table:
    rows = []
    for kind in ("fine", "coarse"):
        own = score.get(kind, score)
        head = tasks.get(kind, {}).get("recording", {})
        if kind not in score and (kind == "coarse" or WHY in own):
            continue
        for method, found in (("motif usage alone", own), ("the head", head)):
            if not found:
                continue
            accuracy = found.get("accuracy", found)
            rows.append(
                {"classes": kind, "method": method, **spread("accuracy", accuracy),
                 **spread("mean_class_accuracy", found.get("mean_class_accuracy", found)),
                 "n": accuracy.get("n"), "note": own.get("note", "") if found is own else "",
                 WHY: remark(accuracy) if accuracy.get("value") is None else ""}
            )  # fmt: skip
    columns = [
        text("Classes", "classes"), text("Method", "method"),
        share_estimate("Accuracy, recordings", "accuracy"),
        share_estimate("Mean-class accuracy", "mean_class_accuracy"), integer("n", "n"),
    ]  # fmt: skip
    return Table("motif_score", "Pain from motif usage alone", rows, columns, labels=2)


def _weights(score: Mapping[str, Any]) -> Table:
    task = score.get("coarse") or score.get("fine") or {}
    rows = [
        {"fold": fold["fold"], "motif": weight["motif"], "penalty": fold["penalty"],
         **{name: weight["weights"].get(name) for name in task["classes"]}}
        for fold in task.get("folds", [])
        for weight in fold["weights"]
    ]  # fmt: skip
    columns = [
        Column("Fold", lambda row: "–" if row["fold"] is None else str(row["fold"])),
        integer("Motif of its codebook", "motif"),
        *(real(name, name) for name in task.get("classes", [])),
    ]  # fmt: skip
    return Table("motif_weights", "Weights that remain", rows, columns, labels=2)


def _sessions(sessions: Sequence[Mapping[str, Any]]) -> Table:
    keys = ("animal", "cage", "sex", "condition", "day", "drug", "dose_mg_per_kg",
            "minutes_post_dose", "split", "label", "windows", "minutes")  # fmt: skip
    rows = [
        {**{key: row[key] for key in keys}, "unlike": row["unlike"][0],
         **{f"usage_{motif}": value for motif, value in enumerate(row["usage"])}}
        for row in sessions
    ]  # fmt: skip
    return Table("motif_sessions", "Usage per animal and session", rows, ())


def _unlike(rows: Sequence[Row]) -> Table:
    columns = [text("Split", "split"), share("Unlike anything seen", "value"),
               integer("Windows", "n")]  # fmt: skip
    return Table("motif_unlike", "Windows unlike anything seen", rows, columns)


def describe_motif(row: Mapping[str, Any]) -> str:
    """Says of one motif how much it is used, and where more or less."""
    animals = formatting.count(row["animals"], "animal")
    told = f"{formatting.percent(row['usage'])} of the time, {animals}"
    for groups, how in ((row["more_in"], "more"), (row["less_in"], "less")):
        if groups:
            told += f"; {how} in {formatting.join(groups)}"
    return told
