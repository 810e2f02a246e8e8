"""A recording's predictions and motifs as a file of Neurodata Without Borders (NWB 2).

One file per recording, named as the DANDI archive names them. Motif bouts and clips are plain
`TimeIntervals`, which every reader of NWB 2 knows: every row has a start and a stop. `EventsTable`
of the core schema (2.10) is for single moments, and ndx-pose for key points.

Source: https://nwb-schema.readthedocs.io, https://pynwb.readthedocs.io.
"""

import dataclasses
import datetime
import io
import json
import os
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from etils import epath
from jaxtyping import Float

from mpjax.io import files

if TYPE_CHECKING:
    from pynwb import NWBFile

SEXES = {"m": "M", "male": "M", "f": "F", "female": "F"}
_OF_BOUTS = {
    "motif": "number of the motif, the most used one is 0; -1: none",
    "unlike": "whether the windows are unlike any that the motifs were found in",
}


@dataclasses.dataclass(frozen=True)
class Start:
    """When a recording began."""

    time: datetime.datetime  # with its zone, UTC by default
    basis: str  # where it is known from
    value: str  # what is written there


@dataclasses.dataclass(frozen=True)
class Session:
    """The content of one file."""

    # `video, path` (of the file), `animal, cage, sex, condition, day, drug, dose_mg_per_kg, route,
    # minutes_post_dose, split, fps, duration_s, width, height`.
    recording: Mapping[str, Any]
    start: Start
    # In order of time: `start_s`, `stop_s`, and further columns of text or whole numbers.
    clips: pd.DataFrame
    # By the name of a series: a description, the classes, and their probabilities.
    p: Mapping[str, tuple[str, Sequence[str], Float[np.ndarray, "n classes"]]]
    bouts: pd.DataFrame | None  # `start_s, stop_s, motif` (may be missing), `unlike`; None: none


def find_starts(recordings: pd.DataFrame, given: str) -> dict[str, Start]:
    """Returns when each recording began, from what is known of it.

    Args:
        recordings: `video`, `date` (of the cohort's column, ISO, '' where unknown) and `created`
            (of the file's own tags, ISO 8601, '' where it has none).
        given: by the user, ISO 8601, for recordings of which neither is known; '': none.

    Raises:
        ValueError: `given` is no date, or is missing and needed.
    """
    try:
        basis = "given by the user when the file was written"
        fallback = Start(_parse(given), basis, given) if given else None
    except ValueError as error:
        raise ValueError(
            f"--session_start {given!r}: not ISO 8601, e.g. 2026-03-01T09:30:00+01:00"
        ) from error
    found = {
        str(row.video): _find_start(str(row.date), str(row.created)) or fallback
        for row in recordings.itertuples()
    }
    starts = {video: start for video, start in found.items() if start}
    unknown = [video for video in found if video not in starts]
    if unknown:
        raise ValueError(
            f"NWB needs to know when a recording began, and {len(unknown)} recording(s) have "
            f"neither a date in cohort.csv nor a creation time in the file, first {unknown[0]!r}: "
            "fill in the cohort's column date, or give --session_start=2026-03-01T09:30:00+01:00"
        )
    return starts


def _find_start(date: str, created: str) -> Start | None:
    try:
        tagged = _parse(created) if created else None
    except ValueError:
        tagged = None  # some cameras write no ISO 8601
    if tagged and (not date or date == created[: len("YYYY-MM-DD")]):
        return Start(tagged, "creation time in the video file's own tags", created)
    dated = "date in cohort.csv; the time of day is unknown, so 00:00"
    return Start(_parse(date), dated, date) if date else None


def _parse(text: str) -> datetime.datetime:
    time = datetime.datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=datetime.UTC)


def write(
    out: epath.PathLike,
    session: Session,
    *,
    identifier: str,
    species: str,
    provenance: Any,
    age: str = "",
) -> epath.Path:
    """Writes the file of one recording, aside then renamed, and returns its path.

    Args:
        out: folder; the file goes to `sub-<animal>/sub-<animal>_ses-<video>.nwb` in it.
        session: content of the file.
        identifier: of this content, unique among files.
        species: in Latin, e.g. "Mus musculus".
        provenance: JSON-serialisable; kept as the file's notes.
        age: of the animal, ISO 8601, e.g. P12W; '' where unknown.
    """
    try:
        import h5py
        import pynwb
    except ImportError as error:
        raise ImportError("NWB files need the package pynwb: pip install 'mpjax[nwb]'") from error

    row = session.recording
    subject = f"sub-{_safe(row['animal'])}"
    path = epath.Path(out) / subject / f"{subject}_ses-{_safe(row['video'])}.nwb"
    content = _describe(session, identifier, provenance)
    content.subject = pynwb.file.Subject(
        subject_id=str(row["animal"]),
        species=species,
        sex=SEXES.get(str(row["sex"]).lower(), "U"),
        age=age or None,
        description=f"{_group(row)}; cage {row['cage'] or 'unknown'}; part {row['split']}",
    )
    _add_video(content, row, folder=path.parent)
    _add_probabilities(content, session)
    extra = session.clips.columns.drop(["start_s", "stop_s"])
    about = {name: f"{name} of the clip" for name in extra}
    _add_intervals(content, "clips", "The clips that were classified.", session.clips, about)
    if session.bouts is not None:
        what = "Runs of windows of one motif, found without labels by clustering embeddings."
        motif = session.bouts["motif"].fillna(-1).astype(np.int64)
        bouts = session.bouts.assign(motif=motif, unlike=session.bouts["unlike"].astype(bool))
        _add_intervals(content, "motif_bouts", what, bouts, _OF_BOUTS)
    buffer = io.BytesIO()  # HDF5 writes at random places, which a bucket does not allow
    with h5py.File(buffer, "w") as file, pynwb.NWBHDF5IO(file=file, mode="w") as writer:
        writer.write(content)
    with files.write_aside(path) as aside:
        aside.write_bytes(buffer.getvalue())
    return path


