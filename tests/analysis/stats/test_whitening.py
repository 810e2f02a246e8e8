import numpy as np

from mpjax.analysis.confounds import classifier
from mpjax.analysis.stats import whitening


def test_without_units_the_components_are_those_of_all_variance():
    """Compared with the singular value decomposition of the standardised features."""
    rng = np.random.default_rng(0)
    features = 5 + rng.normal(size=(60, 6)) @ rng.normal(size=(6, 6))
    space = whitening.fit_space(features, np.arange(60), components=4, variance=1.0)
    points = space.project(features)[0]
    scaled = (features - features.mean(0)) / features.std(0)
    left = np.linalg.svd(scaled, full_matrices=False)[0][:, :4] * np.sqrt(60)
    np.testing.assert_allclose(np.abs(points), np.abs(left), atol=1e-5)
    np.testing.assert_allclose(np.cov(points.T, ddof=0), np.eye(4), atol=1e-5)


def test_features_of_one_value_span_no_space():
    for value in (0.0, 0.1, 1e4):
        flat = np.full((9, 3), value, np.float32)
        space = whitening.fit_space(flat, np.arange(9), components=2, variance=0.9)
        assert not space.inverse_sd.any()
        assert not space.project(flat)[0].any()


def test_the_confound_audit_whitens_features_of_any_scale_and_keeps_no_more_than_vary():
    rng = np.random.default_rng(0)
    one, other = rng.normal(size=(2, 40))
    features = np.stack([1e9 * one, 1e-3 * other, one + other, np.full(40, 3.0)], axis=1)
    features[0, 3] = np.nan
    points = classifier.whiten(features, groups=20)
    assert points.shape == (40, 2)
    np.testing.assert_allclose(np.cov(points.T, ddof=0), np.eye(2), atol=1e-5)
    assert classifier.whiten(np.ones((5, 2)), groups=5).shape == (5, 0)
