import copy
import json

import pytest
from full_study import make_full_study
from prediction_tables import evaluate, make_answers, make_meta, make_study

pytest.importorskip("jsonschema", reason="jsonschema comes with the extra `dev`")

import jsonschema
from metrics_schema import check, read_schema

from mpjax.analysis.classification.comparison import compare
from mpjax.analysis.predictions import read_predictions, write_predictions
from mpjax.studies.evaluation import SCHEMA
from mpjax.taxonomy import Taxonomy


@pytest.fixture(scope="module")
def measure(tmp_path_factory):
    """Returns the metrics of a table, as they come back from metrics.json."""

    def evaluated(table, meta, demonstration=None):
        path = tmp_path_factory.mktemp("schema") / "p.parquet"
        write_predictions(path, table, meta)
        predictions = read_predictions(path, embedding="embedding" in table)
        metrics = evaluate(predictions, bootstrap=50, permutations=50, demonstration=demonstration)
        if demonstration is not None:
            metrics["comparison"] = compare(predictions, predictions, bootstrap=50)
            metrics["comparison"]["against"] = "other.parquet"
        return json.loads(json.dumps(metrics, allow_nan=False))

    return evaluated


@pytest.fixture(scope="module")
def full(measure):
    table, meta, demonstration = make_full_study(doses=(0.0, 30.0))
    return measure(table, meta, demonstration)


def test_the_schema_is_a_schema_of_the_version_that_is_written():
    schema = read_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    assert schema["properties"]["schema"]["const"] == schema["title"] == SCHEMA


def test_every_object_of_the_schema_names_what_it_may_hold():
    """So that a misspelt or undocumented figure is a fault."""

    def visit(node):
        if isinstance(node, dict):
            if node.get("type") == "object" and "properties" in node:
                assert node["additionalProperties"] is False
            for key, value in node.items():
                if key != "if":
                    visit(value)
        elif isinstance(node, list):
            for value in node:
                visit(value)

    visit(read_schema())


def test_a_study_with_every_part_is_valid(full):
    check(full)


def test_a_study_whose_drug_part_allows_little_is_valid(measure):
    table, meta = make_study()  # no session before induction, no motion, no embeddings
    check(measure(table, meta))


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_label_cohort_is_valid(measure, split):
    table = make_answers([0, 1, 1], [0, 1, 0], animal=[0, 0, 0]).assign(split=split)
    check(measure(table, make_meta(Taxonomy(("groom", "rear", "walk")))))


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        (("fine", "clip", "accuracy", "value"), 1.2, "$.fine.clip.accuracy.value: 1.2"),
        (("fine", "clip", "accuracy", "value"), None, "'why' is a required property"),
        (("drug", "interaction", "value"), float("nan"), "$.drug.interaction.value is nan"),
        (("drug", "interaction", "ci95"), [1.0], "$.drug.interaction.ci95: [1.0]"),
        (("drug", "contrasts", "sham", 0, "kind"), "doze", "$.drug.contrasts.sham[0].kind"),
        (("leak", "animal"), 0, "$.leak: Additional properties are not allowed"),
        (("schema",), "mpjax.metrics/1", "$.schema: 'mpjax.metrics/2' was expected"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_path(full, path, value, fault):
    metrics = copy.deepcopy(full)
    place = metrics
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(ValueError) as error:
        check(metrics)
    assert fault in str(error.value)


def test_a_missing_figure_is_a_fault(full):
    metrics = copy.deepcopy(full)
    del metrics["drug"]["reversal"]
    with pytest.raises(ValueError, match=r"\$\.drug: 'reversal' is a required property"):
        check(metrics)
