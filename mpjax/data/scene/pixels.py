"""What clips look like as plain pixels: the features of the simplest baseline."""

import cv2
import numpy as np
import pandas as pd
import tqdm
from etils import epath
from jaxtyping import Float

from mpjax.data import clips, records
from mpjax.io import files, parquet

FILE = "pixels.parquet"
GRID = 16  # cells per side
FRAMES = 4  # of a clip that are used, evenly spaced
_VERSION = 1


def read_or_measure(dataset: epath.PathLike, path: epath.PathLike) -> pd.DataFrame:
    """Reads the table at `path`, or measures every clip if it is not of this dataset.

    It has a row per clip: `clip_id` and `pixels`, the mean grey (0 to 1) of GRID x GRID cells, by
    rows.
    """
    fingerprint = records.read_manifest(dataset)["fingerprint"]
    stamp = files.fingerprint(_VERSION, GRID, FRAMES, fingerprint)
    return parquet.read_or_make(path, stamp, lambda: _measure_all(dataset))


def _measure_all(dataset: epath.PathLike) -> pd.DataFrame:
    source = records.RecordSource(dataset)
    bar = tqdm.tqdm(range(len(source)), desc="pixels", unit="clip", delay=2)
    pixels = [measure(records.decode_example(source[i])["frames"]) for i in bar]
    return pd.DataFrame({"clip_id": source.index["clip_id"], "pixels": pixels})


def measure(jpegs: list[bytes]) -> Float[np.ndarray, " cells"]:
    """Returns the mean grey of the cells of a clip, over some of its frames."""
    frames = clips.decode_frames([jpegs[k] for k in clips.spread_evenly(len(jpegs), FRAMES)])
    grey = frames.mean(axis=(0, 3), dtype=np.float32)
    cells = cv2.resize(grey, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return cells.reshape(-1).astype(np.float32) / 255
