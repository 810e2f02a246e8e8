"""Writes tables, BORIS projects and NWB files of a study's results, for other tools to read."""

import collections
import datetime
import importlib.metadata
import json
import os
from typing import Any

import numpy as np
import pandas as pd
import tqdm
from etils import epath

from mpjax.analysis.classification.calibration import Calibrated, calibrate
from mpjax.analysis.predictions import Predictions
from mpjax.interop import boris, nwb, tables
from mpjax.interop.tables import Motifs
from mpjax.io import files

_OF_RECORDING = (
    "video", "animal", "cage", "sex", "condition", "day", "drug", "dose_mg_per_kg", "route",
    "minutes_post_dose", "split",
)  # fmt: skip


def write_csv(read: Predictions, motifs: Motifs | None, out: epath.Path) -> None:
    """Writes predictions, bouts and usage as tables."""
    made = {"predictions": tables.flatten_predictions(read)}
    if motifs:
        made["motif_bouts"] = tables.list_bouts(motifs)
        made["motif_usage"] = tables.flatten_usage(motifs)
    for name, table in made.items():
        tables.write_table(out, name, table)
        print(f"table {out / name}.csv and .parquet: {len(table)} rows")


def list_recordings(read: Predictions, about: pd.DataFrame, root: str) -> pd.DataFrame:
    """Returns a row per recording: what the cohort and its file say of it, and its path.

    Args:
        about: of the dataset, as `mpjax.data.video_metadata` reads it.
        root: folder of the videos; empty: that of the cohort's table.

    Raises:
        ValueError: `about` lacks a recording.
    """
    rows = read.table.drop_duplicates("video")[list(_OF_RECORDING)]
    missing = sorted(set(rows["video"]) - set(about["video"]))
    if missing:
        raise ValueError(
            f"the dataset's videos.parquet lacks {len(missing)} recording(s), first {missing[0]!r}"
        )
    rows = rows.merge(about, on="video", how="left").sort_values("video").reset_index(drop=True)
    cohort = str(read.meta["provenance"].get("cohort", ""))
    folder = root or (os.path.dirname(files.absolute(cohort)) if cohort else "")
    rows["path"] = [os.path.join(folder, video) for video in rows["video"]]
    lost = [path for path in rows["path"] if not epath.Path(path).exists()]
    if lost:
        print(
            f"{len(lost)} video(s) are not where the written files expect them, first {lost[0]}; "
            "give their folder with --videos"
        )
    return rows


def write_boris(
    read: Predictions,
    motifs: Motifs | None,
    recordings: pd.DataFrame,
    out: epath.Path,
    *,
    frames: int,
) -> None:
    """Writes a BORIS project of predicted classes and one of motifs, if any, with their events.

    `recordings` are those of `list_recordings`; clips have `frames` frames.
    """
    bouts, classes = tables.list_class_bouts(read, frames=frames)
    parts = {"classes": (bouts.rename(columns={"class": "behaviour"}), list(classes))}
    if motifs:
        bouts = tables.list_bouts(motifs)
        bouts["behaviour"] = bouts["motif"].fillna(-1).astype(int).map(tables.name_motif)
        parts["motifs"] = (bouts, list(map(tables.name_motif, [*range(motifs.count), -1])))
    now = datetime.datetime.now().isoformat(timespec="seconds")
    for name, (bouts, behaviours) in parts.items():
        bouts = _within(bouts, recordings)
        project = boris.make_project(
            bouts,
            recordings,
            behaviours,
            name=f"{name} found by mpjax",
            category=name,
            description=f"Provenance: {json.dumps(provenance_of(read), sort_keys=True)}",
            date=now,
        )
        files.write_json(out / f"{name}.boris", project)
        events = boris.aggregate_events(bouts, recordings, category=name)
        with files.write_aside(out / f"{name}_events.tsv") as aside:
            aside.write_text(events.to_csv(sep="\t", index=False))
        print(f"BORIS {out / name}.boris: {len(recordings)} observations, {len(events)} bouts")


