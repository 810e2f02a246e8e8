"""Writes a synthetic cohort: videos, poses, its table and the truth behind them."""

import concurrent.futures
import dataclasses
import functools
import multiprocessing
import os
import sys
import zlib
from collections.abc import Sequence

import numpy as np
import pandas as pd
import tqdm
from etils import epath
from jaxtyping import Bool, Float, Int

from data_prep.synthetic import behaviour, motion, plan, render
from data_prep.synthetic.plan import Recording
from mpjax.cli import process
from mpjax.config import SYNTHETIC_MARK, SyntheticConfig
from mpjax.io import files, stores

GENERATOR_VERSION = 1  # raise it whenever the same config gives other files
TRUTH_FILE, COHORT_FILE = "truth.json", "cohort.csv"
FOLDERS = {"videos": "mp4", "labels": "csv", "pose": "csv", "keypoints": "npz"}

# A recording of one behaviour begins after a walk to some place in the chamber, once the behaviour
# there has settled (behaviours blend with an sd of up to 0.16 s).
WALK_IN_S, SETTLE_S = 3.0, 0.7

# A pose estimator's errors: sd at 128 px, twice that for a paw in the air, and outliers.
POSE_NOISE_PX, OUTLIER_PX = 0.7, 10.0
OUTLIER_ON_FLOOR, OUTLIER_IN_AIR = 0.005, 0.06  # probability per point and frame


def generate(out_dir: epath.PathLike, config: SyntheticConfig, *, workers: int = 0) -> epath.Path:
    """Writes a synthetic cohort, the same bytes for the same config; returns its `cohort.csv`.

    A complete cohort of the same config is not changed, an incomplete one is completed, and one of
    another config is replaced.

    Args:
        out_dir: local folder.
        workers: processes; 0: one per core.

    Raises:
        ValueError: a bad config, or `out_dir` holds a cohort that is not from this generator.
    """
    plan.check_config(config)
    out = stores.ready(out_dir)
    recordings = plan.plan(config)
    stamp = files.fingerprint(plan.describe(config), GENERATOR_VERSION)
    missing = [r for r in recordings if not all(path.exists() for path in _paths(out, r.stem))]
    head = out / TRUTH_FILE
    complete = not missing and (out / COHORT_FILE).exists() and head.exists()
    if complete and files.read_json(head).get("fingerprint") == stamp:
        print(f"synthetic cohort {out}: unchanged ({stamp}), not generated again", file=sys.stderr)
        return out / COHORT_FILE
    if _claim(out, stamp, recordings):
        missing = recordings
    _write_recordings(out, config, missing, workers or os.cpu_count() or 1)
    _write_table(out, config, recordings)
    about = {"fingerprint": stamp, "generator_version": GENERATOR_VERSION}
    files.write_json(out / TRUTH_FILE, about | plan.truth(config, recordings))
    return out / COHORT_FILE


def preview(out_dir: epath.PathLike, config: SyntheticConfig) -> epath.Path:
    """Writes the table of a cohort alone, without a recording; returns its path."""
    plan.check_config(config)
    return _write_table(epath.Path(out_dir), config, plan.plan(config))


def _write_table(
    out: epath.Path, config: SyntheticConfig, recordings: Sequence[Recording]
) -> epath.Path:
    table = pd.DataFrame([recording.row(config.fps) for recording in recordings])
    with files.write_aside(out / COHORT_FILE) as aside:
        aside.write_text(table.to_csv(index=False, lineterminator="\n"))
    return out / COHORT_FILE


def _paths(out: epath.Path, stem: str) -> list[epath.Path]:
    return [out / folder / f"{stem}.{suffix}" for folder, suffix in FOLDERS.items()]


def _claim(out: epath.Path, stamp: str, recordings: Sequence[Recording]) -> bool:
    """Marks `out` as this cohort's; returns whether it was another's, whose files are removed.

    Only files that an earlier run listed in its marker are removed.
    """
    marker = out / SYNTHETIC_MARK
    foreign = [name for name in (COHORT_FILE, TRUTH_FILE, *FOLDERS) if (out / name).exists()]
    if not marker.exists() and foreign:
        raise ValueError(
            f"{out}: holds {', '.join(foreign)} that this generator did not write (there is no "
            f"{SYNTHETIC_MARK}); name another folder"
        )
    earlier = files.read_json(marker) if marker.exists() else {"fingerprint": "", "stems": []}
    (out / TRUTH_FILE).unlink(missing_ok=True)
    for folder in FOLDERS:
        for part in (out / folder).glob(".*.part"):  # of a run that was killed
            part.unlink()
    if earlier["fingerprint"] == stamp:
        return False
    (out / COHORT_FILE).unlink(missing_ok=True)
    for path in (path for stem in earlier["stems"] for path in _paths(out, stem)):
        path.unlink(missing_ok=True)
    stems = [recording.stem for recording in recordings]
    files.write_json(marker, {"fingerprint": stamp, "stems": stems})
    return True


