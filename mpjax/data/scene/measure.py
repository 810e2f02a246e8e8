"""What the recordings of a dataset look like apart from the animal: a row per recording.

For the audit of confounds. All of it is measured on the records, that is on the model's input. Grey
levels are from 0 to 255; the background is the median over time, cleared of animals that sat still
(`mpjax.data.scene.animal`).
"""

import dataclasses
import functools
import json
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import pandas as pd
import tqdm
from etils import epath
from jaxtyping import Bool, Float, UInt8

from mpjax.config import ConfoundConfig
from mpjax.data import clips, records, video_metadata
from mpjax.data.boxes import Box, parse_roi, scale_to_original
from mpjax.data.scene import animal, overlays
from mpjax.data.scene import frames as sampling
from mpjax.io import files, parquet

FILE = "scenes.parquet"
GRID = 8  # cells per side
BACKGROUND = ("gradient_x", "gradient_y", "texture", "edges")
PICTURE = (
    *("brightness", "spread", "contrast", "sharpness"),
    *("redness", "blueness", "record_height", "record_width"),
)
CODING = ("noise", "flicker")  # which the encoder and the animal's reflections influence
MOUSE = ("mouse_size", "mouse_contrast", "mouse_speed", "mouse_x", "mouse_y", "motion")
QUALITY = ("moved", "ghost", "is_clear")
# Of the records; all are the same within a recording.
METADATA = ("video", "animal", "cage", "sex", "condition", "day", "label", "drug", "split")
_SIDE = 128  # px, short side at which the background is made
_PICTURE_SIDE = 96  # px, of the kept picture
_VERSION = 4


def read_or_measure(
    dataset: epath.PathLike, path: epath.PathLike, config: ConfoundConfig
) -> pd.DataFrame:
    """Reads the table of scenes at `path`, or measures it if it is not of this dataset.

    Returns:
        As `measure`, with the columns of `mpjax.data.video_metadata` joined: NaN or '' if the
        dataset was built without them.
    """
    made_of = records.read_manifest(dataset)["fingerprint"]
    stamp = files.fingerprint([_VERSION, config.frames, config.clips, made_of])
    table = parquet.read_or_make(
        path, stamp, lambda: measure(dataset, frames=config.frames, runs=config.clips)
    )
    facts = video_metadata.read(dataset)
    if facts is None:
        text = dict.fromkeys(video_metadata.TEXT[1:], "")
        numbers = dict.fromkeys((*video_metadata.WHOLE, *video_metadata.REAL), np.nan)
        return table.assign(**text, **numbers)
    joined = table.merge(facts, on="video", how="left", validate="one_to_one")
    return joined.fillna(dict.fromkeys(video_metadata.TEXT, ""))


@dataclasses.dataclass
class _Look:
    """The first pass over a recording's frames; a second one clears its ghosts."""

    watched: animal.Watched
    features: dict[str, float]  # those that need no background
    motion: float
    timers: list[Box] | str
    captions: list[Box]
    record: tuple[int, int]  # height and width, px
    looked_at: int  # frames


def measure(dataset: epath.PathLike, *, frames: int, runs: int) -> pd.DataFrame:
    """Measures every recording of a dataset.

    Args:
        frames: of each recording, spread over it, at most.
        runs: clips of each recording, measured frame by frame, at most.

    Returns:
        A row per recording, sorted by its name: `METADATA`; the features `PICTURE`, `BACKGROUND`,
        `CODING`, `grid` (brightness of GRID x GRID cells, by rows), `MOUSE` (NaN where no animal
        was found); `QUALITY`: the share of the picture in which something moved, the share that
        was replaced as a ghost (`ghost_grid`: of each cell), and whether the background is free of
        the animal; `looked_at`, frames; `picture`, the background as a PNG; `timers` and
        `captions`, lists of boxes `x:y:w:h` in px of the original (of the record if its size is
        unknown), as JSON; `timers_why`, '' or why there was no search for timers.
    """
    source = records.RecordSource(dataset)
    groups = source.index.groupby("video", sort=True)
    looks = [
        _look(sampling.draw(source, rows, frames=frames, runs=runs))
        for _, rows in tqdm.tqdm(groups, desc="scenes", unit="recording", delay=2)
    ]
    first = groups.head(1).sort_values("video")[list(METADATA)].reset_index(drop=True)
    cleared = _clear(looks, first["cage"].tolist(), first["animal"].tolist())
    facts = video_metadata.read(dataset)
    facts = {} if facts is None else facts.set_index("video").to_dict("index")
    rows = [
        _describe(look, *clear) | _burned_in(look, facts.get(name))
        for name, look, clear in zip(first["video"], looks, cleared, strict=True)
    ]
    return pd.concat([first, pd.DataFrame(rows)], axis=1)


