"""Gathers what a cohort's files and rows say of each recording, for `data.video_metadata`."""

import concurrent.futures
from collections.abc import Sequence

import pandas as pd
import tqdm
from etils import epath

from data_prep import cohort as cohorts
from mpjax.config import VideoConfig
from mpjax.data import video_metadata
from mpjax.data.video import decode


def probe(cohort: cohorts.Cohort) -> list[decode.VideoInfo | None]:
    """Reads the videos' headers; None where one cannot be read: decoding it will say why."""

    def probe_one(path: str) -> decode.VideoInfo | None:
        try:
            return decode.probe(path)
        except decode.VideoError:
            return None

    with concurrent.futures.ThreadPoolExecutor() as pool:
        paths = list(cohort.table["path"])
        probed = pool.map(probe_one, paths)
        return list(tqdm.tqdm(probed, total=len(paths), desc="probing", unit="video", delay=2))


def write(
    dataset: epath.PathLike,
    cohort: cohorts.Cohort,
    infos: Sequence[decode.VideoInfo | None],
    clip_config: VideoConfig,
) -> None:
    """Writes `videos.parquet`; recordings that could not be probed have no row.

    Args:
        dataset: its folder.
        cohort: the cohort.
        infos: of each of its rows, from `probe`.
        clip_config: says what is masked.
    """
    rows = []
    for row, info in zip(cohort.table.to_dict("records"), infos, strict=True):
        if info is None:
            continue
        fps = row["fps"] or info.fps
        seconds = info.frames / fps if row["fps"] else info.duration_s
        told = {name: row[name] for name in ("video", "date", "camera", "roi")}
        names = ("codec", "pixel_format", "container", "encoder", "created", "width", "height")
        told |= {name: getattr(info, name) for name in (*names, "rotation", "size_bytes")}
        told |= {
            "mask_boxes": len(clip_config.mask),
            "fps": fps,
            "duration_s": seconds,
            "bit_rate_kbps": info.size_bytes * 8e-3 / seconds,
            "bytes_per_frame": info.size_bytes / max(1, info.frames),
        }
        rows.append(told)
    types = dict.fromkeys(video_metadata.WHOLE, "int64") | dict.fromkeys(
        video_metadata.REAL, "float64"
    )
    video_metadata.write(
        dataset, pd.DataFrame(rows, columns=list(video_metadata.COLUMNS)).astype(types)
    )


def refresh(dataset: epath.PathLike, cohort: cohorts.Cohort) -> bool:
    """Brings date and camera of an unchanged dataset up to date with the cohort.

    Returns:
        False where the dataset has no table yet, so that the videos must be probed for it.
    """
    table = video_metadata.read(dataset)
    if table is None:
        return False
    own = cohort.table.drop_duplicates("video").set_index("video")
    known = table["video"].isin(own.index)
    for name in ("date", "camera"):
        table.loc[known, name] = own.loc[table.loc[known, "video"], name].to_numpy()
    video_metadata.write(dataset, table)
    return True
