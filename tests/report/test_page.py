import copy
import json
import re
import shutil
import subprocess
from html import unescape

import pages
import pytest
from full_study import make_full_study
from prediction_tables import evaluate, make_answers, make_meta, make_study

from mpjax.analysis.predictions import read_predictions, write_predictions
from mpjax.report.page import render_report, write_report
from mpjax.taxonomy import Taxonomy

HOSTILE = "<script>alert('{}{}')</script>$x_&"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Writes a report on the table and returns (path, page, metrics)."""

    def write(table, meta, demonstration=None, title="A study"):
        folder = tmp_path_factory.mktemp("report")
        write_predictions(folder / "p.parquet", table, meta)
        predictions = read_predictions(folder / "p.parquet", embedding="embedding" in table)
        metrics = evaluate(
            predictions, bootstrap=200, permutations=100, demonstration=demonstration
        )
        metrics = json.loads(json.dumps(metrics))
        write_report(folder / "report.html", metrics, predictions, title=title)
        page = (folder / "report.html").read_text(encoding="utf-8")
        return folder / "report.html", page, metrics

    return write


@pytest.fixture(scope="module")
def study(report):
    return report(*make_study(drug=False))


@pytest.fixture(scope="module")
def full(report):
    return report(*make_full_study())


def test_the_answers_come_first_in_words_with_their_intervals(study):
    _, page, metrics = study
    text = pages.text(page)
    for kind, task in (("fine", "15 classes"), ("coarse", "3 groups")):
        score = metrics[kind]["recording"]["accuracy"]
        low, high = (f"{100 * value:.1f}" for value in score["ci95"])
        answer = text.index(f"the model predicted the correct one of {task}")
        answer = text[answer : text.index("Accuracy by level")]
        assert f"{100 * score['value']:.1f} % of recordings (95 % CI {low}–{high} %" in answer
        assert "n = 120 recordings of 12 animals)" in answer
        assert "This is above chance" in answer


def test_the_same_input_gives_the_same_bytes(full):
    path, page, metrics = full
    predictions = read_predictions(path.with_name("p.parquet"), embedding=True)
    assert render_report(metrics, predictions, title="A study") == page


def test_nothing_is_loaded_from_outside_the_page(full):
    page = full[1]
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)[^\"]*", page)
    assert "@import" not in page
    assert not re.findall(r"url\((?!#)", page)


def test_figures_share_no_ids_and_each_says_in_words_what_it_shows(full):
    page = full[1]
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r"(?:url\(#|href=\"#)([^\")]+)", page)) <= set(ids)
    texts = re.findall(r'<div role="img" aria-label="([^"]{40,})"><svg', page)
    assert page.count("<svg") == len(texts) == len(set(texts)) > 20


def test_a_full_study_has_every_section(full):
    headings = re.findall(r'<h2 id="(\w+)"', full[1])
    assert tuple(headings) == pages.SECTIONS
    linked = re.findall(r'<a href="#(\w+)"', full[1])
    assert tuple(linked) == pages.SECTIONS


def test_the_drug_part_answers_in_words_before_its_figures(full):
    _, page, metrics = full
    head = unescape(pages.text(page[: page.index('id="classification"')]))
    for sentence in metrics["drug"]["summary"]:
        assert " ".join(sentence.split()) in head  # `pages.text` makes every space a plain one
    interaction = metrics["drug"]["interaction"]
    low, high = (f"{bound:.2f}".replace("-", "−") for bound in interaction["ci95"])
    assert f"(95 % CI {low} to {high})" in pages.text(page[page.index('id="drug"') :])


def test_a_cohort_without_a_drug_part_says_why(study):
    page = study[1]
    assert unescape(pages.text(page)).count("no drug part (no row of split 'drug')") >= 2
    assert 'id="specificity"' not in page
    assert "Estimation plot" not in page


def test_downloads_hold_the_figures_of_metrics_json(full):
    _, page, metrics = full
    files = pages.downloads(page)
    drug = metrics["drug"]
    assert [float(row["score"]) for row in files["sessions"]] == [
        session["score"] for session in drug["sessions"]
    ]
    contrasts = [row for rows in drug["contrasts"].values() for row in rows]
    both = files["contrasts"] + files["contrasts_over_time"]
    assert sorted(float(row["value"]) for row in both) == sorted(r["value"] for r in contrasts)
    assert [float(row["reversal_percent_ci_low"]) for row in files["reversal"]] == [
        found["ci95"][0] for arms in drug["reversal"].values() for found in arms.values()
    ]
    confusion = [int(row["units"]) for row in files["confusion"] if row["classes"] == "15"]
    assert confusion == [
        units
        for level in ("clip", "recording", "animal_day")
        for row in metrics["fine"][level]["confusion"]
        for units in row
    ]
    assert [float(row["accuracy"]) for row in files["reliability"]] == [
        entry["accuracy"]
        for kind in ("fine", "coarse")
        for entry in metrics["calibration"][kind]["reliability"]
    ]
    assert {(row["animal"], row["day"]): float(row["p_pain"]) for row in files["trajectories"]} == {
        (animal, str(row["day"])): value
        for row in metrics["progression"]["rows"]
        for animal, value in row["animals"].items()
    }
    assert files["levels"][1]["accuracy"] == str(metrics["fine"]["recording"]["accuracy"]["value"])


def test_downloads_agree_with_the_tables_shown(full):
    page = full[1]
    files = pages.downloads(page)
    for shown, row in zip(
        pages.shown(page, "Every arm compared with vehicle"), files["contrasts"], strict=True
    ):
        low, high = (float(row[f"value_ci_{end}"]) for end in ("low", "high"))
        cell = f"{float(row['value']):.2f}{low:.2f} to {high:.2f}".replace("-", "−")
        assert [shown[0], shown[1], shown[2]] == [row["condition"], row["arm"], cell]
    for shown, row in zip(pages.shown(page, "Accuracy by level"), files["levels"], strict=True):
        assert shown[1] == row["level"]
        assert shown[3].startswith(f"{100 * float(row['accuracy']):.1f} %")
    assert len(pages.shown(page, "Every animal and session")) == len(files["sessions"])


def test_the_arrive_checklist_says_what_the_cohort_does_not(full):
    page = full[1]
    text = pages.text(page[page.index('id="arrive"') : page.index('id="limits"')])
    items = re.findall(r"<h3>([^<]+)</h3>", page[page.index('class="arrive"') :])[:10]
    assert items == [
        "Study design", "Sample size", "Inclusion and exclusion", "Randomisation", "Blinding",
        "Outcome measures", "Statistical methods", "Experimental animals",
        "Experimental procedures", "Results",
    ]  # fmt: skip
    assert "neuropathic: vehicle 5, gabapentin 10 mg/kg 5, gabapentin 30 mg/kg 5" in text
    assert "72 animals; sex: f 30, m 42." in text
    assert "Route i.p.; filmed 30, 90 minutes after the dose." in text
    missing = re.findall(r"Not recorded in the cohort file: fill in ([^.]+)\.", text)
    assert any("allocated to conditions and arms" in each for each in missing)
    assert any("strain" in each for each in missing)
    assert not any("route" in each or "sex" in each for each in missing)


def test_the_methods_name_exact_n_tests_and_versions(full):
    _, page, metrics = full
    text = pages.text(page[page.index('id="methods"') : page.index('id="arrive"')])
    for sentence in (
        "360 clips from 120 recordings of 12 animals in 6 cages",
        "200 bootstrap resamples of 12 whole animals",
        "100 permutations",
        metrics["drug"]["mixed_model"]["formula"],
        "Dunnett and Dunnett, Bonferroni over 2 times",
        "Animals with a session before and after, per arm: inflammatory: vehicle 5, gabapentin 10",
        "jax 0.10.0",
        metrics["fingerprint"],
    ):
        assert sentence in text


def test_what_could_not_be_estimated_is_shown_with_its_reason(report):
    table, meta = make_study()  # without sessions before induction, motion or embeddings
    text = pages.text(report(table, meta)[1])
    assert "not estimable: 12 of 12 animals have no session before induction" in text
    assert "Not shown: the predictions come without a measure of motion" in text
    assert "Not shown: the predictions come without embeddings" in text
    assert "Not shown: no head was trained under both splits" in text


def test_names_are_shown_as_text_and_never_run(report):
    table, meta, demonstration = make_full_study(name=HOSTILE, doses=(0.0, 30.0))
    table["condition"] = table["condition"].replace("sham", "<b>$sham$</b>")
    meta["provenance"]["cohort"] = "<img src=x onerror=alert(1)>"
    meta["exclude"] = ["<i>normal</i>"]
    meta["taxonomy"]["fine"] = [
        name.replace("sham@", "<b>$sham$</b>@") for name in meta["taxonomy"]["fine"]
    ]
    table["drug"] = table["drug"].replace("gabapentin", "<i>$g$</i>")
    page = report(table, meta, demonstration, title="<script>t()</script>")[1]
    assert "<script" not in page
    assert "<b>" not in page
    assert "<i>" not in page
    assert "<img" not in page
    assert re.search(
        r"<text[^>]*>&lt;b&gt;\$sham\$&lt;/b&gt;</text>", page
    )  # no mathematics either
    assert "<title>&lt;script&gt;" in page


def test_published_figures_stand_apart_as_another_dataset(study):
    text = pages.text(study[1])
    quoted = text[text.index("Quoted from the literature") : text.rindex("Provenance")]
    for figure in ("48.41 %", "73.1 %", "30.52 %", "58.43 %", "21.33 %", "48.0 %"):
        assert figure in quoted
    assert "another, unpublished dataset" in quoted
    assert "48.41" not in text[: text.index("Quoted from the literature")]


def test_parts_that_the_metrics_do_not_have_are_left_out(full):
    path, _, metrics = full
    predictions = read_predictions(path.with_name("p.parquet"))
    metrics = copy.deepcopy(metrics)
    drug = metrics["drug"]
    for key in ("contrasts", "dose_response", "specificity", "mixed_model", "sessions", "summary"):
        del drug[key]
    del metrics["calibration"], metrics["leak"]["demonstration"], metrics["coarse"]["separate"]
    for level in ("clip", "recording", "animal_day"):
        del metrics["fine"][level]["day_distance"], metrics["fine"][level]["permutation"]
        del metrics["fine"][level]["top3_accuracy"], metrics["coarse"][level]["permutation"]
    page = render_report(metrics, predictions, title="A study")
    for absent in ("Dunnett", "ED50", "Hedges", "Top-3", "Permutation", "None", "Undefined"):
        assert absent not in pages.text(page[page.index("<body") : page.index('id="methods"')])
    assert {"calibration", "specificity", "map"}.isdisjoint(re.findall(r'<h2 id="(\w+)"', page))


@pytest.fixture(scope="module")
def rerendered(full):
    """Renders the full study's report with changes to its metrics; returns its text."""
    path, _, metrics = full
    predictions = read_predictions(path.with_name("p.parquet"))

    def render(change):
        changed = copy.deepcopy(metrics)
        change(changed)
        return unescape(pages.text(render_report(changed, predictions, title="A study")))

    return render


