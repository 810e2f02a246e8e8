"""What a cohort table may not hold: faults of cells, arms and the table."""

import pytest
from cohort_files import BASE, HEADER, faults_of, make_rows, write, write_rows

from data_prep import cohort as cohorts
from data_prep.cohort import CohortError
from data_prep.cohort.checks import COLUMNS
from data_prep.cohort.errors import Fault

# Faults of cells.


BAD_CELLS = (
    ("sex", "X", "M or F"),
    ("day", "7.5", "whole number"),
    ("day", "seven", "whole number"),
    ("day", "", "empty"),
    ("condition", "", "empty"),
    ("animal", "", "empty"),
    ("video", "", "empty"),
    ("roi", "1:2:3", "x:y:w:h"),
    ("roi", "0:0:0:9", "w and h > 0"),
    ("roi", "-1:0:9:9", "x:y:w:h"),
    ("fps", "-25", "frames/s"),
    ("fps", "inf", "frames/s"),
    ("fps", "10001", "at most 10000"),
    ("fps", "1e999", "frames/s"),
    ("split", "training", "train, val, test, drug"),
    ("split", "", "all rows or on none"),
    ("video", "nowhere.avi", "no such file"),
    ("video", "folder", "is a directory"),
    ("video", "x\\y.avi", "separated by /"),
    ("pose", "nowhere.csv", "no such file"),
    ("dose_mg_per_kg", "-3", "0 or more"),
    ("dose_mg_per_kg", "ten", "0 or more"),
    ("dose_mg_per_kg", "30", "drug is empty"),
    ("minutes_post_dose", "30", "drug is empty"),
    ("minutes_post_dose", "-30", "leave drug empty"),
)


def test_a_bad_cell_is_one_fault_with_row_column_value_rule(tmp_path):
    rows = make_rows(animals=5)
    rows = [row | {"split": "train"} for row in rows]
    (tmp_path / "folder").mkdir()
    for row, (column, value, _) in zip(rows, BAD_CELLS, strict=False):
        row[column] = value
    path = write_rows(tmp_path, rows)
    faults = faults_of(path)
    for number, (fault, (column, value, rule)) in enumerate(
        zip(faults, BAD_CELLS, strict=True), start=2
    ):
        assert (fault.row, fault.column, fault.value) == (number, column, value)
        assert rule in fault.rule
        text = f"{path}: row {number}, column {column}, value {value!r}: {fault.rule}"
        assert str(CohortError(path, [fault])) == text


BAD_ARMS = (
    ("gabapentin", "", "dose_mg_per_kg", "above 0"),
    ("gabapentin", "0", "dose_mg_per_kg", "above 0"),
    ("saline", "", "dose_mg_per_kg", "control arm write vehicle"),
    ("vehicle", "30", "dose_mg_per_kg", "0 or empty"),
    ("Vehicle", "", "drug", "'vehicle'"),
    ("vehicel", "", "drug", "'vehicle'"),
    ("Gabapentin", "30", "drug", "'gabapentin'"),
    ("gabapentine", "30", "drug", "'gabapentin'"),
    ("gabapetnin", "30", "drug", "'gabapentin'"),
)


def test_unknown_drug_arms_are_refused(tmp_path):
    rows = make_rows()
    for row in rows[:3]:
        row |= {"drug": "gabapentin", "dose_mg_per_kg": "30"}
    for row, (drug, dose, _, _) in zip(rows[3:], BAD_ARMS, strict=False):
        row |= {"drug": drug, "dose_mg_per_kg": dose}
    faults = faults_of(write_rows(tmp_path, rows))
    for number, (fault, (_, _, column, rule)) in enumerate(
        zip(faults, BAD_ARMS, strict=True), start=5
    ):
        assert (fault.row, fault.column) == (number, column)
        assert rule in fault.rule


def test_drugs_with_like_names_stay_apart(tmp_path):
    drugs = [
        *("drugA", "drugB", "compound1", "compound2", "compoundA", "compoundB"),
        *("S-ketamine", "R-ketamine", "citalopram", "escitalopram", "gabapentin", "pregabalin"),
    ]
    rows = make_rows()
    for row, drug in zip(rows, drugs, strict=False):
        row |= {"drug": drug, "dose_mg_per_kg": "30"}
    table = cohorts.read_cohort(write_rows(tmp_path, rows)).table
    assert table["drug"][: len(drugs)].tolist() == drugs


# Faults of the table.


