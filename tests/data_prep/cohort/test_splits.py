from pathlib import Path

import pandas as pd
import pytest
from cohort_files import faults_of, make_rows, write_rows
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep import cohort as cohorts
from data_prep.cohort import CohortError
from data_prep.cohort.splits import assign_split
from mpjax.config import SplitConfig

ROOT = Path(__file__).resolve().parents[3]
RODENT_CLIPS = ROOT / ".." / "shared" / "data" / "rodent_clips" / "cohort.csv"


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
    assert "remove one" in fault.rule


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
    assert "have fewer than 3 animals to train on (fewest: cfa@d21 with 1)" in caplog.text


def test_a_cohort_without_painless_animals_is_warned_of(tmp_path, caplog):
    rows = [row for row in make_rows() if row["condition"] == "cfa"]
    cohorts.read_cohort(write_rows(tmp_path, rows), split=SplitConfig(group="animal"))
    assert "there will be no pain score and no drug test" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        {"scheme": "random"},
        {"group": "litter"},
        {"test_fraction": 0.0},
        {"val_fraction": -0.1},
        {"test_fraction": 0.6, "val_fraction": 0.4},
        {"test_fraction": 1.0, "val_fraction": 0.0},
        {"folds": 1},
    ],
)
def test_a_config_that_no_scheme_can_use_is_refused(values):
    with pytest.raises(ValueError, match=r"[Ss]plit.*\.\w+ .*must "):
        SplitConfig(**values)


@st.composite
def tables(draw):
    """Draws tables as `read_cohort` has them before it divides, of whatever shape."""
    has_cages = draw(st.booleans())
    labels = draw(st.booleans())
    rows = []
    for i in range(draw(st.integers(2, 16))):  # the first two may always be trained on
        cage = f"c{draw(st.integers(0, 5))}" if has_cages else ""
        condition = draw(st.sampled_from(("cfa", "sham", "sni")))
        split = draw(st.sampled_from(("test", "test", "test", "drug"))) if i > 1 else "test"
        for day in draw(st.lists(st.integers(-2, 5), min_size=1, max_size=4, unique=True)):
            label = f"l{draw(st.integers(0, 3))}" if labels else f"{condition}@d{day}"
            row = {"animal": f"m{i}", "cage": cage, "condition": condition, "day": day}
            rows.append(row | {"label": label, "split": split, "fold": -1, "row": len(rows) + 2})
    return pd.DataFrame(rows).astype({"day": "Int64"}), "cage" if has_cages else "animal"


def divide(table, group, **options):
    """Returns the divided table and scheme; None where the cohort is too small for it."""
    try:
        return assign_split(table, "cohort.csv", group, SplitConfig(**options))
    except CohortError as error:
        reasons = ("two or more", "too few", "no recording in train")
        if not all(any(reason in fault.rule for reason in reasons) for fault in error.faults):
            raise
        return None


SCHEMES = ("auto", "fixed", "kfold", "leave_one_group_out")


@settings(max_examples=25, deadline=None)
@given(tables(), st.sampled_from(SCHEMES), st.integers(0, 99), st.randoms(use_true_random=False))
def test_no_division_ever_leaks_or_depends_on_row_order(drawn, scheme, seed, random):
    table, group = drawn
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


def make_table(sizes):
    """Returns a table as `read_cohort` has it before it divides: so many animals per condition."""
    rows = [
        {"animal": f"{c}-{i}", "cage": "", "condition": str(c), "day": 1, "label": f"{c}@d1"}
        for c, size in enumerate(sizes)
        for i in range(size)
    ]
    return pd.DataFrame(rows).assign(split="test", fold=-1, row=0)


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(2, 9), min_size=1, max_size=4), st.integers(0, 99))
def test_every_fold_has_every_condition_as_evenly_as_can_be(sizes, seed):
    result, _ = divide(make_table(sizes), "animal", scheme="kfold", seed=seed)
    assert result["fold"].nunique() == min(5, *sizes, sum(sizes))
    counts = pd.crosstab(result["condition"], result["fold"])
    assert (counts.max(axis=1) - counts.min(axis=1) <= 1).all()
    assert (counts >= 1).all(axis=None)
    total = counts.sum()
    assert total.max() - total.min() <= 1


def test_the_seed_decides_the_division():
    table = make_table((8, 8, 8))
    divisions = {tuple(divide(table, "animal", seed=seed)[0]["split"]) for seed in (0, 0, 1, 2, 3)}
    assert len(divisions) == 4


@pytest.mark.skipif(not RODENT_CLIPS.exists(), reason="shared/data/rodent_clips is absent")
def test_real_clips_are_divided_by_cage_with_labels_winning():
    cohort = cohorts.read_cohort(RODENT_CLIPS, exclude=("normal",))
    assert (cohort.scheme, cohort.group) == ("leave_one_group_out", "cage")
    assert len(cohort.taxonomy.fine) == 6
    assert cohort.taxonomy.coarse == ()
    assert cohort.table.groupby("cage")["fold"].unique().map(list).to_dict() == {
        **{"cage1": [0], "cage2": [1], "num": [2]},
    }
