"""B-SOiD on the clips and split of the model, as a table of predictions like the model's own.

B-SOiD (source: `bsoid.features`) clusters pose into motifs without labels. The class is predicted
from how often a clip and its recording show each motif, by a classifier that is trained, like the
motifs, on training animals alone.

A clip is classified by its own 100 ms windows and by the usage and transitions of its whole
recording (`BsoidConfig.context`). B-SOiD thus gets more information than the projector, which sees
only the clip. This is deliberate: it was made for the usage in a whole session, a clip of a second
holds only a motif or two, and beating a baseline that lacks what it needs would prove little.
`context = "clip"` gives both the same. Either way, recordings average their clips.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
import pandas as pd
import tqdm
from etils import epath
from jaxtyping import Float, Int
from sklearn.ensemble import RandomForestClassifier

from mpjax.analysis.bsoid import clustering
from mpjax.analysis.bsoid import usage as bsoid_usage
from mpjax.analysis.bsoid.classifier import Usage, UsageClassifier
from mpjax.analysis.bsoid.features import fill_lost
from mpjax.config import BsoidConfig
from mpjax.data.splits import FINAL, fit_rows, predicting_fold
from mpjax.io import files
from mpjax.taxonomy import Taxonomy

_DROPPED = ("logits", "p", "p_coarse", "embedding")  # of the projector's table
_IGNORES_SCORES = "sleap"  # the app fills what SLEAP left out, and ignores its scores


@runtime_checkable
class Pose(Protocol):
    """The keypoints of one animal in every frame, as `mpjax.data.pose` reads them."""

    points: Float[np.ndarray, "frames keypoints 2"]  # px; NaN where missing
    likelihood: Float[np.ndarray, "frames keypoints"]  # NaN where unknown
    names: tuple[str, ...]
    tracker: str
    fps: float  # Hz, of the video


@dataclasses.dataclass(frozen=True)
class _Recording:
    """A recording with its lost points filled, and its clips."""

    points: Float[np.ndarray, "frames keypoints 2"]
    fps: float
    rows: Int[np.ndarray, "clips"]  # of the table
    spans: Int[np.ndarray, "clips 2"]  # pose frames


@dataclasses.dataclass(frozen=True)
class _Study:
    """The clips and recordings, and how models are fitted on them."""

    table: pd.DataFrame
    recordings: list[_Recording]
    scheme: str
    group: str
    config: BsoidConfig
    cache: epath.PathLike | None


def predict(
    poses: Mapping[str, Pose],
    clips: pd.DataFrame,
    *,
    taxonomy: Taxonomy,
    group: str,
    scheme: str,
    clip_frames: int,
    config: BsoidConfig,
    cache: epath.PathLike | None = None,
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Predicts every clip by motifs and a classifier fitted without its animal; shows progress.

    Both are fitted on the rows that the model's heads are fitted on (`splits.fit_rows`).

    Args:
        poses: of every recording that has a clip, by `video`.
        clips: a row per clip, as in predictions.parquet of the projector.
        taxonomy: the classes.
        group: `animal` or `cage`, what the split keeps on one side.
        scheme: `fixed`, `kfold` or `leave_one_group_out`.
        clip_frames: frames of a clip, at the clips' own rate.
        config: sizes, penalties and seed.
        cache: a folder for the clusters, which take nearly all of the time; None keeps nothing.

    Returns:
        The table of predictions, `clips` with other logits and p; and the self-evaluation, that of
        `clustering.evaluate_itself` for the final motifs, with `models`: for each fold (None:
        final) its `motifs` and the `inverse_penalty` chosen.

    Raises:
        ValueError: a pose is missing or does not fit the others or its clips; or there are too few
            data to train on.
        ImportError: the extra `baselines` is not installed.
    """
    recordings = _prepare(poses, clips, clip_frames=clip_frames)
    table = clips.drop(columns=[name for name in _DROPPED if name in clips]).reset_index(drop=True)
    study = _Study(table, recordings, scheme, group, config, cache)
    trained = set(table["label"][fit_rows(table, scheme)])
    if absent := [name for i, name in enumerate(taxonomy.fine) if i not in trained]:
        raise ValueError(f"B-SOiD: no clip to train on for class(es) {', '.join(absent)}")
    fold = predicting_fold(table, scheme)
    wanted = sorted(set(fold.tolist()) | {FINAL})
    p = np.zeros((len(table), len(taxonomy.fine)))
    self_evaluation: dict[str, Any] = {"models": []}
    with tqdm.tqdm(total=4 * len(wanted), desc="B-SOiD", unit="step", mininterval=0.5) as bar:
        for k in wanted:

            def report(what: str, k: int = k) -> None:
                bar.set_description(f"B-SOiD, {'final' if k == FINAL else f'fold {k}'}: {what}")
                bar.update(1)

            rows = np.flatnonzero(fold == k)
            p[rows], model, own = _predict_rows(study, rows, k, len(taxonomy.fine), report)
            self_evaluation["models"].append(model)
            self_evaluation |= own
    logits = np.log(p).astype(np.float32)
    return table.assign(logits=list(logits), p=list(p.astype(np.float32))), self_evaluation


