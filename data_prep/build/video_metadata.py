"""Collects what each recording's file and cohort row say, for `mpjax.data.video_metadata`."""

import dataclasses
from collections.abc import Sequence

import pandas as pd
from etils import epath

from data_prep import cohort as cohorts
from mpjax.config import VideoConfig
from mpjax.data import video_metadata
from mpjax.data.video import VideoError, VideoInfo


def write(
    dataset: epath.PathLike,
    cohort: cohorts.Cohort,
    infos: Sequence[VideoInfo | VideoError],
    clip_config: VideoConfig,
) -> None:
    """Writes `videos.parquet`, with `infos` from `probe_all`; those with an error have no row."""
    rows = []
    for row, info in zip(cohort.table.to_dict("records"), infos, strict=True):
        if isinstance(info, VideoError):
            continue
        fps = row["fps"] or info.fps
        seconds = info.frames / fps if row["fps"] else info.duration_s
        rows.append(
            {name: row[name] for name in ("video", "date", "camera", "roi")}
            | dataclasses.asdict(info)
            | {
                "mask_boxes": len(clip_config.mask),
                "fps": fps,
                "duration_s": seconds,
                "bit_rate_kbps": info.size_bytes * 8e-3 / seconds,
                "bytes_per_frame": info.size_bytes / max(1, info.frames),
            }
        )
    types = dict.fromkeys(video_metadata.WHOLE, "int64")
    types |= dict.fromkeys(video_metadata.REAL, "float64")
    table = pd.DataFrame(rows, columns=list(video_metadata.COLUMNS))
    video_metadata.write(dataset, table.astype(types))


def refresh(dataset: epath.PathLike, cohort: cohorts.Cohort) -> bool:
    """Updates date and camera from the cohort; returns False if the table is still missing."""
    table = video_metadata.read(dataset)
    if table is None:
        return False
    own = cohort.table.drop_duplicates("video").set_index("video")
    for name in ("date", "camera"):
        table[name] = table["video"].map(own[name]).fillna(table[name])
    video_metadata.write(dataset, table)
    return True
