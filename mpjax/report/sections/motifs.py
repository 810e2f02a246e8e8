"""Tables of the motifs: stability, usage, every test, and the score from usage alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mpjax.formatting import count, join, percent
from mpjax.report import columns as col
from mpjax.report.sections.answers import name_task
from mpjax.report.tables import WHY, Column, Row, Table, by_name, reason, remark, spread

_LEADING = 15  # tests of the first table
_MEASURES = {
    "usage": "usage (share of the time)",
    "unlike": "unlike the training data (share of the time)",
    "bout_length": "bout length (s)",
    "bouts_per_minute": "bouts per minute",
    "transition": "transitions per minute",
}
_SESSION = ("animal", "cage", "sex", "condition", "day", "drug", "dose_mg_per_kg",
            "minutes_post_dose", "split", "label", "windows", "minutes")  # fmt: skip


def tabulate(motifs: Mapping[str, Any], tasks: Mapping[str, Any]) -> dict[str, Table]:
    """Returns the tables of the motifs; `tasks` give the head's accuracy to compare with."""
    if "tests" not in motifs:
        return {}
    families = [
        col.text("Tests adjusted together", "family"), col.integer("Tests", "tests"),
        col.integer("Found (q ≤ 0.05)", "found"), col.p_value("Smallest possible p", "least_p"),
        col.flag("Note", "could_find_one", yes="", no="too few animals to find a single effect"),
    ]  # fmt: skip
    skipped = [col.text("Contrast", "contrast"), col.text("Why not", "why")]
    unlike = [
        col.text("Split", "split"), col.share("Unlike the training data", "value"),
        col.integer("Windows", "n"),
    ]  # fmt: skip
    return by_name(
        [
            _stability(motifs["codebook"]), _motifs(motifs["motifs"]), *_tests(motifs["tests"]),
            Table("motif_families", "Families of tests", motifs["families"], families),
            Table("motif_not_tested", "Contrasts that could not be made", motifs["not_tested"],
                  skipped),
            _score(motifs["score"], tasks), _weights(motifs["score"]),
            _sessions(motifs["sessions"]),
            Table("motif_unlike", "Windows unlike the training data", motifs["unlike"], unlike),
        ]
    )  # fmt: skip


def _stability(book: Mapping[str, Any]) -> Table:
    keys = ("motifs", "adjusted_rand", "sd", "without_structure", "corrected", "standard_error")
    rows = [
        {key: row[key] for key in keys}
        | {"draws": len(row["draws"]), "chosen": row["motifs"] == book["motifs"]}
        for row in book["stability"]
    ]
    columns = [
        col.integer("Motifs", "motifs"), col.real("Adjusted Rand", "adjusted_rand"),
        col.real("SD", "sd"), col.integer("Draws", "draws"),
        col.real("Without structure", "without_structure"), col.real("Corrected", "corrected"),
        col.real("Standard error", "standard_error"), col.flag("Chosen", "chosen"),
    ]  # fmt: skip
    return Table("motif_stability", "Stability by number of motifs", rows, columns)


def _motifs(motifs: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for row in motifs:
        text = f"{percent(row['usage'])} of the time, {count(row['animals'], 'animal')}"
        for groups, how in ((row["more_in"], "more"), (row["less_in"], "less")):
            text += f"; {how} in {join(groups)}" if groups else ""
        rows.append(
            {"motif": row["motif"], "usage": row["usage"], "animals": row["animals"],
             "more_in": ", ".join(row["more_in"]), "less_in": ", ".join(row["less_in"]),
             "in_words": text}
        )  # fmt: skip
    columns = [
        col.integer("Motif", "motif"), col.share("Usage, all animals", "usage"),
        col.integer("Animals that show it", "animals"), col.text("More in", "more_in"),
        col.text("Less in", "less_in"),
    ]  # fmt: skip
    return Table("motifs", "Motifs", rows, columns)


def _name_measure(row: Mapping[str, Any]) -> str:
    """Says what a test is about: `motif 3`, or `motif 3 → 5`, with its measure."""
    what = _MEASURES[row["measure"]]
    if row["motif"] is None:
        return what
    follows = f" → {row['to']}" if row["to"] is not None else ""
    return f"motif {row['motif']}{follows}: {what}"


def _tests(tests: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    copied = ("family", "kind", "measure", "motif", "to", "mean", "reference_mean", "difference")
    rows = [
        {"contrast": row["contrast"], "about": _name_measure(row),
         **{key: row[key] for key in copied}, **spread("hedges_g", row["effect"]), "p": row["p"],
         "q": row["q"], "n_group": row["n"]["group"], "n_reference": row["n"]["reference"],
         "unit": row["unit"], "note": "; ".join(filter(None, (row.get("note"),
                                                              remark(row["effect"]))))}
        for row in tests
    ]  # fmt: skip

    def sizes(row: Row) -> str:
        return " / ".join(str(n) for n in (row["n_group"], row["n_reference"]) if n)

    columns = [
        col.text("Contrast", "contrast"), col.text("Measure", "about"),
        *(col.real(heading, key, digits=3) for heading, key in (
            ("Mean", "mean"), ("Reference", "reference_mean"), ("Difference", "difference"))),
        col.estimate("Hedges g", "hedges_g"), col.p_value("p", "p"), col.p_value("q", "q"),
        Column("n", sizes),
    ]  # fmt: skip
    first = sorted(rows, key=lambda row: (row["q"], row["p"]))[:_LEADING]
    yield Table("motif_findings", "Tests with the smallest q", first, columns, labels=2)
    shown = [row for row in rows if row["measure"] != "transition"]
    yield Table("motif_tests_usage", "Every test of usage and bouts", shown, columns, labels=2)
    yield Table("motif_tests", "Every test, including transitions", rows)


def _score(score: Mapping[str, Any], tasks: Mapping[str, Any]) -> Table:
    rows = []
    own_scores = {kind: score[kind] for kind in ("fine", "coarse") if kind in score}
    for kind, own in (own_scores or {"fine": score}).items():
        for method, found in (
            ("motif usage alone", own),
            ("the head", tasks.get(kind, {}).get("recording", {})),
        ):
            if found:
                accuracy = found.get("accuracy", found)
                name = name_task(tasks[kind], kind) if kind in tasks else kind
                rows.append(
                    {"classes": name, "method": method, **spread("accuracy", accuracy),
                     **spread("mean_class_accuracy", found.get("mean_class_accuracy", found)),
                     "n": accuracy.get("n"), "note": own.get("note", "") if found is own else "",
                     WHY: reason(accuracy)}
                )  # fmt: skip
    columns = [
        col.text("Task", "classes"), col.text("Method", "method"),
        col.share_estimate("Accuracy, recordings", "accuracy"),
        col.share_estimate("Mean-class accuracy", "mean_class_accuracy"), col.integer("n", "n"),
    ]  # fmt: skip
    return Table("motif_score", "Classification from motif usage alone", rows, columns, labels=2)


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
        col.integer("Motif of its codebook", "motif"),
        *(col.real(name, name) for name in task.get("classes", [])),
    ]
    return Table("motif_weights", "Non-zero weights", rows, columns, labels=2)


def _sessions(sessions: Sequence[Mapping[str, Any]]) -> Table:
    rows = [
        {**{key: row[key] for key in _SESSION}, "unlike": row["unlike"][0],
         **{f"usage_{motif}": value for motif, value in enumerate(row["usage"])}}
        for row in sessions
    ]  # fmt: skip
    return Table("motif_sessions", "Usage per animal and session", rows)