def _within(bouts: pd.DataFrame, recordings: pd.DataFrame) -> pd.DataFrame:
    """Ends bouts where their video does: a padded clip is longer than what was filmed."""
    length = bouts["video"].map(recordings.set_index("video")["duration_s"]).fillna(np.inf)
    return bouts.assign(stop_s=np.minimum(bouts["stop_s"], length))


def write_nwb(
    read: Predictions,
    motifs: Motifs | None,
    recordings: pd.DataFrame,
    out: epath.Path,
    *,
    frames: int,
    session_start: str,
    species: str,
    age: str,
) -> None:
    """Writes an NWB file per recording into `out/nwb`; none where a start is unknown.

    Args:
        read, motifs, recordings, out, frames: as for `write_boris`.
        session_start, species, age: as for `nwb.find_starts` and `nwb.write`.

    Raises:
        ValueError: the start of a recording is unknown, or two would share a file.
        ImportError: pynwb is not installed.
    """
    starts = nwb.find_starts(recordings, session_start)
    nwb.check_names(recordings)
    bouts = _within(tables.list_bouts(motifs), recordings) if motifs else None
    calibrated = calibrate(read)
    task = "coarse" if read.taxonomy.coarse else "fine"
    clips = read.table[["video", "clip_id", "start_s"]].assign(
        stop_s=read.table["start_s"] + frames / read.table["fps"],
        predicted=tables.predicted(read, task),
        fold=read.table["fold"],
    )
    provenance = provenance_of(read) | {"calibration": calibrated.meta}
    made_of = bouts.to_csv(index=False) if bouts is not None else ""
    for row in tqdm.tqdm(recordings.to_dict("records"), desc="NWB", unit="file", delay=2):
        own = np.flatnonzero((read.table["video"] == row["video"]).to_numpy())
        own = own[np.argsort(clips["start_s"].to_numpy()[own], kind="stable")]
        session = nwb.Session(
            recording=row,
            start=starts[row["video"]],
            clips=clips.iloc[own].drop(columns="video").reset_index(drop=True),
            p=_series(read, calibrated, own),
            bouts=None if bouts is None else bouts[bouts["video"] == row["video"]],
        )
        nwb.write(
            out / "nwb",
            session,
            identifier=files.fingerprint(read.meta["fingerprint"], row["video"], made_of),
            species=species,
            age=age,
            provenance=provenance,
        )
    print(f"NWB {out / 'nwb'}: {len(recordings)} files")
    for basis, count in collections.Counter(start.basis for start in starts.values()).items():
        print(f"  session_start_time of {count}: {basis}")


def _series(read: Predictions, calibrated: Calibrated, rows: np.ndarray) -> dict[str, Any]:
    """Returns the probabilities of some clips, in the form of `nwb.Session.p`."""
    fine, coarse = read.taxonomy.fine, read.taxonomy.coarse
    series = {"p": ("As predicted.", fine, read.p[rows])}
    if calibrated.meta["value"] is not None:
        about = "After temperature scaling, fitted on animals that were not trained on."
        series["p_calibrated"] = (about, fine, calibrated.p[rows])
    if coarse:
        for name, (about, _, p) in list(series.items()):
            sums = f"Sums over the classes of a group. {about}"
            series[f"{name}_coarse"] = (sums, coarse, read.taxonomy.coarse_probabilities(p))
    return series


def provenance_of(read: Predictions) -> dict[str, Any]:
    """Returns what made the predictions: fingerprints, settings, versions."""
    kept = ("fingerprint", "group", "scheme", "exclude", "provenance")
    about = {name: read.meta[name] for name in kept}
    versions = {"mpjax": importlib.metadata.version("mpjax")}
    return about | {"versions": versions | about["provenance"].get("versions", {})}
