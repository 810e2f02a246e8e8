import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from mpjax.models import kinetics
from mpjax.models.projector import Projector, load_projector

NAMES = ("still", "red", "green", "blue")


def colour_projector(**changes):
    """Its head names the colour that is brightest, surer the brighter."""
    projector = Projector(
        name="colours",
        fingerprint="colours",
        embedding_dim=3,
        num_classes=4,
        params={},
        apply=lambda params, clips: (
            clips.mean(axis=(1, 2, 3)),
            jnp.pad(clips.mean(axis=(1, 2, 3)) * 4, ((0, 0), (1, 0))),
        ),
        mean=(0.0, 0.0, 0.0),
        std=(255.0, 255.0, 255.0),
        classes=NAMES,
    )
    return dataclasses.replace(projector, **changes)


def plain_clips(*colours):
    return [np.full((2, 4, 4, 3), colour, np.uint8) for colour in colours]


def test_the_names_are_those_of_the_reference_in_its_order(shared):
    expected = (shared / "parity" / "k400_labels.txt").read_text().splitlines()
    assert list(kinetics.class_names()) == expected


def test_the_names_are_400_different_ones_in_alphabetical_order():
    names = kinetics.class_names()
    assert len(set(names)) == 400
    assert list(names) == sorted(names)
    assert {"arm wrestling", "juggling soccer ball", "zumba"} <= set(names)


def test_the_packaged_weights_bring_their_names_and_random_ones_none():
    assert load_projector("kinetics400").classes == kinetics.class_names()
    assert load_projector("random").classes is None
    assert kinetics.names_of(15) is None
    assert kinetics.names_of(None) is None


def test_probabilities_are_averaged_over_the_clips_and_their_largest_named():
    clips = plain_clips((255, 0, 0), (255, 0, 0), (0, 0, 255))
    found = kinetics.describe_actions(colour_projector(), clips, batch_size=2)
    assert [row["name"] for row in found["top"]] == ["red", "blue", "still"]
    one = np.exp([0, 4, 0, 0]) / np.exp([0, 4, 0, 0]).sum()
    other = np.exp([0, 0, 0, 4]) / np.exp([0, 0, 0, 4]).sum()
    np.testing.assert_allclose(found["p"], (2 * one + other) / 3, rtol=1e-5)
    assert found["n"] == 3


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_clips_that_fill_a_batch_do_not_count(batch_size):
    clips = plain_clips((255, 0, 0), (0, 255, 0), (0, 0, 255))
    found = kinetics.describe_actions(colour_projector(), iter(clips), batch_size=batch_size)
    expected = kinetics.describe_actions(colour_projector(), clips, batch_size=3)
    np.testing.assert_allclose(found["p"], expected["p"], rtol=1e-6)


def test_without_a_head_or_names_or_clips_it_says_why():
    clips = plain_clips((9, 9, 9))
    for projector, given, why in (
        (colour_projector(num_classes=None), clips, "no classification head"),
        (colour_projector(classes=None), clips, "have no names"),
        (colour_projector(), [], "no clip"),
    ):
        found = kinetics.describe_actions(projector, given)
        assert found["value"] is None
        assert why in found["why"]