def test_the_units_of_the_classification_and_of_the_drug_test_are_reported_separately(rerendered):
    def change(metrics):
        metrics["drug"]["unit"] = "cage"

    sentence = "unit of the classification is the animal; that of the drug test is the cage"
    assert rerendered(change).count(sentence) == 2  # ARRIVE and limits


def test_animals_left_out_of_the_drug_test_are_counted_and_listed(rerendered):
    why = "no session before, or none after, the dose"
    one = {"condition": "sham", "arm": "vehicle", "why": why}

    def change(metrics):
        metrics["drug"]["left_out"] = [{"animal": name, **one} for name in ("lost1", "lost2")]

    text = rerendered(change)
    sentence = f"Left out of the drug test: 2 animals ({why}: 2)."
    assert text.count(sentence) == 3  # Methods, ARRIVE's sample size and its exclusions
    assert re.search(f"lost2 sham vehicle {why}", text)


def test_every_drug_of_a_condition_has_its_doses_and_its_ed50(rerendered):
    dose = {"dose_mg_per_kg": 3.0, "value": 50.0, "ci95": [40.0, 60.0], "n": 5}
    ed50 = {"value": 7.0, "ci95": None, "why": "the doses do not bound it above", "n": 9}

    def change(metrics):
        both = {"morphine": {"doses": [dose], "ed50": ed50}, "aspirin": {"doses": [dose],
                "ed50": {"value": None, "why": "1 dose(s)"}}}  # fmt: skip
        metrics["drug"]["dose_response"] = {"neuropathic": both}

    text = rerendered(change)
    sentence = "morphine, neuropathic: ED50 7 mg/kg (no interval: the doses do not bound it above)."
    assert sentence in text
    assert "aspirin, neuropathic: ED50 not estimable: 1 dose(s)." in text
    assert re.search("neuropathic aspirin 3 50", text)


