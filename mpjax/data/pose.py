"""Reads pose files: where each keypoint of one animal is in every frame of a video.

| file | of | needs |
| --- | --- | --- |
| `.csv` | DeepLabCut (three or four header rows), the synthetic cohort | nothing |
| `.h5` | DeepLabCut | h5py |
| `.analysis.h5`, `.h5` | SLEAP's analysis export | h5py |
| `.h5` | JABS `pose_est`, v2 and later | h5py |
| `.slp` | SLEAP | sleap-io |

`pip install 'mpjax[pose]'` installs both. SLEAP's own format changes between versions, so sleap-io
reads it. The HDF5 tables are plain arrays: sleap-io would make an object for every frame of them,
and pandas would execute what a DeepLabCut `.h5` pickles.
"""

import csv
import dataclasses
import importlib
import io
import pickle
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import tqdm
from etils import epath
from jaxtyping import Float

FRAMES_APART = 2  # between pose and video: trackers and headers count ends differently
EXPECTED = (
    "expected DeepLabCut (.csv, .h5), SLEAP (.slp, .analysis.h5) or JABS (pose_est .h5), with one "
    "animal"
)
_COORDINATES = ("x", "y", "likelihood")
# The twelve keypoints of JABS, in its order (KumarLabJax/JABS-behavior-classifier, PoseEstimation).
_JABS = (
    *("nose", "left_ear", "right_ear", "base_neck", "left_front_paw", "right_front_paw"),
    *("center_spine", "left_rear_paw", "right_rear_paw", "base_tail", "mid_tail", "tip_tail"),
)


class PoseError(ValueError):
    """A pose file that cannot be used: "path: reason and way out"."""


@dataclasses.dataclass(frozen=True)
class Pose:
    """The keypoints of one animal in every frame of a video."""

    points: Float[np.ndarray, "frames keypoints 2"]  # px, x and y; NaN: the tracker found none
    # The tracker's own, 0 to 1 (SLEAP's scores can exceed 1); NaN: not given.
    likelihood: Float[np.ndarray, "frames keypoints"]
    names: tuple[str, ...]  # of the keypoints
    tracker: str  # deeplabcut | sleap | jabs
    fps: float = 0.0  # Hz, of the tracked video; 0: unknown (no pose file contains it)


def read_pose(path: epath.PathLike) -> Pose:
    """Reads the pose of the one animal in a recording; formats: this module's docstring.

    Frames that the file leaves out are NaN. Individuals without any point are ignored; two with
    points are refused, because nothing says which of them is meant.

    Raises:
        PoseError: no such file, not a pose file, or not of one animal.
        ImportError: the packages that this format needs are not installed.
    """
    return check_pose(path)(epath.Path(path))


def check_pose(path: epath.PathLike) -> Callable[[epath.Path], Pose]:
    """Returns what reads a pose file; raises as `read_pose` for what its name and place show."""
    path = epath.Path(path)
    if not path.exists() or path.is_dir():
        raise PoseError(f"{path}: {'is a directory' if path.exists() else 'no such file'}")
    readers = {".csv": _read_deeplabcut_csv, ".slp": _read_slp}
    readers |= dict.fromkeys((".h5", ".hdf5"), _read_hdf5)
    if path.suffix not in readers:
        raise PoseError(f"{path}: not a pose file by its name; {EXPECTED}")
    if path.suffix != ".csv":
        _import("sleap_io" if path.suffix == ".slp" else "h5py", path)
    return readers[path.suffix]


def read_poses(cohort: pd.DataFrame) -> dict[str, Pose]:
    """Reads the pose by `video` of every recording of a `Cohort.table`, with its frame rate.

    Raises:
        PoseError: a recording names no pose file, or one that cannot be read or has another number
            of frames than its video; all at once.
    """
    from mpjax.data import video  # PyAV is not needed for anything else here

    poses, faults = {}, []
    rows = cohort.to_dict("records")
    for row in tqdm.tqdm(rows, desc="reading poses", unit="recording", delay=2):
        try:
            pose = read_pose(_path_of(row))
            info = video.probe(row["path"])
            if abs(len(pose.points) - info.frames) > FRAMES_APART:
                raise PoseError(
                    f"{row['pose']}: {len(pose.points)} frames, but its video {row['path']} has "
                    f"{info.frames}; track the whole video that the cohort names"
                )
            poses[row["video"]] = dataclasses.replace(pose, fps=float(row["fps"] or info.fps))
        except (PoseError, video.VideoError) as error:
            faults.append(str(error))
    _raise(faults)
    return poses


def check_poses(cohort: pd.DataFrame) -> None:
    """Raises as `read_poses` for what the names of the pose files show, without reading them."""
    faults = []
    for row in cohort.to_dict("records"):
        try:
            check_pose(_path_of(row))
        except PoseError as error:
            faults.append(str(error))
    _raise(faults)


