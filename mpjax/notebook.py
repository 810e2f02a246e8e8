"""What the notebooks of `colab/` need beside the stages: settings, plain errors, results."""

import contextlib
import html
import io
import os
import runpy
import sys
import zipfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from etils import epath

from mpjax import config as configs
from mpjax.config import StudyConfig
from mpjax.io import files

if TYPE_CHECKING:
    from IPython.display import HTML

RESULTS = "results.zip"


class Stop(Exception):
    """Ends a cell, and "Run all" with it; Jupyter shows the message without a traceback."""

    def _render_traceback_(self) -> list[str]:
        # What IPython shows in place of a traceback.
        return [str(self)]


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Turns what bad input and absent packages raise into one message, as the binaries do.

    Raises:
        Stop: in place of ValueError, OSError and ImportError.
    """
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise Stop(f"error: {error}") from error


def on_colab() -> bool:
    """Whether this process is Google Colab's."""
    return "google.colab" in sys.modules


def download(path: epath.PathLike) -> None:
    """Sends a file to the browser on Colab; elsewhere says where it lies."""
    if on_colab():
        from google.colab import files as browser

        browser.download(os.fspath(path))
    else:
        print(f"results: {path}")


def load_config(path: epath.PathLike, changes: Mapping[str, Any] | None = None) -> StudyConfig:
    """Reads a config file, as `--config=FILE --config.name=value …` does.

    Args:
        path: of the file, e.g. configs/demo.py.
        changes: single fields by their dotted names, e.g. {"projector.rotations": 4}.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a field that does not exist, or a value of the wrong type.
    """
    if not epath.Path(path).exists():
        raise FileNotFoundError(f"{path}: no such config file")
    values = runpy.run_path(os.fspath(path))["get_config"]().to_dict()
    for name, value in (changes or {}).items():
        *groups, field = name.split(".")
        within = values
        for group in groups:
            within = within.setdefault(group, {})
        within[field] = value
    return configs.from_config_dict(values)


def as_flags(changes: Mapping[str, Any]) -> list[str]:
    """Returns changes of a config as a binary's flags, {"head.seed": 3} as --config.head.seed=3."""
    return [f"--config.{name}={value}" for name, value in changes.items()]


def run_study(config: StudyConfig, workdir: epath.PathLike) -> None:
    """Runs all stages in this process, as `python -m mpjax.study` does.

    Raises:
        Stop: bad input, videos that cannot be read, or a required figure that does not hold.
    """
    from absl import flags, logging

    from mpjax import study

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads flags, which a notebook never parses
    logging.set_verbosity(logging.WARNING)
    with plain_errors():
        status = study.run(config, workdir)
    if status:
        raise Stop("the study has not ended well; the lines above say why")


def report_frame(path: epath.PathLike, *, height: int = 700) -> "HTML":
    """Shows a report within the notebook, in a frame of its own that scrolls.

    Args:
        path: of report.html, which is self-contained.
        height: of the frame, px.

    Raises:
        FileNotFoundError: there is no report.
    """
    from IPython.display import HTML

    path = epath.Path(path)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such report; run the study first")
    page = html.escape(path.read_text(encoding="utf-8"), quote=True)
    style = f"width:100%;height:{height}px;border:1px solid #ccc"
    frame = f'<iframe title="report" style="{style}" srcdoc="{page}"></iframe>'
    # HTML(data) warns of any "<iframe" that its text begins with.
    return HTML(f"<div>{frame}</div>")


def key_figures(metrics: Mapping[str, Any]) -> pd.DataFrame:
    """Tabulates what a study is read for first, as its report words it.

    Args:
        metrics: content of metrics.json.

    Returns:
        Columns figure, value, 95 % CI, chance and n; text, "–" where there is none.
    """
    from mpjax import formatting

    rows = []
    for kind in ("fine", "coarse"):
        if kind not in metrics:
            continue
        task = metrics[kind]
        level = formatting.headline_level(task)
        for name in ("accuracy", "mean_class_accuracy"):
            score = task[level][name]
            rows.append(
                {
                    "figure": f"{name.replace('_', ' ')}, {len(task['classes'])} classes",
                    "value": formatting.percent(score["value"]),
                    "95 % CI": formatting.interval(score),
                    "chance": formatting.percent(task["chance"]["value"]),
                    "n": formatting.count(score["n"], formatting.UNITS[level].removesuffix("s"))
                    if score.get("n")
                    else "–",
                }
            )
    interaction = metrics["drug"].get("interaction")
    if interaction:
        animals = interaction.get("n")
        rows.append(
            {
                "figure": "drug x pain type, logit",  # negative: more relief in neuropathic
                "value": formatting.number(interaction["value"]),
                "95 % CI": formatting.span(interaction),
                "chance": "–",
                "n": f"{animals}" if animals else "–",
            }
        )
    return pd.DataFrame(rows)


