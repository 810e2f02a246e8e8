import math
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import cohort as cohorts
from data_prep.cohort import CohortError, Fault
from mpjax.config import SplitConfig

ROOT = Path(__file__).resolve().parents[2]
RODENT_CLIPS = ROOT / ".." / "shared" / "data" / "rodent_clips" / "cohort.csv"


def write(folder, text, *, videos=True, name="cohort.csv", encoding="utf-8"):
    """Writes a csv, and an empty file for each `*.mp4` it names."""
    path = folder / name
    path.write_bytes(text.encode(encoding))
    if videos:
        for cell in text.replace(";", ",").replace("\t", ",").replace("\n", ",").split(","):
            if cell.strip().endswith(".mp4"):
                (folder / cell.strip()).touch()
    return path


def make_rows(conditions=("cfa", "sham", "sni"), animals=6, days=(1, 7), per_cage=0):
    """Returns rows of a plain cohort, every animal on every day."""
    rows = []
    for condition in conditions:
        for i in range(animals):
            for day in days:
                row = {"video": f"{condition}{i}d{day}.mp4", "animal": f"{condition}{i}"}
                row |= {"condition": condition, "day": str(day)}
                if per_cage:
                    row["cage"] = f"{condition}-{i // per_cage}"
                rows.append(row)
    return rows


def write_rows(folder, rows, **options):
    return write(folder, pd.DataFrame(rows).fillna("").to_csv(index=False), **options)


def faults_of(path, **options):
    with pytest.raises(CohortError) as error:
        cohorts.read_cohort(path, **options)
    assert str(path.name) in str(error.value)
    return error.value.faults


HEADER = "video,animal,condition,day"
BASE = f"{HEADER}\na.mp4,m1,sni,7\nb.mp4,m2,sham,7\n"


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
    assert set(cohorts.COLUMNS) | {"path", "row", "fold"} == set(table.columns)


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (BASE, "utf-8-sig"),
        (BASE.replace("\n", "\r\n"), "utf-8"),
        (BASE.replace(",", ";"), "utf-8-sig"),
        (BASE.replace(",", "\t"), "utf-8"),
        (BASE.replace("\n", ",,\n"), "utf-8"),
    ],
    ids=["bom", "crlf", "semicolons", "tabs", "padded"],
)
def test_spreadsheet_dialects_read_alike(tmp_path, text, encoding):
    plain = cohorts.read_cohort(write(tmp_path, BASE)).table
    other = cohorts.read_cohort(write(tmp_path, text, name="x.csv", encoding=encoding)).table
    pd.testing.assert_frame_equal(other, plain)


def test_windows_1252_is_read_with_a_warning(tmp_path, caplog):
    path = write(tmp_path, BASE.replace("m1", "mäuschen"), encoding="cp1252")
    assert cohorts.read_cohort(path).table["animal"][0] == "mäuschen"
    assert "CSV UTF-8" in caplog.text


def test_semicolons_bring_decimal_commas(tmp_path):
    text = BASE.replace(",", ";").replace("day", "day;fps").replace("7\n", "7;12,5\n")
    assert cohorts.read_cohort(write(tmp_path, text)).table["fps"].tolist() == [12.5, 12.5]


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


# Faults of cells.


@pytest.mark.parametrize(
    ("column", "value", "rule"),
    [
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
        ("fps", "nan", "frames/s"),
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
    ],
)
def test_a_bad_cell_is_one_fault_with_row_column_value_rule(tmp_path, column, value, rule):
    rows = make_rows(animals=4)
    if column == "split":
        rows = [row | {"split": "train"} for row in rows]
    path = write_rows(tmp_path, rows)
    (tmp_path / "folder").mkdir()
    rows[3][column] = value
    (fault,) = faults_of(write_rows(tmp_path, rows, videos=False))
    assert (fault.row, fault.column) == (5, column)
    assert fault.value in (value, value.removesuffix(".0"))
    assert rule in fault.rule
    assert str(CohortError(path, [fault])).startswith(f"{path}: row 5, column {column}")


