"""The families of features that the audit tests one by one, with words for each feature."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

SCENE, RECORD, BEHAVIOUR = "scene", "record", "behaviour"
_PATTERNS = 3  # components of where the background was replaced, removed from texture
_MOST_LEVELS = 30  # values of a category that get a feature of their own
_ROWS = ("top", "upper", "middle", "middle", "middle", "middle", "lower", "bottom")
_COLUMNS = ("far left", "left", "centre", "centre", "centre", "centre", "right", "far right")


@dataclasses.dataclass(frozen=True)
class Feature:
    """A number per recording, with words for recordings in which it is larger or smaller.

    Attributes:
        more, less: what such recordings do, e.g. `are brighter`.
        what: the quantity with its unit.
        digits: decimals shown; None: a share of recordings, shown in per cent.
        tolerance: what masking out the animal may leave behind. Smaller differences between
            animals are ignored.
        relative: the same as a share of the feature's mean, added to `tolerance`.
    """

    more: str
    less: str
    what: str
    digits: int | None = 0
    tolerance: float = 0.0
    relative: float = 0.0


@dataclasses.dataclass(frozen=True)
class Family:
    """Features that are tested together.

    Attributes:
        name: key in metrics.json.
        title: for the reader.
        kind: `scene`, what the camera sees of the place; `record`, what is known about the
            recording; `behaviour`, what depends on the animal itself and may well reflect pain.
        values: NaN where unknown.
        features: of each column.
        why: the family is not tested; empty where it is.
    """

    name: str
    title: str
    kind: str
    values: Float[np.ndarray, "n d"]
    features: Sequence[Feature]
    why: str = ""


_RELATIVE = "as a share of its mean brightness"
_BACKGROUND = {
    "gradient_x": Feature(
        "are lit more from the right",
        "are lit more from the left",
        f"change of the background from the left edge to the right, {_RELATIVE}",
        digits=2,
        tolerance=0.02,
    ),
    "gradient_y": Feature(
        "are lit more from below",
        "are lit more from above",
        f"change of the background from top to bottom, {_RELATIVE}",
        digits=2,
        tolerance=0.02,
    ),
    "texture": Feature(
        "show a rougher floor",
        "show a smoother floor",
        f"fine structure of the background, {_RELATIVE}",
        digits=3,
        relative=0.05,
    ),
    "edges": Feature(
        "show more edges",
        "show fewer edges",
        f"mean gradient of the background per pixel, {_RELATIVE}",
        digits=3,
        relative=0.05,
    ),
}
_IMAGE = {
    "brightness": Feature("are brighter", "are darker", "mean background, grey levels", 0, 1.0),
    "spread": Feature(
        "are less evenly lit",
        "are more evenly lit",
        f"SD of the background, {_RELATIVE}",
        2,
        0,
        0.03,
    ),
    "contrast": Feature(
        "have more contrast",
        "have less contrast",
        f"95th minus 5th percentile of the background, {_RELATIVE}",
        digits=2,
        relative=0.03,
    ),
    "sharpness": Feature(
        "are sharper", "are blurrier", f"mean Laplacian of the background, {_RELATIVE}", 3, 0, 0.05
    ),
    "redness": Feature("are redder", "are less red", "red minus green, grey levels", 1, 0.5),
    "blueness": Feature("are bluer", "are less blue", "blue minus green, grey levels", 1, 0.5),
}
_FILE = {
    "fps": Feature("have a higher frame rate", "have a lower frame rate", "frames/s", digits=2),
    "duration_s": Feature("are longer", "are shorter", "seconds", digits=1),
    "width": Feature("are wider", "are narrower", "px"),
    "height": Feature("are higher", "are lower", "px"),
}
_CATEGORIES = {
    "codec": "codec",
    "pixel_format": "pixel format",
    "container": "file format",
    "encoder": "encoder",
    "rotation": "rotation",
    "record_height": "height (px)",
    "record_width": "width (px)",
}
_CODING = {
    "bit_rate_kbps": Feature("have a higher bit rate", "have a lower bit rate", "kbit/s"),
    "bytes_per_frame": Feature("take more bytes", "take fewer bytes", "bytes per frame"),
    "noise": Feature("are noisier", "are less noisy", "camera noise, grey levels", digits=2),
    "flicker": Feature("flicker more", "flicker less", "SD of brightness over time", digits=2),
}
_MOUSE = {
    "mouse_size": Feature("show a larger animal", "show a smaller animal", "share of the frame", 3),
    "mouse_contrast": Feature(
        "show a lighter animal", "show a darker animal", "grey levels above the background"
    ),
    "mouse_speed": Feature(
        "show an animal that moves more",
        "show an animal that moves less",
        "mean distance between frames spread over the recording, as a share of the frame's side",
        digits=3,
    ),
    "mouse_x": Feature(
        "show the animal farther right", "show the animal farther left", "share of the width", 2
    ),
    "mouse_y": Feature("show the animal lower", "show the animal higher", "share of the height", 2),
    "motion": Feature(
        "show more motion", "show less motion", "mean change between frames, grey levels", 2
    ),
}
_NO_FACTS = "the dataset was built without videos.parquet; build it again to include this"


def families(recordings: pd.DataFrame) -> list[Family]:
    """Returns the families of scene, file and behaviour.

    Args:
        recordings: a row per recording, from `mpjax.data.scene.measure.read_or_measure`.
    """
    replaced = np.stack([np.asarray(shares, float) for shares in recordings["ghost_grid"]])
    grid = np.stack([np.asarray(cells, float) for cells in recordings["grid"]])
    grid = np.stack([_regress_out(grid[:, i], replaced[:, [i]]) for i in range(grid.shape[1])], 1)
    cells = [_cell(i, round(grid.shape[1] ** 0.5)) for i in range(grid.shape[1])]
    cleaned = _clean_texture(recordings, replaced)
    animal = recordings["animal"]
    columns = [*cells, *_BACKGROUND.values()]
    background = np.concatenate([grid, _numbers(cleaned, _BACKGROUND)], 1)
    image = list(_IMAGE.values())
    return [
        Family("background", "Background, the animal masked out", SCENE,
               _add_tolerance(background, columns, animal), columns),
        Family("picture", "Brightness, contrast, sharpness, colour", SCENE,
               _add_tolerance(_numbers(cleaned, _IMAGE), image, animal), image),
        _file(recordings),
        Family("coding", "Bit rate, bytes per frame, noise, flicker", BEHAVIOUR,
               _numbers(recordings, _CODING), list(_CODING.values())),
        Family("mouse", "The animal's size, contrast, place and motion", BEHAVIOUR,
               _numbers(recordings, _MOUSE), list(_MOUSE.values())),
    ]  # fmt: skip


def category(recordings: pd.DataFrame, column: str) -> Family:
    """Returns the family of one column of names: an indicator per name."""
    names, title = recordings[column].astype(str), column.capitalize()
    if not (names != "").any():
        none = np.zeros((len(names), 0))
        return Family(column, title, RECORD, none, [], f"no recording has a known {column}")
    return Family(column, title, RECORD, *_indicators(names, column))


def dates(days: "pd.Series[float]") -> Family:
    """Returns the family of the recording date: an indicator per date, and the date as a number.

    Args:
        days: since the first date, a value per recording; NaN where unknown.
    """
    title = "Recording date"
    if not days.notna().any():
        why = "neither the cohort (column date) nor the files (creation_time) give a date"
        return Family("date", title, RECORD, np.zeros((len(days), 0)), [], why)
    names = days.map(lambda day: "" if np.isnan(day) else f"{day:.0f} days after the first")
    values, features = _indicators(names, "date")
    late = Feature("were filmed later", "were filmed earlier", "days after the first date", 1)
    stacked = np.concatenate([days.to_numpy(float)[:, None], values], 1)
    return Family("date", title, RECORD, stacked, [late, *features])


def _file(recordings: pd.DataFrame) -> Family:
    values, features = [_numbers(recordings, _FILE)], list(_FILE.values())
    for column, name in _CATEGORIES.items():
        indicators, levels = _indicators(recordings[column].astype(str), name)
        values.append(indicators)
        features += levels
    title, why = "Codec, resolution, frame rate, length", _NO_FACTS
    known = recordings["fps"].notna().any()
    return Family("codec", title, SCENE, np.concatenate(values, 1), features, "" if known else why)


def _numbers(recordings: pd.DataFrame, features: dict[str, Feature]) -> Float[np.ndarray, "n d"]:
    return recordings[list(features)].to_numpy(float)


def _indicators(names: pd.Series, title: str) -> tuple[Float[np.ndarray, "n d"], list[Feature]]:
    """Returns an indicator for each of the most frequent names."""
    levels = sorted(names.value_counts().index[:_MOST_LEVELS])
    values = np.stack([(names == level).to_numpy(float) for level in levels], 1)
    called = [f"{title} {level or 'not given'}" for level in levels]
    return values, [
        Feature(f"more often have {each}", f"less often have {each}", "share of recordings", None)
        for each in called
    ]


def _cell(number: int, side: int) -> Feature:
    row, column = divmod(number, side)
    place = f"{_ROWS[row * 8 // side]}, {_COLUMNS[column * 8 // side]}"
    what = f"background in row {row + 1}, column {column + 1} of {side} x {side}, grey levels"
    return Feature(f"are brighter at the {place}", f"are darker at the {place}", what, 0, 1.0)


def _add_tolerance(
    values: Float[np.ndarray, "n d"], features: Sequence[Feature], animal: pd.Series
) -> Float[np.ndarray, "n d"]:
    """Adds noise as large as each feature's tolerance, one draw per animal, always the same.

    However well animals are masked out, a hundredth of a grey level may remain that all animals of
    a class share. The noise hides it, so that only larger differences are found.
    """
    codes, names = pd.factorize(animal, sort=True)
    typical = np.nan_to_num(np.abs(values)).mean(0)
    size = [each.tolerance + each.relative * t for each, t in zip(features, typical, strict=True)]
    noise = np.random.default_rng(0).standard_normal((len(names), values.shape[1]))
    return values + noise[codes] * np.array(size)


def _clean_texture(
    recordings: pd.DataFrame, replaced: Float[np.ndarray, "n cells"]
) -> pd.DataFrame:
    """Removes from texture, edges and sharpness what replaced parts of the background explain.

    Where an animal sat still, the background is the mean over many recordings and thus smoother
    than the recording's own. Without this step, where animals sit would appear as texture.
    """
    left, size, _ = np.linalg.svd(replaced - replaced.mean(0), full_matrices=False)
    main = left[:, : min(_PATTERNS, int((size > 1e-6).sum()))]
    names = ("texture", "edges", "sharpness")
    cleaned = {name: _regress_out(recordings[name].to_numpy(float), main) for name in names}
    return recordings.assign(**cleaned)


def _regress_out(
    values: Float[np.ndarray, " n"], causes: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, " n"]:
    """Returns values minus what causes explain linearly; their mean stays."""
    known = np.isfinite(values)
    centred = causes - causes[known].mean(0) if known.any() else causes
    if not np.abs(centred[known]).max(initial=0.0) > 0:
        return values
    mean = values[known].mean()
    slope = np.linalg.lstsq(centred[known], values[known] - mean, rcond=None)[0]
    return values - centred @ slope
