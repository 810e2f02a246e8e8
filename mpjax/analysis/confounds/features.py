"""The families of features that the audit tests one by one, with words for each feature."""

import dataclasses
from collections.abc import Iterator, Sequence

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

    Differences between animals below `tolerance` (and `relative`, a share of the feature's mean)
    are ignored: masking out the animal may leave so much behind.
    """

    more: str  # what such recordings do, e.g. `are brighter`
    less: str
    what: str  # the quantity with its unit
    digits: int | None = 0  # decimals shown; None: a share of recordings, shown in per cent
    tolerance: float = 0.0
    relative: float = 0.0


@dataclasses.dataclass(frozen=True)
class Family:
    """Features that are tested together.

    The kind is `scene`, what the camera sees of the place; `record`, what is known about the
    recording; or `behaviour`, what depends on the animal itself and may well reflect pain.
    """

    name: str  # key in metrics.json
    title: str
    kind: str
    values: Float[np.ndarray, "n d"]  # NaN where unknown
    features: Sequence[Feature]  # of each column
    why: str = ""  # the family is not tested


_SHARE = "of the background, as a share of its mean brightness"
_BACKGROUND = {
    f"gradient_{axis}": Feature(
        f"are lit more from the {end}",
        f"are lit more from the {start}",
        f"change from {start} to {end} {_SHARE}",
        digits=2,
        tolerance=0.02,
    )
    for axis, start, end in (("x", "left", "right"), ("y", "top", "bottom"))
} | {
    "texture": Feature(
        "show a rougher floor", "show a smoother floor", f"fine structure {_SHARE}", 3, 0, 0.05
    ),
    "edges": Feature(
        "show more edges", "show fewer edges", f"mean gradient per pixel {_SHARE}", 3, 0, 0.05
    ),
}
_IMAGE = {
    "brightness": Feature("are brighter", "are darker", "mean background, grey levels", 0, 1.0),
    "spread": Feature("are less evenly lit", "are more evenly lit", f"SD {_SHARE}", 2, 0, 0.03),
    "contrast": Feature(
        "have more contrast",
        "have less contrast",
        f"95th minus 5th percentile {_SHARE}",
        digits=2,
        relative=0.03,
    ),
    "sharpness": Feature("are sharper", "are blurrier", f"mean Laplacian {_SHARE}", 3, 0, 0.05),
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


def families(recordings: pd.DataFrame, group: str) -> list[Family]:
    """Returns every family of features of the recordings, from `mpjax.data.scene.measure`.

    `group` is what the split keeps on one side, `animal` or `cage`.
    """
    animal = recordings["animal"]
    replaced, grid = (np.stack(recordings[c]).astype(float) for c in ("ghost_grid", "grid"))
    grid = np.stack([_regress_out(grid[:, i], replaced[:, [i]]) for i in range(grid.shape[1])], 1)
    # Where an animal sat still, the background is the mean over many recordings and thus smoother
    # than the recording's own. Without this step, where animals sit would appear as texture.
    left, size, _ = np.linalg.svd(replaced - replaced.mean(0), full_matrices=False)
    main = left[:, : min(_PATTERNS, int((size > 1e-6).sum()))]
    smoothed = ("texture", "edges", "sharpness")
    cleaned = recordings.assign(
        **{name: _regress_out(recordings[name].to_numpy(float), main) for name in smoothed}
    )
    background = np.concatenate([grid, cleaned[list(_BACKGROUND)].to_numpy(float)], 1)
    columns = [*_cells(round(grid.shape[1] ** 0.5)), *_BACKGROUND.values()]
    image = list(_IMAGE.values())
    picture = _add_tolerance(cleaned[list(_IMAGE)].to_numpy(float), image, animal)
    levels = [_indicators(recordings[c].astype(str), name) for c, name in _CATEGORIES.items()]
    file = np.concatenate(
        [recordings[list(_FILE)].to_numpy(float), *(values for values, _ in levels)], 1
    )
    named = [*_FILE.values(), *(feature for _, own in levels for feature in own)]
    why = "" if recordings["fps"].notna().any() else _NO_FACTS
    coding, mouse = (recordings[list(of)].to_numpy(float) for of in (_CODING, _MOUSE))
    return [
        Family("background", "Background, the animal masked out", SCENE,
               _add_tolerance(background, columns, animal), columns),
        Family("picture", "Brightness, contrast, sharpness, colour", SCENE, picture, image),
        Family("codec", "Codec, resolution, frame rate, length", SCENE, file, named, why),
        Family("coding", "Bit rate, bytes per frame, noise, flicker", BEHAVIOUR,
               coding, list(_CODING.values())),
        Family("mouse", "The animal's size, contrast, place and motion", BEHAVIOUR,
               mouse, list(_MOUSE.values())),
        *_record_families(recordings, group),
    ]  # fmt: skip


def _record_families(recordings: pd.DataFrame, group: str) -> Iterator[Family]:
    """Yields the families of date (as a number, too), camera, sex and cage."""
    moments = pd.to_datetime(recordings["date"], errors="coerce", format="%Y-%m-%d")
    days = (moments - moments.min()).dt.days.astype(float)
    after = days.map(lambda day: "" if np.isnan(day) else f"{day:.0f} days after the first")
    for column in ("date", "camera", "sex", "cage"):
        title, why = column.capitalize(), ""
        names = after if column == "date" else recordings[column].astype(str)
        values, features = _indicators(names, column)
        if column == "date":
            title = "Recording date"
            late = "were filmed later", "were filmed earlier", "days after the first date", 1
            values, features = np.column_stack([days, values]), [Feature(*late), *features]
        if (names == "").all():
            values, why = np.zeros((len(names), 0)), f"no recording has a known {column}"
            if column == "date":
                why = "neither the cohort (column date) nor the files (creation_time) give a date"
        elif column == "cage" and group == "cage":
            why = "the split keeps cages together, so knowing a cage does not help"
        elif column == "cage" and recordings.groupby("cage")["animal"].nunique().max() < 2:
            why = "each cage holds one animal, which is kept on one side of the split"
        yield Family(column, title, RECORD, values, features, why)


def _indicators(names: pd.Series, title: str) -> tuple[Float[np.ndarray, "n d"], list[Feature]]:
    """Returns an indicator for each of the most frequent names."""
    levels = sorted(names.value_counts().index[:_MOST_LEVELS])
    called = [f"{title} {level or 'not given'}" for level in levels]
    return np.stack([names == level for level in levels], 1).astype(float), [
        Feature(f"more often have {each}", f"less often have {each}", "share of recordings", None)
        for each in called
    ]


def _cells(side: int) -> Iterator[Feature]:
    for row, column in np.ndindex(side, side):
        place = f"{_ROWS[row * 8 // side]}, {_COLUMNS[column * 8 // side]}"
        what = f"background in row {row + 1}, column {column + 1} of {side} x {side}, grey levels"
        yield Feature(f"are brighter at the {place}", f"are darker at the {place}", what, 0, 1.0)


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
