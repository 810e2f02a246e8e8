import pytest

from mpjax.studies import requirements

METRICS = {
    "fine": {
        "chance": {"value": 0.07},
        "recording": {"accuracy": {"value": 0.3, "ci95": [0.2, 0.4]}},
        "clip": {"accuracy": {"value": 0.25}},
    },
    "leak": {"animals": 0},
    "drug": {"interaction": {"value": None, "why": "no drug part"}},
}


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("fine.accuracy>=0.2", None),
        ("fine.clip.accuracy > 0.25", "fine.clip.accuracy is 0.25, required >0.25"),
        ("fine.chance<0.1", None),
        ("leak.animals==0", None),
        ("leak.animals!=0", "leak.animals is 0, required !=0"),
        ("drug.interaction<0", "drug.interaction is not estimable: no drug part"),
        ("drug.interaction.p<0.05", "drug.interaction.p is not estimable: no drug part"),
    ],
)
def test_requirements_hold_or_say_how_they_fail(text, failure):
    (requirement,) = requirements.parse(text)
    assert requirement.failure(METRICS) == failure


def test_all_faults_of_a_text_are_told_at_once():
    with pytest.raises(ValueError, match="'accuracy'; 'leak=>0'"):
        requirements.parse("accuracy, fine.accuracy>=0.1, leak=>0")
    assert requirements.parse("") == []


def test_an_unknown_figure_names_those_that_are_there():
    (requirement,) = requirements.parse("fine.precision>0")
    with pytest.raises(ValueError, match="no fine.recording.precision; there: accuracy"):
        requirement.failure(METRICS)
    (requirement,) = requirements.parse("fine.recording>0")
    with pytest.raises(ValueError, match="no single number"):
        requirement.failure(METRICS)
