import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from cohort_files import BASE, HEADER, faults_of, make_rows, write, write_rows
from etils import epath
from video_files import write_video

from data_prep import cohort as cohorts
from data_prep.cohort import CohortError
from data_prep.cohort.checks import COLUMNS
from data_prep.cohort.table import summarise
from mpjax.config import StudyConfig

ROOT = Path(__file__).resolve().parents[3]


# What is read.


def test_a_row_keeps_its_values_and_its_spreadsheet_row(tmp_path):
    text = (
        "video,animal,cage,sex,condition,day,drug,dose_mg_per_kg,route,minutes_post_dose,fps,roi\n"
        "a.mp4,m1,c1,male,sni,-3,,,,,29.97,0:0:640:480\n"
        "\n"
        ",,,,,,,,,,,\n"
        " b.mp4 ,m2,c1,F,sni,7.0,gabapentin,30,ip,60,,\n"
        "c.mp4,m3,c2,,sham,7,vehicle,,,,,\n"
        "d.mp4,m4,c3,,sham,7,,,,,,\n"
    )
    table = cohorts.read_cohort(write(tmp_path, text)).table
    assert table["row"].tolist() == [2, 5, 6, 7]
    assert table["video"].tolist() == ["a.mp4", "b.mp4", "c.mp4", "d.mp4"]
    assert table["path"][1] == str(tmp_path / "b.mp4")
    assert table["sex"].tolist() == ["M", "F", "", ""]
    assert table["day"].tolist() == [-3, 7, 7, 7]
    assert table["label"].tolist() == ["sni@d-3", "sni@d7", "sham@d7", "sham@d7"]
    assert table["fps"].tolist() == [29.97, 0, 0, 0]
    assert table["roi"].tolist() == ["0:0:640:480", "", "", ""]
    assert table["split"].tolist() == ["test", "drug", "drug", "test"]
    assert table["minutes_post_dose"][1] == 60
    assert math.isnan(table["dose_mg_per_kg"][0])
    assert table["dose_mg_per_kg"][2] == 0, "the vehicle arm is one arm, dose written or not"
    assert set(COLUMNS) | {"path", "row", "fold"} == set(table.columns)


def test_spreadsheet_dialects_read_alike(tmp_path):
    plain = cohorts.read_cohort(write(tmp_path, BASE)).table
    for name, text, encoding in (
        ("bom", BASE, "utf-8-sig"),
        ("crlf", BASE.replace("\n", "\r\n"), "utf-8"),
        ("semicolons", BASE.replace(",", ";"), "utf-8-sig"),
        ("tabs", BASE.replace(",", "\t"), "utf-8"),
        ("padded", BASE.replace("\n", ",,\n"), "utf-8"),
        ("excel", "sep=;\r\n" + BASE.replace(",", ";").replace("\n", "\r\n"), "utf-8-sig"),
    ):
        path = write(tmp_path, text, name=f"{name}.csv", encoding=encoding)
        pd.testing.assert_frame_equal(cohorts.read_cohort(path).table, plain, obj=name)


def test_windows_1252_is_read_with_a_warning(tmp_path, caplog):
    path = write(tmp_path, BASE.replace("m1", "mäuschen"), encoding="cp1252")
    assert cohorts.read_cohort(path).table["animal"][0] == "mäuschen"
    assert "CSV UTF-8" in caplog.text


def test_semicolons_bring_decimal_commas(tmp_path):
    text = BASE.replace(",", ";").replace("day", "day;fps").replace("7\n", "7;12,5\n")
    assert cohorts.read_cohort(write(tmp_path, text)).table["fps"].tolist() == [12.5, 12.5]


def test_days_with_decimals_and_cells_that_say_not_given_are_read(tmp_path):
    text = "video;animal;condition;day;fps;dose_mg_per_kg\na.mp4;m1;sni;7,0;12,5;NA\n"
    table = cohorts.read_cohort(write(tmp_path, text + "b.mp4;m2;sham;7.0;n/a;-\n")).table
    assert table["day"].tolist() == [7, 7]
    assert table["fps"].tolist() == [12.5, 0]
    assert table["dose_mg_per_kg"].isna().all()


def test_a_comma_in_a_day_is_a_decimal_one_in_a_table_of_commas_too(tmp_path):
    table = cohorts.read_cohort(write(tmp_path, BASE.replace(",7\nb", ',"14,0"\nb'))).table
    assert table["day"].tolist() == [14, 7]