@pytest.mark.parametrize(
    ("drug", "dose", "column", "rule"),
    [
        ("gabapentin", "", "dose_mg_per_kg", "above 0"),
        ("gabapentin", "0", "dose_mg_per_kg", "above 0"),
        ("saline", "", "dose_mg_per_kg", "written vehicle"),
        ("vehicle", "30", "dose_mg_per_kg", "0 or empty"),
        ("Vehicle", "", "drug", "'vehicle'"),
        ("vehicel", "", "drug", "'vehicle'"),
        ("Gabapentin", "30", "drug", "'gabapentin'"),
        ("gabapentine", "30", "drug", "'gabapentin'"),
        ("gabapetnin", "30", "drug", "'gabapentin'"),
    ],
)
def test_unknown_drug_arms_are_refused(tmp_path, drug, dose, column, rule):
    rows = make_rows()
    for row in rows[:3]:
        row |= {"drug": "gabapentin", "dose_mg_per_kg": "30"}
    rows[5] |= {"drug": drug, "dose_mg_per_kg": dose}
    (fault,) = faults_of(write_rows(tmp_path, rows))
    assert (fault.row, fault.column) == (7, column)
    assert rule in fault.rule


@pytest.mark.parametrize(
    "drugs",
    [
        ("drugA", "drugB"),
        ("compound1", "compound2"),
        ("S-ketamine", "R-ketamine"),
        ("compoundA", "compoundB"),
        ("citalopram", "escitalopram"),
        ("gabapentin", "pregabalin"),
    ],
)
def test_drugs_with_like_names_stay_apart(tmp_path, drugs):
    rows = make_rows()
    for row, drug in zip(rows, drugs, strict=False):
        row |= {"drug": drug, "dose_mg_per_kg": "30"}
    table = cohorts.read_cohort(write_rows(tmp_path, rows)).table
    assert tuple(table["drug"][:2]) == drugs


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
    assert all(column in fault.rule for column in cohorts.COLUMNS)


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


# Classes.


def test_excluded_classes_are_dropped_and_unknown_ones_refused(tmp_path):
    path = write_rows(tmp_path, make_rows())
    cohort = cohorts.read_cohort(path, exclude=("sni@d7", "sni@d1"))
    assert cohort.taxonomy.fine == ("cfa@d1", "cfa@d7", "sham@d1", "sham@d7")
    assert set(cohort.table["label"]) == set(cohort.taxonomy.fine)
    (fault,) = faults_of(path, exclude=("sni@d2", "sni@d1"))
    assert "no class sni@d2; the classes are cfa@d1, cfa@d7" in fault.rule


def test_the_taxonomy_file_beside_the_csv_groups_and_chooses(tmp_path):
    rows = make_rows()
    rows[-1] |= {"drug": "vehicle"}
    path = write_rows(tmp_path, rows)
    (tmp_path / "taxonomy.toml").write_text(
        'fine = ["sham@d7", "cfa@d7"]\n[coarse]\npain = ["cfa@*"]\nrest = ["sham@*"]\n'
    )
    cohort = cohorts.read_cohort(path)
    assert cohort.taxonomy.fine == ("sham@d7", "cfa@d7")
    assert cohort.taxonomy.coarse == ("pain", "rest")
    trainable = cohort.table[cohort.table["split"] != "drug"]
    assert set(trainable["label"]) == {"sham@d7", "cfa@d7"}
    assert (cohort.table["split"] == "drug").sum() == 2, "recordings of the drug test are kept"


def test_drug_rows_make_no_class_and_an_all_drug_cohort_is_refused(tmp_path):
    rows = make_rows(days=(1,))
    rows.append(rows[0] | {"video": "post.mp4", "day": "99", "drug": "vehicle"})
    cohort = cohorts.read_cohort(write_rows(tmp_path, rows))
    assert cohort.taxonomy.fine == ("cfa@d1", "sham@d1", "sni@d1")
    assert cohort.table["split"][cohort.table["animal"] == "cfa0"].tolist() == ["drug", "drug"]
    rows = [row | {"drug": "vehicle"} for row in rows]
    for options in ({}, {"split": "drug"}):
        (fault,) = faults_of(write_rows(tmp_path, [row | options for row in rows]))
        assert "left to train on" in fault.rule


# Sides.


def with_split(rows, split_of):
    return [row | {"split": split_of(row)} for row in rows]


def by_animal(row):
    return {"0": "test", "1": "val"}.get(row["animal"][-1], "train")


def test_a_hand_made_split_is_used_as_given(tmp_path):
    rows = with_split(make_rows(animals=3), by_animal)
    cohort = cohorts.read_cohort(write_rows(tmp_path, rows))
    assert cohort.table["split"].tolist() == [row["split"] for row in rows]
    assert (cohort.scheme, cohort.group, set(cohort.table["fold"])) == ("fixed", "animal", {-1})


