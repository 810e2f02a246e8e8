"""Scores new recordings with a finished study: `python -m mpjax.predict --model=DIR VIDEO --out=O`.

DIR is the study's folder (its --workdir). A VIDEO is a file or a folder of videos, of which there
may be several; or --cohort names a table of them, with the columns video and, where wanted, roi and
fps. Nothing is trained: clips are cut as for the study, embedded by its projector, and judged by
all its heads, calibrated as there.

O gets clips.csv (a row per clip: probability of every class and group, pain, entropy,
disagreement of the heads, and whether the clip is unlike anything that the study was trained on),
bouts.csv (successive clips of one group), recordings.csv (means and spreads, share of unlike clips)
and provenance.json. A killed run goes on at the recording where it stopped.

  mpjax predict --model=out/mine new/m31_d03.mp4 new/m32_d03.mp4 --out=out/new
  mpjax predict --model=out/mine new --out=out/new --roi=40:0:640:480

Classes are those of the study's own cohort: its conditions on its days, nothing else. A recording
of another strain, camera or condition gets probabilities all the same; the column `unlike` says how
far to trust them. For research only: no figure here tells what ails an animal.
"""

import dataclasses
import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tqdm
from absl import flags
from etils import epath

from mpjax import cli
from mpjax.io import files

if TYPE_CHECKING:
    import pandas as pd

    from mpjax.analysis.classification.new_recordings import Scored
    from mpjax.data.embeddings import Embeddings
    from mpjax.embedding.recordings import Embedder
    from mpjax.studies.model import Trained

CACHE = ".cache"  # of the output folder: embeddings of each recording
READING = (
    "Probabilities are of the classes of the study's own cohort: its conditions, on its days. A "
    "recording of any other condition, strain, camera or chamber gets probabilities all the same.",
    "They are means over heads that were trained on different animals; the spread over clips or "
    "heads is no confidence interval. For a claim, record several animals per group and compare "
    "animals.",
    "`unlike` is the share of clips that differ from all that the study was trained on.",
    "Animals that the study trained on are no new animals: only their very files are recognised "
    "and flagged (`of_the_study`), not other recordings of them.",
    "For research only.",
)


@dataclasses.dataclass(frozen=True)
class Source:
    """A recording to be scored: its name in the tables, and how it is read."""

    video: str
    path: str
    roi: str = ""
    fps: float = 0.0  # Hz; 0: by its own timestamps


def run(
    model: epath.PathLike, sources: Sequence[Source], out: epath.PathLike, *, weights: str = ""
) -> int:
    """Scores recordings and writes the tables; returns the exit status: 1 where one is unreadable.

    Args:
        model: folder of the finished study.
        sources: the recordings.
        out: folder of the tables.
        weights: of the study's projector, where they have moved.

    Raises:
        FileNotFoundError, ValueError: no finished study in `model`, or not one of the recordings
            can be read.
    """
    from mpjax.embedding import recordings
    from mpjax.studies import model as trained

    files.check_tables_folder(out)
    _check_foreign(epath.Path(out))
    study = trained.load(model, weights=weights)
    embedder = recordings.Embedder(study.projector, study.views, study.batch_size)
    return score(study, embedder, sources, out)


def _check_foreign(out: epath.Path) -> None:
    """Raises ValueError where tables of the same names are no former ones of `predict`."""
    names = ("clips.csv", "bouts.csv", "recordings.csv")
    foreign = [name for name in names if (out / name).exists()]
    if foreign and not (out / "provenance.json").exists():
        raise ValueError(
            f"{out}: holds {', '.join(foreign)}, which `mpjax predict` has not written; name "
            f"another folder with --out"
        )


def score(
    study: "Trained", embedder: "Embedder", sources: Sequence[Source], out: epath.PathLike
) -> int:
    """As `run`, with a study that is loaded already: for several calls, as from a notebook."""
    out = epath.Path(out)
    scored: list[Scored] = []
    told: list[dict[str, Any]] = []
    failures: list[str] = []
    for number, source in enumerate(sources, start=1):
        label = f"[{number}/{len(sources)}] {Path(source.video).name}"
        try:
            digest = _digest(source.path)
            embedded = _embed(source, digest, study, embedder, out / CACHE, label=label)
        except ValueError as error:  # of the recording; what hinders writing ends the run
            failures.append(_named(error, source))
            print(f"unreadable, left out: {failures[-1]}", flush=True)
            continue
        scored.append(_score(source, embedded, study))
        told.append(
            dataclasses.asdict(source) | {"sha256": digest, "of_the_study": digest in study.known}
        )
    if not scored:
        raise ValueError("none of the recordings can be read:\n  " + "\n  ".join(failures))
    table = _write(out, scored, told)
    notes = list(_notes(study, table, told, failures))
    provenance = _provenance(study, told, failures)
    files.write_json(out / "provenance.json", provenance | {"notes": notes, "reading": READING})
    for line in (*_lines(table), *notes, *READING[:1]):
        print(line)
    print(f"tables {out}: clips.csv, bouts.csv, recordings.csv; {len(scored)} recording(s)")
    return int(bool(failures))


