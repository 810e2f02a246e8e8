import json
from html import unescape

import pages
import pytest
import scripted_rater
from rating_study import make_study

from mpjax.analysis.raters import files as rater_files
from mpjax.report import page as html
from mpjax.report.sections import raters as rater_tables
from mpjax.studies import rating

HOSTILE = "<b>R&1</b>"


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    """What three scripted raters scored against two methods, as it is in raters.json."""
    folder = tmp_path_factory.mktemp("raters")
    study = make_study(folder / "study")
    rating.make(study, folder / "pack", clips=75)
    key = rater_files.read_key(folder / "pack.key.json")
    paths = [
        scripted_rater.write(folder / f"{i}.json", scripted_rater.answer(key, name, seed=i))
        for i, name in enumerate((HOSTILE, "R2", "R3"))
    ]
    against = [f"bsoid={study / 'predictions.parquet'}"]
    key_path = folder / "pack.key.json"
    rating.score(key_path, paths, workdir=study, against=against, bootstrap=100)
    return json.loads((study / "raters.json").read_text())


def render(raters):
    """Renders the section alone, as the report includes it."""
    template = html.make_environment().get_template("sections/raters.html.j2")
    return template.render(
        metrics={"raters": raters} if raters else {},
        tables=rater_tables.tabulate(raters),
        rater_answers=rater_tables.sentences(raters),
        rater_notes=rater_tables.notes(raters),
    )


def test_words_come_first_with_accuracy_interval_and_difference(figures):
    page = render(figures)
    text = unescape(pages.text(page[: page.index("<table>")])).replace("\u00a0", " ")
    for kind in ("fine", "coarse"):
        accuracy = figures["pooled"][kind]["accuracy"]
        low, high = (f"{100 * bound:.1f}" for bound in accuracy["ci95"])
        assert f"in {100 * accuracy['value']:.1f} % (95 % CI {low}–{high} %) of answers" in text
        difference = figures["against"]["model"][kind]["difference"]
        points = f"{100 * difference['value']:.1f}".replace("-", "−")
        assert f"{points} points compared with the raters (95 % CI" in text
    assert "On 75 held-out clips of 12 animals, 3 blinded raters chose" in text
    assert "On the same clips the model predicted" in text
    assert "On the same clips bsoid predicted" in text


def test_the_table_compares_raters_methods_and_chance(figures):
    page = render(figures)
    rows = pages.shown(page, "Raters and methods on the same clips")
    assert [unescape(row[0]) for row in rows] == [
        HOSTILE, "R2", "R3", "all raters", "model", "bsoid", "chance",
    ]  # fmt: skip
    files = pages.downloads(page)
    shares = [float(row["fine"]) for row in files["raters"]]
    assert shares == [
        *(one["fine"]["accuracy"]["value"] for one in figures["raters"]),
        figures["pooled"]["fine"]["accuracy"]["value"],
        *(figures["against"][name]["fine"]["accuracy"]["value"] for name in ("model", "bsoid")),
        1 / 15,
    ]
    assert len(files["raters_differences"]) == 2 * 2 * 4
    assert [row["kappa"] for row in files["raters_agreement"]][:4] == ["Fleiss", *["Cohen"] * 3]
    assert sum(int(r["answers"]) for r in files["raters_confusion"] if r["rater"] == "R2") == 150
    assert len(files["raters_trials"]) == 3


def test_names_are_escaped_and_the_published_figures_stand_apart(figures):
    page = render(figures)
    assert "<b>" not in page
    quoted = page.index('class="quoted"')
    assert page.index("21.33 %") > quoted
    assert "another dataset" in page[quoted:]


def test_without_raters_there_is_no_section_and_a_reason_is_shown():
    assert render({}).strip() == ""
    assert "Not shown: the ratings are of another dataset." in render(
        {"value": None, "why": "the ratings are of another dataset"}
    )


def test_the_printed_table_holds_the_same_figures(figures):
    text = rater_tables.as_text(figures)
    for one in figures["raters"]:
        [line] = [row for row in text.splitlines() if row.startswith(f"{one['name']}  ")][:1]
        assert f"{100 * one['fine']['accuracy']['value']:.1f} % [" in line
    assert "note on the pooled intervals: rough, as it rests on 3 raters only" in text


@pytest.mark.parametrize(
    ("ci95", "p", "verdict"),
    [
        ((-0.27, -0.01), 0.066, "which cannot be distinguished from no difference"),
        ((-0.27, -0.01), 0.03, "so the model is correct less often"),
        ((0.01, 0.2), 0.03, "so the model is correct more often"),
        ((-0.01, 0.2), 0.03, "which cannot be distinguished from no difference"),
    ],
)
def test_a_difference_is_claimed_only_where_interval_and_test_agree(ci95, p, verdict):
    compared = {
        "accuracy": {"value": 0.1},
        "difference": {"value": sum(ci95) / 2, "ci95": ci95},
        "permutation": {"p": p},
    }
    assert rater_tables._against("model", compared, "the class").endswith(f"{verdict}.")
