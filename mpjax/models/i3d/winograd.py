"""Winograd's minimal filtering: m outputs of an r-tap filter by m + r - 1 products, not m * r.

Source: Lavin & Gray 2016, https://arxiv.org/abs/1509.09308, whose names for m, r and the matrices
stand in brackets below. The matrices are Toom and Cook's: values of polynomials at points.
"""

import functools
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.polynomial import polynomial

# Where the polynomials are taken: the first m + r - 2 points, and infinity. Points near 1, with
# their reciprocals, round less than 0, 1, -1, 2, -2 of the paper do:
# Alam et al. 2022, https://arxiv.org/abs/2201.10369.
_POINTS = (0.0, 1.0, -1.0, 1 / 2, -2.0, -1 / 2)


class MinimalFilter(NamedTuple):
    """F(m, r): `to_output @ ((to_kernel @ kernel) * (to_input @ x))` filters x.

    That is, output i is the sum over j of kernel[j] * x[i + j].
    """

    to_input: Float[np.ndarray, "products products"]  # weights of the inputs in each product (B^T)
    to_kernel: Float[np.ndarray, "products taps"]  # of the taps in each product (G)
    to_output: Float[np.ndarray, "outputs products"]  # of the products in each output (A^T)


@functools.cache
def minimal_filter(outputs: int, taps: int) -> MinimalFilter:
    """Builds F(outputs, taps), of at least 1 output (m) and 1 tap (r), together at most 8."""
    points = np.array(_POINTS[: outputs + taps - 2])
    products = outputs + taps - 1
    to_input = np.zeros((products, products))
    to_kernel = np.zeros((products, taps))
    to_output = np.zeros((outputs, products))
    for row, point in enumerate(points):
        others = np.delete(points, row)
        to_input[row, :-1] = polynomial.polyfromroots(others)
        to_kernel[row] = point ** np.arange(taps) / np.prod(point - others)
        to_output[:, row] = point ** np.arange(outputs)
    to_input[-1] = polynomial.polyfromroots(points)
    to_kernel[-1, -1] = to_output[-1, -1] = 1  # at infinity: the leading coefficients
    return MinimalFilter(to_input, to_kernel, to_output)