def _digest(path: str) -> str:
    """Returns the sha256 of a video, after a look at whether it is one.

    Raises:
        VideoError: it is missing, or no video.
    """
    from mpjax.data import video

    video.probe(path)
    return files.sha256(path)


def _named(error: Exception, source: Source) -> str:
    return str(error) if source.path in str(error) else f"{source.path}: {error}"


def _embed(
    source: Source,
    digest: str,
    study: "Trained",
    embedder: "Embedder",
    cache: epath.Path,
    *,
    label: str,
) -> "Embeddings":
    from mpjax.data import records, video
    from mpjax.data.boxes import parse_roi
    from mpjax.embedding import recordings

    made_of = files.fingerprint(
        *(digest, source.roi, source.fps, study.video),
        *(study.projector.fingerprint, study.views_meta, study.batch_size),
    )
    # A copy under another name gives the same rows: the content names the clips.
    blank: dict[str, Any] = dict.fromkeys(records.BYTES_FEATURES, "")
    blank |= {"day": records.UNKNOWN_DAY, "label": -1, "video": digest}
    blank |= {"dose_mg_per_kg": float("nan"), "minutes_post_dose": float("nan")}
    roi = parse_roi(source.roi) if source.roi else None
    recording = video.Recording(0, source.path, blank, source.fps, roi, ())

    def encoded() -> Iterator[recordings.Encoded]:
        info = video.probe(source.path)
        total = video.expected_clips(info, study.video)
        clips = video.encode_clips(recording, study.video)
        yield from tqdm.tqdm(clips, total=total, desc=label, unit="clip", mininterval=0.5)

    meta = {"fingerprint": made_of, "views": study.views_meta}
    return recordings.embed_once(cache / f"{made_of}.parquet", encoded(), embedder, meta=meta)


def _score(source: Source, embedded: "Embeddings", study: "Trained") -> "Scored":
    import pandas as pd

    from mpjax.analysis.classification import new_recordings
    from mpjax.heads import probe

    views = embedded.table
    clip, _ = pd.factorize(views["clip_id"])
    rows = views[~views["clip_id"].duplicated()].reset_index(drop=True)
    shown = study.video.frames - rows["padded_frames"]
    clips = pd.DataFrame(
        {
            "video": source.video,
            "roi": source.roi,
            "start_s": rows["start_frame"] / rows["fps"],
            "end_s": (rows["start_frame"] + shown) / rows["fps"],
        }
    )
    novelty = _novelty(embedded, study)
    if novelty is not None:
        clips = pd.concat([clips, novelty], axis=1)
    _, log_p = probe.predict_by_every_head(study.heads, embedded.embedding, clip)
    temperature = study.temperature["value"] or 1.0
    return new_recordings.score(clips, log_p, study.taxonomy, temperature=temperature)


def _novelty(embedded: "Embeddings", study: "Trained") -> "pd.DataFrame | None":
    if study.codebook is None:
        return None
    import pandas as pd

    from mpjax.analysis.classification import new_recordings
    from mpjax.data import windows

    index = embedded.table[["clip_id"]].drop_duplicates().assign(frames=study.video.frames)
    table, embedding = windows.cut(embedded, index)
    clip, _ = pd.factorize(table["clip_id"])
    return new_recordings.measure_novelty(study.codebook, embedding, clip)


def _write(
    out: epath.Path, scored: "Sequence[Scored]", told: Sequence[dict[str, Any]]
) -> "pd.DataFrame":
    """Writes the three tables; returns that of the recordings."""
    import pandas as pd

    from mpjax.analysis.classification import new_recordings

    recordings = pd.DataFrame([new_recordings.summarise(each) for each in scored])
    recordings["of_the_study"] = [int(each["of_the_study"]) for each in told]
    tables = {
        "clips": pd.concat([each.clips for each in scored]),
        "bouts": pd.concat([new_recordings.find_bouts(each) for each in scored]),
        "recordings": recordings,
    }
    for name, table in tables.items():
        flags_as_numbers = {c: int for c in table if table[c].dtype == bool}
        text = table.astype(flags_as_numbers).to_csv(
            index=False, float_format="%.6g", lineterminator="\n"
        )
        with files.write_aside(out / f"{name}.csv") as aside:
            aside.write_bytes(text.encode("utf-8" if text.isascii() else "utf-8-sig"))
    return recordings