def test_a_hand_made_split_keeps_an_animal_on_one_side(tmp_path):
    rows = with_split(make_rows(animals=3), by_animal)
    rows[5]["split"] = "test"
    (fault,) = faults_of(write_rows(tmp_path, rows))
    assert (fault.row, fault.column, fault.value) == (7, "split", "test")
    assert "animal cfa2 is in train on row 6" in fault.rule


def test_a_hand_made_split_keeps_a_cage_on_one_side(tmp_path):
    rows = with_split(make_rows(animals=4, per_cage=2), by_animal)
    path = write_rows(tmp_path, rows)
    faults = faults_of(path)
    assert {fault.rule.split()[0] for fault in faults} == {"cage"}
    assert [fault.row for fault in faults] == [4, 5, 12, 13, 20, 21]
    assert cohorts.read_cohort(path, split=SplitConfig(group="animal")).scheme == "fixed"


def test_a_hand_made_split_puts_drug_animals_in_drug(tmp_path):
    rows = with_split(make_rows(animals=3), by_animal)
    rows[5] |= {"drug": "gabapentin", "dose_mg_per_kg": "30", "split": "drug"}
    (fault,) = faults_of(write_rows(tmp_path, rows))
    assert (fault.row, fault.column, fault.value) == (6, "split", "train")
    assert "drug" in fault.rule


def test_a_hand_made_split_trains_on_every_class(tmp_path):
    rows = with_split(make_rows(animals=3), by_animal)
    rows.append(rows[0] | {"video": "late.mp4", "day": "21"})
    path = write_rows(tmp_path, rows)
    (fault,) = faults_of(path)
    assert (fault.row, fault.value) == (20, "test")
    assert "cfa@d21" in fault.rule
    assert cohorts.read_cohort(path, exclude=("cfa@d21",)).scheme == "fixed"


def test_a_hand_made_split_and_a_scheme_contradict(tmp_path):
    path = write_rows(tmp_path, with_split(make_rows(animals=3), by_animal))
    (fault,) = faults_of(path, split=SplitConfig(scheme="kfold"))
    assert "drop one" in fault.rule


def test_check_no_leak_names_the_rows_of_an_animal_on_two_sides(tmp_path):
    table = cohorts.read_cohort(write_rows(tmp_path, make_rows())).table
    cohorts.check_no_leak(table, "animal")
    for column, value in (("split", "drug"), ("fold", 3)):
        broken = table.copy()
        broken.loc[1, column] = value
        with pytest.raises(CohortError) as error:
            cohorts.check_no_leak(broken, "animal")
        assert [fault.row for fault in error.value.faults] == [3]


@pytest.mark.parametrize(
    ("animals", "per_cage", "conditions", "scheme", "folds"),
    [
        (6, 0, 3, "fixed", 0),
        (5, 0, 3, "kfold", 5),
        (4, 0, 3, "kfold", 4),
        (12, 2, 3, "fixed", 0),
        (6, 2, 3, "kfold", 3),
        (1, 0, 3, "leave_one_group_out", 3),
        (5, 0, 1, "leave_one_group_out", 5),
    ],
)
def test_auto_takes_fixed_then_leave_one_out_then_kfold(
    tmp_path, animals, per_cage, conditions, scheme, folds
):
    rows = make_rows(("cfa", "sham", "sni")[:conditions], animals=animals, per_cage=per_cage)
    cohort = cohorts.read_cohort(write_rows(tmp_path, rows))
    assert cohort.scheme == scheme
    assert cohort.group == ("cage" if per_cage else "animal")
    assert set(cohort.table["fold"]) == (set(range(folds)) or {-1})


def test_fixed_counts_follow_the_fractions_per_condition(tmp_path):
    cohort = cohorts.read_cohort(write_rows(tmp_path, make_rows(animals=20)))
    animals = cohort.table.drop_duplicates("animal")
    for _, splits in animals.groupby("condition")["split"]:
        assert splits.value_counts().to_dict() == {"train": 11, "val": 4, "test": 5}


def test_fixed_with_too_few_animals_is_refused(tmp_path):
    path = write_rows(tmp_path, make_rows(animals=2))
    (fault,) = faults_of(path, split=SplitConfig(scheme="fixed"))
    assert "cfa has 2 animal(s)" in fault.rule


