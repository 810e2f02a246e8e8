"""Bouts as a project of BORIS, the event-logging program: an observation per recording.

BORIS (Friard & Gamba 2016, doi:10.1111/2041-210X.12584) imports observations from projects; from
tables it reads single events only. The format is that of its projects of version 7.0, which
BORIS 8 reads (tested with 8.27). A table of aggregated events, as BORIS exports them, is written
for programs that read those.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

DECIMALS = 3  # of a time in s: BORIS's own resolution
# What BORIS calls independent variables of an observation, from the cohort.
VARIABLES = {
    "animal": "text", "cage": "text", "sex": "text", "condition": "text", "day": "numeric",
    "drug": "text", "dose_mg_per_kg": "numeric", "minutes_post_dose": "numeric", "split": "text",
}  # fmt: skip
# Fields of a behaviour that stay empty.
_BLANK = dict.fromkeys(("key", "description", "color", "excluded", "coding map"), "")


def make_project(
    bouts: pd.DataFrame,
    recordings: pd.DataFrame,
    behaviours: Sequence[str],
    *,
    name: str,
    category: str,
    description: str,
    date: str,
) -> dict[str, Any]:
    """Returns a project, JSON-serialisable.

    Args:
        bouts: `video, animal, start_s, stop_s, behaviour`, in order of time within a recording.
        recordings: a row per recording: `video`, `path` (of the file), `animal`, `fps`,
            `duration_s`, `date` (ISO; '' where unknown) and the columns in `VARIABLES`.
        behaviours: the ethogram, in order; each a state event.
        name, description, date: of the project; the date is ISO.
        category: of the behaviours.

    Raises:
        ValueError: a bout of a recording or behaviour that is not listed.
    """
    for column, known in (("video", recordings["video"]), ("behaviour", behaviours)):
        strange = sorted(set(bouts[column]) - set(known))
        if strange:
            raise ValueError(f"bouts of {column} {strange[0]!r}, which the project does not list")
    own = dict(list(bouts.groupby("video", sort=False)))
    nothing = bouts.iloc[:0]
    return {
        "time_format": "hh:mm:ss",
        "project_date": date,
        "project_name": name,
        "project_description": description,
        "project_format_version": "7.0",
        "subjects_conf": {
            str(i): {"key": "", "name": str(animal), "description": ""}
            for i, animal in enumerate(sorted(set(recordings["animal"])))
        },
        "behaviors_conf": {
            str(i): {"type": "State event", "code": behaviour, "category": category}
            | {"modifiers": {}, **_BLANK}
            for i, behaviour in enumerate(behaviours)
        },
        "observations": {
            str(row["video"]): _observation(row, own.get(row["video"], nothing))
            for row in recordings.to_dict("records")
        },
        "behavioral_categories": [category],
        "independent_variables": {
            str(i): {"label": label, "description": "from cohort.csv", "type": kind}
            | dict.fromkeys(("default value", "possible values"), "")
            for i, (label, kind) in enumerate(VARIABLES.items())
        },
        "coding_map": {},
        "behaviors_coding_map": [],
        "converters": {},
    }


def _observation(row: dict[str, Any], bouts: pd.DataFrame) -> dict[str, Any]:
    path = str(row["path"])
    return {
        "type": "MEDIA",
        "date": str(row["date"]),
        "description": "",
        "time offset": 0.0,
        "observation time interval": [0, 0],
        "visualize_spectrogram": False,
        "visualize_waveform": False,
        "media_creation_date_as_offset": False,
        "media_scan_sampling_duration": 0,
        "image_display_duration": 1,
        "close_behaviors_between_videos": False,
        "independent_variables": {
            label: "" if pd.isna(row[label]) else str(row[label]) for label in VARIABLES
        },
        # Of 8 players, the first shows the recording.
        "file": {str(i): [path] if i == 1 else [] for i in range(1, 9)},
        "media_info": {
            "length": {path: float(row["duration_s"])},
            "fps": {path: float(row["fps"])},
            "hasVideo": {path: True},
            "hasAudio": {path: False},
            "offset": {"1": 0.0},
        },
        "events": _events(bouts, float(row["fps"])),
    }


def _events(bouts: pd.DataFrame, fps: float) -> list[list[Any]]:
    """Returns starts and stops in order of time; of equal times the stop comes first."""
    stops_then_starts = [
        [round(float(time), DECIMALS), str(animal), str(behaviour), "", "", round(time * fps)]
        for column in ("stop_s", "start_s")
        for time, animal, behaviour in zip(
            bouts[column], bouts["animal"], bouts["behaviour"], strict=True
        )
    ]
    return sorted(stops_then_starts, key=lambda event: event[0])


def aggregate_events(
    bouts: pd.DataFrame, recordings: pd.DataFrame, *, category: str
) -> pd.DataFrame:
    """Returns bouts, as of `make_project`, under the headings of BORIS's aggregated events."""
    rows = bouts.merge(recordings.drop(columns="animal"), on="video", validate="many_to_one")
    start, stop = rows["start_s"].round(DECIMALS), rows["stop_s"].round(DECIMALS)
    columns: dict[str, Any] = {
        "Observation id": rows["video"],
        "Observation date": rows["date"],
        "Description": "",
        "Observation type": "Media file",
        "Source": "player #1:" + rows["path"],
        "Time offset (s)": 0.0,
        "Media duration (s)": rows["duration_s"].round(DECIMALS),
        "FPS (frame/s)": rows["fps"].round(DECIMALS),
        **rows[list(VARIABLES)],
        "Subject": rows["animal"],
        "Behavior": rows["behaviour"],
        "Behavioral category": category,
        "Behavior type": "STATE",
        "Start (s)": start,
        "Stop (s)": stop,
        "Duration (s)": (stop - start).round(DECIMALS),
        "Media file name": rows["path"],
        "Comment start": "",
        "Comment stop": "",
    }
    return pd.DataFrame(columns)
