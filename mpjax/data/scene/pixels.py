"""What clips look like as plain pixels: the features of the simplest baseline."""

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import tqdm
from etils import epath
from jaxtyping import Float

from mpjax.data import clips, records
from mpjax.io import files

FILE = "pixels.parquet"
GRID = 16  # cells per side
FRAMES = 4  # of a clip that are looked at, evenly spaced
_VERSION = 1
_META_KEY = b"mpjax"


def read_or_measure(dataset: epath.PathLike, path: epath.PathLike) -> pd.DataFrame:
    """Reads the table at `path`, or measures every clip where it is not of this dataset.

    Args:
        dataset: folder of the records.
        path: of the table, Parquet.

    Returns:
        A row per clip: `clip_id` and `pixels`, the mean grey (0 to 1) of GRID x GRID cells, by
        rows.
    """
    path = epath.Path(path)
    fingerprint = records.read_manifest(dataset)["fingerprint"]
    stamp = files.fingerprint(_VERSION, GRID, FRAMES, fingerprint)
    if path.exists():
        with path.open("rb") as file:
            read = pq.read_table(file)
        if (read.schema.metadata or {}).get(_META_KEY, b"").decode() == stamp:
            return read.to_pandas()
    source = records.RecordSource(dataset)
    pixels = [
        measure(records.decode_example(source[i])["frames"])
        for i in tqdm.tqdm(range(len(source)), desc="pixels", unit="clip", delay=2)
    ]
    table = pd.DataFrame({"clip_id": source.index["clip_id"], "pixels": pixels})
    columns = pa.Table.from_pandas(table, preserve_index=False)
    with files.write_aside(path) as aside, aside.open("wb") as out:
        pq.write_table(columns.replace_schema_metadata({_META_KEY: stamp}), out)
    return table


def measure(jpegs: list[memoryview] | list[bytes]) -> Float[np.ndarray, " cells"]:
    """Returns the mean grey of the cells of a clip, over some of its frames."""
    places = np.unique(np.linspace(0, len(jpegs) - 1, FRAMES).round().astype(int))
    frames = clips.decode_frames([jpegs[k] for k in places])
    grey = frames.mean(axis=(0, 3), dtype=np.float32)
    cells = cv2.resize(grey, (GRID, GRID), interpolation=cv2.INTER_AREA)
    return cells.reshape(-1).astype(np.float32) / 255