@pytest.mark.parametrize("nothing", ["NA", "na", "n/a", "NaN", "-"])
def test_what_programs_write_for_not_given_is_read_as_empty(tmp_path, nothing):
    columns = ["dose_mg_per_kg", "minutes_post_dose", "fps", "sex", "roi", "pose", "date"]
    rows = [row | dict.fromkeys(columns, nothing) for row in make_rows()]
    table = cohorts.read_cohort(write_rows(tmp_path, rows)).table
    empty = cohorts.read_cohort(write_rows(tmp_path, make_rows(), name="empty.csv")).table
    pd.testing.assert_frame_equal(table, empty)


def test_a_day_that_is_not_given_is_still_asked_for(tmp_path):
    (fault,) = faults_of(write(tmp_path, BASE.replace(",7\nb", ",NA\nb")))
    assert (fault.row, fault.column) == (2, "day")
    assert "must not be empty" in fault.rule


def test_a_table_that_cannot_be_read_is_told_with_its_name(tmp_path, monkeypatch):
    path = write(tmp_path, BASE)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(epath.Path(path)), "read_bytes", refuse)
    with pytest.raises(CohortError) as error:
        cohorts.read_cohort(path)
    assert str(error.value) == f"{path}: cannot be read (Permission denied)"


def test_a_header_without_video_and_animal_is_still_a_header(tmp_path):
    faults = faults_of(write(tmp_path, BASE.replace("video,animal", "file,mouse")))
    assert {(fault.row, fault.column) for fault in faults} >= {
        *((1, "file"), (1, "mouse"), (1, "video"), (1, "animal")),
    }


@pytest.mark.parametrize("first", ["Pilot of May,,,", BASE.replace(",", "|"), "\n" + BASE])
def test_a_first_row_that_is_no_header_is_one_fault(tmp_path, first):
    (fault,) = faults_of(write(tmp_path, f"{first}\n{BASE}", videos=False))
    assert "row 1 is not the header" in str(fault)
    assert "comma, semicolon or tab" in str(fault)


@pytest.mark.parametrize("day", ["D7", "day 7", "baseline", "2026-05-01", "14.05.2026"])
def test_a_day_that_is_none_is_told_with_the_way_out(tmp_path, day):
    (fault,) = faults_of(write(tmp_path, BASE.replace(",7\nb", f",{day}\nb")))
    assert "days after induction, such as 7 (0 or negative before it)" in str(fault)
    assert "instead of a date, give the days from induction to it" in str(fault)


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        (
            [{"label": "sniff"}, {"label": "sniff"}],
            "one class, sniff: no accuracy can be",
        ),
        (
            [{"label": "sniff", "split": "train"}, {"label": "rear", "split": "train"}],
            "no recording is held out",
        ),
        (
            [
                {"label": "sniff", "split": "train"},
                {"label": "rear", "split": "train"},
                {"label": "rear", "split": "val"},
            ],
            "no recording is held out",
        ),
    ],
)
def test_a_cohort_of_which_nothing_can_be_estimated_is_warned_of(tmp_path, caplog, rows, told):
    named = [{"video": f"{i}.mp4", "animal": f"m{i}", **row} for i, row in enumerate(rows)]
    cohorts.read_cohort(write_rows(tmp_path, named))
    assert told in caplog.text


@pytest.mark.parametrize("kind", ["missing", "directory", "empty", "blank", "header", "workbook"])
def test_a_file_that_is_no_table_gets_one_line(tmp_path, kind):
    path = tmp_path / "cohort.csv"
    if kind == "directory":
        path.mkdir()
    elif kind != "missing":
        content = {"empty": b"", "blank": b"\n \n", "header": HEADER.encode()}
        path.write_bytes(content.get(kind, b"PK\3\4\0\0"))
    (fault,) = faults_of(path)
    assert fault.row == 0
    assert "\n" not in str(CohortError(path, [fault]))


def test_an_unclosed_quote_is_named_with_its_line(tmp_path):
    (fault,) = faults_of(write(tmp_path, BASE + 'c.mp4,"m3,sni,7\n'))
    assert "quote" in fault.rule


# The binary.


@pytest.fixture(scope="module")
def drug_cohort(tmp_path_factory):
    rows = [row | {"drug": ""} for row in make_rows(days=(1, 3, 7, 14, 21))]
    for condition in ("cfa", "sham", "sni"):
        for i, (drug, dose) in enumerate(
            (("vehicle", "0"), ("gabapentin", "100"), ("gabapentin", "30"))
        ):
            animal = {"animal": f"{condition}-d{i}", "condition": condition, "day": "14"}
            rows.append(animal | {"video": f"{condition}-{i}pre.mp4"})
            rows.append(
                animal | {"video": f"{condition}-{i}.mp4", "drug": drug, "dose_mg_per_kg": dose}
            )
    return cohorts.read_cohort(write_rows(tmp_path_factory.mktemp("drug"), rows))


