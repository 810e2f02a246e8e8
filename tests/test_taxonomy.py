import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpjax import taxonomy as taxonomies
from mpjax.taxonomy import Taxonomy

DAYS = (-1, 2, 10)
FINE = tuple(
    taxonomies.fine_name(c, d) for c in ("inflammatory", "neuropathic", "sham") for d in DAYS
)


@given(st.text(min_size=1), st.integers(-99999, 99999))
def test_fine_names_parse_back(condition, day):
    assert taxonomies.parse_fine_name(taxonomies.fine_name(condition, day)) == (condition, day)


@pytest.mark.parametrize("name", ["", "grooming", "@d3", "cfa@d", "cfa@d03", "cfa@d1.5", "cfa@d-0"])
def test_other_labels_do_not_parse(name):
    assert taxonomies.parse_fine_name(name) is None


def test_days_sort_as_numbers():
    names = ["b@d3", "a@d10", "a@d2", "a@d-1", "a@d2"]
    assert taxonomies.sort_fine(names) == ("a@d-1", "a@d2", "a@d10", "b@d3")
    assert taxonomies.sort_fine(["rear", "groom"]) == ("groom", "rear")


@pytest.mark.parametrize(
    ("fine", "coarse"),
    [
        ("neuropathic@d7", "neuropathic"),
        ("neuropathic@d0", "neuropathic"),
        ("neuropathic@d-3", "no_pain"),
        ("Sham@d7", "no_pain"),
        ("no pain@d7", "no_pain"),
        ("no-pain@d7", "no_pain"),
        ("vehicle@d7", "no_pain"),
        ("migraine@d7", "migraine"),
    ],
)
def test_default_groups_are_the_conditions_or_no_pain(fine, coarse):
    assert taxonomies.default_coarse(fine) == coarse


def test_three_conditions_make_three_groups():
    assert taxonomies.default_taxonomy(FINE[1:3] + FINE[4:6] + FINE[7:]).coarse == (
        *("inflammatory", "neuropathic", "no_pain"),
    )


def test_a_plain_label_has_no_default_group():
    with pytest.raises(ValueError, match="'grooming'"):
        taxonomies.default_coarse("grooming")


def test_coarse_probabilities_are_the_sums_over_each_group():
    taxonomy = Taxonomy(("a", "b", "c"), ("x", "y"), (1, 0, 1))
    p = np.array([[0.2, 0.3, 0.5], [1, 0, 0]], np.float32)
    coarse = taxonomy.coarse_probabilities(p)
    np.testing.assert_array_equal(coarse, np.array([[0.3, 0.7], [0, 1]], np.float32))
    assert coarse.dtype == np.float32


def test_coarse_probabilities_refuse_what_they_cannot_sum():
    with pytest.raises(ValueError, match="no coarse groups"):
        Taxonomy(("a", "b")).coarse_probabilities(np.ones((1, 2)))
    with pytest.raises(ValueError, match=r"\(1, 3\).*2 fine"):
        Taxonomy(("a", "b"), ("x",), (0, 0)).coarse_probabilities(np.ones((1, 3)))


@pytest.mark.parametrize(
    "taxonomy", [Taxonomy(("a", "b")), taxonomies.default_taxonomy(FINE)], ids=["labels", "classes"]
)
def test_survives_json(taxonomy):
    assert Taxonomy.from_dict(json.loads(json.dumps(taxonomy.to_dict()))) == taxonomy


@pytest.mark.parametrize(
    "fields",
    [
        (("a", "a"), (), ()),
        (("a",), ("x", "x"), (0,)),
        (("a", "b"), ("x",), (0,)),
        (("a",), ("x",), (1,)),
        (("a",), ("x",), (-1,)),
        (("a",), (), (0,)),
    ],
)
def test_refuses_fields_that_do_not_fit(fields):
    with pytest.raises(ValueError, match="taxonomy"):
        Taxonomy(*fields)


def test_from_dict_refuses_unknown_fields():
    with pytest.raises(ValueError, match="medium"):
        Taxonomy.from_dict({"fine": [], "coarse": [], "medium": []})


def read(tmp_path, text, fine=FINE):
    path = tmp_path / "taxonomy.toml"
    path.write_text(text)
    return taxonomies.read_taxonomy(path, fine)


GROUPS = """
[coarse]
pain = ["neuropathic@d[0-9]*", "inflammatory@d[0-9]*", "sni@*"]
unused = ["cci@*"]
none = ["*@d-*", "sham@d[0-9]*"]
"""


def test_file_groups_by_pattern_in_its_own_order(tmp_path):
    taxonomy = read(tmp_path, GROUPS)
    assert taxonomy.fine == FINE
    assert taxonomy.coarse == ("pain", "none")
    assert taxonomy.fine_to_coarse == (1, 0, 0, 1, 0, 0, 1, 1, 1)


def test_file_chooses_and_orders_fine_classes(tmp_path):
    taxonomy = read(tmp_path, 'fine = ["sham@d2", "neuropathic@d10"]' + GROUPS)
    assert taxonomy == Taxonomy(("sham@d2", "neuropathic@d10"), ("pain", "none"), (1, 0))


def test_file_without_groups_leaves_the_default_ones(tmp_path):
    taxonomy = read(tmp_path, 'fine = ["sham@d2", "neuropathic@d10"]')
    assert taxonomy == Taxonomy(("sham@d2", "neuropathic@d10"), ("neuropathic", "no_pain"), (1, 0))
    assert read(tmp_path, "", ("rear", "groom")) == Taxonomy(("groom", "rear"))


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('[coarse]\npain = ["neuropathic@*"]', ["no group matches", *FINE[:3], *FINE[6:]]),
        ('[coarse]\na = ["*"]\nb = ["sham@d2"]', ["sham@d2 is matched by a and b"]),
        ('fine = ["sni@d2", "sham@d2"]', ["not in the cohort: sni@d2;", "the cohort has"]),
        ('colour = 1\nfine = "a"\n[coarse]\na = "b"', ["'colour'", "fine: must", "coarse.a: must"]),
        ('fine = ["sham@d2", "sham@d2"]', ["distinct"]),
        ("coarse = 3", ["must be a table"]),
        ("[coarse", ["not a TOML file"]),
    ],
)
def test_faults_of_a_file_are_named_together_with_the_file(tmp_path, text, parts):
    with pytest.raises(ValueError) as error:
        read(tmp_path, text)
    for part in ["taxonomy.toml", *parts]:
        assert part in str(error.value)
