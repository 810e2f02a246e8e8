"""Human raters, blinded, on the same held-out clips as the model.

python -m mpjax.rate make --workdir=WORKDIR --out=OUT
    draws clips of a finished study's dataset, equally many per class, and writes the folder OUT:
    open OUT/index.html by double-click, offline, or put OUT on any web server (for tablets, or
    --one_file). The key lies beside it, in OUT.key.json: keep it from the raters.

python -m mpjax.rate score --key=OUT.key.json --workdir=WORKDIR ANSWERS.json ...
    scores the files that raters downloaded from the page, against WORKDIR/predictions.parquet and
    any --against=NAME=predictions.parquet, on the same clips; prints a table, and writes
    WORKDIR/raters.json for the report of `python -m mpjax.eval`.
"""

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import app, flags
from etils import epath

from mpjax import cli
from mpjax.io import files, stores
from mpjax.studies import evaluation

if TYPE_CHECKING:
    import pandas as pd

    from mpjax.analysis import predictions
    from mpjax.data import rating_clips

RESULT = "raters.json"
_QUALITY = 90  # of the pictures' JPEG
_KNOWN = ("clip_id", "video", "animal", "cage", "label")  # of a clip, in the key

Shown = dict[str, tuple[dict[str, Any], "rating_clips.Pictures"]]


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
    """Draws clips of the dataset of `workdir` and writes a package for raters, and its key.

    Args:
        workdir: folder of a finished study.
        out: folder of the package; new. The key is written beside it.
        clips: to rate; equally many per class.
        examples: labelled ones per class, of animals of which none is rated.
        side: px, the shorter side of the clips at most.
        one_file: all in index.html; else the pictures lie in a folder beside it.
        seed: of the draw.

    Raises:
        ValueError: there is no finished dataset, or too few clips.
        FileExistsError: `out` or its key exists.
    """
    from mpjax.analysis.raters import files as rater_files
    from mpjax.data import rating_clips, records
    from mpjax.data.splits import read_splits
    from mpjax.report.rating import page

    dataset = epath.Path(workdir) / "dataset"
    if stores.is_remote(out):
        raise ValueError(f"--out={out}: raters open it from a disk; name a local folder")
    folder, key_path = Path(out), Path(f"{Path(out)}.key.json")
    for path in (folder, key_path):
        if path.exists():
            raise FileExistsError(f"{path}: exists already; delete it, or choose another --out")
    index = records.read_index(dataset)
    splits = read_splits(dataset)
    sample = rating_clips.choose(index, splits, number=clips, examples=examples, seed=seed)
    rated = _read(dataset, sample.rated, side=side)
    shown = _read(dataset, sample.examples, side=side, besides=rated)
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
        clips=[_tell(each, one_file=one_file) for _, each in rated.values()],
        examples=[
            _tell(each, one_file=one_file) | {"label": fine[row["label"]]}
            for row, each in shown.values()
        ],
    )
    pictures = {
        path: sheet
        for _, each in [*rated.values(), *shown.values()]
        for path, sheet in zip(_paths(each), each.sheets, strict=True)
    }
    files.write_json(key_path, key)
    try:
        page.write(folder, page.render(package), {} if one_file else pictures)
    except OSError:
        key_path.unlink()  # of no package
        raise
    print(_describe(sample, folder, key_path, group=splits.group))
    scored = f"--key={key_path} --workdir={workdir}"
    print(f"next        mpjax rate score {scored} ANSWERS.json ...")


def _read(
    dataset: epath.Path, rows: "pd.DataFrame", *, side: int, besides: Shown | None = None
) -> Shown:
    """Encodes clips anew, with what the key keeps of each, by their neutral names.

    Raises:
        ValueError: two clips show the very same pictures.
    """
    from tqdm import tqdm

    from mpjax.data import rating_clips

    read = rating_clips.read_pictures(dataset, rows.index.to_numpy(), side=side, quality=_QUALITY)
    shown: Shown = {}
    progress = tqdm(read, total=len(rows), desc="clips", disable=rows.empty)
    for row, pictures in zip(rows[list(_KNOWN)].to_dict("records"), progress, strict=True):
        if pictures.name in {**shown, **(besides or {})}:
            raise ValueError(
                f"{row['clip_id']}: shows the very same pictures as another clip of the draw, so "
                "that no answer could be right for both; choose another --seed"
            )
        shown[pictures.name] = (row, pictures)
    return shown


def _paths(pictures: "rating_clips.Pictures") -> list[str]:
    return [f"clips/{pictures.name}-{i}.jpg" for i in range(len(pictures.sheets))]


