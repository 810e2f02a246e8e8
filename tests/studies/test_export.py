"""The binary that hands a study on: its files agree with the study, and it says what lacks."""

import contextlib
import io
import json
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import rating_study

from mpjax.analysis import predictions
from mpjax.analysis.motifs import codebook
from mpjax.config import MotifConfig
from mpjax.data import records, video_metadata
from mpjax.io import files
from mpjax.studies import export

MOTIFS = MotifConfig(candidates=(2, 3), stability_draws=2, max_windows_per_half=50, max_windows=100)
FRAMES = 16  # of a clip


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    """Dataset, predictions and motifs of 3 animals on 5 days; no heads."""
    folder = rating_study.make_study(tmp_path_factory.mktemp("study"), animals=1, clips=4)
    dataset = folder / "dataset"
    manifest = files.read_json(dataset / records.MANIFEST_FILE)
    files.write_json(dataset / records.MANIFEST_FILE, manifest | {"video": {"frames": FRAMES}})
    path = folder / "predictions.parquet"
    meta = json.loads(pq.read_schema(path).metadata[b"mpjax"])
    table = pd.read_parquet(path)
    table["start_s"] = table["start_frame"] / table["fps"]
    predictions.write_predictions(path, table, meta)
    read = predictions.read_predictions(path)
    _write_videos(dataset, sorted(set(read.table["video"])))
    _write_motifs(folder / "explain", read)
    return folder


def _write_videos(dataset, names):
    table = pd.DataFrame({"video": names, **dict.fromkeys(video_metadata.TEXT[1:], "")})
    table = table.assign(
        **dict.fromkeys(video_metadata.WHOLE, 1), **dict.fromkeys(video_metadata.REAL, 8.0)
    )
    # The first was dated by the lab, the others by the camera.
    table["date"] = np.where(table.index == 0, "2026-03-01", "")
    table["created"] = np.where(table.index == 0, "", "2026-03-02T10:00:00.000000Z")
    video_metadata.write(dataset, table)


def _write_motifs(out, read):
    rng = np.random.default_rng(0)
    centre = 10 * np.eye(8)[rng.integers(0, 3, len(read.table))]
    embedding = (centre + rng.normal(0, 1, centre.shape)).astype(np.float32)
    animal = read.table["animal"].to_numpy()
    book = codebook.fit(embedding, group=animal, config=MOTIFS)
    out.mkdir()
    codebook.save(out / "codebook-final.npz", book)
    assigned = book.assign(embedding)._asdict()
    windows = read.table.assign(seconds=FRAMES / read.table["fps"])
    labels = {f"{name}[final]": values for name, values in assigned.items()}
    windows.assign(**labels).to_parquet(out / "windows.parquet")


