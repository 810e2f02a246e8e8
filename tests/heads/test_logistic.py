import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from mpjax.config import HeadConfig
from mpjax.heads import logistic

# Of what is minimised (log 3 at the start), over its least value: float32 sums no better.
EXCESS = 1e-6
CONFIG = HeadConfig(l2=(0.01, 1.0), tolerance=1e-6, max_iterations=500)


def make_rows(seed=0, *, n=240, width=12, classes=3, folds=4, shift=1.0):
    """Gaussian classes, 3 views a clip, folds of different class balance, uncentred features."""
    rng = np.random.default_rng(seed)
    label = rng.choice(classes, n // 3, p=[0.6, 0.3, 0.1][:classes])
    fold = rng.integers(0, folds, n // 3)
    centres = shift * rng.standard_normal((classes, width))
    label, fold, clip = np.repeat([label, fold, np.arange(n // 3)], 3, axis=1)
    embedding = 50 + 4 * (rng.standard_normal((n, width)) + centres[label])
    return logistic.TrainingRows(embedding.astype(np.float32), label, fold, clip)


def reference_head(rows, weight, l2):
    """Scikit-learn's solution of the same problem; its C weighs the data against the penalty."""
    used = weight > 0
    model = LogisticRegression(C=1 / l2, max_iter=5000, tol=1e-10)
    model.fit(scaled(rows, weight)[used], rows.label[used], sample_weight=weight[used])
    return model.coef_.T, model.intercept_


def scaled(rows, weight):
    mean = weight @ rows.embedding
    return (rows.embedding - mean) / np.sqrt(weight @ (rows.embedding - mean) ** 2)


def objective(rows, weight, l2, kernel, bias):
    log_p = log_softmax(scaled(rows, weight) @ kernel + bias, axis=1)
    cross_entropy = -weight @ log_p[np.arange(len(weight)), rows.label]
    return cross_entropy + l2 / 2 * np.square(kernel).sum()


@pytest.mark.parametrize("l2", [0.003, 1.0])
@pytest.mark.parametrize("class_balanced", [True, False])
@pytest.mark.parametrize("width", [12, 300])
def test_fits_equal_scikit_learn(l2, class_balanced, width):
    """Also where there are fewer rows than features.

    Compared by what is minimised, in float64: along directions in which it is flat, the weights
    themselves depend on how a processor rounds. It is strongly convex, so that a small excess
    bounds the distance of the weights too.
    """
    rows = make_rows(width=width)
    config = HeadConfig(tolerance=1e-6, max_iterations=500, class_balanced=class_balanced)
    problems = [(frozenset([2]), l2), (frozenset(), l2)]
    fitted = logistic.fit_all(rows, problems, 3, config)
    for (left_out, _), head in fitted.items():
        weight = logistic.row_weights(rows, left_out, 3, class_balanced=class_balanced)
        weight = weight.astype(np.float64)
        linear = head["params"]["linear"]
        ours = objective(rows, weight, l2, linear["kernel"].astype(float), linear["bias"])
        kernel, bias = reference_head(rows, weight, l2)
        least = objective(rows, weight, l2, kernel, bias)
        assert ours - least <= EXCESS
        assert objective(rows, weight, l2, 1.05 * kernel, bias) - least > EXCESS
        expected = log_softmax(scaled(rows, weight) @ kernel + bias, axis=1)
        got = log_softmax(logistic.predict(head, rows.embedding), axis=1)
        assert np.abs(np.exp(got) - np.exp(expected)).max() < 0.01


def test_weights_count_clips_alike_and_classes_alike():
    rows = logistic.TrainingRows(
        embedding=np.zeros((6, 1), np.float32),
        label=np.array([0, 0, 0, 0, 1, 0]),
        fold=np.array([0, 0, 0, 0, 0, 1]),
        clip=np.array([0, 0, 0, 1, 2, 3]),
    )
    plain = logistic.row_weights(rows, frozenset([1]), 2, class_balanced=False)
    np.testing.assert_allclose(plain, [1 / 9, 1 / 9, 1 / 9, 1 / 3, 1 / 3, 0], rtol=1e-6)
    balanced = logistic.row_weights(rows, frozenset([1]), 2, class_balanced=True)
    np.testing.assert_allclose(balanced, [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 2, 0], rtol=1e-6)
    with pytest.raises(ValueError, match="leaves nothing to train on"):
        logistic.row_weights(rows, frozenset([0, 1]), 2, class_balanced=True)


def test_nothing_of_a_fold_reaches_the_head_that_predicts_it():
    """Neither the fit, nor its standardisation, nor the choice of its l2."""
    rows = make_rows()
    spoiled = logistic.TrainingRows(
        embedding=np.where(rows.fold[:, None] == 1, 100 + rows.embedding, rows.embedding),
        label=np.where(rows.fold == 1, 2 - rows.label, rows.label),
        fold=rows.fold,
        clip=rows.clip,
    )
    clean = logistic.fit_folds(rows, 3, CONFIG, predicted=range(4))
    dirty = logistic.fit_folds(spoiled, 3, CONFIG, predicted=range(4))
    assert clean.l2[1] == dirty.l2[1]
    assert clean.losses[1] == pytest.approx(dirty.losses[1], rel=1e-4)
    for name in ("kernel", "bias"):
        one = clean.heads[1]["params"]["linear"][name]
        np.testing.assert_allclose(one, dirty.heads[1]["params"]["linear"][name], atol=1e-4)
        other = dirty.heads[0]["params"]["linear"][name]
        assert not np.allclose(clean.heads[0]["params"]["linear"][name], other, atol=1e-2)


def test_the_chosen_l2_has_the_least_loss_on_folds_held_out_in_turn():
    noise = make_rows(shift=0.0)
    fitted = logistic.fit_folds(noise, 3, CONFIG, predicted=[0])
    assert set(fitted.heads) == {0, logistic.FINAL}
    assert fitted.l2[0] == 1.0, "pure noise wants the strongest regularisation"
    assert fitted.l2[0] == min(fitted.losses[0], key=fitted.losses[0].get)
    by_hand = []
    for j in (1, 2, 3):
        problem = (frozenset([0, j]), 0.01)
        head = logistic.fit_all(noise, [problem], 3, CONFIG)[problem]
        outside = frozenset(range(4)) - {j}
        by_hand.append(logistic.log_loss(head, noise, outside, class_balanced=True))
    assert fitted.losses[0][0.01] == pytest.approx(np.mean(by_hand), rel=1e-4)


def test_validation_animals_choose_l2_and_are_not_trained_on():
    rows = make_rows(folds=2)
    fitted = logistic.fit_folds(rows, 3, CONFIG, validation=1)
    problem = (frozenset([1]), fitted.l2[logistic.FINAL])
    expected = logistic.fit_all(rows, [problem], 3, CONFIG)[problem]
    np.testing.assert_allclose(
        fitted.heads[logistic.FINAL]["params"]["linear"]["kernel"],
        expected["params"]["linear"]["kernel"],
        atol=1e-5,
    )


def test_with_too_few_folds_to_choose_the_middle_l2_is_taken_and_said(caplog):
    config = HeadConfig(l2=(0.01, 1.0, 100.0))
    fitted = logistic.fit_folds(make_rows(folds=2), 3, config, predicted=[0, 1])
    assert fitted.l2 == {0: 1.0, 1: 1.0, logistic.FINAL: 1.0}
    assert "2 fold(s) of animals are too few" in caplog.text
    assert fitted.losses[0] == {}


def test_a_single_l2_is_taken_as_it_is():
    fitted = logistic.fit_folds(make_rows(folds=2), 3, HeadConfig(l2=(0.1,)), predicted=[0])
    assert fitted.l2[0] == 0.1
