"""Windows: the stretches of time that were embedded, clips or parts of clips, one row each.

A clip with several views over time (`config.projector.views` and `.frames`) gives as many windows,
which may overlap; its crops and rotations in space are averaged.
"""

import numpy as np
import pandas as pd
from jaxtyping import Float

from mpjax.data.embeddings import Embeddings
from mpjax.data.splits import FINAL, Splits


def cut(
    embedded: Embeddings, index: pd.DataFrame, splits: Splits | None = None
) -> tuple[pd.DataFrame, Float[np.ndarray, "n d"]]:
    """Returns the windows of all clips, in record order and in order of time within a clip.

    Args:
        index: of the dataset, for the clips' number of frames.
        splits: for the fold of each recording; None: in none.

    Returns:
        A row per window and its embedding: the clip's metadata and `split`, `fold` (-1: none),
        `view` (that shows it), `offset` and `frames` (the window within its clip, in frames),
        `start_s` and `seconds` (within the recording).
    """
    table = embedded.table
    views = embedded.views
    length = table["clip_id"].map(index.set_index("clip_id")["frames"]).to_numpy()
    of_clip = table.groupby("clip_id", sort=False)["view"].transform("size").to_numpy()
    offset = np.empty(len(table), np.int64)
    for frames in np.unique(length):
        starts = np.asarray(views.starts(int(frames)))
        rows = length == frames
        # Views are ordered by start in time, then by rotation and crop (`Views.cut`).
        of_window = of_clip[rows] // len(starts)
        offset[rows] = starts[table["view"].to_numpy()[rows] // of_window]
    clip = pd.factorize(table["clip_id"])[0]
    first = np.r_[True, (np.diff(clip) != 0) | (np.diff(offset) != 0)]
    window = np.cumsum(first) - 1
    embedding = np.add.reduceat(embedded.embedding, np.flatnonzero(first))
    embedding /= np.bincount(window)[:, None].astype(np.float32)
    rows = table[first].reset_index(drop=True)
    # The middle crop, as filmed, represents the window in images.
    rows["view"] += np.bincount(window) // views.rotations // 2
    rows = splits.add_folds(rows) if splits else rows.assign(fold=FINAL)
    rows["offset"], rows["frames"] = offset[first], views.frames or length[first]
    rows["start_s"] = (rows["start_frame"] + rows["offset"]) / rows["fps"]
    rows["seconds"] = rows["frames"] / rows["fps"]
    return rows, embedding