def _predict_rows(
    study: _Study, rows: np.ndarray, fold: int, classes: int, report: clustering.Report
) -> tuple[Float[np.ndarray, "n fine"], dict[str, Any], dict[str, Any]]:
    """Fits without `fold`; returns p of `rows`, a description of the model, its self-evaluation."""
    trained = np.flatnonzero(fit_rows(study.table, study.scheme, fold))
    config = study.config
    chosen = [each for each in study.recordings if np.isin(each.rows, trained).any()]
    bins = clustering.draw_bins(
        [(each.points, each.fps) for each in chosen], most=config.max_bins, seed=config.seed
    )
    motif = _find_motifs(bins, study, report)
    report("random forest")
    forest = clustering.fit_forest(bins, motif, seed=config.seed)
    own = clustering.evaluate_itself(bins, motif, seed=config.seed) if fold == FINAL else {}
    report("predicting motifs, classifying")
    usage = _usage(study, forest)
    classifier = _classify(study, usage, trained)
    model = {
        "fold": None if fold == FINAL else fold,
        "motifs": int(forest.n_classes_),
        "inverse_penalty": float(classifier.inverse_penalty),
    }
    return classifier.predict(usage.take(rows), classes=classes), model, own


def _prepare(
    poses: Mapping[str, Pose], clips: pd.DataFrame, *, clip_frames: int
) -> list[_Recording]:
    """Fills lost points and finds each clip's pose frames; refuses poses that do not fit."""
    videos = clips["video"].unique()
    if missing := [video for video in videos if video not in poses]:
        raise ValueError(
            f"B-SOiD needs the pose of every recording; {len(missing)} of {len(videos)} have none, "
            f"first {missing[0]!r}: give it in the cohort's column pose"
        )
    names = poses[videos[0]].names
    recordings, faults = [], []
    for video, rows in clips.reset_index(drop=True).groupby("video", sort=False):
        pose = poses[str(video)]
        start, fps = rows["start_frame"].to_numpy(), rows["fps"].to_numpy()
        frames = clip_frames - rows["padded_frames"].to_numpy()
        spans = bsoid_usage.clip_spans(start, frames, fps, pose_fps=pose.fps)
        if sorted(pose.names) != sorted(names):
            faults.append(
                f"{video}: keypoints {', '.join(pose.names)}, but {videos[0]} has "
                f"{', '.join(names)}; track all with one model"
            )
        elif pose.fps <= 0:
            faults.append(f"{video}: the pose's frame rate is {pose.fps}, must be above 0")
        elif spans[:, 0].max() >= len(pose.points):
            faults.append(
                f"{video}: pose of {len(pose.points)} frames, but a clip starts at frame "
                f"{spans[:, 0].max()}"
            )
        else:
            likelihood = pose.likelihood
            if pose.tracker == _IGNORES_SCORES:
                likelihood = np.full(likelihood.shape, np.nan)
            order = [pose.names.index(name) for name in names]  # trackers write them in any
            points = fill_lost(pose.points[:, order], likelihood[:, order])
            recordings.append(_Recording(points, pose.fps, rows.index.to_numpy(), spans))
    if len(names) < 2:
        faults.append(f"{videos[0]}: {len(names)} keypoint(s); B-SOiD needs two or more")
    if faults:
        raise ValueError("B-SOiD: " + "; ".join(faults[:20]))
    return recordings


def _usage(study: _Study, forest: RandomForestClassifier) -> Usage:
    """Predicts the motifs of all recordings and counts them."""
    clips, count = len(study.table), int(forest.n_classes_)
    clip, owner, whole = np.zeros((clips, count)), np.zeros(clips, int), []
    for i, each in enumerate(study.recordings):
        motif = clustering.predict_windows(forest, each.points, each.fps)
        clip[each.rows] = bsoid_usage.span_usage(motif, each.spans, count=count, fps=each.fps)
        owner[each.rows] = i
        whole.append(bsoid_usage.recording_usage(motif, count=count, fps=each.fps))
    return Usage(clip, np.stack(whole) if study.config.context == "recording" else None, owner)


def _find_motifs(
    bins: clustering.Bins, study: _Study, report: clustering.Report
) -> Int[np.ndarray, "n"]:
    """Clusters bins, or reads what was found in exactly the same ones before."""
    seed = study.config.seed
    if study.cache is None:
        return clustering.find_motifs(bins, seed=seed, report=report)
    path = epath.Path(study.cache) / f"motifs-{clustering.fingerprint(bins, seed=seed)}.npy"
    if path.exists():
        for _ in range(2):  # the steps of `find_motifs`
            report("clusters found before")
        with path.open("rb") as file:
            return np.load(file)
    motif = clustering.find_motifs(bins, seed=seed, report=report)
    with files.write_aside(path) as aside, aside.open("wb") as file:
        np.save(file, motif)
    return motif


def _classify(study: _Study, usage: Usage, trained: np.ndarray) -> UsageClassifier:
    """Trains the classifier on at most `config.max_clips` clips, spread over all recordings."""
    config = study.config
    if len(trained) > config.max_clips:
        order = study.table.iloc[trained].sort_values(["video", "start_frame"]).index.to_numpy()
        trained = order[np.linspace(0, len(order) - 1, config.max_clips).round().astype(int)]
    rows = study.table.iloc[trained]
    return UsageClassifier(usage.take(trained), components=config.components).fit(
        rows["label"].to_numpy(),
        pd.factorize(rows[study.group], sort=True)[0],
        inverse_penalties=config.inverse_penalties,
        seed=config.seed,
    )
