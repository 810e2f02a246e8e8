import itertools
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import balanced_accuracy_score

from mpjax.analysis.classification import significance
from mpjax.analysis.stats import permutation
from mpjax.analysis.stats.units import Units
from mpjax.taxonomy import Taxonomy, default_taxonomy, fine_name

CONDITIONS, DAYS = ("cfa", "sham", "sni"), (1, 7, 14)
FACTORIAL = default_taxonomy(fine_name(c, d) for c in CONDITIONS for d in DAYS)
ABC = Taxonomy(("a", "b", "c"))


def make_rows(*, animals=4, clips=2, conditions=CONDITIONS):
    """Each animal of each condition on every day, `clips` recordings of one clip each."""
    rows = [
        {"animal": f"{c}{a}", "cage": f"{c}{a // 2}", "day": d, "video": f"{c}{a}d{d}-{k}",
         "label": FACTORIAL.fine.index(fine_name(c, d))}
        for c in conditions for a in range(animals) for d in DAYS for k in range(clips)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def run(rows, predicted, *, taxonomy=FACTORIAL, coarse=False, group="animal", level="clip", **more):
    to_class = np.arange(len(taxonomy.fine))
    if coarse:
        to_class = np.asarray(taxonomy.fine_to_coarse)
    classes = len(taxonomy.coarse if coarse else taxonomy.fine)
    units = Units(
        label=to_class[rows["label"].to_numpy()],
        p=np.eye(classes)[np.asarray(predicted)],
        group=pd.factorize(rows[group])[0],
        row=np.arange(len(rows)),
    )
    options = {"permutations": 500, "seed": 0} | more
    return significance.permutation_test(
        units, rows, taxonomy=taxonomy, fine_to_class=to_class, group=group, level=level, **options
    )


def test_p_equals_the_share_of_all_arrangements_that_score_as_well():
    """Six animals of two conditions: all 20 arrangements, written out."""
    names = [f"m{i}" for i in range(6)]
    taxonomy = default_taxonomy(["cfa@d1", "sni@d1"])
    rows = pd.DataFrame({"animal": np.repeat(names, 3), "day": 1, "label": np.repeat([0, 1], 9)})
    rows = rows.assign(video=[f"v{i}" for i in range(18)], cage="")
    predicted = np.array([0, 0, 1, 0, 0, 0, 1, 1, 0, 1, 1, 1, 1, 0, 1, 0, 1, 0])
    observed = balanced_accuracy_score(rows["label"], predicted)
    scores = []
    for chosen in itertools.combinations(names, 3):
        label = (~rows["animal"].isin(chosen)).astype(int)
        scores.append(balanced_accuracy_score(label, predicted))
    found = run(rows, predicted, taxonomy=taxonomy, permutations=20_000)
    assert found["p"] == pytest.approx(np.mean(np.array(scores) >= observed - 1e-12), abs=0.01)
    assert found["null"]["mean"] == pytest.approx(np.mean(scores), abs=0.005)
    assert found["unit"] == "animal"


def test_an_animal_told_from_others_by_itself_alone_is_no_evidence():
    """Every animal has an answer of its own, alike in all its clips: clips would call it proof."""
    rng = np.random.default_rng(0)
    rejected, cohorts = 0, 120
    for seed in range(cohorts):
        rows = make_rows(animals=4, clips=10)
        own = dict(zip(rows["animal"].unique(), rng.integers(0, 3, 12), strict=True))
        predicted = rows["animal"].map(own).to_numpy()
        found = run(rows, predicted, coarse=True, permutations=200, seed=seed)
        rejected += found["p"] <= 0.05
    assert rejected / cohorts <= 0.1


def test_conditions_stay_with_animals_and_days_within_them():
    rows = make_rows()
    label = rows["label"].to_numpy()
    parsed = [FACTORIAL.fine[each].split("@d") for each in label]
    condition = np.array([CONDITIONS.index(name) for name, _ in parsed])
    day = np.array([DAYS.index(int(number)) for _, number in parsed])
    table = np.array([[FACTORIAL.fine.index(fine_name(c, d)) for d in DAYS] for c in CONDITIONS])
    _, scheme = permutation.exchange_conditions(rows, condition, day, table, group="animal")
    labels = scheme.draw(50, np.random.default_rng(0))
    condition, day = labels // len(DAYS), labels % len(DAYS)
    for animal in range(12):
        mine = scheme.animal == animal
        assert (np.ptp(condition[:, mine], axis=1) == 0).all()
        assert (np.sort(day[:, mine], axis=1) == [0, 1, 2]).all()
    assert (np.sort(condition[:, ::3], axis=1) == np.repeat([0, 1, 2], 4)).all()
    assert len({tuple(row) for row in labels.tolist()}) == 50


def test_knowing_the_day_but_not_the_condition_counts_for_fine_classes_only():
    rows = make_rows(animals=5)
    rng = np.random.default_rng(1)
    condition = rng.integers(0, 3, len(rows))
    predicted = condition * len(DAYS) + rows["label"].to_numpy() % len(DAYS)
    assert run(rows, predicted)["p"] < 0.01
    coarse = np.asarray(FACTORIAL.fine_to_coarse)[predicted]
    assert run(rows, coarse, coarse=True)["p"] > 0.05


def test_conditions_recorded_on_other_days_are_not_exchanged():
    """Sham was recorded on day 1 only: an exchange would make classes that do not exist."""
    names = [name for name in FACTORIAL.fine if not name.startswith("sham") or name == "sham@d1"]
    taxonomy = default_taxonomy(names)
    rows = make_rows()
    rows = rows[~rows["video"].str.contains("sham.*d7|sham.*d14")].reset_index(drop=True)
    old = [FACTORIAL.fine[i] for i in rows["label"]]
    rows["label"] = [names.index(name) for name in old]
    found = run(rows, rows["label"], taxonomy=taxonomy)
    assert found["p"] == pytest.approx(1 / 501)


def test_cages_are_exchanged_whole_where_they_are_the_group():
    rows = make_rows(animals=8)
    assert run(rows, rows["label"], group="cage")["unit"] == "cage"
    mixed = rows.assign(cage=[f"cage{name[-1]}" for name in rows["animal"]])  # of all conditions
    assert run(mixed, rows["label"], group="cage")["unit"] == "animal"


def make_labelled(labels_by_animal):
    """A recording per entry, three clips each."""
    rows = [
        {"animal": f"m{a}", "cage": "", "day": 0, "video": f"m{a}-{r}", "label": label}
        for a, labels in enumerate(labels_by_animal) for r, label in enumerate(labels)
        for _ in range(3)
    ]  # fmt: skip
    return pd.DataFrame(rows)


def test_labels_are_exchanged_within_animals_that_have_several_and_over_animals_else():
    several = make_labelled([[0, 1, 2, 1]] * 5)
    found = run(several, several["label"], taxonomy=ABC)
    assert (found["unit"], found["p"]) == ("recording", pytest.approx(1 / 501))
    # An animal's own label share is no evidence: the same answer in all its recordings.
    skewed = make_labelled([[0, 0, 0, 1], [0, 0, 1, 0], [1, 1, 1, 0], [2, 2, 2, 0]])
    by_animal = skewed["animal"].map({"m0": 0, "m1": 0, "m2": 1, "m3": 2})
    assert run(skewed, by_animal, taxonomy=ABC)["p"] == 1.0
    single = make_labelled([[label] * 4 for label in (0, 0, 0, 1, 1, 1, 2, 2)])
    found = run(single, single["label"], taxonomy=ABC)
    assert found["unit"] == "animal"
    assert found["p"] < 0.02


@pytest.mark.parametrize(
    ("rows", "level", "why"),
    [
        (make_labelled([[0], [1], [2]]), "clip", r"in 6 way\(s\) only"),
        (make_labelled([[0, 1]]), "recording", r"in 2 way\(s\) only"),
        (make_labelled([[0, 0, 0, 0]]), "clip", r"in 1 way\(s\) only"),
        (make_labelled([[0, 1, 2]]).assign(video="one"), "clip", "have several labels"),
    ],
)
def test_a_null_that_cannot_be_drawn_is_refused_with_the_reason(rows, level, why):
    found = run(rows, rows["label"], taxonomy=ABC, level=level)
    assert found["value"] is None
    assert re.search(why, found["why"])


def test_two_kinds_of_no_pain_are_no_two_arrangements():
    taxonomy = default_taxonomy(["naive@d1", "sham@d1"])
    rows = make_labelled([[0], [0], [0], [0], [1], [1], [1], [1]]).assign(day=1)
    assert "p" in run(rows, rows["label"], taxonomy=taxonomy)
    found = run(rows, np.zeros(len(rows), int), taxonomy=taxonomy, coarse=True)
    assert "in 1 way" in found["why"]


def test_the_statistic_is_that_of_scikit_learn_and_batches_change_nothing(monkeypatch):
    rows = make_rows()
    rng = np.random.default_rng(3)
    predicted = np.where(rng.random(len(rows)) < 0.4, rows["label"], rng.integers(0, 9, len(rows)))
    named = np.eye(9, dtype=int)[predicted]
    found = significance._mean_class_accuracy(named, rows["label"].to_numpy()[None])
    assert found[0] == pytest.approx(balanced_accuracy_score(rows["label"], predicted))
    one = run(rows, predicted)
    monkeypatch.setattr(permutation, "_CELLS", 36 * 7)
    in_batches = run(rows, predicted)
    assert in_batches["p"] == pytest.approx(one["p"], abs=0.02)
    assert in_batches["permutations"] == 500


def test_the_same_seed_gives_the_same_p():
    rows = make_rows()
    predicted = np.random.default_rng(3).integers(0, 9, len(rows))
    assert run(rows, predicted) == run(rows, predicted)
    assert run(rows, predicted) != run(rows, predicted, seed=1)