def _small(frames: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "frames h2 w2 3"]:
    return clips.resize_short_side(frames, min(_SIDE, *frames.shape[1:3]))


def _to_grey(frames: UInt8[np.ndarray, "frames h w 3"]) -> UInt8[np.ndarray, "frames h w"]:
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def _look(sample: sampling.Sample) -> _Look:
    """Measures what needs the frames themselves; noise and flicker away from the animal."""
    small = _small(sample.spread)
    grey = _to_grey(small)
    in_a_row = _to_grey(_small(sample.runs.reshape(-1, *sample.runs.shape[2:])))
    in_a_row = in_a_row.reshape(*sample.runs.shape[:2], *grey.shape[1:]).astype(np.int16)
    change = np.abs(np.diff(in_a_row, axis=1)).astype(np.float32)
    # Of Gaussian noise with sd s, the mean absolute difference of two frames is 2 s / sqrt(pi).
    everywhere = float(np.median(change.mean((0, 1)))) if change.size else 0.0
    watched = animal.watch(grey, noise=everywhere * np.sqrt(np.pi) / 2)
    still = ~watched.moved if (~watched.moved).mean() > 0.2 else np.ones_like(watched.moved)
    noise = _by_cells(change.mean((0, 1)), still) if change.size else np.full((GRID, GRID), np.nan)
    red, green, blue = np.median(small[:, still].mean(1, dtype=np.float64), axis=0).tolist()
    return _Look(
        watched=watched,
        features={
            "noise": float(np.nanmedian(noise) * np.sqrt(np.pi) / 2),
            "flicker": float(np.std(grey[:, still].mean(1))),
            "redness": red - green,
            "blueness": blue - green,
        },
        motion=float(change.mean()) if change.size else float("nan"),
        timers=overlays.find_timers(sample),
        captions=overlays.find_captions(sample.spread),
        record=(sample.spread.shape[1], sample.spread.shape[2]),
        looked_at=len(grey) + in_a_row.shape[0] * in_a_row.shape[1],
    )


def _by_cells(
    picture: Float[np.ndarray, "h w"], where: Bool[np.ndarray, "h w"] | None = None
) -> Float[np.ndarray, "grid grid"]:
    """Averages over GRID x GRID cells; NaN where `where` leaves less than a tenth of one."""
    cells = np.full((GRID, GRID), np.nan)
    for i, row in enumerate(np.array_split(np.arange(picture.shape[0]), GRID)):
        for j, column in enumerate(np.array_split(np.arange(picture.shape[1]), GRID)):
            values = picture[np.ix_(row, column)]
            kept = values if where is None else values[where[np.ix_(row, column)]]
            if kept.size >= 0.1 * values.size:
                cells[i, j] = kept.mean()
    return cells


def _clear(
    looks: Sequence[_Look], cages: Sequence[str], animals: Sequence[str]
) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """Clears each background by others of the same size: of all, else of the cage or animal."""
    sizes = [look.watched.background.shape for look in looks]
    groups = [["all"] * len(looks), cages, animals]

    @functools.cache
    def common_of(size: tuple, kind: int, name: str) -> animal.Common | None:
        names = groups[kind]
        like = [i for i in range(len(looks)) if (sizes[i], names[i]) == (size, name)]
        return animal.common_background([looks[i].watched.background for i in like])

    cleared = []
    for i, look in enumerate(looks):
        tried = (
            animal.clear(look.watched, common_of(sizes[i], kind, names[i]))
            for kind, names in enumerate(groups)
            if names[i]
        )
        found = next((each for each in tried if each is not None), None)
        roamed = float(look.watched.moved.mean()) >= animal.ROAMED
        background, ghost = found or (look.watched.background, np.zeros(sizes[i], bool))
        cleared.append((background, ghost, found is not None or roamed))
    return cleared


