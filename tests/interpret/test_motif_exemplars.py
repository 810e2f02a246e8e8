"""Typical windows of a motif: the nearest ones, of different animals, none that is not typical."""

import numpy as np
import pandas as pd

from mpjax.interpret import motif_exemplars


def windows(animals, padded=None):
    return pd.DataFrame({"animal": list(animals), "padded_frames": padded or [0] * len(animals)})


def test_the_nearest_windows_of_different_animals_are_shown_first():
    table = windows("aaabbc")
    distance = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    none = np.zeros(6, bool)
    picks = motif_exemplars.choose(table, np.zeros(6, int), distance, none, count=4)
    assert picks == [(0, 0), (0, 3), (0, 5), (0, 1)]


def test_what_is_unlike_anything_or_filled_up_is_shown_only_where_nothing_else_is():
    table = windows("abcd", padded=[0, 3, 0, 0])
    unlike = np.array([True, False, False, True])
    motif, distance = np.array([0, 0, 0, 1]), np.arange(4.0)
    assert motif_exemplars.choose(table, motif, distance, unlike, count=3) == [(0, 2), (1, 3)]
