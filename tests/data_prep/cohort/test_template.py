"""The cohort template: what file names tell, what is left to be filled in, what is refused."""

import csv
from pathlib import Path

import pytest
from cohort_files import faults_of
from video_files import numbered

from data_prep import cohort as cohorts
from data_prep import template as binary
from data_prep.cohort import template


def read(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return {row["video"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    return numbered(tmp_path_factory.mktemp("video") / "v.mp4", 4).read_bytes()


@pytest.fixture
def folder(tmp_path, video):
    """Videos with and without telling names, one within a folder, and what is no video."""
    (tmp_path / "deeper").mkdir()
    for name in ("m01_d03.mp4", "m01_d14.MP4", "open field.mp4", "deeper/m02-d-1.mp4"):
        (tmp_path / name).write_bytes(video)
    (tmp_path / "notes.txt").write_text("m03_d07")
    (tmp_path / "._m01_d03.mp4").write_bytes(b"macOS leaves these")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "path", "cells"),
    [
        ("{animal}_d{day}", "x/mouse_07_d14.mp4", {"animal": "mouse_07", "day": "14"}),
        ("{animal}_d{day}", "x/M7 D03.avi", {"animal": "M7", "day": "3"}),
        ("{animal}_d{day}", "x/m07-d-1.mp4", {"animal": "m07", "day": "-1"}),
        ("{animal}_d{day}", "x/m07_d14_gbp.mp4", None),  # says more: never taken for untreated
        ("{animal}_d{day}", "x/m07_drink.mp4", None),
        (
            "{condition}/{animal}_{day}_*",
            "x/cfa/m07_14_cam2.mp4",
            {"condition": "cfa", "animal": "m07", "day": "14"},
        ),
        (
            "{animal}_d{day}_{drug}_{dose}mgkg_{minutes}min",
            "m1_d7_gabapentin_0.5mgkg_60min.mp4",
            {"animal": "m1", "day": "7", "drug": "gabapentin", "dose_mg_per_kg": "0.5",
             "minutes_post_dose": "60"},
        ),
        (
            "{animal}_d{day}_{drug}_{dose}mgkg",
            "m1_d7_Veh_0mgkg.mp4",
            {"animal": "m1", "day": "7", "drug": "vehicle", "dose_mg_per_kg": ""},
        ),
        ("{animal}_d{day}_{drug}", "m1_d7_2.mp4", None),  # a number is no drug
        ("{sex}{animal}", "m12.mp4", {"sex": "M", "animal": "12"}),
    ],
)  # fmt: skip
def test_a_pattern_reads_what_it_states_and_nothing_else(pattern, path, cells):
    assert template.parse_pattern(pattern).read(Path(path)) == cells


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{anmal}_{day}", "field {anmal} is not known; there are animal, condition, day"),
        ("{animal}_{animal}", "{animal} is given twice"),
        ("m_d", "holds no field"),
    ],
)
def test_a_faulty_pattern_is_refused_by_name(pattern, message):
    with pytest.raises(ValueError, match=message):
        template.parse_pattern(pattern)


def test_the_default_patterns_stand_in_the_help():
    for pattern in template.PATTERNS:
        assert pattern in binary.__doc__


def test_the_table_holds_what_names_tell_and_leaves_the_rest_empty(folder):
    written = template.write(folder)
    rows = read(folder / "cohort.csv")
    assert list(rows) == ["m01_d03.mp4", "m01_d14.MP4", "open field.mp4"]
    assert rows["m01_d14.MP4"] == dict.fromkeys(template.COLUMNS, "") | {
        "video": "m01_d14.MP4", "animal": "m01", "day": "14",
    }  # fmt: skip
    assert not any(value for name, value in rows["open field.mp4"].items() if name != "video")
    told = "\n".join(template.describe(written))
    assert "filled in by '{animal}_d{day}': 2 file(s)" in told
    assert "not filled in: 1 file(s) whose names fit no pattern: open field.mp4" in told
    assert "fill in: animal (1 rows), condition (3 rows), day (1 rows)" in told
    assert f"mpjax check {folder}/cohort.csv" in told
    assert "left out: 1 video(s) in subfolders; --recursive includes them" in told


def test_a_pattern_of_folders_looks_into_them(folder):
    written = template.write(folder, patterns=["{label}/{animal}_d{day}"])
    assert any("/" in row["video"] for row in written.rows)
    assert written.deeper == 0


def test_the_check_tells_what_is_still_empty_and_then_accepts_the_table(folder):
    out = folder / "tables" / "mine.csv"
    template.write(folder, out=out, recursive=True, patterns=["{animal}_d{day}"])
    faults = faults_of(out)
    assert {fault.column for fault in faults} == {"animal", "condition", "day"}
    assert len(faults) == 4 + 2  # every condition; animal and day of the video that tells none
    text = out.read_text()
    text = text.replace("m01,,,,", "m01,,F,sni,").replace("m02,,,,", "m02,,M,sham,")
    out.write_text(text.replace("open field.mp4,,,,,", "open field.mp4,m02,,M,sham,7"))
    cohort = cohorts.read_cohort(out)
    assert len(cohort.table) == 4
    assert cohort.taxonomy.coarse == ("no_pain", "sni")


def test_columns_left_empty_are_told_in_one_line_each(folder):
    for i in range(4):
        (folder / f"x{i}.mp4").write_bytes((folder / "m01_d03.mp4").read_bytes())
    template.write(folder)
    with pytest.raises(cohorts.CohortError) as error:
        cohorts.read_cohort(folder / "cohort.csv")
    lines = str(error.value).splitlines()
    assert len(lines) == 4  # how many faults, and three columns
    assert "  rows 4-8, column animal, empty: must not be empty" in lines
    assert "rows 2-8, column condition, empty" in lines[1]


def test_a_table_is_never_overwritten(folder):
    (folder / "cohort.csv").write_text("mine")
    with pytest.raises(FileExistsError, match=r"exists already.*--out=OTHER\.csv"):
        template.write(folder)
    assert (folder / "cohort.csv").read_text() == "mine"


def test_unreadable_videos_are_named_and_left_out(folder):
    (folder / "m09_d01.mp4").write_bytes(b"not a video")
    written = template.write(folder)
    assert "m09_d01.mp4" not in read(written.path)
    assert len(written.rows) == 3
    assert [line for line in template.describe(written) if "unreadable" in line and "m09" in line]


def test_a_folder_without_videos_says_where_there_are_some(tmp_path, video):
    with pytest.raises(FileNotFoundError, match="no such folder"):
        template.write(tmp_path / "gone")
    with pytest.raises(ValueError, match=r"holds no video \(\.avi"):
        template.write(tmp_path)
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "m1_d1.mp4").write_bytes(video)
    with pytest.raises(ValueError, match="its subfolders hold 1: add --recursive"):
        template.write(tmp_path)
    assert not (tmp_path / "cohort.csv").exists()


def test_a_pattern_of_ones_own_that_fits_nothing_writes_nothing(folder):
    with pytest.raises(ValueError, match="fits no video, such as m01_d03.mp4; nothing was written"):
        template.write(folder, patterns=["{animal}_day{day}_cam*"])
    assert not (folder / "cohort.csv").exists()


def test_a_label_in_the_pattern_takes_the_place_of_condition_and_day(folder):
    written = template.write(folder, recursive=True, patterns=["{label}/{animal}_d{day}"])
    rows = read(written.path)
    assert rows["deeper/m02-d-1.mp4"]["label"] == "deeper"
    assert any("fill in: animal (1 rows), label (1 rows)" in x for x in template.describe(written))