@pytest.fixture(scope="module")
def written(workdir, tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    with contextlib.redirect_stdout(io.StringIO()) as said:
        export.run(workdir, out, what=["csv", "boris", "nwb"])
    (out / "said.txt").write_text(said.getvalue())
    return out


def test_tables_projects_and_nwb_files_tell_the_same_bouts(written):
    pynwb = pytest.importorskip("pynwb")
    table = pd.read_parquet(written / "motif_bouts.parquet")
    project = json.loads((written / "motifs.boris").read_text())
    paths = {path.stem.split("_ses-")[1]: path for path in (written / "nwb").rglob("*.nwb")}
    assert len(paths) == len(project["observations"]) == table["video"].nunique() == 15
    for video, own in table.groupby("video"):
        observation = project["observations"][video]
        assert len(observation["events"]) == 2 * len(own)
        times = sorted(own["start_s"].tolist() + own["stop_s"].tolist())
        assert [event[0] for event in observation["events"]] == pytest.approx(times)
        with pynwb.NWBHDF5IO(str(paths[video.removesuffix(".mp4")]), "r") as reader:
            bouts = reader.read().intervals["motif_bouts"].to_dataframe()
            np.testing.assert_array_equal(bouts["start_time"], own["start_s"])
            np.testing.assert_array_equal(bouts["stop_time"], own["stop_s"])
            np.testing.assert_array_equal(bouts["motif"], own["motif"].fillna(-1).astype(int))


def test_nwb_holds_the_predictions_of_each_recording(workdir, written):
    pynwb = pytest.importorskip("pynwb")
    read = predictions.read_predictions(workdir / "predictions.parquet")
    for path in (written / "nwb").rglob("*day7.nwb"):
        with pynwb.NWBHDF5IO(str(path), "r") as reader:
            content = reader.read()
            found = content.processing["behavior"]["class_probabilities"]["p"].data[:]
            clips = content.intervals["clips"].to_dataframe()["clip_id"]
            place = read.table.set_index("clip_id").index.get_indexer(clips)
            np.testing.assert_array_equal(found, read.p[place].astype(found.dtype))
            assert json.loads(content.notes)["fingerprint"] == read.meta["fingerprint"]


def test_how_the_start_of_a_session_is_known_is_said(written):
    said = (written / "said.txt").read_text()
    assert "session_start_time of 14: creation time in the video file's own tags" in said
    assert "session_start_time of 1: date in cohort.csv; the time of day is unknown" in said


def test_the_bouts_of_classes_cover_every_clip_once(written):
    events = pd.read_csv(written / "classes_events.tsv", sep="\t")
    clips = pd.read_csv(written / "predictions.csv")
    for video, own in clips.sort_values("start_s").groupby("video"):
        bouts = events[events["Observation id"] == video].sort_values("Start (s)")
        middle = (own["start_s"] + FRAMES / own["fps"] / 2).to_numpy()[:, None]
        within = (bouts["Start (s)"].to_numpy() < middle) & (middle < bouts["Stop (s)"].to_numpy())
        assert (within.sum(1) == 1).all()
        assert (bouts["Behavior"].to_numpy()[within.argmax(1)] == own["predicted_coarse"]).all()
    assert events["Observation id"].nunique() == 15


def test_without_motifs_the_rest_is_written_and_it_is_said(workdir, tmp_path, capsys):
    for name in ("dataset", "predictions.parquet"):
        (tmp_path / name).symlink_to(workdir / name)
    export.run(tmp_path, tmp_path / "out", what=["csv", "boris"])
    assert not (tmp_path / "out" / "motif_bouts.csv").exists()
    assert not (tmp_path / "out" / "motifs.boris").exists()
    assert (tmp_path / "out" / "classes.boris").exists()
    assert "no motifs are written; `python -m mpjax.explain`" in capsys.readouterr().out


def test_a_study_without_facts_of_its_videos_is_told_where_they_come_from(workdir, tmp_path):
    for name in ("dataset/dataset.json", "dataset/index.parquet", "predictions.parquet"):
        (tmp_path / "study" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "study" / name).symlink_to(workdir / name)
    with pytest.raises(FileNotFoundError, match=r"videos.parquet: no such file.*data_prep.build"):
        export.run(tmp_path / "study", tmp_path / "out", what=["boris"])


@pytest.mark.parametrize("age", ["12 weeks", "P", "P12W/"])
def test_an_age_that_nwb_cannot_hold_is_refused(workdir, tmp_path, age):
    with pytest.raises(ValueError, match=r"not a duration of ISO 8601, such as P12W"):
        export.run(workdir, tmp_path / "o", what=("nwb",), age=age)
    assert not (tmp_path / "o").exists()


def test_a_study_is_not_exported_into_itself(workdir):
    before = (workdir / "predictions.parquet").read_bytes()
    with pytest.raises(ValueError, match="holds a study"):
        export.run(workdir, workdir, what=("csv",))
    assert (workdir / "predictions.parquet").read_bytes() == before


def test_bad_flags_end_in_one_line_and_status_1(workdir, tmp_path):
    command = [sys.executable, "-m", "mpjax.export", f"--workdir={workdir}", "--what=csv,xml"]
    done = subprocess.run([*command, f"--out={tmp_path / 'o'}"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr == "error: --what=csv,xml: choose from csv, boris, nwb, model\n"
    assert not (tmp_path / "o").exists()
