import numpy as np
import pytest
from prediction_tables import make_meta, make_table
from scipy import stats
from scipy.special import expit

from mpjax.analysis.progression import habituation
from mpjax.taxonomy import default_taxonomy

TAXONOMY = default_taxonomy(["sham@d3", "sni@d3"])


def make_clips(slopes, *, seed=0, noise=0.3, clips=8, step=15.0, per_animal=2):
    """Recordings of clips every `step` s whose score changes; slopes per minute by condition."""
    rng = np.random.default_rng(seed)
    rows, score = [], []
    for label, condition in enumerate(("sham", "sni")):
        for a, slope in enumerate(slopes[condition]):
            for video in range(per_animal):
                name = f"{condition}{a}"
                base = {"animal": name, "video": f"{name}-{video}", "condition": condition}
                base |= {"day": 3, "label": label, "fold": 0, "cage": f"{condition}{a // 2}"}
                for k in range(clips):
                    rows.append(base | {"start_s": step * k, "start_frame": k})
                    score.append(slope * step * k / 60 + rng.normal(0, noise))
    pain = expit(np.array(score))
    return make_table(rows, np.log(np.stack([1 - pain, pain], 1))), make_meta(TAXONOMY)


def describe(predictions, *, kind="animal", permutations=499):
    return habituation.describe_within_recording(
        predictions, predictions.p, kind=kind, no_pain=("sham",), permutations=permutations, seed=0
    )


def test_a_fading_score_is_found_with_its_slope(check):
    found = describe(check(*make_clips({"sham": [0.0] * 8, "sni": [-1.0] * 8})))
    slope = found["slopes"]["sni"]
    assert slope["value"] == pytest.approx(-1.0, abs=0.15)
    assert slope["ci95"][0] < -1.0 < slope["ci95"][1]
    assert slope["p"] == pytest.approx(2 / 2**8)  # all flips are counted
    assert found["slopes"]["sham"]["p"] > 0.05
    assert found["against_no_pain"]["sni"]["p"] <= 0.01
    assert set(found["against_no_pain"]) == {"sni"}


def test_fading_that_animals_without_pain_show_too_is_no_difference(check):
    found = describe(check(*make_clips({"sham": [-1.0] * 8, "sni": [-1.0] * 8})))
    assert found["slopes"]["sni"]["p"] < 0.05
    assert found["against_no_pain"]["sni"]["p"] > 0.05


def test_bins_average_over_animals_and_cover_the_recording(check):
    slopes = {"sham": [0.0] * 4, "sni": [2.0] * 4}
    found = describe(check(*make_clips(slopes, noise=0.01)))
    own = [row for row in found["bins"] if row["condition"] == "sni"]
    assert len(own) == habituation.BINS
    assert (own[0]["start_s"], own[-1]["end_s"]) == (0.0, 105.0)
    assert own[0]["value"] == pytest.approx(2.0 * 7.5 / 60, abs=0.05)
    assert [row["value"] for row in own] == sorted(row["value"] for row in own)
    assert {row["n"] for row in own} == {4}


def test_cage_mates_count_once_where_cages_are_the_unit(check):
    predictions = check(*make_clips({"sham": [0.0] * 6, "sni": [-1.0] * 6}))
    assert describe(predictions, kind="cage")["slopes"]["sni"]["n"] == 3
    assert describe(predictions, kind="animal")["slopes"]["sni"]["n"] == 6


def test_an_animal_counts_once_however_many_recordings_it_has(check):
    table, meta = make_clips({"sham": [0.0] * 4, "sni": [-1.0, 1.0, 0.0, 0.0]}, noise=0.01)
    extra = table[table["animal"] == "sni0"].copy()
    extra["video"] += "x"
    extra["clip_id"] += "x"
    before = describe(check(table, meta))["slopes"]["sni"]
    both = table.__class__(np.concatenate([table, extra]), columns=table.columns)
    after = describe(check(both.astype(table.dtypes), meta))["slopes"]["sni"]
    assert after["value"] == pytest.approx(before["value"], rel=1e-9)
    assert after["n"] == before["n"] == 4


@pytest.mark.parametrize("animals", [5, 16])  # all sign flips; random ones
def test_slopes_of_chance_are_called_in_5_per_cent(animals):
    rng = np.random.default_rng(0)
    p = [
        habituation.describe_slope(
            rng.standard_t(4, animals), kind="animal", draws=199, rng=np.random.default_rng(s)
        )["p"]
        for s in range(200)
    ]
    assert sum(each <= 0.05 for each in p) <= stats.binom.ppf(0.99, 200, 0.05)


def test_differences_of_chance_are_called_in_5_per_cent_though_spreads_differ():
    rng = np.random.default_rng(1)
    p = [
        habituation.compare_slopes(
            rng.normal(0, 3, 6), rng.normal(0, 1, 10), kind="animal", draws=199,
            rng=np.random.default_rng(s),
        )["p"]
        for s in range(200)
    ]  # fmt: skip
    assert sum(each <= 0.05 for each in p) <= stats.binom.ppf(0.99, 200, 0.05)


def test_recordings_of_one_time_and_single_animals_give_reasons(check):
    table, meta = make_clips({"sham": [0.0] * 3, "sni": [-1.0]})
    found = describe(check(table, meta))
    assert "at least 2 are needed" in found["slopes"]["sni"]["why"]
    assert "1 animal(s) with and 3 without pain" in found["against_no_pain"]["sni"]["why"]
    assert {row["ci95"] for row in found["bins"] if row["condition"] == "sni"} == {None}
    why = describe(check(table.assign(start_s=0.0), meta))["why"]
    assert why == "no recording has clips that start at different times"
    pairs = table[table["start_frame"] < 2]
    assert "a recording of 3 clips" in describe(check(pairs, meta))["slopes"]["sham"]["why"]
