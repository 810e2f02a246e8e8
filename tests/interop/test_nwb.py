"""NWB files: valid by the schema, and the numbers that come back are those that went in."""

import datetime
import json

import numpy as np
import pandas as pd
import pytest

from mpjax.interop import nwb, study_tables

pynwb = pytest.importorskip("pynwb")

CLASSES = ("neuropathic", "no_pain")
P = np.array([[0.9, 0.1], [0.25, 0.75], [0.5, 0.5]], np.float32)


def make_recording(folder):
    return {
        "video": "day7/m 01.mp4", "path": str(folder / "videos" / "day7" / "m 01.mp4"),
        "animal": "m_01", "cage": "c1", "sex": "F", "condition": "neuropathic", "day": 7,
        "drug": "gabapentin", "dose_mg_per_kg": 30.0, "route": "i.p.", "minutes_post_dose": 60.0,
        "split": "drug", "fps": 25.0, "duration_s": 6.0, "width": 64, "height": 48,
    }  # fmt: skip


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nwb")
    clips = pd.DataFrame({"start_s": [0.0, 2.0, 4.0], "stop_s": [2.0, 4.0, 6.0]})
    clips["clip_id"] = ["a", "b", "c"]
    clips["fold"] = -1
    bouts = pd.DataFrame({"start_s": [0.0, 4.0], "stop_s": [4.0, 6.0], "unlike": [False, True]})
    bouts["motif"] = pd.array([3, pd.NA], dtype="Int64")
    time = datetime.datetime(2026, 3, 1, 9, 30, tzinfo=datetime.UTC)
    session = nwb.Session(
        recording=make_recording(folder),
        start=nwb.Start(time, "date in cohort.csv", "2026-03-01"),
        clips=clips,
        p={"p": ("As predicted.", CLASSES, P)},
        bouts=bouts,
    )
    return nwb.write(
        folder / "out", session, identifier="x1", species="Mus musculus", age="P12W",
        provenance={"fingerprint": "f00", "versions": {"mpjax": "0.1.0"}},
    )  # fmt: skip


def test_the_file_is_valid_nwb(written):
    assert written.name == "sub-m-01_ses-day7-m-01.nwb"
    assert pynwb.validate(path=str(written)) == []
    assert [path.name for path in written.parent.iterdir()] == [written.name]


def test_what_is_read_back_is_what_was_written(written):
    with pynwb.NWBHDF5IO(str(written), "r") as io:
        read = io.read()
        series = read.processing["behavior"]["class_probabilities"]["p"]
        np.testing.assert_array_equal(series.data[:], P)
        np.testing.assert_array_equal(series.timestamps[:], [0, 2, 4])
        assert series.description.endswith("neuropathic, no_pain.")
        bouts = read.intervals["motif_bouts"].to_dataframe()
        assert bouts[["start_time", "stop_time"]].to_numpy().tolist() == [[0, 4], [4, 6]]
        assert bouts["motif"].tolist() == [3, -1]
        assert bouts["unlike"].tolist() == [False, True]
        clips = read.intervals["clips"].to_dataframe()
        assert clips["clip_id"].tolist() == ["a", "b", "c"]


def test_subject_session_drug_and_video_are_told(written):
    with pynwb.NWBHDF5IO(str(written), "r") as io:
        read = io.read()
        subject = read.subject
        assert (subject.subject_id, subject.sex, subject.species) == ("m_01", "F", "Mus musculus")
        assert subject.age == "P12W"
        assert read.session_start_time.isoformat() == "2026-03-01T09:30:00+00:00"
        assert "date in cohort.csv (2026-03-01)" in read.session_description
        assert read.pharmacology == "gabapentin, 30 mg/kg, i.p., 60 min before"
        assert json.loads(read.notes)["fingerprint"] == "f00"
        video = read.acquisition["video"]
        assert (written.parent / video.external_file[0]).resolve() == (
            written.parents[2] / "videos" / "day7" / "m 01.mp4"
        ).resolve()
        assert (video.rate, video.num_samples) == (25.0, 150)


def starts(date, created, told=""):
    table = pd.DataFrame({"video": ["v.mp4"], "date": [date], "created": [created]})
    return nwb.find_starts(table, told)["v.mp4"]


def test_the_start_is_the_files_own_unless_the_cohort_gives_another_day():
    tag = "2026-03-01T09:30:00.000000Z"
    assert starts("", tag).time.isoformat() == "2026-03-01T09:30:00+00:00"
    assert starts("2026-03-01", tag).basis.startswith("creation time")
    other = starts("2026-02-27", tag)
    assert other.time.isoformat() == "2026-02-27T00:00:00+00:00"
    assert "time of day is unknown" in other.basis


def test_an_unknown_start_is_asked_for_and_not_made_up():
    with pytest.raises(ValueError, match=r"'v.mp4'.*--session_start="):
        starts("", "")
    told = starts("", "", "2026-03-01T09:30:00+01:00")
    assert told.time.utcoffset() == datetime.timedelta(hours=1)
    assert "given by the user" in told.basis
    with pytest.raises(ValueError, match="not ISO 8601"):
        starts("", "", "yesterday")


def test_two_recordings_never_share_a_file():
    table = pd.DataFrame({"animal": ["m1", "m1"], "video": ["a b.mp4", "a-b.mp4"]})
    with pytest.raises(ValueError, match="'a b.mp4' and 'a-b.mp4'"):
        nwb.check_names(table)
    nwb.check_names(table.assign(animal=["m1", "m2"]))


def test_a_bout_ends_where_its_video_does():
    bouts = pd.DataFrame({"video": ["a", "a", "b"], "stop_s": [1.0, 2.56, 2.0]})
    recordings = pd.DataFrame({"video": ["a", "b"], "duration_s": [2.5, 9.0]})
    assert study_tables._within(bouts, recordings)["stop_s"].tolist() == [1.0, 2.5, 2.0]
