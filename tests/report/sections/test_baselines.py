"""The comparison with other methods in the report: each method's row, and what is missing."""

import dataclasses

import numpy as np
import pytest
from prediction_tables import make_study

from mpjax.analysis import predictions
from mpjax.analysis.classification import method_table
from mpjax.report import page as html
from mpjax.report.sections import baselines
from mpjax.taxonomy import Taxonomy

TASKS = {"fine": {"classes": ["a"] * 15}, "coarse": {"classes": ["b"] * 3}}


@pytest.fixture(scope="module")
def found():
    table, meta = make_study(drug=False)
    p = np.stack(table["p"]).astype(np.float64)
    ours = predictions.Predictions(table, Taxonomy.from_dict(meta["taxonomy"]), p, meta)
    guess = dataclasses.replace(ours, p=np.random.default_rng(0).dirichlet(np.ones(15), len(p)))
    compared = method_table.compare_methods(ours, {"guess <b>": guess}, bootstrap=100, seed=0)
    return compared | {"missing": {"random weights": "nobody embedded"}, "bsoid": None}


def render(found, raters=None):
    figures = {"methods": found} | ({"raters": raters} if raters else {})
    template = html.make_environment().get_template("sections/baselines.html.j2")
    return template.render(metrics=figures, tables=baselines.tabulate(found, raters or {}, TASKS))


def test_every_method_has_its_figures_and_its_difference_to_the_model(found):
    table = baselines.tabulate(found, {}, TASKS)["methods"]
    ours, guess = table.rows
    assert ours["method"] == method_table.OURS
    assert ours["fine_difference"] is None
    difference = found["rows"][1]["fine"]["difference"]
    assert guess["fine_difference"] == difference["value"]
    assert guess["fine_difference_ci_low"] == difference["ci95"][0]
    page = render(found)
    assert "guess &lt;b&gt;" in page  # names are escaped
    assert f"{100 * difference['value']:.1f}" in page
    assert "random weights is not shown: nobody embedded" in page


def test_raters_stand_in_the_table_with_the_difference_on_their_own_clips(found):
    estimate = {"value": 0.2, "ci95": [0.1, 0.3], "n": 75}
    task = {"accuracy": estimate}
    raters = {
        "raters": [{"name": "a"}, {"name": "b"}],
        "package": {"clips": 75},
        "pooled": {"fine": task, "coarse": task},
        "against": {
            "model": {"fine": {"difference": estimate}, "coarse": {"difference": estimate}}
        },
    }
    row = baselines.tabulate(found, raters, TASKS)["methods"].rows[-1]
    assert row["method"] == "2 blinded raters"
    assert row["fine"] == 0.2
    assert row["coarse_difference_ci_high"] == 0.3
    assert "on the clips that they rated" in render(found, raters)


def test_without_any_method_the_reason_is_shown():
    page = render({"value": None, "why": "no other method was asked for"})
    assert "Not shown: no other method was asked for." in page


def test_the_measure_of_bsoid_is_reported_as_what_it_is(found):
    itself = {"motifs": 31, "held_out_accuracy": 0.872, "majority": 0.189}
    page = render(found | {"bsoid": itself})
    assert "87.2 %" in page
    assert "not how well it predicts pain" in page
