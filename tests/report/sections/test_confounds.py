"""The audit in the report: a red box at the top, what it names, and nothing where all is green."""

import re

import audited_recordings
import pytest

from mpjax.analysis.confounds import Settings, audit_confounds
from mpjax.report import page as html
from mpjax.report.sections import confounds as confound_tables

CAGES = Settings("cage", bootstrap=100, permutations=199)


def audit(**options):
    recordings, taxonomy = audited_recordings.draw(days=(1, 7), **options)
    return audit_confounds(recordings, taxonomy, CAGES)


@pytest.fixture(scope="module")
def red():
    return audit(shift={"brightness": 40.0, "grid": 40.0})


def render(name, found):
    environment = html.make_environment()
    return environment.get_template(f"sections/{name}.html.j2").render(
        metrics={"confounds": found},
        figures=confound_tables.draw(found),
        tables=confound_tables.tabulate(found),
    )


def test_a_red_audit_makes_a_box_for_the_top_that_names_the_feature(red):
    box = render("confound_alert", red)
    assert 'role="alert"' in box
    assert "neuropathic recordings are brighter" in box
    assert 'href="#confounds"' in box
    assert 'id="confounds"' in render("confounds", red)


def test_without_a_confound_there_is_no_box():
    found = audit()
    assert not render("confound_alert", found).strip()
    assert "better than chance" in render("confounds", found)
    assert 'class="flag"' not in render("confounds", found)


def test_every_test_and_every_class_is_shown(red):
    page = render("confounds", red)
    for entry in red["families"].values():
        assert entry["title"].split(",")[0] in page
    assert page.count("data:image/png;base64,") == 3
    table = confound_tables.tabulate(red)["confounds"]
    tested = [row for row in table.rows if row["accuracy"] is not None]
    assert len(tested) == sum(
        task.get("value") is not None for e in red["families"].values() for task in
        e["tasks"].values()
    )  # fmt: skip
    assert any(row["not_estimable"] for row in table.rows)


def test_figures_say_in_words_what_they_show(red):
    panels = confound_tables.draw(red)["confounds"]
    assert len(panels) == 2
    assert "Brightness" in panels[1].alt
    assert "red: above chance" in panels[1].alt


def test_names_from_the_data_are_escaped(red):
    spoiled = dict(red, backgrounds=[dict(red["backgrounds"][0], **{"class": "<b>x</b>"})])
    spoiled["sentences"] = ["<script>alert(1)</script>", *red["sentences"]]
    page = render("confounds", spoiled) + render("confound_alert", spoiled)
    assert "<script>" not in page
    assert "<b>x</b>" not in page


def test_a_part_that_was_not_made_shows_the_reason_or_nothing():
    assert not render("confounds", {}).strip()
    page = render("confounds", {"value": None, "why": "it was switched off"})
    assert "it was switched off" in page
    assert not render("confound_alert", {"value": None, "why": "it was switched off"}).strip()


def test_clips_compared_with_single_images_are_reported(red):
    score = {"value": 0.5, "n": 48}
    tasks = {
        "coarse": {
            "clip": score, "still": score, "chance": 1 / 3, "sentence": "Clips tell 50 %.",
            "difference": {"value": 0.0, "ci95": [-0.1, 0.1], "n": 48},
        }
    }  # fmt: skip
    stills = {"frame": tasks, "background": {"value": None, "why": "no embeddings"}}
    page = render("confounds", red | {"stills": stills})
    assert "Clips tell 50 %." in page
    assert re.search(r"not estimable: no embeddings", page)
