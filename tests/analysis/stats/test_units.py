import numpy as np
import pandas as pd
import pytest

from mpjax.analysis.drug.sessions import unit_of_trial
from mpjax.analysis.stats.units import unit_of

ANIMALS = pd.DataFrame({"animal": list("abcd"), "cage": ["1", "1", "2", "2"]})


@pytest.mark.parametrize(
    ("side", "group", "unit"),
    [("xxyy", "cage", "cage"), ("xyxy", "cage", "animal"), ("xxyy", "animal", "animal")],
)
def test_the_unit_is_the_cage_where_cages_are_the_group_and_each_is_on_one_side(side, group, unit):
    assert unit_of(ANIMALS, np.array(list(side)), group=group) == unit


def test_an_unknown_cage_leaves_the_animal_as_the_unit():
    assert unit_of(ANIMALS.assign(cage=["1", "1", "2", ""]), np.array(list("xxyy"))) == "animal"


def test_one_row_per_cage_stays_a_cage_but_a_trial_of_single_animals_counts_animals():
    single = ANIMALS.assign(cage=list("1234"), arm=list("xxyy"))
    assert unit_of(single, np.array(list("xxyy"))) == "cage"
    assert unit_of_trial(single) == "animal"
    assert unit_of_trial(ANIMALS.assign(arm=list("xxyy"))) == "cage"
