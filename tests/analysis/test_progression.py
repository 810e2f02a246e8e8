import numpy as np
import pytest
from prediction_tables import make_meta, make_study, make_table

from mpjax.analysis.drugs import describe_drugs
from mpjax.analysis.predictions import read_predictions, write_predictions
from mpjax.analysis.progression import describe_days
from mpjax.taxonomy import Taxonomy

PAIN = Taxonomy(("sni@d1", "sham@d1"), ("no_pain", "neuropathic"), (1, 0))


@pytest.fixture
def check(tmp_path):
    def through_file(table, meta):
        write_predictions(tmp_path / "p.parquet", table, meta)
        return read_predictions(tmp_path / "p.parquet")

    return through_file


def _table(rows, pain):
    """A clip per row, with the given probability of pain."""
    base = {"condition": "sni", "day": 1, "label": 0}
    pain = np.array(pain)
    return make_table([base | row for row in rows], np.log(np.stack([pain, 1 - pain], 1)))


def test_an_animal_counts_once_however_many_clips_and_recordings_it_has(check):
    rows = [{"animal": "a", "video": "a1"}] * 3 + [{"animal": "a", "video": "a2"}]
    rows += [{"animal": "b", "video": "b1"}]
    [row] = describe_days(check(_table(rows, [0.2, 0.2, 0.2, 0.6, 0.8]), make_meta(PAIN)))["rows"]
    assert row["animals"] == pytest.approx({"a": 0.4, "b": 0.8}, rel=1e-6)
    assert (row["condition"], row["day"], row["n"]) == ("sni", 1, 2)
    assert row["value"] == pytest.approx(0.6, rel=1e-6)


def test_animals_trained_on_are_not_shown(check):
    rows = [{"animal": "a", "video": "a1"}, {"animal": "b", "video": "b1", "split": "train"}]
    [row] = describe_days(check(_table(rows, [0.2, 0.9]), make_meta(PAIN)))["rows"]
    assert list(row["animals"]) == ["a"]


def test_without_a_no_pain_class_there_is_no_probability_of_pain(check):
    taxonomy = Taxonomy(("sni@d1", "cfa@d1"), ("neuropathic", "inflammatory"), (0, 1))
    days = describe_days(check(_table([{"animal": "a", "video": "v"}], [0.5]), make_meta(taxonomy)))
    assert days["value"] is None
    assert "'no_pain'" in days["why"]


def test_untreated_sessions_stand_in_the_arm_their_animal_receives(check):
    drug = {
        "split": "drug",
        "drug": "gabapentin",
        "dose_mg_per_kg": 30.0,
        "minutes_post_dose": 60.0,
    }
    rows = [
        {"animal": "a", "video": "a1", "split": "drug"},
        {"animal": "a", "video": "a2", **drug},
        {"animal": "b", "video": "b1", "split": "drug"},
        {"animal": "b", "video": "b2", "split": "drug", "drug": "vehicle"},
        {"animal": "b", "video": "b3", **drug, "drug": "vehicle", "minutes_post_dose": -5.0,
         "dose_mg_per_kg": np.nan},
    ]  # fmt: skip
    result = describe_drugs(check(_table(rows, [0.8, 0.3, 0.7, 0.6, 0.9]), make_meta(PAIN)))
    values = {(row["arm"], row["phase"]): row["value"] for row in result["rows"]}
    assert values == pytest.approx({
        ("vehicle", "pre"): 0.8, ("vehicle", "post"): 0.6,
        ("gabapentin 30 mg/kg", "pre"): 0.8, ("gabapentin 30 mg/kg", "post"): 0.3,
    }, rel=1e-6)  # fmt: skip
    assert [row["arm"] for row in result["rows"]][:2] == ["vehicle", "vehicle"]
    assert result["rows"][-1]["minutes_post_dose"] == [60.0, 60.0]


def test_the_drug_part_is_described_by_arm_in_order_of_dose_and_not_inferred_from(check):
    result = describe_drugs(check(*make_study()))
    arms = list(dict.fromkeys(row["arm"] for row in result["rows"]))
    assert arms == ["vehicle", "gabapentin 30 mg/kg", "gabapentin 100 mg/kg"]
    assert len(result["rows"]) == 3 * 3 * 2
    assert {row["n"] for row in result["rows"]} == {4}
    assert result["interaction"]["value"] is result["reversal"]["value"] is None
    assert "no inference" in result["interaction"]["why"]
