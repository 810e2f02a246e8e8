"""The families of features that the audit of confounds tries one by one, with words for each."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float

SCENE, RECORD, BEHAVIOUR = "scene", "record", "behaviour"
_PATTERNS = 3  # of where pictures were replaced, that structure is freed from
_MOST_LEVELS = 30  # of a category that get a feature of their own
_ROWS = ("top", "upper", "middle", "middle", "middle", "middle", "lower", "bottom")
_COLUMNS = ("far left", "left", "centre", "centre", "centre", "centre", "right", "far right")


@dataclasses.dataclass(frozen=True)
class Feature:
    """A number per recording, and how to say that it is larger or smaller.

    Attributes:
        more, less: of the recordings, e.g. `are brighter`.
        what: it is, with its unit.
        tolerance: what of it masking the animal cannot vouch for; absolute, and as a share of the
            mean; smaller differences between animals are not looked at.
        share: whether it is a share of recordings.
        digits: shown.
    """

    more: str
    less: str
    what: str
    share: bool = False
    digits: int = 0
    tolerance: tuple[float, float] = (0.0, 0.0)


@dataclasses.dataclass(frozen=True)
class Family:
    """Features that are tried together.

    Attributes:
        name: of it in metrics.json.
        title: for the reader.
        kind: `scene`, what is seen of the place; `record`, what is known of the recording;
            `behaviour`, what the animal itself has a part in, so that it may tell pain rightly.
        values: NaN where unknown.
        features: of each column.
        why: there are no values; empty where there are.
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
        tolerance=(0.02, 0),
    ),
    "gradient_y": Feature(
        "are lit more from below",
        "are lit more from above",
        f"change of the background from top to bottom, {_RELATIVE}",
        digits=2,
        tolerance=(0.02, 0),
    ),
    "texture": Feature(
        "show a rougher ground",
        "show a smoother ground",
        f"fine structure of the background, {_RELATIVE}",
        digits=3,
        tolerance=(0, 0.05),
    ),
    "edges": Feature(
        "show more edges",
        "show fewer edges",
        f"mean gradient of the background per pixel, {_RELATIVE}",
        digits=3,
        tolerance=(0, 0.05),
    ),
}
_PICTURE = {
    "brightness": Feature(
        "are brighter",
        "are darker",
        "mean brightness of the background, grey levels 0 to 255",
        tolerance=(1, 0),
    ),
    "spread": Feature(
        "are more uneven in brightness",
        "are more even in brightness",
        f"standard deviation of the background, {_RELATIVE}",
        digits=2,
        tolerance=(0, 0.03),
    ),
    "contrast": Feature(
        "have more contrast",
        "have less contrast",
        f"95th less 5th percentile of the background, {_RELATIVE}",
        digits=2,
        tolerance=(0, 0.03),
    ),
    "sharpness": Feature(
        "are sharper",
        "are more blurred",
        f"mean Laplacian of the background, {_RELATIVE}",
        digits=3,
        tolerance=(0, 0.05),
    ),
    "redness": Feature(
        "are redder", "are less red", "red less green, grey levels", digits=1, tolerance=(0.5, 0)
    ),
    "blueness": Feature(
        "are bluer", "are less blue", "blue less green, grey levels", digits=1, tolerance=(0.5, 0)
    ),
}
_FILE = {
    "fps": Feature(
        "have a higher frame rate", "have a lower frame rate", "frames per second", digits=2
    ),
    "duration_s": Feature("are longer", "are shorter", "seconds", digits=1),
    "width": Feature("are wider", "are narrower", "px"),
    "height": Feature("are higher", "are lower", "px"),
}
_CODING = {
    "bit_rate_kbps": Feature("have a higher bit rate", "have a lower bit rate", "kbit/s"),
    "bytes_per_frame": Feature("take more bytes", "take fewer bytes", "bytes per frame"),
    "noise": Feature("are noisier", "are less noisy", "noise of the camera, grey levels", digits=2),
    "flicker": Feature(
        "flicker more", "flicker less", "standard deviation of brightness over time", digits=2
    ),
}
_MOUSE = {
    "mouse_size": Feature(
        "show a larger animal", "show a smaller animal", "share of the picture", digits=3
    ),
    "mouse_contrast": Feature(
        "show a lighter animal", "show a darker animal", "grey levels against the background"
    ),
    "mouse_speed": Feature(
        "show an animal that moves farther", "show an animal that moves less far",
        "mean way between frames spread over the recording, share of the picture's side", digits=3,
    ),
    "mouse_x": Feature(
        "show the animal more to the right", "show the animal more to the left",
        "share of the width", digits=2,
    ),
    "mouse_y": Feature(
        "show the animal lower", "show the animal higher", "share of the height", digits=2
    ),
    "motion": Feature(
        "show more motion", "show less motion", "mean change between frames, grey levels", digits=2
    ),
}  # fmt: skip
_CATEGORIES = {
    "codec": "codec", "pixel_format": "pixel format", "container": "file format",
    "encoder": "writing program", "rotation": "rotation", "record_height": "height, px,",
    "record_width": "width, px,",
}  # fmt: skip