def _describe(
    look: _Look,
    background: Float[np.ndarray, "h w"],
    ghost: Bool[np.ndarray, "h w"],
    is_clear: bool,
) -> dict[str, Any]:
    """Returns the features of one recording."""
    height, width = background.shape
    y, x = np.mgrid[:height, :width]
    plane = np.stack([np.ones(background.size), x.ravel() / width, y.ravel() / height], 1)
    slope = np.linalg.lstsq(plane, background.ravel().astype(float), rcond=None)[0]
    # Encoders keep more noise where less moves: a trace of behaviour, which is smoothed away.
    quiet = cv2.GaussianBlur(background.astype(np.float32), (0, 0), 1.2)
    smooth = cv2.GaussianBlur(quiet, (0, 0), max(3.0, height / 24))
    across, down = (cv2.Sobel(quiet, cv2.CV_32F, *way) / 8 for way in ((1, 0), (0, 1)))
    low, high = np.percentile(background, [5, 95])
    # Brighter light makes all of these larger, so they are relative to it.
    level = float(background.mean()) + 1
    grid = _by_cells(background)
    return {
        "brightness": float(background.mean()),
        "spread": float(background.std()) / level,
        "contrast": float(high - low) / level,
        "sharpness": float(np.abs(cv2.Laplacian(quiet, cv2.CV_32F)).mean()) / level,
        **look.features,
        "record_height": look.record[0],
        "record_width": look.record[1],
        "gradient_x": float(slope[1]) / level,
        "gradient_y": float(slope[2]) / level,
        "texture": float((quiet - smooth).std()) / level,
        "edges": float(np.hypot(across, down).mean()) / level,
        "grid": (grid if is_clear else np.full_like(grid, np.nan)).ravel(),
        **_describe_mouse(animal.find_animals(look.watched, background)),
        "motion": look.motion,
        "moved": float(look.watched.moved.mean()),
        "ghost": float(ghost.mean()),
        "ghost_grid": _by_cells(ghost.astype(np.float32)).ravel(),
        "is_clear": is_clear,
        "looked_at": look.looked_at,
        "picture": _to_png(background),
    }


def _describe_mouse(animals: Sequence[animal.Animal]) -> dict[str, float]:
    """Returns size, contrast, speed and place of the animal; NaN if none was found."""
    if not animals:
        return dict.fromkeys([name for name in MOUSE if name != "motion"], float("nan"))
    places = np.array([animal.place for animal in animals])
    ways = np.linalg.norm(np.diff(places, axis=0), axis=1)
    x, y = places.mean(0).tolist()
    return {
        "mouse_size": float(np.median([animal.area for animal in animals])),
        "mouse_contrast": float(np.median([animal.contrast for animal in animals])),
        "mouse_speed": float(ways.mean()) if len(ways) else float("nan"),
        "mouse_x": x,
        "mouse_y": y,
    }


def _to_png(background: Float[np.ndarray, "h w"]) -> bytes:
    scale = _PICTURE_SIDE / max(background.shape)
    size = tuple(max(1, round(side * min(scale, 1.0))) for side in background.shape[::-1])
    small = cv2.resize(background, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".png", np.clip(np.rint(small), 0, 255).astype(np.uint8))[1]
    return encoded.tobytes()


def _burned_in(look: _Look, fact: dict[str, Any] | None) -> dict[str, str]:
    """Returns the boxes of timers and captions as JSON, in px of the original if it is known."""
    height, width = (fact["height"], fact["width"]) if fact else look.record
    roi = parse_roi(fact["roi"]) if fact and fact["roi"] else Box(0, 0, width, height)
    timers = look.timers if isinstance(look.timers, list) else []
    # A timer's own signs may look like a caption.
    captions = [box for box in look.captions if not any(box.overlaps(t) for t in timers)]
    found: dict[str, str] = {}
    for kind, boxes in (("timers", timers), ("captions", captions)):
        scaled = [scale_to_original(box, record=look.record, roi=roi) for box in boxes]
        found[kind] = json.dumps([str(box) for box in scaled])
    return found | {"timers_why": look.timers if isinstance(look.timers, str) else ""}
