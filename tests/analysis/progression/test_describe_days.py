import numpy as np
import pytest
from prediction_tables import make_meta, make_table

from mpjax.analysis.progression.daily_scores import describe_days
from mpjax.taxonomy import Taxonomy

PAIN = Taxonomy(("sni@d1", "sham@d1"), ("no_pain", "neuropathic"), (1, 0))


def _table(rows, pain):
    """A clip per row, with the given probability of pain."""
    base = {"condition": "sni", "day": 1, "label": 0}
    pain = np.array(pain)
    return make_table([base | row for row in rows], np.log(np.stack([pain, 1 - pain], 1)))


def days_of(predictions):
    return describe_days(predictions, predictions.p)


def test_an_animal_counts_once_however_many_clips_and_recordings_it_has(check):
    rows = [{"animal": "a", "video": "a1"}] * 3 + [{"animal": "a", "video": "a2"}]
    rows += [{"animal": "b", "video": "b1"}]
    [row] = days_of(check(_table(rows, [0.2, 0.2, 0.2, 0.6, 0.8]), make_meta(PAIN)))["rows"]
    assert row["animals"] == pytest.approx({"a": 0.4, "b": 0.8}, rel=1e-6)
    assert (row["condition"], row["day"], row["n"]) == ("sni", 1, 2)
    assert row["value"] == pytest.approx(0.6, rel=1e-6)


def test_animals_trained_on_are_not_shown(check):
    rows = [{"animal": "a", "video": "a1"}, {"animal": "b", "video": "b1", "split": "train"}]
    [row] = days_of(check(_table(rows, [0.2, 0.9]), make_meta(PAIN)))["rows"]
    assert list(row["animals"]) == ["a"]


def test_without_a_no_pain_class_there_is_no_probability_of_pain(check):
    taxonomy = Taxonomy(("sni@d1", "cfa@d1"), ("neuropathic", "inflammatory"), (0, 1))
    days = days_of(check(_table([{"animal": "a", "video": "v"}], [0.5]), make_meta(taxonomy)))
    assert days["value"] is None
    assert "'no_pain'" in days["why"]
