"""The section `Pain over days`: what it says agrees with metrics.json."""

import copy
import json
from html import unescape

import metrics_schema
import pages
import pytest
from full_study import make_full_study
from prediction_tables import evaluate

from mpjax.analysis.predictions import read_predictions, write_predictions
from mpjax.report import page as html
from mpjax.report.sections import methods, progression_figures
from mpjax.report.sections import progression as progression_tables


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Returns (predictions, metrics) of a study whose clips start at different times."""
    table, meta, _ = make_full_study(doses=(0.0, 30.0))
    table["start_s"] = table["start_frame"] / table["fps"]
    path = tmp_path_factory.mktemp("progression") / "p.parquet"
    write_predictions(path, table, meta)
    predictions = read_predictions(path)
    metrics = evaluate(predictions, bootstrap=200, permutations=99)
    return predictions, json.loads(json.dumps(metrics, allow_nan=False))


@pytest.fixture(scope="module")
def section(study):
    """Renders the section alone with changes to the metrics; returns its HTML."""
    _, metrics = study

    def render(change=lambda progression: None):
        changed = {**metrics, "progression": copy.deepcopy(metrics["progression"])}
        change(progression := changed["progression"])
        template = html.make_environment().get_template("sections/days.html.j2")
        return template.render(
            metrics=changed,
            figures=progression_figures.draw(progression),
            tables=progression_tables.tabulate(progression),
        )

    return render


def test_the_section_stands_in_the_report(study, section):
    predictions, metrics = study
    page = html.render_report(metrics, predictions, title="A study")
    assert section() in page


def test_the_section_answers_in_words_first(section, study):
    page = section()
    text = unescape(pages.text(page[: page.index("<svg")]))
    for sentence in study[1]["progression"]["summary"]:
        assert " ".join(sentence.split()) in text  # p values hold no-break spaces
    assert "neuropathic: pain " in text


def test_every_figure_says_in_words_what_it_shows(section, study):
    page = unescape(section())
    assert page.count("<svg") == 3 + 2 + 1  # trajectories; excess of pain types; within recordings
    for row in study[1]["progression"]["means"]:
        assert f"{row['value']:.2f} on day {row['day']}".replace("-", "−") in page
    onset = study[1]["progression"]["onset"]["neuropathic"]["value"]
    assert f"The onset, day {onset}, is marked." in page


def test_downloads_hold_the_figures_of_metrics_json(section, study):
    files, progression = pages.downloads(section()), study[1]["progression"]
    assert [float(row["score"]) for row in files["scores"]] == [
        row["score"] for row in progression["trajectories"]
    ]
    assert [float(row["simultaneous_low"]) for row in files["excess"]] == [
        row["band95"][0] for row in progression["excess"]
    ]
    points = {(row["condition"], row["what"]): row for row in files["turning_points"]}
    for condition, found in progression["onset"].items():
        row = points[condition, "Onset"]
        assert row["day"] == str(found["value"])
        assert row["days95"] == " ".join(map(str, found["days95"]))
    order = {row["condition"]: row for row in files["day_order"]}
    assert (
        float(order["all conditions"]["spearman"])
        == (progression["day_order"]["all"]["spearman"]["value"])
    )
    model = {(row["condition"], row["day"]): row for row in files["score_means"]}
    for row in progression["mixed_model"]["means"]:
        assert float(model[row["condition"], str(row["day"])]["model"]) == row["value"]
    slopes = {row["condition"]: row for row in files["slopes"]}
    assert (
        float(slopes["sham"]["per_minute"])
        == (progression["within_recording"]["slopes"]["sham"]["value"])
    )


def test_flagged_animals_are_listed_with_their_values(section):
    def flag(progression):
        progression["unaffected"]["neuropathic"] = {
            "rule": "r", "days": [7, 14], "limits": {"7": 0.5, "14": 0.25}, "n": 4,
            "n_reference": 4, "expected_by_chance": {"value": 0.3},
            "flagged": [{"animal": "n<2>", "scores": {"7": -1.0, "14": 0.125}}],
        }  # fmt: skip

    page = section(flag)
    rows = pages.shown(page, "Animals within the range of no pain")
    assert [row for row in rows if row[1] == "neuropathic"] == [
        ["n&lt;2&gt;", "neuropathic", "7", "−1.00", "0.50"],
        ["n&lt;2&gt;", "neuropathic", "14", "0.12", "0.25"],
    ]
    counted = pages.shown(page, "Number of animals within the range of no pain")
    assert ["neuropathic", "1", "4", "0.3", "7, 14"] in counted


def test_no_onset_is_shown_as_none_with_its_reason(section):
    def lose(progression):
        why = {"value": None, "why": "on no day is the excess found to be above 0", "without": 0.75}
        for name in ("onset", "peak", "resolution"):
            progression[name]["neuropathic"] = why

    page = section(lose)
    rows = pages.shown(page, "Onset, peak and resolution")
    [row] = [row for row in rows if row[:2] == ["neuropathic", "Onset"]]
    assert row[2:5] == ["none", "", "75.0 %"]
    assert row[6] == "on no day is the excess found to be above 0"


def test_what_cannot_be_estimated_is_replaced_by_its_reason(section):
    absent = {"value": None, "why": "animal 'x' has several conditions"}

    def lose(progression):
        for name in ("means", "excess", "onset", "peak", "resolution", "mixed_model",
                     "unaffected", "day_order", "within_recording"):  # fmt: skip
            progression[name] = absent
        progression["summary"] = ["When pain begins cannot be estimated."]

    page = section(lose)
    assert "<svg" not in page
    text = unescape(pages.text(page))
    assert text.count("animal 'x' has several conditions") >= 4
    assert "Undefined" not in text
    assert "None" not in text


def test_the_course_of_an_older_file_is_drawn_as_far_as_it_goes(section):
    def keep_rows(progression):
        for name in set(progression) - {"rows"}:
            del progression[name]

    page = section(keep_rows)
    assert len(pages.downloads(page)["days"]) == 15
    assert "<svg" not in page


def test_a_cohort_without_a_probability_of_pain_has_no_figures_or_tables():
    absent = {"value": None, "why": "a label cohort"}
    assert progression_figures.draw(absent) == {}
    assert progression_tables.tabulate(absent) == {}


def test_the_methods_say_how_the_course_was_found(study):
    _, metrics = study
    text = methods.describe(metrics, {})["Course of pain"]
    model = metrics["progression"]["mixed_model"]
    assert f"Mixed model: {model['formula']} ({model['n']['animals']} animals" in text
    assert "step-down max-t" in text
    assert "sham on the same day" in text


def test_the_course_can_be_switched_off(study):
    predictions, metrics = study
    off = evaluate(predictions, bootstrap=20, permutations=19, progression=False)
    assert off["progression"] == {
        "value": None,
        "why": "switched off by config.eval.progression=false",
    }
    metrics_schema.check({**metrics, "progression": off["progression"]})
    page = html.render_report(off, predictions, title="A study")
    assert "config.eval.progression=false" in pages.text(page)
    assert "Course of pain" not in methods.describe(off, {})
