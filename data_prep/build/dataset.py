"""Builds the dataset of a cohort, unless the same one is there already."""

import concurrent.futures
import contextlib
import dataclasses
import functools
import json
import math
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import tqdm
from etils import epath

from data_prep import cohort as cohorts
from data_prep.build import pipeline, publish, video_metadata
from data_prep.build.publish import BuildError
from mpjax.config import BuildConfig, VideoConfig
from mpjax.data import records
from mpjax.data.boxes import parse_mask, parse_roi
from mpjax.data.dataset import DatasetWriter
from mpjax.data.splits import Splits, write_splits
from mpjax.data.video import Recording, VideoError, VideoInfo, expected_clips, probe_all
from mpjax.io import files, stores

FAILURES_FILE = "failures.csv"
_HASH_CACHE = ".video_hashes.json"


def build(
    cohort: cohorts.Cohort,
    out: epath.PathLike,
    *,
    clip_config: VideoConfig = VideoConfig(),
    config: BuildConfig = BuildConfig(),
    beam_options: Sequence[str] = (),
) -> dict:
    """Builds the dataset of `cohort` in `out`, unless the same one is there already.

    Args:
        out: folder of the dataset; replaced as a whole once the new one is complete.
        clip_config: geometry of the clips.
        config: shards and workers.
        beam_options: Apache Beam's pipeline options; none: processes of this machine.

    Returns:
        The manifest: format, fingerprint, shards, clips per split, failures.

    Raises:
        BuildError: no video could be read, or `out` cannot be written.
        ImportError: there are `beam_options`, and Beam is not installed.
        ValueError: a box of `clip_config.mask` cannot be read; a worker was killed.
    """
    out = files.absolute(out)
    parse_mask(clip_config.mask)
    run = _runner(beam_options, config.workers)
    publish.prepare(out)
    identity = _identity(cohort, out, clip_config, config)
    stamp = files.fingerprint(identity)
    manifest = _read_same(out, stamp)
    if manifest is not None and (config.allow_failures or not manifest["failures"]):
        print(f"dataset {out}: unchanged ({stamp}), not built again", file=sys.stderr)
        write_splits(out, _splits(cohort))
        if not video_metadata.refresh(out, cohort):
            infos = probe_all(list(cohort.table["path"]))
            video_metadata.write(out, cohort, infos, clip_config)
        return manifest
    aside = out.parent / f".{out.name}.{stamp}.part"
    for stale in publish.unfinished(out):
        if stale != aside:
            stale.rmtree()
    infos = probe_all(list(cohort.table["path"]))
    shards = _plan_shards(cohort, infos, clip_config, config)
    # A restarted build tries failures again: their cause may be gone.
    for failure in (aside / pipeline.SPILL).glob("*.failure"):
        failure.unlink()
    for partial in aside.glob(".*.part"):  # of a worker that was killed
        partial.unlink()
    with _writing(out.parent):
        with _progress(aside / pipeline.SPILL, len(cohort.table)):
            run(_recordings(cohort, shards), aside, clip_config)
        write_splits(aside, _splits(cohort))
        video_metadata.write(aside, cohort, infos, clip_config)
        manifest = _finish(aside, shards, stamp, clip_config, config)
        publish.replace(out, aside)
    return manifest


def _runner(beam_options: Sequence[str], workers: int) -> Callable[..., None]:
    if not beam_options:
        return functools.partial(pipeline.run, workers=workers)
    from data_prep.build import runner

    return functools.partial(runner.run, options=beam_options)


def _read_same(out: epath.Path, stamp: str) -> dict | None:
    """Returns the manifest of the dataset in `out` if it is the same one and complete.

    Tables that are written again anyway (splits, videos) are not checked. Damage is reported.
    """
    if not (out / records.MANIFEST_FILE).exists():
        return None
    try:
        manifest = records.read_manifest(out)
        if manifest.get("fingerprint") != stamp:
            return None
        records.read_index(out)
        for name in (FAILURES_FILE, "dataset_info.json", "features.json"):
            if not (out / name).exists() or not (out / name).stat().length:
                raise records.RecordError(f"{out / name}: missing or empty")
    except records.RecordError as error:
        reason = str(error).split(";")[0]
        print(f"dataset {out}: damaged, built again ({reason})", file=sys.stderr)
        return None
    return manifest