def test_a_class_of_few_animals_makes_auto_take_folds(tmp_path):
    rows = [*make_rows(), make_rows()[0] | {"video": "late.mp4", "day": "21"}]
    assert cohorts.read_cohort(write_rows(tmp_path, rows)).scheme == "kfold"


def test_one_animal_cannot_be_divided(tmp_path):
    (fault,) = faults_of(write_rows(tmp_path, make_rows(("sni",), animals=1)))
    assert "one animal" in fault.rule


def test_cages_are_the_unit_only_where_every_trainable_row_names_one(tmp_path, caplog):
    rows = make_rows(per_cage=1)
    rows[0]["cage"] = rows[1]["cage"] = ""
    path = write_rows(tmp_path, rows)
    assert cohorts.read_cohort(path).group == "animal"
    assert "cage is empty on 2 trainable rows" in caplog.text
    (fault,) = faults_of(path, split=SplitConfig(group="cage"))
    assert (fault.row, fault.column) == (2, "cage")
    rows[0]["drug"] = "vehicle"
    assert cohorts.read_cohort(write_rows(tmp_path, rows)).group == "cage"


def test_cage_mates_of_drug_animals_stay_trainable_with_a_warning(tmp_path, caplog):
    rows = make_rows(per_cage=2)
    rows[0]["drug"] = "vehicle"
    cohort = cohorts.read_cohort(write_rows(tmp_path, rows))
    assert set(cohort.table["animal"][cohort.table["split"] == "drug"]) == {"cfa0"}
    assert "cage" in caplog.text
    assert "cfa-0" in caplog.text


def test_a_class_of_one_group_is_warned_of(tmp_path, caplog):
    rows = [*make_rows(), make_rows()[0] | {"video": "late.mp4", "day": "21"}]
    cohorts.read_cohort(write_rows(tmp_path, rows))
    assert "class cfa@d21 is in one animal only (cfa0)" in caplog.text


@pytest.mark.parametrize(
    "config",
    [
        SplitConfig(scheme="random"),
        SplitConfig(group="litter"),
        SplitConfig(test_fraction=0.0),
        SplitConfig(test_fraction=0.6, val_fraction=0.4),
        SplitConfig(folds=1),
    ],
)
def test_a_config_that_no_scheme_can_use_is_refused(tmp_path, config):
    with pytest.raises(ValueError, match=r"split\.\w+ is"):
        cohorts.read_cohort(write(tmp_path, BASE), split=config)


@st.composite
def tables(draw):
    """Draws tables as `read_cohort` has them before it divides, of whatever shape."""
    has_cages = draw(st.booleans())
    labels = draw(st.booleans())
    rows = []
    for i in range(draw(st.integers(2, 16))):
        cage = f"c{draw(st.integers(0, 5))}" if has_cages else ""
        condition = draw(st.sampled_from(("cfa", "sham", "sni")))
        split = draw(st.sampled_from(("test", "test", "test", "drug")))
        for day in draw(st.lists(st.integers(-2, 5), min_size=1, max_size=4, unique=True)):
            label = f"l{draw(st.integers(0, 3))}" if labels else f"{condition}@d{day}"
            row = {"animal": f"m{i}", "cage": cage, "condition": condition, "day": day}
            rows.append(row | {"label": label, "split": split, "fold": -1, "row": len(rows) + 2})
    return pd.DataFrame(rows).astype({"day": "Int64"}), "cage" if has_cages else "animal"


def divide(table, group, **options):
    """Returns the divided table and scheme; None where the cohort is too small for it."""
    try:
        return cohorts.assign_split(table, "cohort.csv", group, SplitConfig(**options))
    except CohortError as error:
        reasons = ("two or more", "too few", "no recording in train")
        if not all(any(reason in fault.rule for reason in reasons) for fault in error.faults):
            raise
        return None


SCHEMES = ("auto", "fixed", "kfold", "leave_one_group_out")


