"""The analysis of motifs, whose codebook is fitted without labels: contrasts, score and tables."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from mpjax.analysis.motifs import contrasts, pain_score, summary, usage
from mpjax.analysis.motifs.codebook import Assigned, Codebook
from mpjax.analysis.motifs.contrasts import Setting
from mpjax.analysis.motifs.usage import SESSION, Measured
from mpjax.analysis.stats.estimates import ALPHA, absent
from mpjax.config import MotifConfig
from mpjax.taxonomy import Taxonomy, parse_fine_name

COLUMNS = (
    "clip_id", "video", "animal", "cage", "sex", "condition", "day", "drug", "dose_mg_per_kg",
    "minutes_post_dose", "split", "fold", "label", "start_s", "seconds",
)  # fmt: skip
_SHOWN = 8  # recordings of the ethogram
_MOST_BOUTS = 400  # shown of one recording
_DIGITS = 6  # significant digits of a session's many figures


def analyse(
    windows: pd.DataFrame,
    assigned: Assigned,
    *,
    codebook: Codebook,
    taxonomy: Taxonomy,
    group: str,
    config: MotifConfig,
    folds: Mapping[int, Assigned] | None = None,
    bootstrap: int = 2000,
    seed: int = 0,
) -> dict[str, Any]:
    """Analyses the use of motifs; the animal (or cage) is the unit of every test.

    Contrasts use all animals of the classification, including training animals: the codebook is
    fitted without labels, so it cannot overfit the conditions. The pain score is of held-out
    animals.

    Args:
        windows: a row per window (a clip, or a stretch of one), with the columns `COLUMNS`: `drug`
            '' untreated, `vehicle`, else the drug; `fold` -1 for none; `label` the index of the
            fine class, -1 for none; `start_s` and `seconds` (its length) within the recording.
        assigned: their motifs by `codebook`, in their order.
        codebook: fitted on training animals.
        taxonomy: where fine classes are not `<condition>@d<day>`, each is compared with the others.
        group: `animal` or `cage`, what the cohort is divided by.
        config: permutations and penalties.
        folds: per test fold, the motifs by the codebook of its training animals; of a fixed split,
            `{splits.FINAL: assigned}`. None: no pain score.
        bootstrap: resamples behind the intervals of the pain score.
        seed: of permutations and resampling.

    Returns:
        The part `motifs` of metrics.json; or {"value": None, "why": …}.

    Raises:
        ValueError: columns are missing, or the number of rows differs.
    """
    _check(windows, [assigned, *(folds or {}).values()])
    if windows.empty:
        return absent("there are no windows")
    motifs = len(codebook.centres)
    recordings, matrix = usage.measure_recordings(windows, assigned, motifs=motifs)
    rows, absences = contrasts.contrast_all(
        recordings, taxonomy=taxonomy, setting=Setting(group, config.permutations, seed)
    )
    sessions = recordings.average([*SESSION, "label"])
    unlike = pd.Series(assigned.unlike).groupby(windows["split"].to_numpy())
    score = absent("no codebook of the training animals was given")
    if folds:
        score = pain_score.score_pain(
            windows, folds, taxonomy=taxonomy, group=group, config=config, bootstrap=bootstrap,
            seed=seed,
        )  # fmt: skip
    pairs = [[each.motif, each.to] for each in recordings.measures if each.kind == "transition"]
    found: dict[str, Any] = {
        "n": {
            "windows": len(windows), "recordings": len(recordings.table),
            "sessions": len(sessions.table), "animals": windows["animal"].nunique(),
        },
        "codebook": codebook.describe(),
        "motifs": _describe_motifs(recordings, rows, motifs=motifs),
        "unlike": [
            {"split": str(split), "value": float(own.mean()), "n": len(own)}
            for split, own in unlike
        ],
        "permutations": config.permutations,
        "tests": rows,
        "families": contrasts.describe_families(rows),
        "not_tested": absences,
        "sessions": _describe_sessions(sessions, taxonomy),
        "transitions": {"pairs": pairs, "counts": matrix.tolist()},
        "bouts": absent(recordings.why_no_bouts)
        if recordings.why_no_bouts
        else {"gap": "a bout ends where windows do not follow each other"},
        "profile": usage.profile(windows, assigned, motifs=motifs),
        "ethogram": _draw_recordings(windows, assigned, recordings, taxonomy, motifs=motifs),
        "score": score,
    }  # fmt: skip
    return found | {"summary": summary.summarise(found)}


def _check(windows: pd.DataFrame, assigned: list[Assigned]) -> None:
    if missing := [name for name in COLUMNS if name not in windows]:
        raise ValueError(f"windows: column(s) missing: {', '.join(missing)}")
    for each in assigned:
        if len(each.motif) != len(windows):
            raise ValueError(f"{len(windows)} windows, but {len(each.motif)} assigned")
    for name in ("start_s", "seconds"):
        values = windows[name].to_numpy(float)
        if len(bad := np.flatnonzero(~np.isfinite(values))):
            what = f"column {name}, row {bad[0]}: {values[bad[0]]}"
            raise ValueError(f"windows: {what} is not finite")


def _describe_motifs(
    recordings: Measured, rows: list[dict[str, Any]], *, motifs: int
) -> list[dict[str, Any]]:
    """Returns per motif its usage over all animals, and the groups that use it more or less."""
    animals = recordings.average(["animal"]).values[:, :motifs]
    found = [row for row in rows if row["measure"] == "usage" and row["q"] <= ALPHA]
    described = []
    for motif in range(motifs):
        own = [row for row in found if row["motif"] == motif]
        groups = [row for row in own if row["kind"] in ("pain", "label")]
        described.append(
            {
                "motif": motif,
                "usage": float(animals[:, motif].mean()),
                "animals": int((animals[:, motif] > 0).sum()),
                "more_in": [row["group"] for row in groups if row["difference"] > 0],
                "less_in": [row["group"] for row in groups if row["difference"] < 0],
                "found": len(own),
            }
        )
    return described


def _describe_sessions(sessions: Measured, taxonomy: Taxonomy) -> list[dict[str, Any]]:
    """Returns a row per animal and session, with a list of figures per kind."""
    kind = np.array([measure.kind for measure in sessions.measures])
    coarse = contrasts.coarse_of(sessions, taxonomy)
    return [
        {
            **{name: str(row[name]) for name in ("animal", "cage", "sex", "condition", "drug")},
            "day": int(row["day"]),
            "dose_mg_per_kg": _plain(row["dose_mg_per_kg"]),
            "minutes_post_dose": _plain(row["minutes_post_dose"]),
            "split": str(row["split"]),
            "label": taxonomy.fine[row["label"]] if row["label"] >= 0 else None,
            "coarse": own or None,
            "windows": int(row["windows"]),
            "minutes": _plain(row["seconds"] / 60),
            **{
                each: [_plain(value) for value in values[kind == each]]
                for each in dict.fromkeys(kind.tolist())
            },
        }
        for row, own, values in zip(
            sessions.table.to_dict("records"), coarse, sessions.values, strict=True
        )
    ]


def _plain(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None


def _draw_recordings(
    windows: pd.DataFrame,
    assigned: Assigned,
    recordings: Measured,
    taxonomy: Taxonomy,
    *,
    motifs: int,
) -> list[dict[str, Any]]:
    """Returns the bouts of a few recordings: per class the longest ones of held-out animals."""
    table, named = recordings.table, contrasts.coarse_of(recordings, taxonomy)
    if not (taxonomy.coarse and all(map(parse_fine_name, taxonomy.fine))):
        named = np.array([*taxonomy.fine, ""])[table["label"]]  # a label of -1 has no name
    table = table.assign(named=named)
    held = table[(table["split"] == "test") & (table["windows"] > 1)]
    held = held[held["named"] != ""].sort_values(["seconds", "video"], ascending=[False, True])
    held = held.assign(rank=held.groupby("named").cumcount())
    held = held[~held.duplicated(["named", "animal"])].sort_values(["rank", "named"], kind="stable")
    drawn = []
    for row in held.head(_SHOWN).sort_values(["named", "rank"], kind="stable").itertuples():
        bouts = usage.segments(windows, assigned, str(row.video), motifs=motifs)
        drawn.append(
            {"video": str(row.video), "animal": str(row.animal), "class": str(row.named),
             "condition": str(row.condition), "day": int(row.day), "bouts": bouts[:_MOST_BOUTS]}
        )  # fmt: skip
    return drawn
