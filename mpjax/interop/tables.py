"""Flat tables of a study's results: predictions, bouts of motifs, their usage.

Columns hold single values; those of a class or motif are named `name[class]`.
"""

import dataclasses
import io
import zipfile
from collections.abc import Sequence

import numpy as np
import pandas as pd
from etils import epath

from mpjax.analysis.classification.calibration import calibrate
from mpjax.analysis.motifs import usage
from mpjax.analysis.motifs.codebook import Assigned
from mpjax.analysis.predictions import Predictions
from mpjax.io.files import write_aside


@dataclasses.dataclass(frozen=True)
class Motifs:
    """Windows, the motif of each in one codebook, and how many motifs that has."""

    windows: pd.DataFrame
    assigned: Assigned
    count: int


def flatten_predictions(read: Predictions) -> pd.DataFrame:
    """Returns a row per clip: metadata, predicted class, probabilities; no embedding.

    Returns:
        The scalar columns of predictions.parquet; `class`, the true one ('': none); `predicted` and
        `predicted_coarse` (where there are coarse classes), those of largest p; `p[class]`;
        `calibrated[class]` and `calibrated_coarse[class]`, where a temperature could be fitted; and
        `separate_coarse[class]`, where heads were trained on the coarse classes.
    """
    fine, coarse = read.taxonomy.fine, read.taxonomy.coarse
    table = read.table
    names = np.array([*fine, ""], dtype=object)
    columns = {"class": names[table["label"].to_numpy()], "predicted": predicted(read, "fine")}
    if coarse:
        columns["predicted_coarse"] = predicted(read, "coarse")
    columns |= _by_class("p", read.p, fine)
    calibrated = calibrate(read)
    if calibrated.meta["value"] is not None:
        columns |= _by_class("calibrated", calibrated.p, fine)
        if coarse:
            pooled = read.taxonomy.coarse_probabilities(calibrated.p)
            columns |= _by_class("calibrated_coarse", pooled, coarse)
    if read.p_coarse is not None:
        columns |= _by_class("separate_coarse", read.p_coarse, coarse)
    return pd.concat([table, pd.DataFrame(columns, index=table.index)], axis=1)


def predicted(read: Predictions, task: str) -> np.ndarray:
    """Returns the name of each clip's class of largest p; `task` is fine or coarse."""
    if task == "fine":
        return np.array(read.taxonomy.fine, dtype=object)[read.p.argmax(1)]
    pooled = read.taxonomy.coarse_probabilities(read.p)
    return np.array(read.taxonomy.coarse, dtype=object)[pooled.argmax(1)]


def _by_class(name: str, p: np.ndarray, classes: Sequence[str]) -> dict[str, np.ndarray]:
    return {f"{name}[{each}]": p[:, i] for i, each in enumerate(classes)}


def list_bouts(motifs: Motifs) -> pd.DataFrame:
    """Returns a row per bout: windows of one motif that follow each other in a recording.

    Returns:
        `video, animal, start_s, stop_s` (s in the recording), `motif` (missing where the windows
        are unlike any that the codebook was fitted on) and `unlike`; by video and time.
    """
    bouts = _bouts(motifs)
    state = bouts.pop("state")
    return bouts.assign(motif=state.astype("Int64").mask(state < 0), unlike=state < 0)


def list_class_bouts(read: Predictions, *, frames: int) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Returns bouts of the predicted class (coarse where there is one), and the classes.

    A row per run of clips, of `frames` each: `video, animal, start_s, stop_s, class`.
    """
    task = "coarse" if read.taxonomy.coarse else "fine"
    classes = getattr(read.taxonomy, task)
    clips = read.table.assign(seconds=frames / read.table["fps"])
    state = pd.Index(classes).get_indexer(predicted(read, task))
    nothing = np.zeros(len(clips), bool)
    assigned = Assigned(state, nothing.astype(np.float32), nothing)
    bouts = _bouts(Motifs(clips, assigned, len(classes)))
    bouts["class"] = np.array(classes, dtype=object)[bouts.pop("state").to_numpy()]
    return bouts, classes


def _bouts(motifs: Motifs) -> pd.DataFrame:
    rows = []
    recordings = motifs.windows.groupby(["video", "animal"], sort=True).indices
    for (video, animal), own in recordings.items():
        mine = Assigned(*(field[own] for field in motifs.assigned))
        found = usage.segments(motifs.windows.iloc[own], mine, str(video), motifs=motifs.count)
        for start, stop, state in found:
            rows.append((video, animal, round(start, 6), round(stop, 6), state))
    return pd.DataFrame(rows, columns=["video", "animal", "start_s", "stop_s", "state"])


def flatten_usage(motifs: Motifs) -> pd.DataFrame:
    """Returns a row per recording: its metadata, and the usage of its motifs.

    Returns:
        The recording's columns; `usage[motif]` and `unlike` (shares of the time),
        `bout_length[motif]` (s), `bouts_per_minute[motif]` and `transition[from>to]` (1/min).
    """
    measured = usage.measure_recordings(motifs.windows, motifs.assigned, motifs=motifs.count)[0]
    names = []
    for each in measured.measures:
        to = "" if each.to is None else f">{each.to}"
        names.append(each.kind if each.motif is None else f"{each.kind}[{each.motif}{to}]")
    values = pd.DataFrame(measured.values, columns=names, index=measured.table.index)
    return pd.concat([measured.table, values], axis=1)


def name_motif(motif: int) -> str:
    """Returns what a motif is called as a behaviour: `motif 7`; of -1: `unlike`."""
    return "unlike" if motif < 0 else f"motif {motif}"


def write_table(folder: epath.PathLike, name: str, table: pd.DataFrame) -> None:
    """Writes plain columns as `name.csv` and `name.parquet`, each aside then renamed."""
    folder = epath.Path(folder)
    with write_aside(folder / f"{name}.csv") as aside:
        aside.write_text(table.to_csv(index=False))
    with write_aside(folder / f"{name}.parquet") as aside:
        aside.write_bytes(table.to_parquet(index=False))


def pack_results(
    path: epath.PathLike,
    read: Predictions,
    *,
    whole: Sequence[epath.Path],
    windows: pd.DataFrame | None = None,
) -> None:
    """Writes what a lab keeps of a study as one zip archive.

    It holds predictions.csv (of every clip, as `mpjax export` writes it), recordings.csv (the means
    of its probabilities), windows.csv (`windows` with their motifs, if given), and `whole` files.
    """
    clips = flatten_predictions(read)
    tables = {"predictions.csv": clips, "recordings.csv": _average_recordings(clips)}
    if windows is not None:
        tables["windows.csv"] = windows
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for each in whole:
            archive.writestr(each.name, each.read_bytes())
        for name, table in tables.items():
            archive.writestr(name, table.to_csv(index=False).encode("utf-8-sig"))  # for Excel
    with write_aside(path) as aside:
        aside.write_bytes(content.getvalue())


def _average_recordings(clips: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per recording: what its clips share, and the means of their probabilities."""
    grouped = clips.groupby("video", sort=False)
    p = [name for name in clips if name.startswith(("p[", "calibrated[", "calibrated_coarse["))]
    of_clips = (*p, "video", "clip_id", "predicted", "predicted_coarse", "start_frame", "start_s")
    values = grouped.nunique(dropna=False)
    shared = [name for name in values if name not in of_clips and values[name].max() == 1]
    table = grouped[shared].first().join(grouped[p].mean())
    table.insert(len(shared), "clips", grouped.size())
    return table.reset_index()