def check_names(recordings: pd.DataFrame) -> None:
    """Raises a ValueError if two recordings would be written to one file."""
    seen: dict[tuple[str, str], str] = {}
    for row in recordings.itertuples():
        name = (_safe(row.animal), _safe(row.video))
        other = seen.setdefault(name, str(row.video))
        if other != row.video:
            raise ValueError(
                f"recordings {other!r} and {row.video!r} of animal {row.animal!r} would share the "
                f"NWB file ses-{name[1]}; rename one of them in cohort.csv"
            )


def _safe(name: Any) -> str:
    """Returns a name of letters, digits and hyphens, as DANDI requires; no suffix."""
    return re.sub(r"[^A-Za-z0-9]+", "-", str(name).rsplit(".", 1)[0]).strip("-") or "unnamed"


def _describe(session: Session, identifier: str, provenance: Any) -> "NWBFile":
    import pynwb

    row = session.recording
    versions = dict(provenance.get("versions", {})) if isinstance(provenance, Mapping) else {}
    return pynwb.NWBFile(
        session_description=(
            f"Video of freely moving animal {row['animal']} ({_group(row)}), scored by mpjax. "
            f"Start of the session: {session.start.basis} ({session.start.value})."
        ),
        identifier=identifier,
        session_start_time=session.start.time,
        session_id=_safe(row["video"]),
        keywords=["pain", "behavior", "video", "machine learning"],
        experiment_description=(
            "Label-free analysis of pain from video: a frozen action space, a classifier of "
            "condition and day, and motifs found without labels (arXiv 2508.05138)."
        ),
        pharmacology=_pharmacology(row),
        notes=json.dumps(provenance, sort_keys=True),
        was_generated_by=[[name, str(version)] for name, version in versions.items()] or None,
    )


def _group(row: Mapping[str, Any]) -> str:
    if not row["condition"]:
        return "of no named condition"
    return f"{row['condition']}, day {row['day']} after induction"


def _pharmacology(row: Mapping[str, Any]) -> str:
    if not row["drug"]:
        return "untreated"
    dose, minutes = row["dose_mg_per_kg"], row["minutes_post_dose"]
    words = (
        row["drug"],
        "" if np.isnan(dose) else f"{dose:g} mg/kg",
        row["route"],
        "" if np.isnan(minutes) else f"{minutes:g} min before",
    )
    return ", ".join(str(word) for word in words if word)


def _add_video(content: "NWBFile", row: Mapping[str, Any], *, folder: epath.Path) -> None:
    import pynwb

    path = str(row["path"])
    if "://" not in path and os.path.isabs(path):
        path = os.path.relpath(path, files.absolute(folder))
    series = pynwb.image.ImageSeries(
        name="video",
        description="The recording, kept as a file of its own; the path is relative to this one.",
        external_file=[path],
        format="external",
        starting_frame=[0],
        starting_time=0.0,
        rate=float(row["fps"]),
        num_samples=round(float(row["fps"]) * float(row["duration_s"])),
        dimension=[int(row["width"]), int(row["height"])],
        unit="n.a.",
    )
    content.add_acquisition(series)


def _add_probabilities(content: "NWBFile", session: Session) -> None:
    import pynwb

    behaviour = pynwb.behavior.BehavioralTimeSeries(name="class_probabilities")
    for name, (what, classes, p) in session.p.items():
        behaviour.create_timeseries(
            name=name,
            description=f"{what} Columns: {', '.join(classes)}.",
            comments="A row per clip, at its start; how long it lasts is in intervals/clips.",
            data=p,
            timestamps=session.clips["start_s"].to_numpy(float),
            unit="probability",
        )
    module = content.create_processing_module("behavior", "What mpjax found in the video.")
    module.add(behaviour)


def _add_intervals(
    content: "NWBFile",
    name: str,
    description: str,
    rows: pd.DataFrame,
    about: Mapping[str, str],
) -> None:
    """Adds a table of the rows' times and of the columns that `about` describes."""
    from hdmf.common import VectorData
    from pynwb.epoch import TimeIntervals

    columns = [
        VectorData(
            name=f"{edge}_time",
            description="s from the recording's start",
            data=rows[f"{edge}_s"].to_numpy(float),
        )
        for edge in ("start", "stop")
    ]
    columns += [
        VectorData(name=column, description=text, data=rows[column].to_list())
        for column, text in about.items()
    ]
    content.add_time_intervals(TimeIntervals(name=name, description=description, columns=columns))