def pack_results(workdir: epath.PathLike) -> epath.Path:
    """Puts what a lab keeps of a study into one file, `WORKDIR/results.zip`.

    It holds report.html, metrics.json, predictions.csv (of every clip, as `mpjax export` writes
    it), recordings.csv (the means of its probabilities) and, where motifs were found, windows.csv.

    Raises:
        FileNotFoundError: the study is not finished.
        ValueError: its predictions cannot be read.
    """
    from mpjax.analysis import predictions
    from mpjax.interop import tables as exchange

    workdir = epath.Path(workdir)
    whole = [workdir / name for name in ("report.html", "metrics.json", "predictions.parquet")]
    for path in whole:
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; run the study first")
    clips = exchange.flatten_predictions(predictions.read_predictions(whole[-1]))
    tables = {"predictions.csv": clips, "recordings.csv": _recording_table(clips)}
    windows = workdir / "explain" / "windows.parquet"
    if windows.exists():
        tables["windows.csv"] = pd.read_parquet(windows)
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in whole[:2]:
            archive.writestr(path.name, path.read_bytes())
        for name, table in tables.items():
            archive.writestr(name, table.to_csv(index=False).encode("utf-8-sig"))  # for Excel
    with files.write_aside(workdir / RESULTS) as aside:
        aside.write_bytes(content.getvalue())
    return workdir / RESULTS


def _recording_table(clips: pd.DataFrame) -> pd.DataFrame:
    """Returns a row per recording: what its clips share, and the means of their probabilities."""
    grouped = clips.groupby("video", sort=False)
    p = [name for name in clips if name.startswith(("p[", "calibrated[", "calibrated_coarse["))]
    of_clips = (*p, "video", "clip_id", "predicted", "predicted_coarse", "start_frame", "start_s")
    values = grouped.nunique(dropna=False)
    shared = [name for name in values if name not in of_clips and values[name].max() == 1]
    table = grouped[shared].first().join(grouped[p].mean())
    table.insert(len(shared), "clips", grouped.size())
    return table.reset_index()


def layout_table(
    params: Any, axes: Mapping[str, int], *, fully_sharded: bool = False
) -> pd.DataFrame:
    """Tabulates over which axes of a mesh each parameter is cut; needs no device.

    Args:
        params: tree of arrays, or of what has their shape.
        axes: devices along the mesh's axes, e.g. {"data": 4, "model": 2}.
        fully_sharded: as `config.mesh.fully_sharded`.

    Returns:
        Columns parameter, shape, cut over (a name per dimension, "–" where it is whole) and
        per device (share of its values, per cent), the largest parameter first.
    """
    import jax
    from jax.sharding import AbstractMesh

    from mpjax.training import partitioning

    mesh = AbstractMesh(tuple(axes.values()), tuple(axes))
    placed = partitioning.shardings(params, mesh, fully_sharded=fully_sharded)
    rows = []
    for (path, leaf), where in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(placed), strict=True
    ):
        size = int(np.prod(leaf.shape))
        mine = int(np.prod(where.shard_shape(leaf.shape)))
        names = (*where.spec, *(None,) * (len(leaf.shape) - len(where.spec)))
        row = {
            "parameter": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": " x ".join(map(str, leaf.shape)),
            "cut over": ", ".join(name or "–" for name in names),
            "per device": f"{100 * mine / size:.3g} %",
        }
        rows.append((size, row))
    return pd.DataFrame([row for _, row in sorted(rows, key=lambda each: -each[0])])