def families(recordings: pd.DataFrame) -> list[Family]:
    """Returns the families of scenes, files and behaviour, as far as the table has them.

    Args:
        recordings: a row per recording, as `mpjax.data.scene.measure.read_or_measure` gives it.
    """
    replaced = np.stack([np.asarray(shares, float) for shares in recordings["ghost_grid"]])
    grid = np.stack([np.asarray(cells, float) for cells in recordings["grid"]])
    grid = np.stack([_without(grid[:, i], replaced[:, [i]]) for i in range(grid.shape[1])], 1)
    cells = [_cell(i, round(grid.shape[1] ** 0.5)) for i in range(grid.shape[1])]
    numbers, features = _numbers(_smooth_apart(recordings, replaced), _BACKGROUND)
    picture, picture_features = _numbers(_smooth_apart(recordings, replaced), _PICTURE)
    return [
        Family(
            "background", "Background, the animal masked out", SCENE,
            _blur(np.concatenate([grid, numbers], 1), [*cells, *features], recordings),
            [*cells, *features],
        ),
        Family("picture", "Brightness, contrast, sharpness, colour", SCENE,
               _blur(picture, picture_features, recordings), picture_features),
        _file(recordings),
        Family("coding", "Bit rate, bytes per frame, noise, flicker", BEHAVIOUR,
               *_numbers(recordings, _CODING)),
        Family("mouse", "The animal's size, contrast, place and motion", BEHAVIOUR,
               *_numbers(recordings, _MOUSE)),
    ]  # fmt: skip


def _blur(
    values: Float[np.ndarray, "n d"], features: Sequence[Feature], recordings: pd.DataFrame
) -> Float[np.ndarray, "n d"]:
    """Adds noise of each feature's tolerance, one draw per animal, the same each time.

    However well animals are masked out, a hundredth of a grey level may be left that agrees among
    all animals of a class. It is drowned, so that only what is larger than the masking can vouch
    for is told.
    """
    animal, names = pd.factorize(recordings["animal"], sort=True)
    typical = np.nan_to_num(np.abs(values)).mean(0)
    size = [f.tolerance[0] + f.tolerance[1] * t for f, t in zip(features, typical, strict=True)]
    noise = np.random.default_rng(0).standard_normal((len(names), values.shape[1]))
    return values + noise[animal] * np.array(size)


def _smooth_apart(recordings: pd.DataFrame, replaced: Float[np.ndarray, "n cells"]) -> pd.DataFrame:
    """Takes from structure what the replaced parts of the pictures explain.

    What stands in for an animal that sat still is a mean of many recordings, so smoother than a
    recording's own background: without this, where animals sit would be told as texture.
    """
    left, size, _ = np.linalg.svd(replaced - replaced.mean(0), full_matrices=False)
    main = left[:, : min(_PATTERNS, int((size > 1e-6).sum()))]
    names = ("texture", "edges", "sharpness")
    apart = {name: _without(recordings[name].to_numpy(float), main) for name in names}
    return recordings.assign(**apart)


