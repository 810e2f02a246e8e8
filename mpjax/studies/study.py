"""A study in Python: run it, open it, read its results, score new recordings with it."""

import functools
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd
from etils import epath

from mpjax.analysis.predictions import Predictions, read_predictions
from mpjax.config import StudyConfig
from mpjax.io import files
from mpjax.studies import stages
from mpjax.studies.metrics import Metrics, read_metrics
from mpjax.studies.workdir import Workdir, check_output_folder

if TYPE_CHECKING:
    from mpjax.embedding.recordings import Embedder
    from mpjax.studies.model import TrainedStudy
    from mpjax.studies.scoring import Scores


class Study:
    """A finished study; made by `open_study` or `run_study`."""

    def __init__(self, workdir: epath.PathLike):
        self.workdir = Workdir(workdir)  # with the path of every file in it

    @functools.cached_property
    def predictions(self) -> Predictions:
        """The prediction for every clip, by a model that has not seen its animal."""
        return read_predictions(self.workdir.predictions)

    @functools.cached_property
    def metrics(self) -> Metrics:
        """The figures of the report."""
        return read_metrics(files.read_json(self.workdir.metrics))

    def predict(
        self,
        videos: epath.PathLike | Sequence[epath.PathLike],
        *,
        roi: str = "",
        out: epath.PathLike | None = None,
    ) -> "Scores":
        """Scores new recordings with the heads of the study: tables of clips, bouts, recordings.

        Args:
            videos: a video, a folder of videos, or several of both.
            roi: region of interest x:y:w:h in px, of all of them; empty: whole frames.
            out: folder to keep the embeddings in, so that a killed run continues; None: not kept.

        Raises:
            FileNotFoundError, ValueError: the study is not finished, or none of the videos can be
                read.
        """
        from mpjax.studies import scoring

        words = [videos] if isinstance(videos, str | epath.PathLike) else list(videos)
        sources = scoring.find_sources(words, roi=roi)
        with tempfile.TemporaryDirectory() as scratch:
            folder = check_output_folder(out) if out else epath.Path(scratch)
            return scoring.score(*self._model, sources, folder / scoring.CACHE)

    def pack_results(self) -> epath.Path:
        """Writes results.zip: report, metrics and tables, what a lab keeps of a study.

        Raises:
            FileNotFoundError: there is no report.
        """
        from mpjax.interop import pack_results

        place = self.workdir
        if not place.report.exists():
            raise FileNotFoundError(f"{place.report}: no such file; run the study first")
        windows = pd.read_parquet(place.windows) if place.windows.exists() else None
        whole = (place.report, place.metrics)
        pack_results(place.results, self.predictions, whole=whole, windows=windows)
        return place.results

    @functools.cached_property
    def _model(self) -> "tuple[TrainedStudy, Embedder]":
        from mpjax.studies import model, scoring

        study = model.load(self.workdir)
        return study, scoring.make_embedder(study)

    def __repr__(self) -> str:
        return f"Study({str(self.workdir)!r})"


def open_study(workdir: epath.PathLike) -> Study:
    """Opens the finished study in a folder.

    Raises:
        FileNotFoundError: there is no such folder, or the study in it is not finished.
    """
    study = Study(workdir)
    if not study.workdir.root.is_dir():
        raise FileNotFoundError(f"{workdir}: no such folder; give that of a finished study")
    for path in (study.workdir.predictions, study.workdir.metrics):
        if not path.exists():
            raise FileNotFoundError(f"{path}: no such file; run the study to its end first")
    return study


def run_study(config: StudyConfig, workdir: epath.PathLike) -> Study:
    """Runs all stages of a study in this process, as `python -m mpjax.study` does.

    Stages that are in `workdir` and unchanged are skipped.

    Raises:
        ValueError: bad input, videos that cannot be read, or a requirement that is not met.
    """
    from absl import flags

    if not flags.FLAGS.is_parsed():
        flags.FLAGS.mark_as_parsed()  # grain reads flags, which only a binary parses
    if stages.run(config, workdir):
        raise ValueError(f"{workdir}: the study did not succeed; the lines above say why")
    return open_study(workdir)