@contextlib.contextmanager
def _writing(folder: epath.Path) -> Iterator[None]:
    """Reports a full disk, or a file that cannot be written, in one line."""
    try:
        yield
    except OSError as error:
        raise BuildError(
            f"{folder}: cannot write the dataset ({error}); what is done is kept, and the same "
            "command continues from there"
        ) from error


def _identity(
    cohort: cohorts.Cohort, out: epath.Path, clip_config: VideoConfig, config: BuildConfig
) -> list:
    """Returns all that determines the dataset's bytes: rows, video contents, geometry, shards."""
    names = ["video", "animal", "cage", "sex", "condition", "day", "label", "drug", "route"]
    names += ["dose_mg_per_kg", "minutes_post_dose", "fps", "roi", "split"]
    rows = json.loads(cohort.table[names].to_json(orient="values"))
    hashes = _video_hashes(cohort.table["path"], out.parent / _HASH_CACHE)
    geometry = _geometry(clip_config)
    shards = (config.name, config.clips_per_shard)
    return [records.FORMAT, rows, hashes, list(cohort.taxonomy.fine), geometry, *shards]


def _video_hashes(paths: pd.Series, cache_path: epath.Path) -> list[str]:
    """Hashes the videos' contents; unchanged ones (path, size, modification time) are cached."""
    cache = files.read_json(cache_path) if cache_path.exists() else {}

    def hash_one(path: str) -> tuple[str, str]:
        if stores.is_remote(path):  # to hash it here, all of it would be fetched
            return "", stores.version(path)
        key = f"{path}|{stores.version(path)}"
        try:
            return key, cache.get(key) or files.sha256(path)
        except OSError as error:  # decoding it will fail too, and be listed
            return "", f"unreadable: {error}"

    with concurrent.futures.ThreadPoolExecutor() as pool:
        hashed = pool.map(hash_one, paths)
        pairs = list(tqdm.tqdm(hashed, total=len(paths), desc="hashing", unit="video", delay=2))
    files.write_json(cache_path, dict(sorted(pair for pair in pairs if pair[0])))
    return [digest for _, digest in pairs]


def _geometry(clip_config: VideoConfig) -> dict:
    """Returns what determines the clips; a mask only if there is one, as in older datasets."""
    values = dataclasses.asdict(clip_config)
    return values if clip_config.mask else {k: v for k, v in values.items() if k != "mask"}


def _plan_shards(
    cohort: cohorts.Cohort,
    infos: list[VideoInfo | VideoError],
    clip_config: VideoConfig,
    config: BuildConfig,
) -> dict[str, tuple[str, ...]]:
    """Names the shards of each split, about `clips_per_shard` clips in each."""
    clips = dict.fromkeys(sorted(set(cohort.table["split"])), 0)
    for split, info in zip(cohort.table["split"], infos, strict=True):
        clips[split] += 0 if isinstance(info, VideoError) else expected_clips(info, clip_config)
    plan = {}
    for split, count in clips.items():
        n = max(1, math.ceil(count / config.clips_per_shard))
        names = (f"{config.name}-{split}.tfrecord-{i:05d}-of-{n:05d}" for i in range(n))
        plan[split] = tuple(names)
    return plan


def _recordings(cohort: cohorts.Cohort, shards: dict[str, tuple[str, ...]]) -> list[Recording]:
    fine = {name: i for i, name in enumerate(cohort.taxonomy.fine)}
    text = ("video", "animal", "cage", "sex", "condition", "drug", "route")
    recordings = []
    for number, row in enumerate(cohort.table.to_dict("records")):
        metadata = {name: row[name] for name in text}
        metadata |= {name: float(row[name]) for name in ("dose_mg_per_kg", "minutes_post_dose")}
        metadata["day"] = records.UNKNOWN_DAY if pd.isna(row["day"]) else int(row["day"])
        metadata["label"] = fine.get(row["label"], -1)
        recordings.append(
            Recording(
                number=number,
                path=row["path"],
                metadata=metadata,
                recorded_fps=row["fps"],
                roi=parse_roi(row["roi"]) if row["roi"] else None,
                shards=shards[row["split"]],
            )
        )
    return recordings


def _splits(cohort: cohorts.Cohort) -> Splits:
    return Splits(
        scheme=cohort.scheme,
        group=cohort.group,
        taxonomy=cohort.taxonomy,
        exclude=list(cohort.exclude),
        seed=cohort.seed,
        cohort=cohort.path,
        folds=dict(zip(cohort.table["video"], cohort.table["fold"].tolist(), strict=True)),
    )


