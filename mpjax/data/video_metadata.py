"""`videos.parquet` next to the records: what each recording's file and cohort row say about it.

None of it enters a record or the dataset's fingerprint: it is used by the audit of confounds, and
to convert px of a record to px of the original.
"""

import io

import pandas as pd
from etils import epath

from mpjax.io import files

FILE = "videos.parquet"
TEXT = (
    *("video", "date", "camera"),
    *("codec", "pixel_format", "container", "encoder", "created", "roi"),
)
WHOLE = ("width", "height", "rotation", "size_bytes", "mask_boxes")
REAL = ("fps", "duration_s", "bit_rate_kbps", "bytes_per_frame")
COLUMNS = (*TEXT, *WHOLE, *REAL)


def write(dataset: epath.PathLike, table: pd.DataFrame) -> None:
    """Writes the table of a dataset's recordings; the same table gives the same bytes.

    It has a row per recording with all of `COLUMNS`: `video` as in the records; `date` (ISO) and
    `camera` from the cohort, `created` from the file's own tag, all '' if unknown; width and height
    (px) of the displayed original, `roi` (x:y:w:h in it, '': all); codec, pixel format, container
    and encoder by FFmpeg's names; `mask_boxes`, their number.
    """
    with files.write_aside(epath.Path(dataset) / FILE) as aside:
        aside.write_bytes(table[list(COLUMNS)].to_parquet(index=False))


def read(dataset: epath.PathLike) -> pd.DataFrame | None:
    """Returns the table that `write` wrote; None for datasets that were built without it."""
    path = epath.Path(dataset) / FILE
    if not path.exists():
        return None
    try:
        table = pd.read_parquet(io.BytesIO(path.read_bytes()))
    except (OSError, ValueError) as error:  # pyarrow's own errors are ValueErrors
        raise ValueError(f"{path}: not readable ({error}); delete it and build again") from error
    if missing := sorted(set(COLUMNS) - set(table.columns)):
        raise ValueError(f"{path}: lacks {', '.join(missing)}; delete it and build again")
    return table