def test_all_faults_come_together_in_the_order_of_rows(tmp_path):
    text = (
        "video,animal,condition,day,sex,colour\n"
        "a.mp4,m1,sni,7,X,\n"
        "b.mp4,m2,sham,x,M,\n"
        "missing.avi,,sham,7,M,\n"
        "a.mp4,m1,cfa,7,M,\n"
    )
    faults = faults_of(write(tmp_path, text))
    assert [(fault.row, fault.column, fault.value) for fault in faults] == [
        (1, "colour", "colour"),
        (2, "sex", "X"),
        (3, "day", "x"),
        (4, "animal", ""),
        (4, "video", "missing.avi"),
        (5, "condition", "cfa"),
        (5, "video", "a.mp4"),
    ]


def test_the_message_is_capped_and_the_faults_are_not():
    faults = [Fault(row, "sex", "X", "must be M or F") for row in range(2, 202)]
    error = CohortError("cohort.csv", faults)
    assert len(error.faults) == 200
    assert str(error).startswith("cohort.csv: 200 faults\n  row 2, column sex, value 'X': must")
    assert str(error).endswith("... and 150 more")
    assert len(str(error).splitlines()) == 52


def test_an_unknown_column_is_told_the_nearest_known_one(tmp_path):
    (fault,) = faults_of(
        write(tmp_path, BASE.replace("day\n", "day,Cages\n").replace("7\n", "7,\n"))
    )
    assert (fault.row, fault.column) == (1, "Cages")
    assert "did you mean cage?" in fault.rule
    assert all(column in fault.rule for column in COLUMNS)


def test_missing_double_and_nameless_columns_are_named(tmp_path):
    text = "video,condition,condition,,day\na.mp4,sni,sham,x,7\n"
    faults = faults_of(write(tmp_path, text))
    assert {(fault.row, fault.column) for fault in faults} == {
        *((1, "animal"), (1, "condition"), (1, "")),
    }


def test_a_row_of_another_width_is_a_fault(tmp_path):
    faults = faults_of(write(tmp_path, BASE + "c.mp4,m3,sni,7,8\nd.mp4,m4,sni\n"))
    assert [fault.row for fault in faults if "cells" in fault.rule] == [4, 5]


@pytest.mark.parametrize(
    ("again", "rule"),
    [
        ("a.mp4,m1,sni,7", "repeats row 2"),
        ("a.mp4,m1,sni,9", "listed already on row 2"),
        ("./a.mp4,m1,sni,7", "listed already on row 2"),
    ],
)
def test_a_recording_has_one_row(tmp_path, again, rule):
    (fault,) = faults_of(write(tmp_path, BASE + again + "\n"))
    assert (fault.row, fault.column) == (4, "video")
    assert rule in fault.rule


@pytest.mark.parametrize(("column", "value"), [("condition", "cfa"), ("sex", "F"), ("cage", "c9")])
def test_an_animal_has_one_condition_sex_and_cage(tmp_path, column, value):
    rows = [row | {"sex": "M", "cage": row["animal"]} for row in make_rows(("sni", "sham"))]
    rows[1][column] = value
    (fault,) = faults_of(write_rows(tmp_path, rows))
    assert (fault.row, fault.column, fault.value) == (3, column, value)
    assert "row 2" in fault.rule


def test_an_animal_may_have_many_labels(tmp_path):
    text = "video,animal,label\n" + "".join(f"{i}.mp4,m{i % 4},l{i % 3}\n" for i in range(12))
    cohort = cohorts.read_cohort(write(tmp_path, text))
    assert cohort.taxonomy.fine == ("l0", "l1", "l2")
    assert cohort.taxonomy.coarse == ()
    assert cohort.table["day"].isna().all()


@pytest.mark.parametrize(
    ("column", "value"), [("animal", "CFA0"), ("condition", "Cfa"), ("cage", "c  A")]
)
def test_names_that_differ_in_case_or_space_are_one_name(tmp_path, column, value):
    rows = [
        row | {"cage": "c a" if row["condition"] == "cfa" else "b"}
        for row in make_rows(days=(1, 2, 3))
    ]
    rows[0][column] = value
    faults = faults_of(write_rows(tmp_path, rows))
    assert (2, column, value) in {(fault.row, fault.column, fault.value) for fault in faults}


def test_labels_win_and_are_given_on_all_rows_or_none(tmp_path):
    text = f"{HEADER},label\na.mp4,m1,sni,7,rear\nb.mp4,m2,sni,7,groom\n"
    assert cohorts.read_cohort(write(tmp_path, text)).taxonomy.fine == ("groom", "rear")
    text = text.replace("groom", "")
    (fault,) = faults_of(write(tmp_path, text))
    assert (fault.row, fault.column) == (3, "label")
    text = text.replace("rear", "")
    assert cohorts.read_cohort(write(tmp_path, text)).taxonomy.fine == ("sni@d7",)
