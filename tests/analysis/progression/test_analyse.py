"""The part `progression` of metrics.json, from predictions to sentences."""

import json

import numpy as np
import pandas as pd
import pytest
from full_study import make_full_study
from prediction_tables import make_answers, make_meta, make_study, make_table
from scipy.special import expit
from simulated_courses import DELAYED, NONE, Course, simulate, taxonomy_of

from mpjax.analysis.progression import describe_progression
from mpjax.taxonomy import Taxonomy


def make_predictions(course, *, seed=0, clips=4, group="animal", scheme="kfold"):
    """A cohort's scores as predictions: clips of that probability of pain, shared out at random."""
    rng = np.random.default_rng(seed)
    sessions, taxonomy = simulate(course, seed=seed), taxonomy_of(course)
    rows, p = [], []
    to_coarse = np.array(taxonomy.fine_to_coarse)
    painless = to_coarse == taxonomy.coarse.index("no_pain")
    for row in sessions.to_dict("records"):
        label = taxonomy.fine.index(f"{row['condition']}@d{row['day']}")
        number = int(row["animal"][-1])
        base = {key: row[key] for key in ("animal", "cage", "sex", "condition", "day")}
        base |= {"label": label, "video": f"{row['animal']}d{row['day']}"}
        base |= {"fold": number // 2 % 4 if scheme == "kfold" else -1}
        for k in range(clips):
            pain = expit(row["score"] + rng.normal(0, 0.5))
            share = rng.dirichlet(np.ones(len(to_coarse)))
            for classes, total in ((painless, 1 - pain), (~painless, pain)):
                share[classes] *= total / share[classes].sum()
            rows.append(base | {"start_s": 10.0 * k, "start_frame": 250 * k})
            p.append(np.log(share))
    meta = make_meta(taxonomy, scheme=scheme, group=group)
    return make_table(rows, np.array(p)), meta


def describe(predictions, **options):
    return describe_progression(
        predictions, predictions.p, **{"bootstrap": 200, "permutations": 99, **options}
    )


@pytest.mark.parametrize("scheme", ["kfold", "fixed"])
def test_the_onset_of_the_neuropathic_group_is_recovered_from_predictions(check, scheme):
    course = Course(levels=(DELAYED, NONE), injury=3.0)
    found = describe(check(*make_predictions(course, scheme=scheme)))
    days = list(course.days)
    onset = found["onset"]["neuropathic"]
    assert abs(days.index(onset["value"]) - days.index(7)) <= 1
    assert 7 in onset["days95"]
    assert found["onset"]["inflammatory"]["value"] is None
    assert found["reference"]["neuropathic"] == "sham on the same day"
    told = next(s for s in found["summary"] if s.startswith("neuropathic: "))
    assert f"pain is first seen on day {onset['value']}" in told
    assert any(s.startswith("inflammatory: no onset") for s in found["summary"])


def test_pain_on_the_first_recorded_day_is_on_or_before_it(check):
    found = describe(check(*make_predictions(Course(levels=((1.0,) * 5, NONE), injury=3.0))))
    assert found["onset"]["neuropathic"]["at_first"]
    assert "pain begins on or before day 1, the first recorded one" in found["summary"][1]


def test_animals_that_develop_no_pain_are_flagged_and_still_count(check):
    table, meta = make_predictions(Course(levels=((1.0,) * 5, NONE), injury=5.0, animal_sd=0.3))
    spared = table["animal"] == "neuropathic3"
    sham = table["animal"] == "sham3"
    table.loc[spared, "p"] = pd.Series(table.loc[sham, "p"].tolist(), table.index[spared])
    found = describe(check(table, meta))
    unaffected = found["unaffected"]["neuropathic"]
    assert [row["animal"] for row in unaffected["flagged"]] == ["neuropathic3"]
    assert all(row["n"] == 8 for row in found["excess"])
    assert "no onset was found" in found["unaffected"]["inflammatory"]["why"]
    assert any("1 of 8 neuropathic animals never leave" in s for s in found["summary"])


def test_cages_are_resampled_where_the_split_keeps_them(check):
    found = describe(check(*make_predictions(Course(), group="cage")))
    assert found["unit"] == "cage"
    assert {row["n"] for row in found["excess"]} == {4}
    assert len({row["animal"] for row in found["trajectories"]}) == 24


def test_the_same_predictions_give_the_same_bytes_in_any_order_of_rows(check):
    table, meta, _ = make_full_study(doses=(0.0, 30.0))
    first = describe(check(table, meta))
    again = describe(check(table, meta))
    assert json.dumps(first, allow_nan=False) == json.dumps(again, allow_nan=False)
    shuffled = describe(check(table.sample(frac=1, random_state=0, ignore_index=True), meta))
    assert shuffled["onset"] == first["onset"]
    assert shuffled["day_order"]["all"]["animals"] == first["day_order"]["all"]["animals"]


def test_animals_with_several_conditions_get_reasons_and_keep_their_means(check):
    table, meta = make_study(drug=False)
    table["animal"] = table["animal"].str.replace("n0", "i0")
    table["fold"] = table["animal"].str[1].astype(int)
    found = describe(check(table, meta))
    assert len(found["rows"]) == 15
    for name in ("means", "excess", "onset", "peak", "resolution", "mixed_model", "unaffected"):
        assert "several conditions" in found[name]["why"]
    assert "several conditions" in found["summary"][0]


def test_without_conditions_without_pain_each_condition_says_why(check):
    table, meta = make_study(drug=False)
    table = table[table["condition"] != "sham"].reset_index(drop=True)
    found = describe(check(table, meta))
    for condition in ("inflammatory", "neuropathic"):
        assert "condition without pain" in found["onset"][condition]["why"]
        assert found["unaffected"][condition]["value"] is None
    assert "when pain begins cannot be estimated" in found["summary"][0]


def test_predictions_that_tell_nothing_are_neither_ordered_nor_compared(check):
    table, meta = make_study(drug=False)
    table["p"] = [np.full(15, 1 / 15, np.float32)] * len(table)
    found = describe(check(table, meta))
    assert "scores alike" in found["day_order"]["why"]
    assert "scores alike" in found["consistency"]["fine_and_coarse"]["why"]
    assert "all scores are alike" in found["mixed_model"]["why"]
    assert found["onset"]["neuropathic"]["value"] is None
    json.dumps(found, allow_nan=False)


def test_a_label_cohort_has_no_course(check):
    table = make_answers([0, 1, 1], [0, 1, 0], animal=[0, 0, 0])
    found = describe(check(table, make_meta(Taxonomy(("groom", "rear", "walk")))))
    assert set(found) == {"value", "why"}


def test_a_single_animal_of_each_condition_gives_reasons(check):
    table, meta = make_study(drug=False, animals_per_condition=1)
    found = describe(check(table, meta))
    assert "1 animal(s) of neuropathic held out" in found["onset"]["neuropathic"]["why"]
    assert "too few animals" in found["mixed_model"]["why"]
    assert found["means"][0]["ci95"] is None
    json.dumps(found, allow_nan=False)