def test_probabilities_that_were_not_calibrated_are_not_called_so(rerendered):
    def change(metrics):
        metrics["calibration"]["temperature"] = {"value": None, "why": "too few animals"}

    assert "Reliability of the calibrated probabilities" in rerendered(lambda metrics: None)
    text = rerendered(change)
    assert "Reliability of the probabilities of clips" in text
    assert "Probabilities were not calibrated: too few animals." in text


def test_a_leak_inflates_only_where_its_interval_lies_above_zero(rerendered):
    def change(metrics):
        found = metrics["leak"]["demonstration"]["fine"]["inflation"]
        found |= {"value": 0.05, "ci95": [-0.01, 0.11]}

    text = rerendered(change)
    assert "15 classes: the leak changes clip accuracy by 5.0 points" in text
    assert "(95 % CI −1.0 to 11.0; the interval includes 0)" in text
    assert "15 classes: the leak inflates clip accuracy by" in rerendered(lambda metrics: None)


def test_a_mixed_model_that_was_not_fitted_is_replaced_by_its_reason(rerendered):
    def change(metrics):
        metrics["drug"]["mixed_model"] = {"value": None, "why": "the fit did not converge"}

    assert rerendered(change).count("No mixed model: the fit did not converge.") == 2


def test_only_estimated_contrasts_are_counted_as_reported(rerendered):
    def change(metrics):
        for row in metrics["drug"]["contrasts"]["sham"]:
            row |= {"value": None, "ci95": None, "why": "no vehicle arm"}

    assert "18 contrasts could not be estimated" not in rerendered(lambda metrics: None)
    text = rerendered(change)
    assert "18 contrasts with vehicle, all reported" in text
    assert "9 contrasts could not be estimated" in text


