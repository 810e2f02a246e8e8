"""Finds the videos in a folder."""

import os
from pathlib import Path

VIDEOS = frozenset(
    (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ts", ".webm", ".wmv")
)


def find_videos(folder: Path, *, recursive: bool = True) -> list[Path]:
    """Lists the videos in a folder by their endings (`VIDEOS`), sorted; hidden ones are left out.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder}: no such folder; name the folder of the videos")
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if recursive and not name.startswith("."))
        visible = (name for name in names if not name.startswith("."))
        found += [Path(parent, name) for name in visible if Path(name).suffix.lower() in VIDEOS]
    return sorted(found)