def _path_of(row: Mapping[Hashable, Any]) -> str:
    if not row["pose"]:
        raise PoseError(f"{row['video']}: column pose is empty; name its pose file")
    return row["pose"]


def _raise(faults: list[str]) -> None:
    if faults:
        rest = [f"... and {len(faults) - 20} more"] if len(faults) > 20 else []
        raise PoseError("\n  ".join(faults[:20] + rest))


def _read_deeplabcut_csv(path: epath.Path) -> Pose:
    data = path.read_bytes()
    head: list[list[str]] = []
    try:
        for line in csv.reader(io.StringIO(data[: 1 << 20].decode("utf-8-sig", errors="replace"))):
            head.append([cell.strip() for cell in line])
            if head[-1][:1] == ["coords"] or len(head) == 4:
                break
    except csv.Error as error:
        raise PoseError(f"{path}: not a csv file ({error}); {EXPECTED}") from error
    kinds = [line[0] if line else "" for line in head]
    known = ["scorer", "individuals", "bodyparts", "coords"]
    if kinds not in (known, [kind for kind in known if kind != "individuals"]):
        found = ", ".join(map(repr, kinds)) or "nothing"
        raise PoseError(
            f"{path}: the first rows of a DeepLabCut csv begin with scorer, bodyparts, coords; "
            f"these begin with {found}"
        )
    try:
        body = pd.read_csv(io.BytesIO(data), header=None, skiprows=len(head), low_memory=False)
        index = body[0].to_numpy(np.float64)
        values = body.iloc[:, 1:].to_numpy(np.float64)
    except (ValueError, pd.errors.ParserError) as error:
        raise PoseError(
            f"{path}: its rows are not a frame number followed by numbers ({error}); labels of "
            "training frames are not the pose of a video"
        ) from error
    columns = list(zip(*(line[1:] for line in head), strict=False))
    return _deeplabcut_pose(columns, index, values, path)


class _PlainUnpickler(pickle.Unpickler):
    """Unpickles lists, tuples and text; refuses anything that could run code."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not plain text")


def _read_deeplabcut_table(file: Any, path: epath.Path) -> Pose:
    """Reads what pandas' `to_hdf(format="table")` wrote, as DeepLabCut does."""
    tables = [group["table"] for group in file.values() if "table" in getattr(group, "keys", set)()]
    if len(tables) != 1:
        raise PoseError(
            f"{path}: holds {', '.join(file) or 'nothing'}; {EXPECTED}. DeepLabCut also writes "
            "the csv: deeplabcut.analyze_videos(..., save_as_csv=True)"
        )
    try:
        table = tables[0][:]
        blocks = [name for name in table.dtype.names if name.startswith("values_block_")]
        pickled = [bytes(tables[0].attrs[f"{block}_kind"]) for block in blocks]
        columns = [name for each in pickled for name in _PlainUnpickler(io.BytesIO(each)).load()]
        values = np.concatenate([table[block] for block in blocks], axis=1).astype(np.float64)
        index = table["index"].astype(np.float64)
    except (pickle.UnpicklingError, KeyError, ValueError, TypeError, OSError) as error:
        raise PoseError(f"{path}: not a table as DeepLabCut writes it ({error})") from error
    return _deeplabcut_pose(columns, index, values, path)


def _deeplabcut_pose(
    columns: Sequence[tuple[str, ...]], index: np.ndarray, values: np.ndarray, path: epath.Path
) -> Pose:
    """Sorts columns (scorer, [individual,] body part, coordinate) into an array."""
    if not columns or len(columns) != values.shape[1] or not len(values):
        raise PoseError(
            f"{path}: {values.shape[1]} columns of {len(values)} frames under {len(columns)} names"
        )
    strange = sorted({column[-1] for column in columns} - set(_COORDINATES))
    # Not the scorer: pandas numbers it if someone has saved the file again.
    if strange or len({column[1:] for column in columns}) != len(columns):
        what = f"coordinates {', '.join(strange)}" if strange else "a body part twice"
        raise PoseError(f"{path}: has {what}; a DeepLabCut file has x, y, likelihood of each")
    whole = np.isfinite(index) & (index >= 0) & (index % 1 == 0)
    if not whole.all() or len(np.unique(index)) != len(index):
        raise PoseError(f"{path}: its first column does not number the frames 0, 1, 2, …")
    found: dict[str, dict[str, np.ndarray]] = {}
    for column, series in zip(columns, values.T, strict=True):
        individual, part = (column[1], column[2]) if len(column) == 4 else ("", column[1])
        keypoints = found.setdefault(individual, {})
        place = keypoints.setdefault(part, np.full((int(index.max()) + 1, 3), np.nan))
        place[index.astype(int), _COORDINATES.index(column[-1])] = series
    parts = {name: (list(of), np.stack(list(of.values()), axis=1)) for name, of in found.items()}
    return _only_pose(parts, tracker="deeplabcut", path=path)


