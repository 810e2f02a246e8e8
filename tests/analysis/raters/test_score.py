import json

import numpy as np
import pytest
import scripted_rater
from prediction_tables import CONDITIONS, DAYS, TAXONOMY, make_answers, make_meta, make_table
from rating_study import make_key
from scipy import stats
from sklearn.metrics import confusion_matrix, roc_auc_score
from statsmodels.stats import contingency_tables, inter_rater

from mpjax.analysis.raters import agreement, comparison, files, score
from mpjax.analysis.stats.crossed_bootstrap import Crossed
from mpjax.taxonomy import Taxonomy


@pytest.fixture
def key(tmp_path):
    (tmp_path / "key.json").write_text(json.dumps(make_key()))
    return files.read_key(tmp_path / "key.json")


@pytest.fixture
def rate(tmp_path, key):
    """Returns the answers of scripted raters, one per dict of their chances."""

    def answer(*chances, key=key, **options):
        paths = [
            scripted_rater.write(
                tmp_path / f"r{i}.json", scripted_rater.answer(key, f"R{i}", **{"seed": i, **each})
            )
            for i, each in enumerate(chances)
        ]
        return files.read_answers(paths, key, **options)

    return answer


def make_predictions(check, key, right):
    """Predictions of the key's clips, right where told."""
    rows = [row | {"fold": 0} for row in key.clips.drop(columns="cage").to_dict("records")]
    days = {row["label"]: DAYS[row["label"] % 5] for row in rows}
    label = key.clips["label"].to_numpy()
    rows = [
        row | {"condition": CONDITIONS[row["label"] // 5], "day": days[row["label"]]}
        for row in rows
    ]
    named = np.where(right, label, (label + 5) % 15)
    table = make_table(rows, 3.0 * np.eye(15)[named])
    table["clip_id"] = key.clips["clip_id"].to_numpy()
    return check(table, make_meta(scheme="kfold"))


def test_a_rater_is_right_as_often_as_counted_by_hand(key, rate):
    answers = rate({"fine": 0.3, "coarse": 0.6}, {"fine": 0.5, "coarse": 0.7})
    figures = score.score(key, answers, bootstrap=200)
    pooled = []
    for one, described in zip(answers, figures["raters"], strict=True):
        true = key.clips.loc[one.trials["clip"], "label"].to_numpy()
        right = one.trials["fine"].to_numpy() == true
        pooled.append(right)
        found = described["fine"]["accuracy"]
        assert found["value"] == right.mean()
        assert found["ci95"][0] < found["value"] < found["ci95"][1]
        assert found["n"] == 75
        expected = confusion_matrix(true, one.trials["fine"], labels=range(15))
        assert described["fine"]["confusion"] == expected.tolist()
        coarse = one.trials["coarse"].to_numpy() == np.asarray(TAXONOMY.fine_to_coarse)[true]
        assert described["coarse"]["accuracy"]["value"] == coarse.mean()
        seconds = one.trials["response_ms"] / 1000
        assert described["response"]["median_s"] == pytest.approx(seconds.median())
        assert described["response"]["median_right_s"] == pytest.approx(seconds[right].median())
    assert figures["pooled"]["fine"]["accuracy"]["value"] == np.mean(pooled)
    assert figures["pooled"]["fine"]["accuracy"]["n"] == 150
    assert figures["tasks"]["fine"]["chance"] == 1 / 15
    json.dumps(figures, allow_nan=False)


def test_the_order_of_answering_matters_to_learning_alone(key, rate, tmp_path):
    [one] = rate({"fine": 0.4, "learning": 0.6})
    turned = scripted_rater.answer(key, "R0", fine=0.4, learning=0.6)
    turned["trials"] = turned["trials"][::-1]
    path = scripted_rater.write(tmp_path / "turned.json", files.seal(turned))
    [other] = files.read_answers([path], key)
    figures = [score.score(key, [each], bootstrap=100)["raters"][0] for each in (one, other)]
    slopes = [each["fine"].pop("learning")["value"] for each in figures]
    assert slopes[0] == pytest.approx(-slopes[1])
    assert slopes[0] > 0
    for each in figures:
        del each["coarse"]["learning"]
    assert figures[0] == figures[1]


def test_the_pooled_interval_counts_how_raters_differ(key, rate):
    """Ten raters of one skill and ten of two: the same accuracy, but less sure."""
    alike = [{"fine": 0.5, "coarse": 0.5}] * 10
    unlike = [{"fine": 0.1, "coarse": 0.1}, {"fine": 0.9, "coarse": 0.9}] * 5
    widths = []
    for chances in (alike, unlike):
        found = score.score(key, rate(*chances), bootstrap=500)["pooled"]["fine"]["accuracy"]
        assert found["value"] == pytest.approx(0.5, abs=0.06)
        widths.append(np.ptp(found["ci95"]))
    assert widths[1] > 2 * widths[0]


def test_the_interval_counts_animals_and_not_clips():
    """Clips of an animal that are all alike tell no more than one of them."""
    rng = np.random.default_rng(0)
    once = (rng.random((1, 20)) < 0.5).astype(float)
    widths = []
    for clips in (1, 10):
        crossed = Crossed.draw(
            np.repeat(np.arange(20), clips), raters=1, unit="animal", resamples=1000, seed=0
        )
        found = crossed.estimate(np.repeat(once, clips, axis=1))
        widths.append(np.ptp(found["ci95"]))
        assert "of one rater" in found["note"]
    assert widths[0] == pytest.approx(widths[1])


def test_the_pooled_interval_covers_the_truth_over_animals_and_raters():
    rng = np.random.default_rng(5)
    covered = 0
    for seed in range(150):
        animal, skill = rng.normal(0, 0.8, 15), rng.normal(0, 0.8, 8)
        p = stats.norm.cdf((skill[:, None] + animal.repeat(5)) / 1)
        values = (rng.random(p.shape) < p).astype(float)
        crossed = Crossed.draw(
            np.arange(15).repeat(5), raters=8, unit="animal", resamples=300, seed=seed
        )
        low, high = crossed.estimate(values)["ci95"]
        covered += low <= 0.5 <= high
    assert 0.88 <= covered / 150 <= 0.99


def test_kappa_is_that_of_statsmodels(key, rate):
    answers = rate(*[{"fine": 0.4, "coarse": 0.6}] * 3)
    task = score.lay_out(key, answers)["fine"]
    found = score.score(key, answers, bootstrap=200)["agreement"]["fine"]
    for pair, (a, b) in zip(found["cohen"], ((0, 1), (0, 2), (1, 2)), strict=True):
        table = confusion_matrix(task.answer[a], task.answer[b], labels=range(15))
        expected = inter_rater.cohens_kappa(table, return_results=False)
        assert pair["value"] == pytest.approx(expected)
        assert pair["raters"] == [f"R{a}", f"R{b}"]
        assert pair["ci95"][0] < pair["value"] < pair["ci95"][1]
    counts, _ = inter_rater.aggregate_raters(task.answer.T, n_cat=15)
    assert found["fleiss"]["value"] == pytest.approx(inter_rater.fleiss_kappa(counts))


def test_a_resample_of_kappa_is_that_of_the_resampled_clips():
    rng = np.random.default_rng(0)
    answer = rng.integers(0, 3, (2, 30))
    weights = rng.multinomial(30, np.full(30, 1 / 30))
    taken = answer[:, np.repeat(np.arange(30), weights)]
    named = np.eye(3)[answer]
    [found] = agreement.cohen(named, weights[None].astype(float))
    table = confusion_matrix(*taken, labels=range(3))
    assert found == pytest.approx(inter_rater.cohens_kappa(table, return_results=False))
    [fleiss] = agreement.fleiss(named, weights[None].astype(float))
    counts, _ = inter_rater.aggregate_raters(taken.T, n_cat=3)
    assert fleiss == pytest.approx(inter_rater.fleiss_kappa(counts))


def test_raters_that_always_agree_and_raters_that_say_one_thing(key, rate):
    same = rate({"fine": 0.3, "seed": 1}, {"fine": 0.3, "seed": 1})
    figures = score.score(key, same, bootstrap=100)["agreement"]["fine"]
    assert figures["cohen"][0]["value"] == figures["fleiss"]["value"] == 1
    crossed = Crossed.draw(np.arange(6), raters=2, unit="animal", resamples=50, seed=0)
    stuck = agreement.describe(np.zeros((2, 6), int), crossed, classes=3, names=["A", "B"])
    assert "one class throughout" in stuck["fleiss"]["why"]
    alone = agreement.describe(np.zeros((1, 6), int), crossed, classes=3, names=["A"])
    assert alone == {"cohen": [], "fleiss": {"value": None, "why": alone["fleiss"]["why"]}}


def test_learning_is_found_where_it_is_and_reasons_where_it_cannot_be():
    rng = np.random.default_rng(0)
    p = 1 / (1 + np.exp(-(np.arange(400) / 10 - 20) * 0.1))
    found = score.learning((rng.random(400) < p).astype(float))
    assert found["ci95"][0] < 0.1 < found["ci95"][1]
    assert found["ci95"][0] > 0.05
    none = score.learning((rng.random(400) < 0.3).astype(float))
    assert none["ci95"][0] < 0 < none["ci95"][1]
    assert "all are wrong" in score.learning(np.zeros(75))["why"]
    assert "before all wrong" in score.learning(np.repeat([1.0, 0.0], 10))["why"]


def test_confidence_is_judged_by_the_area_under_the_curve():
    rng = np.random.default_rng(0)
    right = (rng.random(75) < 0.4).astype(float)
    confidence = np.clip(rng.integers(1, 5, 75) + right.astype(int), 1, 5)
    group = np.repeat(np.arange(15), 5)
    crossed = Crossed.draw(group, raters=1, unit="animal", resamples=300, seed=0)
    found = score.discrimination(confidence, right, group, crossed)
    assert found["value"] == pytest.approx(roc_auc_score(right, confidence))
    assert 0.5 < found["ci95"][0] < found["value"] < found["ci95"][1]
    levels = score.levels(confidence, right)
    assert sum(level["n"] for level in levels) == 75
    assert levels[-1]["accuracy"] == right[confidence == 5].mean()
    assert "all right" not in found
    always = score.discrimination(confidence, np.ones(75), group, crossed)
    assert "all answers are right" in always["why"]


def test_a_method_is_compared_on_the_same_clips(key, rate, check):
    answers = rate({"fine": 0.2, "coarse": 0.5}, {"fine": 0.3, "coarse": 0.5})
    right = np.random.default_rng(0).random(75) < 0.7
    model = make_predictions(check, key, right)
    figures = score.score(key, answers, against={"model": model}, bootstrap=400)
    found = figures["against"]["model"]["fine"]
    assert found["accuracy"]["value"] == right.mean()
    pooled = figures["pooled"]["fine"]["accuracy"]["value"]
    assert found["difference"]["value"] == pytest.approx(right.mean() - pooled)
    assert found["difference"]["ci95"][0] > 0.15
    assert found["permutation"]["p"] < 0.01
    task = score.lay_out(key, answers)["fine"]
    for row, one in zip(task.right, found["raters"], strict=True):
        table = confusion_matrix(right, row)
        expected = contingency_tables.mcnemar(table, exact=True)
        assert one["mcnemar"]["p"] == pytest.approx(expected.pvalue)
        assert one["mcnemar"]["method_only"] == ((row == 0) & right).sum()
        assert one["difference"]["value"] == pytest.approx(right.mean() - row.mean())


def test_a_rater_equals_a_method_that_answers_alike(key, rate, check):
    [one] = rate({"fine": 0.5, "coarse": 0.5})
    right = score.lay_out(key, [one])["fine"].right[0] == 1
    figures = score.score(
        key, [one], against={"model": make_predictions(check, key, right)}, bootstrap=100
    )
    found = figures["against"]["model"]["fine"]
    assert found["difference"]["value"] == 0
    assert found["difference"]["ci95"] == [0, 0]
    assert found["raters"][0]["mcnemar"]["p"] == 1
    assert "differ in 0 animals" in found["permutation"]["why"]


def test_all_sign_flips_of_few_animals_are_tried():
    crossed = Crossed.draw(np.array([0, 0, 1, 2]), raters=1, unit="cage", resamples=10, seed=0)
    difference = np.array([[1.0, 1.0, 1.0, -1.0]])  # sums 2, 1, -1; total 2
    found = comparison.flip_signs(difference, crossed, permutations=9, seed=0)
    # Of the 8 flips, |±2 ±1 ±1| reaches 2 in (2,1,-1), (2,-1,1), (2,1,1) and their opposites.
    assert found == {"p": 6 / 8, "permutations": 8, "unit": "cage", "exact": True}


def test_drawn_sign_flips_count_the_observed_one():
    difference = np.ones((2, 30))
    crossed = Crossed.draw(np.arange(30), raters=2, unit="animal", resamples=10, seed=0)
    found = comparison.flip_signs(difference, crossed, permutations=99, seed=0)
    assert (found["p"], found["exact"]) == (1 / 100, False)


def test_methods_of_other_clips_classes_or_labels_are_refused(key, rate, check):
    answers = rate({})
    model = make_predictions(check, key, np.ones(75, bool))
    fewer = make_answers([0] * 3, [0] * 3, animal=[0, 1, 2], classes=15)
    fewer["condition"], fewer["day"] = CONDITIONS[0], DAYS[0]
    named = make_answers([0], [0], animal=[0])
    other = model.table.assign(label=(model.table["label"] + 1) % 15, condition="", day=0)
    other["p"] = other["logits"] = list(model.p.astype(np.float32))
    for table, taxonomy, why in (
        (fewer, TAXONOMY, "m: 72 of the 75 rated clips are not among its 3 held-out clips"),
        (named, Taxonomy(("a", "b", "c")), "m: its classes are not those"),
        (other, TAXONOMY, "m: the labels of the rated clips are not those"),
    ):
        with pytest.raises(ValueError, match=why):
            score.score(key, answers, against={"m": check(table, make_meta(taxonomy))})


def test_cages_are_the_unit_where_they_are_the_keys(tmp_path):
    (tmp_path / "key.json").write_text(json.dumps(make_key(group="cage")))
    key = files.read_key(tmp_path / "key.json")
    path = scripted_rater.write(tmp_path / "a.json", scripted_rater.answer(key, "R"))
    figures = score.score(key, files.read_answers([path], key), bootstrap=100)
    assert figures["bootstrap"] == {"unit": "cage", "groups": 9, "resamples": 100, "seed": 0}


def test_ratings_of_another_dataset_or_model_are_not_shown_as_this_ones(key, rate, check, tmp_path):
    model = make_predictions(check, key, np.ones(75, bool))
    path = tmp_path / "raters.json"
    assert score.read(path, model) is None
    figures = score.score(key, rate({}), against={"model": model}, bootstrap=50)
    path.write_text(json.dumps(figures))
    assert score.read(path, model) == figures
    model.meta["provenance"]["dataset"] = "d"
    assert score.read(path, model) == figures
    model.meta["fingerprint"] = "another"
    assert "earlier predictions" in score.read(path, model)["why"]
    model.meta["provenance"]["dataset"] = "another"
    assert "another dataset" in score.read(path, model)["why"]
    path.write_text(json.dumps(figures | {"schema": "mpjax.raters/0"}))
    assert "mpjax.raters/0" in score.read(path, model)["why"]


def test_a_label_cohort_has_fine_answers_only(tmp_path):
    labels = Taxonomy(tuple(f"b{i:02d}" for i in range(15)))
    (tmp_path / "key.json").write_text(json.dumps(make_key(labels)))
    key = files.read_key(tmp_path / "key.json")
    path = scripted_rater.write(tmp_path / "a.json", scripted_rater.answer(key, "R", fine=0.6))
    figures = score.score(key, files.read_answers([path], key), bootstrap=100)
    assert set(figures["tasks"]) == {"fine"}
    assert figures["pooled"]["fine"]["accuracy"]["value"] > 0.4


def test_raters_that_have_not_answered_all_count_by_what_they_answered(key, rate):
    whole, part = rate({"fine": 0.5}, {"fine": 0.5, "clips": 30}, allow_incomplete=True)
    figures = score.score(key, [whole, part], bootstrap=100)
    assert [one["clips"] for one in figures["raters"]] == [75, 30]
    assert figures["pooled"]["fine"]["accuracy"]["n"] == 105
    assert figures["agreement"]["fine"]["fleiss"]["n"] == 30
