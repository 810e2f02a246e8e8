import json
import re
import shutil
import subprocess

import pytest
from prediction_tables import make_answers, make_meta, make_study

from mpjax.analysis.metrics import evaluate
from mpjax.analysis.predictions import read_predictions, write_predictions
from mpjax.report.html import write_report
from mpjax.taxonomy import Taxonomy

HOSTILE = "<script>alert('{}{}')</script>$x_&"
MEASURE = """<script>addEventListener("load", () => {
  const page = document.documentElement;
  page.dataset.measured = JSON.stringify({
    spare: page.clientWidth - page.scrollWidth, width: page.clientWidth,
    broken: [...document.images].filter((image) => !image.naturalWidth).length,
    figures: [...document.querySelectorAll("figure svg")].filter((s) => s.clientHeight > 40).length,
  });
});</script></body>"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Writes a report on the table and returns (path, page, metrics)."""

    def write(table, meta, title="A study"):
        folder = tmp_path_factory.mktemp("report")
        write_predictions(folder / "p.parquet", table, meta)
        predictions = read_predictions(folder / "p.parquet")
        metrics = json.loads(json.dumps(evaluate(predictions, bootstrap=200)))
        write_report(folder / "report.html", metrics, predictions, title=title)
        page = (folder / "report.html").read_text(encoding="utf-8")
        return folder / "report.html", page, metrics

    return write


@pytest.fixture(scope="module")
def study(report):
    return report(*make_study())


def _text(page):
    page = re.sub(r"<(style|svg|title).*?</\1>", "", page, flags=re.DOTALL)
    return re.sub(r"\s+", " ", re.sub(r"</t[dhr]>", " ", re.sub(r"<(?!/t[dhr]>)[^>]+>", "", page)))


def test_the_answers_come_first_in_words_with_their_intervals(study):
    _, page, metrics = study
    text = _text(page)
    for kind, named in (("fine", "15 classes"), ("coarse", "3 groups")):
        score = metrics[kind]["recording"]["accuracy"]
        low, high = (f"{100 * value:.1f}" for value in score["ci95"])
        answer = text.index(f"the model named the right one of {named}")
        answer = text[answer : text.index("Accuracy by level")]
        assert f"{100 * score['value']:.1f} % of recordings (95 % CI {low}–{high} %" in answer
        assert "n = 120 recordings of 12 animals)" in answer
        assert "This is above chance" in answer


def test_the_same_input_gives_the_same_bytes(study, report):
    assert report(*make_study())[1] == study[1]


def test_nothing_is_loaded_from_outside_the_page(study):
    page = study[1]
    assert not re.findall(r"(?:src|href)=\"(?!#|data:,)[^\"]*", page.replace('xlink:href="#', "#"))
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_figures_share_no_ids_and_each_has_an_alternative_text(study):
    page = study[1]
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", page)) <= set(ids)
    assert (
        page.count("<svg") == 6 == len(re.findall(r'role="img"[^>]*aria-label="[^"]{40,}"', page))
    )


def test_names_are_shown_as_text_and_never_run(report):
    table, meta = make_study(name=HOSTILE, drug=False)
    table["condition"] = table["condition"].replace("sham", "<b>$sham$</b>")
    meta["provenance"]["cohort"] = "<img src=x onerror=alert(1)>"
    meta["exclude"] = ["<i>normal</i>"]
    page = report(table, meta, title="<script>t()</script>")[1]
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<img" not in page
    assert re.search(
        r"<text[^>]*>&lt;b&gt;\$sham\$&lt;/b&gt;</text>", page
    )  # no mathematics either
    assert "<title>&lt;script&gt;" in page


def test_published_figures_stand_apart_as_another_dataset(study):
    text = _text(study[1])
    quoted = text[text.index("Quoted from the literature") : text.index("Provenance")]
    for figure in ("48.41 %", "73.1 %", "30.52 %", "58.43 %", "21.33 %", "48.0 %"):
        assert figure in quoted
    assert "another, unpublished dataset" in quoted
    assert "48.41" not in text[: text.index("Quoted from the literature")]


def test_provenance_is_listed(study):
    text = _text(study[1])
    for value in ("0123456789abcdef", "5d41402abc4b2a76", "projector.name i3d", "versions.jax"):
        assert value in text


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_label_cohort_of_one_animal_gets_reasons_in_place_of_figures(report, split):
    table = make_answers([0, 1, 1], [0, 1, 0], animal=[0, 0, 0]).assign(split=split)
    text = _text(report(table, make_meta(Taxonomy(("groom", "rear", "walk"))))[1])
    assert "Drug test: none, because the cohort has no drug part" in text
    assert "no probability of pain" in text
    if split == "test":
        assert "no confidence interval: no interval from a single animal" in text
        assert "animal × day not estimable: 1 of 1 animal × day units" in text.replace("  ", " ")
    else:
        assert "not estimable, because of this: no held-out clip" in text


def test_a_score_that_includes_chance_is_not_called_above_it(report):
    label = [0, 1, 2] * 8
    table = make_answers(label, [0] * 24, animal=[i // 3 for i in range(24)])
    table["animal"] = table["animal"] + "x"
    text = _text(report(table, make_meta(Taxonomy(("a", "b", "c"))))[1])
    assert "cannot be told from chance" in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [390, 1200])
def test_a_browser_shows_every_figure_without_errors_or_sideways_scrolling(study, tmp_path, width):
    page = study[1].replace("</body>", MEASURE).replace("<details>", "<details open>")
    (tmp_path / "report.html").write_text(page, encoding="utf-8")
    run = subprocess.run(
        [
            "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic",
            "--no-first-run", "--disable-background-networking", "--disable-component-update",
            "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom",
            "--enable-logging=stderr", f"--window-size={width},900",
            (tmp_path / "report.html").as_uri(),
        ],
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in run.stderr
    [measured] = re.findall(r'data-measured="([^"]+)"', run.stdout)
    measured = json.loads(measured.replace("&quot;", '"'))
    assert measured["width"] > 0.9 * width  # the window may be narrowed by a scroll bar only
    assert measured["spare"] == 0
    assert (measured["figures"], measured["broken"]) == (6, 0)