def _lines(table: "pd.DataFrame") -> Iterator[str]:
    from mpjax.analysis.classification import new_recordings

    kind = "group" if "group" in table else "class"
    for row in table.to_dict("records"):
        unlike = (
            "" if row["unlike"] is None else f"; {row['unlike']:.0%} of clips unlike the study's"
        )
        pain = f", pain {row['pain']:.2f}" if "pain" in row else ""
        likeliest = f"{row[kind]} {row[new_recordings.column(kind, row[kind])]:.2f}"
        yield f"{row['video']}: {likeliest}{pain}, {row['clips']} clip(s){unlike}"


def _notes(
    study: "Trained", table: "pd.DataFrame", told: Sequence[dict[str, Any]], failures: Sequence[str]
) -> Iterator[str]:
    """Yields what the reader of the tables must know of these very recordings."""
    if study.codebook is None:
        yield f"no column tells clips unlike the study's: {study.no_codebook}"
    else:
        expected = 1 - study.codebook.meta["config"]["gate"]
        yield f"of clips like the study's own, about {expected:.0%} would be called unlike"
    if study.temperature["value"] is None:
        yield f"probabilities are not calibrated: {study.temperature['why']}"
    if len(_fine_heads(study)) == 1:
        yield "one head, of a fixed split: there is no disagreement of heads to tell"
    if not study.known:
        yield "whether any of these belongs to the study itself is not known: it kept no hashes"
    own = [each["video"] for each in told if each["of_the_study"]]
    if own:
        yield (
            f"{len(own)} recording(s) belong to the study itself, so that heads may have been "
            f"trained on them; its predictions.parquet has the held-out ones: {', '.join(own[:5])}"
        )
    uncut = [each["video"] for each in told if not each["roi"]]
    if study.cut and uncut:
        yield (
            f"the study's recordings were all cut to a region of interest, {len(uncut)} of these "
            "are not: give --roi, or a column roi"
        )
    for row in table.to_dict("records"):
        if row["unlike"] is not None and row["unlike"] > 0.5:
            yield f"{row['video']}: most of it is unlike the study's; its figures mean little"
    if failures:
        yield f"{len(failures)} recording(s) could not be read, and are in no table"


def _fine_heads(study: "Trained") -> list[str]:
    from mpjax.heads import probe

    return probe.fine_heads(study.heads)


def _provenance(
    study: "Trained", told: Sequence[dict[str, Any]], failures: Sequence[str]
) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("mpjax", "jax", "numpy")}
    return {
        "model": str(files.absolute(study.workdir)),
        "fingerprints": study.fingerprints,
        "projector": study.projector.name,
        "video": dataclasses.asdict(study.video),
        "views": study.views_meta,
        "heads": _fine_heads(study),
        "temperature": study.temperature,
        "taxonomy": study.taxonomy.to_dict(),
        "recordings": list(told),
        "failures": list(failures),
        "versions": versions,
    }


def find_sources(words: Sequence[str], *, cohort: str = "", roi: str = "") -> list[Source]:
    """Returns the recordings that words (files and folders) and a table name, each once.

    Raises:
        ValueError: none, or a table or region of interest that cannot be read.
        FileNotFoundError: a folder without a video.
    """
    from data_prep import cohort as cohorts
    from data_prep import template
    from mpjax.data.boxes import parse_roi

    if roi:
        parse_roi(roi)
    found = []
    for word in words:
        inside = template.find_videos(Path(word)) if Path(word).is_dir() else [word]
        if not inside:
            raise FileNotFoundError(
                f"{word}: holds no video ({', '.join(sorted(template.VIDEOS))})"
            )
        found += [Source(str(path), str(path), roi) for path in inside]
    if cohort:
        rows = cohorts.read_recordings(cohort).to_dict("records")
        found += [Source(r["video"], r["path"], r["roi"] or roi, r["fps"]) for r in rows]
    if not found:
        raise ValueError("no recording: name video files, folders of them, or --cohort=TABLE.csv")
    return list(dict.fromkeys(found))


def main() -> None:
    """Runs the binary."""
    model = flags.DEFINE_string("model", None, "Folder of a finished study.", required=True)
    out = flags.DEFINE_string("out", None, "Folder of the tables.", required=True)
    cohort = flags.DEFINE_string("cohort", "", "Table of recordings: video, and roi and fps.")
    roi = flags.DEFINE_string("roi", "", "Region of interest x:y:w:h in px, of all recordings.")
    weights = flags.DEFINE_string("weights", "", "The study's projector weights, if they moved.")

    def score(*words: str) -> int:
        sources = find_sources(words, cohort=cohort.value, roi=roi.value)
        return run(model.value, sources, out.value, weights=weights.value)

    cli.start_plain(score, words=True)


if __name__ == "__main__":
    main()
