"""What the notebooks of `colab/` need: settings, plain errors, results on the page."""

import contextlib
import html
import os
import runpy
import sys
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd
from etils import epath

from mpjax import config as configs
from mpjax.config import StudyConfig

if TYPE_CHECKING:
    from IPython.display import HTML

    from mpjax.studies.study import Study


class Stop(Exception):
    """Ends a cell, and "Run all" with it; Jupyter shows the message without a traceback."""

    def _render_traceback_(self) -> list[str]:  # what IPython shows in place of a traceback
        return [str(self)]


@contextlib.contextmanager
def plain_errors() -> Iterator[None]:
    """Raises Stop, with one message, in place of ValueError, OSError and ImportError."""
    try:
        yield
    except (ValueError, OSError, ImportError) as error:
        raise Stop(f"error: {error}") from error


def on_colab() -> bool:
    """Whether this process is Google Colab's."""
    return "google.colab" in sys.modules


def download(path: epath.PathLike) -> None:
    """Sends a file to the browser on Colab; elsewhere prints its path."""
    if on_colab():
        from google.colab import files as browser

        browser.download(os.fspath(path))
    else:
        print(f"results: {path}")


def load_config(path: epath.PathLike, changes: Mapping[str, Any] | None = None) -> StudyConfig:
    """Reads a config file, or a shipped one by its name, as `--config=demo --config.name=…` does.

    `changes` are single fields by their dotted names, e.g. {"projector.rotations": 4}.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a field that does not exist, or a value of the wrong type.
    """
    values = runpy.run_path(configs.find_config(path))["get_config"]().to_dict()
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


def run_study(config: StudyConfig, workdir: epath.PathLike) -> "Study":
    """Runs all stages as `mpjax.run_study` does; raises Stop, with one message, for an error."""
    from absl import logging

    from mpjax.studies import study

    logging.set_verbosity(logging.WARNING)
    with plain_errors():
        return study.run_study(config, workdir)


def report_frame(path: epath.PathLike, *, height: int = 700) -> "HTML":
    """Shows a self-contained report.html in a frame of `height` px that scrolls.

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
    """Tabulates the main results in metrics.json, in the words of the report.

    Returns:
        Columns figure, value, 95 % CI, chance and n; text, "–" where there is none.
    """
    from mpjax import formatting
    from mpjax.report.sections.answers import UNITS, headline_level

    rows = []
    for task in (metrics[kind] for kind in ("fine", "coarse") if kind in metrics):
        level = headline_level(task)
        chance = formatting.percent(task["chance"]["value"])
        for name in ("accuracy", "mean_class_accuracy"):
            score = task[level][name]
            figure = f"{name.replace('_', ' ')}, {len(task['classes'])} classes"
            value, interval = formatting.percent(score["value"]), formatting.interval(score)
            unit = UNITS[level].removesuffix("s")
            n = formatting.count(score["n"], unit) if score.get("n") else "–"
            rows.append((figure, value, interval, chance, n))
    interaction = metrics["drug"].get("interaction")
    if interaction:  # negative: more relief in neuropathic pain
        value, interval = formatting.number(interaction["value"]), formatting.span(interaction)
        n = str(interaction.get("n") or "–")
        rows.append(("drug x pain type, logit", value, interval, "–", n))
    return pd.DataFrame(rows, columns=["figure", "value", "95 % CI", "chance", "n"])
