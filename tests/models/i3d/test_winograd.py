import numpy as np
import pytest

from mpjax.models.i3d.winograd import minimal_filter

SIZES = [(1, 1), (1, 3), (2, 3), (3, 3), (4, 3), (4, 4), (3, 1), (2, 4)]


@pytest.mark.parametrize(("outputs", "taps"), SIZES)
def test_minimal_filtering_equals_filtering_with_the_least_number_of_products(outputs, taps):
    rng = np.random.default_rng(0)
    x, kernel = rng.standard_normal(outputs + taps - 1), rng.standard_normal(taps)
    scheme = minimal_filter(outputs, taps)
    products = (scheme.to_kernel @ kernel) * (scheme.to_input @ x)
    assert len(products) == outputs + taps - 1
    expected = np.correlate(x, kernel, mode="valid")
    np.testing.assert_allclose(scheme.to_output @ products, expected, rtol=1e-12, atol=1e-12)


def test_two_outputs_of_three_taps_are_filtered_as_published():
    # Lavin & Gray 2016, equation 7 and the text before it; a product's sign is free.
    scheme = minimal_filter(2, 3)
    x, kernel = np.array([2.0, 3.0, 5.0, 7.0]), np.array([11.0, 13.0, 17.0])
    published = [
        (2 - 5) * 11,
        (3 + 5) * (11 + 13 + 17) / 2,
        (5 - 3) * (11 - 13 + 17) / 2,
        (3 - 7) * 17,
    ]
    products = (scheme.to_kernel @ kernel) * (scheme.to_input @ x)
    np.testing.assert_allclose(np.abs(products), np.abs(published), rtol=1e-12)