@settings(max_examples=40, deadline=None)
@given(tables(), st.sampled_from(SCHEMES), st.integers(0, 99), st.randoms(use_true_random=False))
def test_no_division_ever_leaks_or_depends_on_row_order(drawn, scheme, seed, random):
    table, group = drawn
    if (table["split"] == "drug").all():
        return
    divided = divide(table, group, scheme=scheme, seed=seed)
    order = random.sample(range(len(table)), len(table))
    shuffled = divide(table.iloc[order], group, scheme=scheme, seed=seed)
    assert (divided is None) == (shuffled is None)
    if divided is None:
        return
    result, used = divided
    pd.testing.assert_frame_equal(shuffled[0].sort_index(), result)
    assert shuffled[1] == used
    drug = table["split"] == "drug"
    assert (result["split"][drug] == "drug").all()
    assert (result["fold"][drug] == -1).all()
    trainable = result[~drug]
    for unit in {"animal", group}:
        sides = trainable.groupby(unit)[["split", "fold"]].nunique()
        assert (sides == 1).all(axis=None)
    if used == "fixed":
        assert set(trainable["split"]) == {"train", "val", "test"}
        assert (trainable["fold"] == -1).all()
    else:
        assert set(trainable["split"]) == {"test"}
        folds = trainable["fold"].nunique()
        assert set(trainable["fold"]) == set(range(folds))
        assert folds >= 2
    if used == "leave_one_group_out":
        assert folds == trainable[group].nunique()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=4), st.integers(0, 99))
def test_every_fold_has_every_condition_as_evenly_as_can_be(sizes, seed):
    rows = [
        {"animal": f"{c}-{i}", "cage": "", "condition": str(c), "day": 1, "label": f"{c}@d1"}
        for c, size in enumerate(sizes)
        for i in range(size)
    ]
    table = pd.DataFrame(rows).assign(split="test", fold=-1, row=0)
    result, _ = divide(table, "animal", scheme="kfold", seed=seed)
    assert result["fold"].nunique() == min(5, *sizes, len(rows))
    counts = pd.crosstab(result["condition"], result["fold"])
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    assert (counts >= 1).all(axis=None)
    total = counts.sum()
    assert total.max() - total.min() <= 1


def test_the_seed_decides_the_division(tmp_path):
    path = write_rows(tmp_path, make_rows(animals=8))
    divisions = {
        tuple(cohorts.read_cohort(path, split=SplitConfig(seed=seed)).table["split"])
        for seed in (0, 0, 1, 2, 3)
    }
    assert len(divisions) == 4


# The binary.


def make_drug_cohort(folder):
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
    return cohorts.read_cohort(write_rows(folder, rows))


def test_the_summary_counts_animals_recordings_and_minutes(tmp_path):
    cohort = make_drug_cohort(tmp_path)
    text = cohorts.summarise(cohort, [0.5] * len(cohort.table))
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


def test_an_unreadable_video_makes_its_minutes_unknown(tmp_path):
    cohort = make_drug_cohort(tmp_path)
    minutes = [0.5] * len(cohort.table)
    minutes[0] = math.nan
    lines = {" ".join(x.split()) for x in cohorts.summarise(cohort, minutes).splitlines()}
    assert {"cfa@d1 (cfa) 6 6 ?", "cfa@d3 (cfa) 6 6 3.0", "total 27 108 ?"} <= lines


def run(*flags):
    command = [sys.executable, "-m", "data_prep.cohort", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_the_binary_lists_faults_without_a_traceback_and_exits_with_one(tmp_path):
    path = write(tmp_path, BASE.replace("sham,7", "sham,x").replace("m1", ""))
    done = run(f"--cohort={path}")
    assert done.returncode == 1
    assert done.stdout == ""
    assert [line[:14] for line in done.stderr.splitlines()][1:] == [
        "  row 2, colum",
        "  row 3, colum",
    ]


def test_the_binary_says_which_videos_it_cannot_read(tmp_path):
    done = run(f"--cohort={write(tmp_path, BASE)}", "--config.split.seed=3")
    assert done.returncode == 1
    assert "total" in done.stdout
    assert "a.mp4" in done.stderr
    assert "b.mp4" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.skipif(not RODENT_CLIPS.exists(), reason="shared/data/rodent_clips is absent")
def test_real_clips_are_divided_by_cage_with_labels_winning():
    cohort = cohorts.read_cohort(RODENT_CLIPS, exclude=("normal",))
    assert (cohort.scheme, cohort.group) == ("leave_one_group_out", "cage")
    assert len(cohort.taxonomy.fine) == 6
    assert cohort.taxonomy.coarse == ()
    assert cohort.table.groupby("cage")["fold"].unique().map(list).to_dict() == {
        **{"cage1": [0], "cage2": [1], "num": [2]},
    }