@contextlib.contextmanager
def _progress(spill: epath.Path, total: int) -> Iterator[None]:
    """Shows how many recordings are done, counted in the spill folder for any runner."""
    stop = threading.Event()
    bar = tqdm.tqdm(total=total, desc="decoding", unit="recording", mininterval=0.5)

    def done() -> int:
        names = [path.name for path in spill.iterdir()] if spill.exists() else []
        return sum(name[0] != "." and name.endswith((".json", ".failure")) for name in names)

    def watch() -> None:
        while not stop.wait(5.0 if stores.is_remote(spill) else 0.5):
            bar.update(done() - bar.n)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        bar.update(done() - bar.n)
        bar.close()


def _finish(
    aside: epath.Path,
    plan: dict[str, tuple[str, ...]],
    stamp: str,
    clip_config: VideoConfig,
    config: BuildConfig,
) -> dict:
    """Writes failures, TFDS metadata, index and, last, the manifest."""
    spill = aside / pipeline.SPILL
    paths = sorted(spill.glob("*.failure"), key=lambda path: path.name)  # in cohort order
    failures = [files.read_json(path) for path in paths]
    writer = DatasetWriter(aside)
    kept: dict[str, dict[str, int]] = {}  # by split, clips of each shard
    for split, shards in sorted(plan.items()):
        rows = {shard: files.read_json(spill / f"{shard}.rows") for shard in shards}
        if not any(rows.values()):
            for shard in shards:
                (aside / shard).unlink()
            continue
        kept[split] = {shard: len(each) for shard, each in rows.items()}
        for shard, each in rows.items():
            writer.add_shard(shard, [{"split": split} | row for row in each])
    clips = {split: sum(counts.values()) for split, counts in kept.items()}
    if not clips:
        listed = "\n".join(failure["reason"] for failure in failures[:20])
        raise BuildError(f"no video could be read, so nothing was built:\n{listed}")
    table = pd.DataFrame(failures, columns=["video", "reason"])
    (aside / FAILURES_FILE).write_text(table.to_csv(index=False, lineterminator="\n"))
    _write_tfds_metadata(aside, kept, frames=clip_config.frames, name=config.name)
    writer.write_index()  # while the spill files are there: a full disk costs no work
    spill.rmtree()
    return writer.finish(stamp, clips=clips, video=_geometry(clip_config), failures=failures)


def _write_tfds_metadata(
    directory: epath.Path, kept: dict[str, dict[str, int]], *, frames: int, name: str
) -> None:
    """Writes dataset_info.json and features.json (https://www.tensorflow.org/datasets)."""
    import tensorflow_datasets as tfds

    scalars: dict = {name: tfds.features.Text() for name in records.BYTES_FEATURES}
    scalars |= {name: tfds.features.Scalar(np.int64) for name in records.INT_FEATURES}
    scalars |= {name: tfds.features.Scalar(np.float32) for name in records.FLOAT_FEATURES}
    image = tfds.features.Image(shape=(None, None, 3), dtype=np.uint8, encoding_format="jpeg")
    clip = tfds.features.Sequence(image, length=frames)
    template = tfds.core.ShardedFileTemplate(
        data_dir=directory,
        template=tfds.core.naming.DEFAULT_FILENAME_TEMPLATE,
        dataset_name=name,
        filetype_suffix="tfrecord",
    )
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=list(shards.values()),
            num_bytes=sum((directory / shard).stat().length for shard in shards),
            filename_template=template.replace(split=split),
        )
        for split, shards in kept.items()
    ]
    tfds.folder_dataset.write_metadata(
        data_dir=directory,
        features={**scalars, "frames": clip},
        split_infos=splits,
        filename_template=template,
        check_data=False,  # checking would import TensorFlow
        description="Video clips of a cohort, one tf.train.Example each (mpjax).",
    )


def report_failures(manifest: dict, out: epath.PathLike) -> int:
    """Prints the videos that could not be read, one line each; returns how many there are."""
    failures = manifest["failures"]
    if failures:
        print(f"{len(failures)} video(s) could not be read, see {out}/{FAILURES_FILE}:")
    for failure in failures[:20]:
        print(f"  {failure['reason']}")
    return len(failures)