def _write_recordings(
    out: epath.Path, config: SyntheticConfig, recordings: Sequence[Recording], workers: int
) -> None:
    for folder in FOLDERS:
        files.make_folder(out / folder)
    write = functools.partial(_write_recording, out, config)
    show = functools.partial(
        tqdm.tqdm, total=len(recordings), desc="synthetic videos", unit="video"
    )
    if workers == 1 or len(recordings) == 1:
        list(show(map(write, recordings)))
        return
    # spawn: forking a process in which JAX runs its threads can hang
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        with process.shielded():
            written = pool.map(write, recordings)
        list(show(written))  # which cancels the rest after an error


def _write_recording(out: epath.Path, config: SyntheticConfig, recording: Recording) -> None:
    """Writes the four files of a recording, the video last, each aside and then renamed."""
    video_path, labels_path, pose_path, keypoints_path = _paths(out, recording.stem)
    size = config.size

    def rng(purpose: str) -> np.random.Generator:
        return plan.stream(config, purpose, recording.stem)

    labels, left = plan.draw_behaviour(config, recording)
    moved = draw_motion(config, recording, labels, left)
    scratches = zlib.crc32(recording.cage.encode()) + config.seed
    scene = render.draw_scene(rng("scene"), nuisance=config.nuisance, scratches=scratches)
    if config.confound and recording.condition == config.confound:
        scene = dataclasses.replace(scene, brightness=render.PLANTED_LIGHT * scene.brightness)
    camera = render.camera_path(scene, frames=len(labels), size=size, rng=rng("camera"))
    points = render.to_pixels(moved.keypoints(), camera, size)
    lines = [f"{frame},{behaviour.BEHAVIOURS[label]}\n" for frame, label in enumerate(labels)]
    with files.write_aside(labels_path) as aside:
        aside.write_text("frame,behaviour\n" + "".join(lines))
    _write_pose(pose_path, *estimate_pose(points, moved.contact, size=size, rng=rng("pose")))
    places, contact = points.astype(np.float32), moved.contact.astype(np.float32)
    with files.write_aside(keypoints_path) as aside, open(aside, "wb") as file:
        np.savez_compressed(
            file, keypoints=places, contact=contact, names=np.array(motion.KEYPOINTS)
        )
    frames = render.render(moved, recording.coat, scene, camera, size=size, rng=rng("noise"))
    with files.write_aside(video_path) as aside:
        render.encode(os.fspath(aside), frames, fps=config.fps, size=size)


def draw_motion(
    config: SyntheticConfig,
    recording: Recording,
    labels: Int[np.ndarray, "frames"],
    left: Bool[np.ndarray, "frames"],
) -> motion.Motion:
    """Draws a recording's motion, as `generate` films it, from what `plan.draw_behaviour` drew."""
    walk_in = settle = 0
    if recording.label:
        walk_in, settle = round(WALK_IN_S * config.fps), round(SETTLE_S * config.fps)
    walk = np.full(walk_in, behaviour.BEHAVIOURS.index("walk"))
    moved = motion.move(
        np.concatenate([walk, np.repeat(labels[0], settle), labels]),
        np.concatenate([np.repeat(left[0], walk_in + settle), left]),
        recording.drive,
        size=recording.coat.size,
        fps=config.fps,
        rng=plan.stream(config, "motion", recording.stem),
    )
    first = walk_in + settle
    filmed = {name: each[first:] for name, each in vars(moved).items() if name != "size"}
    return dataclasses.replace(moved, **filmed)


def estimate_pose(
    points: Float[np.ndarray, "frames 6 2"],
    contact: Float[np.ndarray, "frames 4"],
    *,
    size: int,
    rng: np.random.Generator,
) -> tuple[Float[np.ndarray, "frames 6 2"], Float[np.ndarray, "frames 6"]]:
    """Adds a pose estimator's errors to the true px of `motion.KEYPOINTS`.

    Errors scale with the frame's `size` in px and are larger for paws without `contact` (0 to 1).

    Returns:
        Estimated px, and likelihoods: above 0.9, lower for paws in the air, below 0.3 for outliers.
    """
    lifted = np.zeros(points.shape[:2])
    lifted[:, 1:5] = 1 - contact
    outlier = rng.random(lifted.shape) < np.where(lifted > 0.5, OUTLIER_IN_AIR, OUTLIER_ON_FLOOR)
    sd = np.where(outlier, OUTLIER_PX, POSE_NOISE_PX * (1 + lifted)) * size / 128
    estimated = points + sd[..., None] * rng.standard_normal(points.shape)
    sure = 1 - (0.05 + 0.25 * lifted) * rng.random(lifted.shape)
    return estimated, np.where(outlier, 0.3 * rng.random(lifted.shape), sure)


def _write_pose(path: epath.Path, points: np.ndarray, likelihood: np.ndarray) -> None:
    """Writes keypoints as DeepLabCut does: three header rows, then a row per frame."""
    columns = pd.MultiIndex.from_product(
        [["mpjax_synthetic"], motion.KEYPOINTS, ["x", "y", "likelihood"]],
        names=["scorer", "bodyparts", "coords"],
    )
    values = np.concatenate([points, likelihood[..., None]], -1).reshape(len(points), -1)
    table = pd.DataFrame(values, columns=columns)
    with files.write_aside(path) as aside:
        aside.write_text(table.to_csv(float_format="%.3f", lineterminator="\n"))
