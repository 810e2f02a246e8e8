"""Projects of BORIS: events that pair up to the bouts they came from, and nothing unlisted."""

import json

import numpy as np
import pandas as pd
import pytest

from mpjax.interop import boris


def make_recordings():
    shared = {
        "cage": "c", "sex": "F", "condition": "sni", "day": 7, "drug": "", "split": "test",
        "dose_mg_per_kg": np.nan, "minutes_post_dose": 60.0, "fps": 25.0, "duration_s": 8.0,
        "date": "",
    }  # fmt: skip
    return pd.DataFrame(
        [
            shared | {"video": "a.mp4", "animal": "m1", "path": "/videos/a.mp4"},
            shared | {"video": "b.mp4", "animal": "m2", "path": "/videos/b.mp4"},
        ]
    )


def make_bouts():
    rows = [
        ("a.mp4", "m1", 0.0, 4.0, "motif 1"),
        ("a.mp4", "m1", 4.0, 6.0, "motif 0"),
        ("a.mp4", "m1", 6.0, 8.00049, "motif 1"),
    ]
    return pd.DataFrame(rows, columns=["video", "animal", "start_s", "stop_s", "behaviour"])


def make_project(bouts):
    project = boris.make_project(
        bouts, make_recordings(), ["motif 0", "motif 1", "unlike"],
        name="n", category="motifs", description="d", date="2026-03-01T09:30:00",
    )  # fmt: skip
    return json.loads(json.dumps(project, allow_nan=False))


def pair(events):
    """Pairs the events of one observation as BORIS does: a behaviour's starts and stops in turn."""
    open_since, bouts = {}, []
    for time, subject, code, *_ in events:
        if (subject, code) in open_since:
            bouts.append((subject, open_since.pop((subject, code)), time, code))
        else:
            open_since[subject, code] = time
    assert not open_since
    return sorted(bouts)


def test_pairing_the_events_gives_back_the_bouts():
    project = make_project(make_bouts())
    assert pair(project["observations"]["a.mp4"]["events"]) == [
        ("m1", 0.0, 4.0, "motif 1"), ("m1", 4.0, 6.0, "motif 0"), ("m1", 6.0, 8.0, "motif 1"),
    ]  # fmt: skip
    assert project["observations"]["b.mp4"]["events"] == []


def test_bouts_of_one_behaviour_that_touch_stay_two():
    bouts = make_bouts().iloc[:2].assign(behaviour="motif 1")
    project = make_project(bouts)
    events = project["observations"]["a.mp4"]["events"]
    assert [event[0] for event in events] == [0.0, 4.0, 4.0, 6.0]
    assert pair(events) == [("m1", 0.0, 4.0, "motif 1"), ("m1", 4.0, 6.0, "motif 1")]


def test_every_event_names_a_behaviour_and_a_subject_of_the_project():
    project = make_project(make_bouts())
    codes = {each["code"] for each in project["behaviors_conf"].values()}
    names = {each["name"] for each in project["subjects_conf"].values()}
    assert codes == {"motif 0", "motif 1", "unlike"}
    assert names == {"m1", "m2"}
    for observation in project["observations"].values():
        (path,) = observation["file"]["1"]
        assert observation["media_info"]["length"] == {path: 8.0}
        for event in observation["events"]:
            assert event[2] in codes
            assert event[1] in names
            assert event[5] == round(event[0] * 25)
    assert {each["type"] for each in project["behaviors_conf"].values()} == {"State event"}
    variables = project["observations"]["a.mp4"]["independent_variables"]
    assert (variables["condition"], variables["dose_mg_per_kg"]) == ("sni", "")
    assert variables["minutes_post_dose"] == "60.0"


def test_a_behaviour_that_is_not_in_the_ethogram_is_refused():
    with pytest.raises(ValueError, match="behaviour 'rearing', which the project does not list"):
        make_project(make_bouts().assign(behaviour="rearing"))


def test_the_table_of_events_holds_the_bouts():
    table = boris.aggregate_events(make_bouts(), make_recordings(), category="motifs")
    assert table["Start (s)"].tolist() == [0.0, 4.0, 6.0]
    assert table["Stop (s)"].tolist() == [4.0, 6.0, 8.0]
    assert table["Behavior"].tolist() == ["motif 1", "motif 0", "motif 1"]
    assert set(table["Subject"]) == {"m1"}
    assert set(table["Media file name"]) == {"/videos/a.mp4"}