def test_the_summary_counts_animals_recordings_and_minutes(drug_cohort):
    text = summarise(drug_cohort, [0.5] * len(drug_cohort.table))
    lines = {" ".join(line.split()) for line in text.splitlines()}
    assert "sni@d7 (sni) 6 6 3.0" in lines
    assert "no_pain 6 30 15.0" in lines
    assert "14 27 36 18.0" in lines
    assert "gabapentin 30 mg/kg 3 3 1.5" in lines
    assert "sni, untreated 3 3 1.5" in lines
    assert "train 9 45 22.5" in lines
    assert "total 27 108 54.0" in lines
    for before, after in (("@d7", "@d14"), ("  vehicle", "  gabapentin"), (" 30 mg", " 100 mg")):
        assert text.index(before) < text.index(after)


def test_an_unreadable_video_makes_its_minutes_unknown(drug_cohort):
    minutes = [math.nan] + [0.5] * (len(drug_cohort.table) - 1)
    lines = {" ".join(x.split()) for x in summarise(drug_cohort, minutes).splitlines()}
    assert {"cfa@d1 (cfa) 6 6 ?", "cfa@d3 (cfa) 6 6 3.0", "total 27 108 ?"} <= lines


def test_the_binary_lists_faults_without_a_traceback_and_exits_with_one(tmp_path):
    path = write(tmp_path, BASE.replace("sham,7", "sham,x").replace("m1", ""))
    command = [sys.executable, "-m", "data_prep.cohort", f"--cohort={path}"]
    command.append("--config.split.seed=3")
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line[:14] for line in done.stderr.splitlines()][1:] == [
        "  row 2, colum",
        "  row 3, colum",
    ]


def test_the_binary_shows_its_progress_and_says_which_videos_it_cannot_read(tmp_path, capsys):
    path = write(tmp_path, BASE)
    write_video(tmp_path / "a.mp4", np.zeros((30, 64, 64, 3), np.uint8), rate=1)
    assert cohorts.check(StudyConfig(), path) == 1
    out, err = capsys.readouterr()
    rows = [line.split() for line in out.splitlines()]
    assert ["test,", "fold", "0", "1", "1", "0.5"] in rows
    assert ["total", "2", "2", "?"] in rows
    assert "probing: 100%" in err
    assert "2/2" in err
    unreadable = [line for line in err.splitlines() if line.startswith("unreadable: ")]
    assert len(unreadable) == 1
    assert str(tmp_path / "b.mp4") in unreadable[0]
    write_video(tmp_path / "b.mp4", np.zeros((30, 64, 64, 3), np.uint8), rate=1)
    assert cohorts.check(StudyConfig(), path) == 0


def test_a_roi_outside_the_picture_is_told_by_the_check_as_by_a_build(tmp_path, capsys):
    rows = [row | {"roi": ""} for row in make_rows(("sni", "sham"), animals=2, days=(7,))]
    for row, roi in zip(rows, ("0:0:64:48", "1:0:64:48", "0:40:8:9"), strict=False):
        row["roi"] = roi
    path = write_rows(tmp_path, rows, videos=False)
    for row in rows:
        write_video(tmp_path / row["video"], np.zeros((4, 48, 64, 3), np.uint8), rate=1)
    assert cohorts.check(StudyConfig(), path) == 1
    out, err = capsys.readouterr()
    told = [line for line in err.splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[2] for line in told] == [
        "row 3, column roi, value '1:0:64:48'",
        "row 4, column roi, value '0:40:8:9'",
    ]
    assert all(str(path) in line and "correct the roi" in line for line in told)
    assert "reaches to 65 x 48 px, the image is 64 x 48 px" in told[0]
    assert "then: mpjax study" not in out
    rows = [row | {"roi": ""} for row in rows]
    assert cohorts.check(StudyConfig(), write_rows(tmp_path, rows, videos=False)) == 0


def test_dates_and_cameras_are_read_and_checked_with_all_faults_at_once(tmp_path):
    head = "video,animal,condition,day,date,camera\n"
    good = write(tmp_path, head + "a.mp4,m1,sni,7,2026-03-14,left\nb.mp4,m2,sham,7,,Left 2\n")
    table = cohorts.read_cohort(good).table
    assert table["date"].tolist() == ["2026-03-14", ""]
    assert table["camera"].tolist() == ["left", "Left 2"]
    bad = write(
        tmp_path, head + "a.mp4,m1,sni,7,14.03.2026,cam 1\nb.mp4,m2,sham,7,2026-02-30,Cam 1\n"
    )
    faults = faults_of(bad)
    assert [(f.row, f.column, f.value) for f in faults] == [
        (2, "date", "14.03.2026"), (3, "date", "2026-02-30"), (3, "camera", "Cam 1"),
    ]  # fmt: skip
    assert "YYYY-MM-DD" in faults[0].rule
    assert "write 'cam 1'" in faults[2].rule