def _without(
    values: Float[np.ndarray, " n"], causes: Float[np.ndarray, "n k"]
) -> Float[np.ndarray, " n"]:
    """Returns values less what causes explain linearly; their mean stays."""
    known = np.isfinite(values)
    centred = causes - causes[known].mean(0) if known.any() else causes
    if not np.abs(centred[known]).max(initial=0.0) > 0:
        return values
    mean = values[known].mean()
    slope = np.linalg.lstsq(centred[known], values[known] - mean, rcond=None)[0]
    return values - centred @ slope


def category(recordings: pd.DataFrame, column: str, *, title: str) -> Family:
    """Returns the family of one column of names: a share of recordings per name."""
    names = recordings[column].astype(str)
    if not (names != "").any():
        why = f"no recording tells its {column}"
        return Family(column, title, RECORD, np.zeros((len(names), 0)), [], why)
    values, features = _levels(names, column)
    return Family(column, title, RECORD, values, features)


def dates(recordings: pd.DataFrame, days: "pd.Series[float]") -> Family:
    """Returns the family of the recording date: each date, and how late it is.

    Args:
        recordings: the recordings.
        days: since the first date, NaN where unknown.
    """
    title = "Recording date"
    if not days.notna().any():
        why = "neither the cohort (column date) nor the files (creation_time) tell a date"
        return Family("date", title, RECORD, np.zeros((len(days), 0)), [], why)
    names = days.map(lambda day: "" if np.isnan(day) else f"{day:.0f} days after the first")
    values, features = _levels(names, "date")
    late = Feature(
        "were filmed later", "were filmed earlier", "days after the first date", digits=1
    )
    stacked = np.concatenate([days.to_numpy(float)[:, None], values], 1)
    return Family("date", title, RECORD, stacked, [late, *features])


def _file(recordings: pd.DataFrame) -> Family:
    numbers, features = _numbers(recordings, _FILE)
    stacked, told = [numbers], list(features)
    for column, name in _CATEGORIES.items():
        values, levels = _levels(recordings[column].astype(str), name)
        stacked.append(values)
        told += levels
    title = "Codec, resolution, frame rate, length"
    values = np.concatenate(stacked, 1)
    return Family("codec", title, SCENE, values, told, _unless_known(recordings, "fps"))


def _unless_known(recordings: pd.DataFrame, column: str) -> str:
    if recordings[column].notna().any():
        return ""
    return "the dataset was built without videos.parquet; build it again to have it"


def _numbers(
    recordings: pd.DataFrame, features: dict[str, Feature]
) -> tuple[Float[np.ndarray, "n d"], list[Feature]]:
    return recordings[list(features)].to_numpy(float), list(features.values())


def _levels(names: pd.Series, title: str) -> tuple[Float[np.ndarray, "n d"], list[Feature]]:
    """Returns an indicator per name, of the most frequent ones; constant ones tell nothing."""
    levels = sorted(names.value_counts().index[:_MOST_LEVELS])
    values = np.stack([(names == level).to_numpy(float) for level in levels], 1)
    told = [level or "not given" for level in levels]
    return values, [
        Feature(f"more often have {title} {level}", f"less often have {title} {level}",
                "share of recordings", share=True)
        for level in told
    ]  # fmt: skip


def _cell(number: int, side: int) -> Feature:
    row, column = divmod(number, side)
    place = f"{_ROWS[row * 8 // side]}, {_COLUMNS[column * 8 // side]}"
    return Feature(
        f"are brighter at the {place}", f"are darker at the {place}",
        f"background in cell row {row + 1}, column {column + 1} of {side} x {side}, grey levels",
        tolerance=(1, 0),
    )  # fmt: skip
