"""The body of the synthetic mouse, and its picture."""

import numpy as np
import pytest

from data_prep.synthetic import behaviour, render
from data_prep.synthetic import motion as mouse


def motion_of(name, *, frames=60, size=1.0):
    """A painless mouse that does one thing, with its left hind paw where it matters."""
    labels = np.full(frames, behaviour.BEHAVIOURS.index(name))
    left, drive = np.ones(frames, bool), behaviour.Drive("none", 0.0)
    rng = np.random.default_rng(1)
    return mouse.move(labels, left, drive, size=size, fps=25.0, rng=rng)


def film(motion, *, size=128, shade=0.5):
    scene = render.draw_scene(np.random.default_rng(2), nuisance=0.0, scratches=3)
    camera, rng = np.zeros((len(motion.paws), 2)), np.random.default_rng(4)
    coat = render.Coat(motion.size, shade)
    frames = render.render(motion, coat, scene, camera, size=size, rng=rng)
    return np.stack(list(frames)), render.to_pixels(motion.keypoints(), camera, size)


# The body and its picture


@pytest.mark.parametrize("name", behaviour.BEHAVIOURS)
def test_the_mouse_moves_continuously_and_stays_within_the_walls(name):
    motion = motion_of(name, frames=200)
    for points in (motion.spine, motion.paws, motion.tail):
        assert np.isfinite(points).all()
        assert (points >= mouse.WALL_CM * 0.9).all()
        assert (points <= mouse.CHAMBER_CM - mouse.WALL_CM * 0.9).all()
        steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
        assert steps.max() < 2.5  # cm in 1/25 s


def test_standing_paws_do_not_slide():
    motion = motion_of("walk", frames=200)
    standing = (motion.contact[1:] > 0.99) & (motion.contact[:-1] > 0.99)
    slid = np.linalg.norm(np.diff(motion.paws, axis=0), axis=-1)[standing]
    assert standing.mean() > 0.3
    assert (motion.contact < 0.01).mean() > 0.1  # it steps
    assert np.quantile(slid, 0.95) < 0.05


def test_pain_takes_the_injured_paw_off_the_floor_while_walking():
    labels, left = np.zeros(250, int), np.ones(250, bool)
    drive = behaviour.Drive("neuropathic", 1.0)
    rng = np.random.default_rng(7)
    contact = mouse.move(labels, left, drive, size=1.0, fps=25.0, rng=rng).contact.mean(axis=0)
    injured, healthy = mouse.PAWS.index("left_hindpaw"), mouse.PAWS.index("right_hindpaw")
    assert contact[injured] < 0.5 * contact[healthy]


@pytest.mark.parametrize("shade", [0.0, 0.5, 1.0])
def test_paws_on_the_floor_are_brighter_than_lifted_ones(shade):
    motion = motion_of("guard_hind_paw")
    frames, points = film(motion, shade=shade)
    at = np.rint(points[:, 3:5]).astype(int)  # hind paws
    seen = frames[np.arange(len(frames))[:, None], at[..., 1], at[..., 0]].astype(float)
    lifted, standing = motion.contact[:, 2] < 0.05, motion.contact[:, 3] > 0.95
    assert lifted.mean() > 0.9
    assert standing.mean() > 0.7
    assert np.quantile(seen[standing, 1], 0.1) > np.quantile(seen[lifted, 0], 0.9) + 20


def test_rearing_foreshortens_the_body_and_lifts_only_the_fore_paws():
    still, rear = motion_of("still"), motion_of("rear")
    length = [np.linalg.norm(m.spine[:, -1] - m.spine[:, 0], axis=-1).mean() for m in (still, rear)]
    assert length[1] < 0.6 * length[0]
    assert rear.contact[:, :2].mean() < 0.1
    assert rear.contact[:, 2:].mean() > 0.7


def test_licking_brings_snout_and_hind_paw_together():
    motion = motion_of("lick_hind_paw")
    gap = np.linalg.norm(motion.spine[:, mouse.SNOUT] - motion.paws[:, 2], axis=-1)
    assert np.median(gap) < 1.0