def test_days_before_induction_are_not_counted_after_it(full):
    path, _, metrics = full
    predictions = read_predictions(path.with_name("p.parquet"))
    table = predictions.table
    table.loc[table["split"] != "drug", "day"] -= 2
    text = pages.text(render_report(metrics, predictions, title="A study"))
    days = sorted(set(table.loc[table["split"] != "drug", "day"]))
    before = [f"−{-day:g}" for day in days if day < 0]
    after = [f"{day:g}" for day in days if day >= 0]
    assert before
    assert f"before induction ({', '.join(before)}) and" in text
    assert f"{len(after)} days after induction ({', '.join(after)})." in text


def test_provenance_is_listed(study):
    text = pages.text(study[1])
    for value in ("0123456789abcdef", "5d41402abc4b2a76", "projector.name i3d", "versions.jax"):
        assert value in text


@pytest.mark.parametrize("split", ["test", "train"])
def test_a_label_cohort_of_one_animal_gets_reasons_in_place_of_figures(report, split):
    table = make_answers([0, 1, 1], [0, 1, 0], animal=[0, 0, 0]).assign(split=split)
    text = pages.text(report(table, make_meta(Taxonomy(("groom", "rear", "walk"))))[1])
    assert "Drug test: none, because the cohort has no drug part" in text
    assert "no probability of pain" in text
    if split == "test":
        assert "no confidence interval: no interval from a single animal" in text
        assert "animal × day not estimable: 1 of 1 animal × day units" in text.replace("  ", " ")
    else:
        assert "not estimable, because no held-out clip" in text


def test_a_score_that_includes_chance_is_not_called_above_it(report):
    label = [0, 1, 2] * 8
    table = make_answers(label, [0] * 24, animal=[i // 3 for i in range(24)])
    table["animal"] = table["animal"] + "x"
    text = pages.text(report(table, make_meta(Taxonomy(("a", "b", "c"))))[1])
    assert "cannot be distinguished from chance" in text


@pytest.mark.skipif(shutil.which("chromium") is None, reason="chromium is not installed")
@pytest.mark.parametrize("width", [390, 1200])
@pytest.mark.parametrize("kind", ["full", "study"])
def test_a_browser_shows_every_figure_without_errors_or_sideways_scrolling(
    request, tmp_path, kind, width
):
    page = request.getfixturevalue(kind)[1]
    page = page.replace("</body>", pages.MEASURE).replace("<details>", "<details open>")
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
    assert (measured["figures"], measured["broken"]) == (page.count("<svg"), 0)
