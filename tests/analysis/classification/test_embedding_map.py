import numpy as np

from mpjax.analysis.classification.embedding_map import MOST_CLIPS, project


def test_the_plane_holds_the_two_widest_directions_in_their_order():
    rng = np.random.default_rng(0)
    hidden = rng.normal(0, [5.0, 2.0, 0.1], (400, 3))
    turned, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    plane = project(hidden @ turned + 7)
    for axis in (0, 1):
        assert abs(np.corrcoef(plane.coordinates[:, axis], hidden[:, axis])[0, 1]) > 0.99
    np.testing.assert_allclose(plane.explained, [25 / 29.01, 4 / 29.01], atol=0.03)


def test_distances_on_a_plane_of_two_dimensions_are_kept():
    points = np.random.default_rng(1).normal(size=(50, 2))
    plane = project(points)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    shown = np.linalg.norm(plane.coordinates[:, None] - plane.coordinates[None], axis=-1)
    np.testing.assert_allclose(shown, apart, atol=1e-9)


def test_many_clips_are_drawn_by_seed_and_in_order():
    embedding = np.random.default_rng(2).normal(size=(MOST_CLIPS + 500, 4))
    first, again, other = project(embedding), project(embedding), project(embedding, seed=1)
    assert len(np.unique(first.rows)) == MOST_CLIPS == len(first.coordinates)
    assert (np.diff(first.rows) > 0).all()
    np.testing.assert_array_equal(first.coordinates, again.coordinates)
    assert (first.rows != other.rows).any()


def test_the_sign_of_an_axis_does_not_hang_on_the_library():
    points = np.random.default_rng(3).normal(size=(60, 5))
    largest = np.abs(_loadings(points)).argmax(1)
    assert (_loadings(points)[[0, 1], largest] > 0).all()


def _loadings(points):
    """The axes of the plane, from its coordinates by least squares."""
    centred = points - points.mean(0)
    return np.linalg.lstsq(project(points).coordinates, centred, rcond=None)[0]


def test_there_is_no_plane_without_spread():
    assert project(np.ones((2, 4))) is None
    assert project(np.ones((9, 4))) is None
    assert project(np.arange(9.0)[:, None]) is None
