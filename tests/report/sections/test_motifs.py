import json
import re

import pages
import pytest
from motif_cohorts import TAXONOMY, make_codebook, make_cohort, make_labelled

from mpjax.analysis.motifs import analyse as motifs
from mpjax.config import MotifConfig
from mpjax.report import page as html
from mpjax.report.sections import motif_figures
from mpjax.report.sections import motifs as motif_tables
from mpjax.taxonomy import Taxonomy

CONFIG = MotifConfig(permutations=1999, penalties=(1.0, 0.3))
HOSTILE = "<script>alert(1)</script>$x_&"
HEAD: dict = {
    "recording": {
        "accuracy": {"value": 0.5, "ci95": [0.4, 0.6], "n": 54},
        "mean_class_accuracy": {"value": 0.48, "ci95": [0.38, 0.58], "n": 54},
    }
}


def analyse(windows, assigned, *, taxonomy=TAXONOMY, folds=None):
    found = motifs.analyse(
        windows, assigned, codebook=make_codebook(), taxonomy=taxonomy, group="animal",
        config=CONFIG, folds=folds, bootstrap=100,
    )  # fmt: skip
    return json.loads(json.dumps(found, allow_nan=False))


def render(found, galleries=None):
    tasks = {"fine": HEAD | {"classes": [""] * 15}, "coarse": HEAD | {"classes": [""] * 3}}
    metrics = {} if found is None else {"motifs": found}
    page = (
        html.make_environment()
        .get_template("sections/motifs.html.j2")
        .render(
            metrics=metrics,
            tables=motif_tables.tabulate(metrics.get("motifs", {}), tasks),
            figures=motif_figures.draw(metrics.get("motifs", {})),
            **({} if galleries is None else {"galleries": galleries}),
        )
    )
    return page


@pytest.fixture(scope="module")
def planted():
    windows, assigned = make_cohort(
        shift={"neuropathic": {6: 2.0}}, drug=3, animals=7, recordings=1
    )
    windows["animal"] = windows["animal"].where(windows["animal"] != "n0", HOSTILE)
    return analyse(windows, assigned, folds=dict.fromkeys(range(3), assigned))


@pytest.fixture(scope="module")
def page(planted):
    return render(planted)


def test_the_answers_come_first_in_words(planted, page):
    text = pages.text(page)
    first = text.index("In neuropathic, the usage of")
    assert first < text.index("Differences in motif usage") < text.index("Every motif")
    assert "motif 6: +" in text
    assert "of held-out animals are classified correctly among 3 classes" in text
    assert planted["codebook"]["chosen"]["rule"] in text


def test_every_test_is_offered_and_transitions_only_as_a_file(planted, page):
    files = pages.downloads(page)
    assert len(files["motif_tests"]) == len(planted["tests"])
    assert float(files["motif_tests"][0]["p"]) == planted["tests"][0]["p"]
    shown = pages.shown(page, "Every test of usage and bouts")
    transitions = sum(row["measure"] == "transition" for row in planted["tests"])
    assert transitions > 0
    assert len(shown) == len(planted["tests"]) - transitions
    sessions = files["motif_sessions"]
    assert len(sessions) == len(planted["sessions"])
    shares = [float(sessions[0][f"usage_{motif}"]) for motif in range(8)]
    assert sum(shares) + float(sessions[0]["unlike"]) == pytest.approx(1, abs=1e-4)


def test_the_score_is_compared_with_the_head(page):
    rows = pages.shown(page, "Classification from motif usage alone")
    assert [row[:2] for row in rows] == [
        ["15 classes", "motif usage alone"], ["15 classes", "the head"],
        ["3 groups", "motif usage alone"], ["3 groups", "the head"],
    ]  # fmt: skip
    assert "50.0 %" in rows[1][2]


def test_the_clearest_tests_are_shown_first(planted):
    rows = motif_tables.tabulate(planted, {})["motif_findings"].rows
    assert rows[0]["motif"] == 6
    assert [row["q"] for row in rows] == sorted(row["q"] for row in planted["tests"])[:15]


def test_figures_say_in_words_what_they_show_and_share_no_ids(page):
    alts = re.findall(r'role="img" aria-label="([^"]+)"', page)
    assert len(alts) == page.count("<svg")
    assert any("8 are chosen" in alt for alt in alts)
    assert any("motif 6" in alt and "neuropathic against no_pain" in alt for alt in alts)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_names_of_the_data_are_escaped(page):
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_galleries_show_pictures_of_a_motif_and_what_it_moves_like(planted):
    picture = {"src": "data:image/webp;base64,AAAA", "caption": 'animal "m1"'}
    galleries = {
        0: {"pictures": [picture, picture], "moves_like": [["washing hands", 0.4]]},
        "1": {"pictures": [], "moves_like": {"why": "the projector has no head of its own"}},
    }
    page = render(planted, galleries)
    assert page.count("data:image/webp;base64,AAAA") == 2
    assert 'alt="animal &#34;m1&#34;"' in page
    text = pages.text(page)
    assert "as an analogy only: washing hands (40.0 %)" in text
    assert "No analogy: the projector has no head of its own" in text


def test_the_same_input_gives_the_same_bytes_and_no_galleries_are_no_pictures(planted, page):
    assert render(planted, {}) == page


def test_a_label_cohort_is_shown():
    windows, assigned = make_labelled(animals=4, recordings=2)
    page = render(analyse(windows, assigned, taxonomy=Taxonomy(("groom", "rear", "walk"))))
    text = pages.text(page)
    assert "In groom, the usage of" in text
    assert "groom against the others" in page
    assert "No score from motif usage alone" in text


def test_clips_of_one_window_say_why_there_are_no_bouts():
    windows, assigned = make_labelled(animals=4, windows=1, recordings=12)
    text = pages.text(render(analyse(windows, assigned, taxonomy=Taxonomy(("a", "b", "c")))))
    assert "No bouts: each recording is a single window" in text
    assert "No course within a recording: no recording has 10 windows" in text


def test_what_was_not_analysed_says_why_and_what_is_not_there_takes_no_room():
    assert "Not shown: there are no windows." in render(
        {"value": None, "why": "there are no windows"}
    )
    assert render(None).strip() == ""


def test_single_animals_leave_a_table_of_what_could_not_be_made():
    windows, assigned = make_cohort(animals=1, days=(1,), windows=20)
    page = render(analyse(windows, assigned))
    assert ["neuropathic against no_pain", "each side needs 2 animals; neuropathic has 1, no_pain 1"
            ] in pages.shown(page, "Contrasts that could not be made")  # fmt: skip