def _read_hdf5(path: epath.Path) -> Pose:
    h5py = _import("h5py", path)
    try:
        with path.open("rb") as stream, h5py.File(stream, "r") as file:
            if "tracks" in file and "node_names" in file:
                return _read_sleap_analysis(file, path)
            return (_read_jabs if "poseest" in file else _read_deeplabcut_table)(file, path)
    except OSError as error:
        raise PoseError(f"{path}: not a readable HDF5 file ({error}); {EXPECTED}") from error


def _read_sleap_analysis(file: Any, path: epath.Path) -> Pose:
    """Reads `tracks` [track, 2, node, frame] (https://sleap.ai/tutorials/analysis.html)."""
    tracks = file["tracks"][:].astype(np.float64)
    if tracks.ndim != 4 or tracks.shape[1] != 2 or len(file["node_names"]) != tracks.shape[2]:
        raise PoseError(
            f"{path}: tracks of shape {tracks.shape}; SLEAP writes (tracks, 2, nodes, frames)"
        )
    values = np.full((*tracks.shape[::2], tracks.shape[3], 3), np.nan)  # track, node, frame, 3
    values[..., :2] = tracks.transpose(0, 2, 3, 1)
    if "point_scores" in file:
        values[..., 2] = file["point_scores"][:]
    names, given = (
        [x.decode(errors="replace") if isinstance(x, bytes) else str(x) for x in file.get(key, ())]
        for key in ("node_names", "track_names")
    )
    labels = given if len(given) == len(tracks) else [f"track {i}" for i in range(len(tracks))]
    by_track = {
        f"{i} ({name})": (names, array.transpose(1, 0, 2))
        for i, (name, array) in enumerate(zip(labels, values, strict=True))
    }
    return _only_pose(by_track, tracker="sleap", path=path)


def _read_slp(path: epath.Path) -> Pose:
    sleap_io = _import("sleap_io", path)
    try:
        # Not lazy=True, whose array begins at the first labelled frame, not at frame 0.
        labels = sleap_io.load_slp(str(path), open_videos=False)
        videos, skeletons = len(labels.videos), labels.skeletons
        values = labels.numpy(untracked=not labels.tracks, return_confidence=True)
    except Exception as error:  # HDF5, JSON and its own, of any kind
        raise PoseError(f"{path}: sleap-io cannot read it ({error}); {EXPECTED}") from error
    if videos != 1 or len(skeletons) != 1:
        raise PoseError(
            f"{path}: holds {videos} videos and {len(skeletons)} skeletons; export one video's "
            "predictions"
        )
    names = dict(enumerate(f" ({track.name})" for track in labels.tracks))
    by_track = {
        f"{i}{names.get(i, '')}": (skeletons[0].node_names, values[:, i].astype(np.float64))
        for i in range(values.shape[1])
    }
    return _only_pose(by_track, tracker="sleap", path=path)


def _read_jabs(file: Any, path: epath.Path) -> Pose:
    """Reads `poseest`: points as (y, x), from v3 on of several mice per frame."""
    group = file["poseest"]
    if "points" not in group or "confidence" not in group:
        raise PoseError(f"{path}: poseest holds {', '.join(group)}; JABS has points, confidence")
    points, confidence = group["points"][:].astype(np.float64), group["confidence"][:]
    if points.ndim == 3:
        points, confidence = points[:, None], confidence[:, None]
    if points.ndim != 4 or points.shape[2:] != (len(_JABS), 2):
        raise PoseError(f"{path}: points of shape {points.shape}; JABS has 12 keypoints (y, x)")
    values = np.concatenate([points[..., ::-1], confidence[..., None]], axis=-1)
    values[confidence == 0, :2] = np.nan  # a missing point is written as 0
    by_mouse = {f"mouse {i}": (_JABS, values[:, i]) for i in range(values.shape[1])}
    return _only_pose(by_mouse, tracker="jabs", path=path)


def _only_pose(
    individuals: Mapping[str, tuple[Sequence[str], Float[np.ndarray, "frames keypoints 3"]]],
    *,
    tracker: str,
    path: epath.Path,
) -> Pose:
    """Returns the pose of the one individual that has points, from its keypoints' x, y, score."""
    seen = [name for name, (_, xy) in individuals.items() if np.isfinite(xy[..., :2]).any()]
    if len(seen) != 1:
        what = f"points of {len(seen)} individuals, {', '.join(seen)}" if seen else "no point"
        raise PoseError(f"{path}: holds {what}; a recording has one animal: export its pose alone")
    names, values = individuals[seen[0]]
    points = values[..., :2].copy()
    points[~np.isfinite(points).all(axis=-1)] = np.nan
    return Pose(points, values[..., 2].copy(), tuple(names), tracker)


def _import(name: str, path: epath.Path) -> Any:
    """Imports a package of the extra `pose`."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ImportError(
            f"{path}: reading it needs {name.replace('_', '-')} ({error}); "
            "pip install 'mpjax[pose]'"
        ) from error
