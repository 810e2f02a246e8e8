"""Writes tables, BORIS projects and NWB files of a finished study, for other tools to read."""

import collections
import datetime
import importlib.metadata
import json
import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import tqdm
from etils import epath

from mpjax.io import files
from mpjax.studies import evaluation

if TYPE_CHECKING:
    from mpjax.analysis.predictions import Predictions

_OF_RECORDING = (
    "video", "animal", "cage", "sex", "condition", "day", "drug", "dose_mg_per_kg", "route",
    "minutes_post_dose", "split",
)  # fmt: skip


class Motifs:
    """Windows, what the final codebook says of them, and how many motifs it has."""

    def __init__(self, windows: pd.DataFrame, assigned: Any, count: int):
        self.windows, self.assigned, self.count = windows, assigned, count

    @classmethod
    def of(cls, workdir: epath.Path) -> "Motifs | None":
        """Reads those of a study; None where none were looked for."""
        from mpjax.analysis.motifs import codebook

        out = workdir / evaluation.FOLDER
        if not (out / evaluation.WINDOWS).exists():
            return None
        windows, found = evaluation.read_motifs(out)
        book = codebook.load(out / f"codebook-{evaluation.FINAL}.npz")
        return cls(windows, found[evaluation.FINAL], len(book.centres))

    def bouts(self) -> pd.DataFrame:
        """Returns `exchange.list_bouts`."""
        from mpjax.interop import tables as exchange

        return exchange.list_bouts(self.windows, self.assigned, motifs=self.count)


def _say_no_motifs(workdir: epath.Path) -> None:
    path = workdir / evaluation.FOLDER / evaluation.WINDOWS
    print(f"{path}: no such file, so no motifs are written; `python -m mpjax.explain` finds them")


def write_csv(read: "Predictions", motifs: Motifs | None, out: epath.Path) -> None:
    """Writes predictions, bouts and usage as tables."""
    from mpjax.interop import tables as exchange

    tables = {"predictions": exchange.flatten_predictions(read)}
    if motifs:
        tables["motif_bouts"] = motifs.bouts()
        tables["motif_usage"] = exchange.flatten_usage(
            motifs.windows, motifs.assigned, motifs=motifs.count
        )
    for name, table in tables.items():
        exchange.write_table(out, name, table)
        print(f"table {out / name}.csv and .parquet: {len(table)} rows")


def find_recordings(workdir: epath.Path, read: "Predictions", root: str) -> pd.DataFrame:
    """Returns a row per recording: what the cohort and its file tell of it, and its path.

    Raises:
        FileNotFoundError, ValueError: the dataset does not tell of the recordings' files.
    """
    from mpjax.data import video_metadata

    about = video_metadata.read(workdir / "dataset")
    path = workdir / "dataset" / video_metadata.FILE
    if about is None:
        raise FileNotFoundError(
            f"{path}: no such file; BORIS and NWB need the length and rate of the videos, which "
            "`python -m data_prep.build` writes there"
        )
    rows = read.table.drop_duplicates("video")[list(_OF_RECORDING)]
    missing = sorted(set(rows["video"]) - set(about["video"]))
    if missing:
        raise ValueError(f"{path}: lacks {len(missing)} recording(s), first {missing[0]!r}")
    rows = rows.merge(about, on="video", how="left").sort_values("video").reset_index(drop=True)
    cohort = str(read.meta["provenance"].get("cohort", ""))
    folder = root or (os.path.dirname(files.absolute(cohort)) if cohort else "")
    rows["path"] = [os.path.join(folder, video) for video in rows["video"]]
    lost = [path for path in rows["path"] if not epath.Path(path).exists()]
    if lost:
        print(f"{len(lost)} video(s) are not where the files will say, first {lost[0]}; --videos=…")
    return rows


def write_boris(
    workdir: epath.Path,
    read: "Predictions",
    motifs: Motifs | None,
    recordings: pd.DataFrame,
    out: epath.Path,
) -> None:
    """Writes a project of BORIS for motifs and one for predicted classes, with their events."""
    from mpjax.interop import boris
    from mpjax.interop import tables as exchange

    bouts, classes = exchange.list_class_bouts(read, frames=clip_frames(workdir))
    parts = {"classes": (bouts.rename(columns={"class": "behaviour"}), list(classes))}
    if motifs:
        bouts = motifs.bouts()
        state = bouts["motif"].fillna(-1).astype(int)
        bouts["behaviour"] = list(map(exchange.name_motif, state.to_list()))
        names = [*map(exchange.name_motif, range(motifs.count)), exchange.UNLIKE]
        parts["motifs"] = (bouts, names)
    else:
        _say_no_motifs(workdir)
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
    workdir: epath.Path,
    read: "Predictions",
    motifs: Motifs | None,
    recordings: pd.DataFrame,
    out: epath.Path,
    *,
    session_start: str,
    species: str,
    age: str,
) -> None:
    """Writes an NWB file per recording into `out/nwb`; nothing where a start is unknown."""
    from mpjax.analysis.classification import calibration
    from mpjax.interop import nwb
    from mpjax.interop import tables as exchange

    starts = nwb.find_starts(recordings, session_start)
    nwb.check_names(recordings)
    bouts = _within(motifs.bouts(), recordings) if motifs else None
    if motifs is None:
        _say_no_motifs(workdir)
    calibrated = calibration.calibrate(read)
    frames = clip_frames(workdir)
    task = "coarse" if read.taxonomy.coarse else "fine"
    clips = read.table[["video", "clip_id", "start_s"]].assign(
        stop_s=read.table["start_s"] + frames / read.table["fps"],
        predicted=exchange.predicted(read, task),
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
        identifier = files.fingerprint(read.meta["fingerprint"], row["video"], made_of)
        nwb.write(
            out / "nwb",
            session,
            identifier=identifier,
            species=species,
            age=age,
            provenance=provenance,
        )
    print(f"NWB {out / 'nwb'}: {len(recordings)} files")
    for basis, count in collections.Counter(start.basis for start in starts.values()).items():
        print(f"  session_start_time of {count}: {basis}")


def _series(read: "Predictions", calibrated: Any, rows: np.ndarray) -> dict[str, Any]:
    """Returns the probabilities of some clips, as `nwb.Session.p` wants them."""
    fine, coarse = read.taxonomy.fine, read.taxonomy.coarse
    series = {"p": ("As predicted.", fine, read.p[rows])}
    if calibrated.meta["value"] is not None:
        about = "After temperature scaling, fitted on animals that were not trained on."
        series["p_calibrated"] = (about, fine, calibrated.p[rows])
    if coarse:
        for name, (about, _, p) in list(series.items()):
            pooled = read.taxonomy.coarse_probabilities(p)
            series[f"{name}_coarse"] = (
                f"Sums over the classes of a group. {about}",
                coarse,
                pooled,
            )
    return series


def provenance_of(read: "Predictions") -> dict[str, Any]:
    """Returns what made the predictions: fingerprints, settings, versions."""
    kept = ("fingerprint", "group", "scheme", "exclude", "provenance")
    told = {name: read.meta[name] for name in kept}
    versions = {"mpjax": importlib.metadata.version("mpjax")}
    return told | {"versions": versions | told["provenance"].get("versions", {})}


def clip_frames(workdir: epath.Path) -> int:
    """Returns the frames of a clip of a study's dataset."""
    from mpjax.data import records

    return int(records.read_manifest(workdir / "dataset")["video"]["frames"])
