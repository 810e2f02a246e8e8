"""Scores new recordings with a finished study: probabilities of its classes, clip by clip.

Nothing is trained: clips are cut as for the study, embedded by its projector, and classified by all
its heads, calibrated as there.
"""

import dataclasses
import importlib.metadata
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import tqdm
from etils import epath

from mpjax.analysis.classification import new_recordings
from mpjax.data import records, windows
from mpjax.data.boxes import parse_roi
from mpjax.data.embeddings import Embeddings
from mpjax.data.video import clips as video
from mpjax.data.video import encode
from mpjax.data.video_search import VIDEOS, find_videos
from mpjax.embedding import recordings
from mpjax.embedding.recordings import Embedder
from mpjax.formatting import percent
from mpjax.heads import probe
from mpjax.io import files
from mpjax.io.files import sha256
from mpjax.studies.model import TrainedStudy, load
from mpjax.studies.workdir import check_output_folder

CACHE = ".cache"  # of the output folder: embeddings of each recording
TABLES = ("clips", "bouts", "recordings")
READING = (
    "Probabilities are of the classes of the study's own cohort: its conditions, on its days. A "
    "recording of any other condition, strain, camera or chamber gets probabilities too.",
    "They are means over heads that were trained on different animals; the spread over clips or "
    "heads is no confidence interval. For a claim, record several animals per group and compare "
    "animals.",
    "`unlike` is the share of clips that differ from all that the study was trained on.",
    "Animals that the study trained on are not new animals: only their very files are recognised "
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


@dataclasses.dataclass(frozen=True)
class Scores:
    """The scores of new recordings.

    Attributes:
        clips: a row per clip: probability of every class and group, pain, entropy, disagreement of
            the heads, and whether the clip is unlike anything that the study was trained on.
        bouts: a row per run of clips of one group.
        recordings: a row per recording: means and spreads, share of unlike clips.
        notes: what a reader must know of these recordings.
        provenance: the study, the recordings and the versions; JSON-serialisable.
    """

    clips: pd.DataFrame
    bouts: pd.DataFrame
    recordings: pd.DataFrame
    notes: tuple[str, ...]
    provenance: dict[str, Any]


def find_sources(
    words: Sequence[epath.PathLike], *, rows: Sequence[dict[str, Any]] = (), roi: str = ""
) -> list[Source]:
    """Returns the recordings that videos, folders of them and the rows of a table name, each once.

    Args:
        words: paths of videos, or of folders.
        rows: `video`, `path`, `roi` and `fps` of further recordings.
        roi: region of interest x:y:w:h in px, of all that have none of their own.

    Raises:
        ValueError: there is no recording, or the region of interest cannot be read.
        FileNotFoundError: a folder without a video.
    """
    if roi:
        parse_roi(roi)
    found = []
    for word in map(str, words):
        inside = find_videos(Path(word)) if Path(word).is_dir() else [word]
        if not inside:
            raise FileNotFoundError(f"{word}: holds no video ({', '.join(sorted(VIDEOS))})")
        found += [Source(str(path), str(path), roi) for path in inside]
    found += [Source(row["video"], row["path"], row["roi"] or roi, row["fps"]) for row in rows]
    if not found:
        raise ValueError("no recording: give video files, folders of them, or --cohort=TABLE.csv")
    return list(dict.fromkeys(found))


def run(
    model: epath.PathLike, sources: Sequence[Source], out: epath.PathLike, *, weights: str = ""
) -> int:
    """Scores recordings by the study in the folder `model`; writes the tables to the folder `out`.

    `weights` are those of the study's projector, where they have moved. Returns the exit status: 1
    where a recording is unreadable.

    Raises:
        FileNotFoundError, ValueError: no finished study, or none of the recordings can be read.
    """
    folder = check_output_folder(out)
    foreign = [f"{name}.csv" for name in TABLES if (folder / f"{name}.csv").exists()]
    if foreign and not (folder / "provenance.json").exists():
        raise ValueError(
            f"{folder}: holds {', '.join(foreign)}, which `mpjax predict` has not written; choose "
            "another folder with --out"
        )
    study = load(model, weights=weights)
    scores = score(study, make_embedder(study), sources, folder / CACHE)
    write(scores, folder)
    return int(bool(scores.provenance["failures"]))


def make_embedder(study: TrainedStudy) -> Embedder:
    """Lays the projector of a study on a device."""
    return Embedder(study.projector, study.views, study.batch_size)


def score(
    study: TrainedStudy, embedder: Embedder, sources: Sequence[Source], cache: epath.PathLike
) -> Scores:
    """Scores recordings; those that cannot be read are named and left out.

    A killed run continues from the embeddings in the folder `cache`.

    Raises:
        ValueError: none of the recordings can be read.
    """
    scored: list[new_recordings.Scored] = []
    noted: list[dict[str, Any]] = []
    failures: list[str] = []
    for number, source in enumerate(sources, start=1):
        label = f"[{number}/{len(sources)}] {Path(source.video).name}"
        try:
            video.probe(source.path)
            digest = sha256(epath.Path(source.path))
            embedded = _embed(source, digest, study, embedder, epath.Path(cache), label=label)
        except ValueError as error:  # of the recording; what prevents writing ends the run
            named = source.path in str(error)
            failures.append(str(error) if named else f"{source.path}: {error}")
            print(f"unreadable, left out: {failures[-1]}", flush=True)
            continue
        scored.append(_score(source, embedded, study))
        own = digest in study.video_hashes
        noted.append(dataclasses.asdict(source) | {"sha256": digest, "of_the_study": own})
    if not scored:
        raise ValueError("none of the recordings can be read:\n  " + "\n  ".join(failures))
    table = pd.DataFrame([new_recordings.summarise(each) for each in scored])
    table["of_the_study"] = [int(each["of_the_study"]) for each in noted]
    return Scores(
        clips=pd.concat([each.clips for each in scored]),
        bouts=pd.concat([new_recordings.find_bouts(each) for each in scored]),
        recordings=table,
        notes=tuple(_notes(study, table, noted, failures)),
        provenance=_provenance(study, noted, failures),
    )


def write(scores: Scores, out: epath.Path) -> None:
    """Writes clips.csv, bouts.csv, recordings.csv and provenance.json; prints what they say."""
    for name in TABLES:
        table = getattr(scores, name)
        flags_as_numbers = {c: int for c in table if table[c].dtype == bool}
        text = table.astype(flags_as_numbers).to_csv(
            index=False, float_format="%.6g", lineterminator="\n"
        )
        with files.write_aside(out / f"{name}.csv") as aside:
            aside.write_bytes(text.encode("utf-8" if text.isascii() else "utf-8-sig"))
    about = scores.provenance | {"notes": scores.notes, "reading": READING}
    files.write_json(out / "provenance.json", about)
    kind = "group" if "group" in scores.recordings else "class"
    for row in scores.recordings.to_dict("records"):
        share = percent(row["unlike"])
        unlike = "" if row["unlike"] is None else f"; {share} of clips unlike the study's"
        pain = f", pain {row['pain']:.2f}" if "pain" in row else ""
        best = f"{row[kind]} {row[new_recordings.column(kind, row[kind])]:.2f}"
        print(f"{row['video']}: {best}{pain}, {row['clips']} clip(s){unlike}")
    print(*scores.notes, *READING[:1], sep="\n")
    written = ", ".join(f"{name}.csv" for name in TABLES)
    print(f"tables {out}: {written}; {len(scores.recordings)} recording(s)")


def _embed(
    source: Source,
    digest: str,
    study: TrainedStudy,
    embedder: Embedder,
    cache: epath.Path,
    *,
    label: str,
) -> Embeddings:
    made_of = files.fingerprint(
        *(digest, source.roi, source.fps, study.video),
        *(study.projector.fingerprint, study.views_meta, study.batch_size),
    )
    # A copy under another name gives the same rows: the content names the clips.
    blank: dict[str, Any] = dict.fromkeys(records.BYTES_FEATURES, "")
    blank |= {"day": records.UNKNOWN_DAY, "label": -1, "video": digest}
    blank |= {"dose_mg_per_kg": float("nan"), "minutes_post_dose": float("nan")}
    roi = parse_roi(source.roi) if source.roi else None
    recording = encode.Recording(0, source.path, blank, source.fps, roi, ())

    def encoded() -> Iterator[recordings.Encoded]:
        total = encode.expected_clips(video.probe(source.path), study.video)
        clips = encode.encode_clips(recording, study.video)
        yield from tqdm.tqdm(clips, total=total, desc=label, unit="clip", mininterval=0.5)

    meta = {"fingerprint": made_of, "views": study.views_meta}
    return recordings.embed_once(cache / f"{made_of}.parquet", encoded(), embedder, meta=meta)


def _score(source: Source, embedded: Embeddings, study: TrainedStudy) -> new_recordings.Scored:
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
    if study.codebook is not None:
        index = rows[["clip_id"]].assign(frames=study.video.frames)
        table, embedding = windows.cut(embedded, index)
        of_window, _ = pd.factorize(table["clip_id"])
        novelty = new_recordings.measure_novelty(study.codebook, embedding, of_window)
        clips = pd.concat([clips, novelty], axis=1)
    _, log_p = probe.predict_by_every_head(study.heads, embedded.embedding, clip)
    temperature = study.temperature["value"] or 1.0
    return new_recordings.score(clips, log_p, study.taxonomy, temperature=temperature)


def _notes(
    study: TrainedStudy,
    table: pd.DataFrame,
    noted: Sequence[dict[str, Any]],
    failures: Sequence[str],
) -> Iterator[str]:
    """Yields what the reader of the tables must know of these recordings."""
    if study.codebook is None:
        yield f"no column flags clips unlike the study's: {study.no_codebook}"
    else:
        expected = 1 - study.codebook.meta["config"]["gate"]
        yield f"of clips like the study's own, about {percent(expected)} would be flagged as unlike"
    if study.temperature["value"] is None:
        yield f"probabilities are not calibrated: {study.temperature['why']}"
    if len(probe.fine_heads(study.heads)) == 1:
        yield "a fixed split has one head, so there is no disagreement of heads to report"
    if not study.video_hashes:
        yield "the study kept no hashes of its videos, so its own recordings are not recognised"
    own = [each["video"] for each in noted if each["of_the_study"]]
    if own:
        yield (
            f"{len(own)} recording(s) belong to the study itself, so that heads may have been "
            f"trained on them; its predictions.parquet has the held-out ones: {', '.join(own[:5])}"
        )
    whole = [each["video"] for each in noted if not each["roi"]]
    if study.all_cropped and whole:
        yield (
            f"the study's recordings were all cropped to a region of interest, {len(whole)} of "
            "these are not: give --roi, or a column roi"
        )
    for row in table.to_dict("records"):
        if row["unlike"] is not None and row["unlike"] > 0.5:
            yield f"{row['video']}: most of it is unlike the study's; its figures mean little"
    if failures:
        yield f"{len(failures)} recording(s) could not be read, and are in no table"


def _provenance(
    study: TrainedStudy, noted: Sequence[dict[str, Any]], failures: Sequence[str]
) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("mpjax", "jax", "numpy")}
    return {
        "model": str(files.absolute(study.workdir)),
        "fingerprints": study.fingerprints,
        "projector": study.projector.name,
        "video": dataclasses.asdict(study.video),
        "views": study.views_meta,
        "heads": probe.fine_heads(study.heads),
        "temperature": study.temperature,
        "taxonomy": study.taxonomy.to_dict(),
        "recordings": list(noted),
        "failures": list(failures),
        "versions": versions,
    }
