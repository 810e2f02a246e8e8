"""Blinded ratings of a study's held-out clips by humans: the package for raters, and its score."""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tqdm
from etils import epath

from mpjax.analysis import predictions
from mpjax.analysis.predictions import Predictions
from mpjax.analysis.raters import files as rater_files
from mpjax.analysis.raters import score as raters
from mpjax.data import rating_clips, records
from mpjax.data.splits import read_splits
from mpjax.io import files, stores
from mpjax.report.rating import page
from mpjax.report.sections import raters as rater_tables
from mpjax.studies.workdir import Workdir

_QUALITY = 90  # of the JPEGs
_KNOWN = ("clip_id", "video", "animal", "cage", "label")  # of a clip, in the key

Shown = dict[str, tuple[dict[str, Any], rating_clips.Pictures]]


def make(
    workdir: epath.PathLike,
    out: epath.PathLike,
    *,
    clips: int = 75,
    examples: int = 0,
    side: int = 360,
    one_file: bool = False,
    seed: int = 0,
) -> None:
    """Draws clips of the dataset of a study and writes a package for raters, and its key.

    The arguments are the flags of `mpjax.rate`. Examples are of animals of which none is rated.

    Raises:
        ValueError: there is no finished dataset, or too few clips.
        FileExistsError: `out` or its key exists.
    """
    dataset = Workdir(workdir).dataset
    if stores.is_remote(out):
        raise ValueError(f"--out={out}: raters open it from a disk; choose a local folder")
    folder, key_path = Path(out), Path(f"{Path(out)}.key.json")
    for path in (folder, key_path):
        if path.exists():
            raise FileExistsError(f"{path}: exists already; delete it, or choose another --out")
    index, splits = records.read_index(dataset), read_splits(dataset)
    sample = rating_clips.choose(index, splits, number=clips, examples=examples, seed=seed)
    rated = _read(dataset, sample.rated, side=side)
    shown = _read(dataset, sample.examples, side=side, taken=rated)
    key = rater_files.make_key(
        {
            "clips": {name: row for name, (row, _) in rated.items()},
            "examples": {name: row for name, (row, _) in shown.items()},
            "taxonomy": splits.taxonomy.to_dict(),
            "group": splits.group,
            "scheme": splits.scheme,
            "dataset": records.read_manifest(dataset)["fingerprint"],
            "division": splits.fingerprint,
            "seed": seed,
            "wanted": sample.wanted,
            "short": sample.short,
        }
    )
    fine = splits.taxonomy.fine
    package = page.describe_package(
        key["package"],
        splits.taxonomy,
        clips=[_describe_clip(each, one_file=one_file) for _, each in rated.values()],
        examples=[
            _describe_clip(each, one_file=one_file) | {"label": fine[row["label"]]}
            for row, each in shown.values()
        ],
    )
    sheets = {
        path: sheet
        for _, each in [*rated.values(), *shown.values()]
        for path, sheet in zip(_paths(each), each.sheets, strict=True)
    }
    files.write_json(key_path, key)
    try:
        page.write(folder, page.render(package), {} if one_file else sheets)
    except OSError:
        key_path.unlink()  # of no package
        raise
    print(_describe(sample, folder, key_path, group=splits.group))
    print(f"next        mpjax rate score --key={key_path} --workdir={workdir} ANSWERS.json ...")


def _read(
    dataset: epath.Path, rows: pd.DataFrame, *, side: int, taken: Shown | None = None
) -> Shown:
    """Encodes clips again, with what the key keeps of each, by their neutral names."""
    read = rating_clips.read_pictures(dataset, rows.index.to_numpy(), side=side, quality=_QUALITY)
    shown: Shown = {}
    progress = tqdm.tqdm(read, total=len(rows), desc="clips", disable=rows.empty)
    for row, clip in zip(rows[list(_KNOWN)].to_dict("records"), progress, strict=True):
        if clip.name in {**shown, **(taken or {})}:
            raise ValueError(
                f"{row['clip_id']}: shows the same images as another clip of the draw, so no "
                "answer could be right for both; choose another --seed"
            )
        shown[clip.name] = (row, clip)
    return shown


def _paths(clip: rating_clips.Pictures) -> list[str]:
    return [f"clips/{clip.name}-{i}.jpg" for i in range(len(clip.sheets))]


def _describe_clip(clip: rating_clips.Pictures, *, one_file: bool) -> dict[str, Any]:
    sheets = _paths(clip)
    if one_file:
        sheets = [f"data:image/jpeg;base64,{base64.b64encode(s).decode()}" for s in clip.sheets]
    fields = ("name", "frames", "width", "height", "columns", "per_sheet", "fps")
    known = {field: getattr(clip, field) for field in fields}
    return known | {"cell": list(clip.cell), "sheets": sheets}


def _describe(sample: rating_clips.Sample, folder: Path, key_path: Path, *, group: str) -> str:
    """Describes the package: what was drawn, how large it is, and what to do with it."""
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
    rated = sample.rated
    lines = [
        f"package     {folder} ({size:.1f} MiB): open {folder / 'index.html'}",
        f"key         {key_path}: keep it from the raters",
        f"clips       {len(rated)}, {sample.wanted} per class, of {rated['animal'].nunique()} "
        f"animals, {rated['video'].nunique()} recordings",
        f"examples    {len(sample.examples)}, of {sample.examples['animal'].nunique()} "
        "animals of which no clip is rated",
    ]
    for what, short in (("clips", sample.short), ("examples", sample.short_examples)):
        if short:
            listed = ", ".join(f"{name} {n}" for name, n in short.items())
            lines.append(f"note        fewer {what} than requested; the {group}s allow: {listed}")
    return "\n".join(lines)


def score(
    key_path: epath.PathLike,
    answer_paths: Sequence[epath.PathLike],
    *,
    workdir: epath.PathLike = "",
    against: Sequence[str] = (),
    out: epath.PathLike = "",
    allow_incomplete: bool = False,
    bootstrap: int = 2000,
    seed: int = 0,
) -> None:
    """Scores answer files, prints a table and writes the figures.

    The arguments are the flags of `mpjax.rate`. Without a `workdir`, raters are compared only with
    `against`, and written only to `out`. Resampled are animals (cages) and raters.

    Raises:
        ValueError: key, answers or predictions cannot be read.
    """
    key = rater_files.read_key(key_path)
    answers = rater_files.read_answers(answer_paths, key, allow_incomplete=allow_incomplete)
    study = Workdir(workdir) if workdir else None
    methods = _read_methods(study, against)
    figures = raters.score(key, answers, against=methods, bootstrap=bootstrap, seed=seed)
    print(rater_tables.as_text(figures))
    path = out or (study and study.raters)
    if path:
        files.write_json(path, figures)
        print(f"\nfigures {path}")


def _read_methods(study: Workdir | None, against: Sequence[str]) -> dict[str, Predictions]:
    """Reads the predictions to compare with, by name: the study's, its B-SOiD's, those given."""
    named = {raters.MODEL: study.predictions} if study else {}
    for entry in against:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise ValueError(
                f"--against={entry}: must be NAME=FILE, e.g. bsoid=b/predictions.parquet"
            )
        if name in named:
            raise ValueError(f"--against={entry}: {name!r} is already used; choose another name")
        named[name] = epath.Path(path)
    if study and study.bsoid_predictions.exists():
        named.setdefault("B-SOiD", study.bsoid_predictions)
    return {name: predictions.read_predictions(path) for name, path in named.items()}