def _tell(pictures: "rating_clips.Pictures", *, one_file: bool) -> dict[str, Any]:
    """Returns what the page is told of a clip."""
    sheets = _paths(pictures)
    if one_file:
        encoded = [base64.b64encode(sheet).decode() for sheet in pictures.sheets]
        sheets = [f"data:image/jpeg;base64,{text}" for text in encoded]
    fields = ("name", "frames", "width", "height", "columns", "per_sheet", "fps")
    told = {field: getattr(pictures, field) for field in fields}
    return told | {"cell": list(pictures.cell), "sheets": sheets}


def _describe(sample: "rating_clips.Sample", folder: Path, key_path: Path, *, group: str) -> str:
    """Tells what was drawn, how large it is, and what to do with it."""
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
            lines.append(
                f"mind        fewer {what} than asked for, as the {group}s allow: {listed}"
            )
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

    Args:
        key_path: the key of the package.
        answer_paths: files that the page exported.
        workdir: of the study whose predictions are compared with; empty: none.
        against: NAME=FILE of further predictions.
        out: JSON to write; empty: raters.json in the workdir, where there is one.
        allow_incomplete: whether raters need not have answered every clip.
        bootstrap: resamples of animals (cages) and raters.
        seed: of the resampling.

    Raises:
        ValueError: key, answers or predictions cannot be taken.
    """
    from mpjax.analysis.raters import files as rater_files
    from mpjax.analysis.raters import score as raters
    from mpjax.report.sections import raters as rater_tables

    key = rater_files.read_key(key_path)
    answers = rater_files.read_answers(answer_paths, key, allow_incomplete=allow_incomplete)
    figures = raters.score(
        key, answers, against=_read_methods(workdir, against), bootstrap=bootstrap, seed=seed
    )
    print(rater_tables.as_text(figures))
    if workdir and not out:
        out = epath.Path(workdir) / RESULT
    if out:
        files.write_json(out, figures)
        print(f"\nfigures {out}")


def _read_methods(
    workdir: epath.PathLike, against: Sequence[str]
) -> dict[str, "predictions.Predictions"]:
    """Reads the predictions to compare with, by name: the study's, its B-SOiD's, those given.

    Raises:
        ValueError: an entry is no NAME=FILE, or a name comes twice.
    """
    from mpjax.analysis import predictions
    from mpjax.analysis.raters import score as raters

    named = {raters.MODEL: epath.Path(workdir) / "predictions.parquet"} if workdir else {}
    for entry in against:
        name, equals, path = entry.partition("=")
        if not (name and equals and path):
            raise ValueError(
                f"--against={entry}: must be NAME=FILE, e.g. bsoid=b/predictions.parquet"
            )
        if name in named:
            raise ValueError(f"--against={entry}: there is a {name!r} already; choose another name")
        named[name] = epath.Path(path)
    bsoid = epath.Path(workdir) / evaluation.FOLDER / evaluation.BASELINE
    if workdir and bsoid.exists():
        named.setdefault("B-SOiD", bsoid)
    return {name: predictions.read_predictions(path) for name, path in named.items()}


def main() -> None:
    """Runs the binary."""
    workdir = flags.DEFINE_string("workdir", "", "Folder of the study.")
    out = flags.DEFINE_string("out", "", "make: folder to write; score: JSON to write.")
    clips = flags.DEFINE_integer("clips", 75, "make: clips to rate, equally many per class.")
    examples = flags.DEFINE_integer("examples", 0, "make: labelled examples per class.")
    side = flags.DEFINE_integer("side", 360, "make: px, the clips' shorter side at most.", 32)
    one_file = flags.DEFINE_bool("one_file", False, "make: all in index.html, for tablets.")
    key = flags.DEFINE_string("key", "", "score: key of the package.")
    against = flags.DEFINE_multi_string("against", [], "score: NAME=predictions.parquet.")
    incomplete = flags.DEFINE_bool("allow_incomplete", False, "score: not every clip answered.")
    bootstrap = flags.DEFINE_integer("bootstrap", 2000, "score: resamples.", 1)
    seed = flags.DEFINE_integer("seed", 0, "Of the draw (make), of the resampling (score).", 0)

    def run(*words: str) -> None:
        match words:
            case ("make",) if workdir.value and out.value:
                make(
                    workdir.value, out.value, clips=clips.value, examples=examples.value,
                    side=side.value, one_file=one_file.value, seed=seed.value,
                )  # fmt: skip
            case ("score", *answers) if key.value:
                score(
                    key.value, answers, workdir=workdir.value, against=against.value,
                    out=out.value, allow_incomplete=incomplete.value,
                    bootstrap=bootstrap.value, seed=seed.value,
                )  # fmt: skip
            case _:
                raise app.UsageError(
                    f"got {' '.join(words) or 'nothing'!r}; say `make --workdir=… --out=…` or "
                    "`score --key=… ANSWERS.json …`"
                )

    cli.start_plain(run, words=True)


if __name__ == "__main__":
    main()
