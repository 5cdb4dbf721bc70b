"""Cameras that are mended: the derivatives by their turns and shifts, and what they leave alone."""

import dataclasses

import numpy as np
import pytest
from photographed import ball
from scipy.spatial.transform import Rotation

import igr
from igr.idr.batches import Poses
from igr.idr.config import FAST_PHOTOS, mending_cameras
from igr.idr.terms import by_rays

RNG = np.random.default_rng(4)
NORMAL = np.array([0.6, 0, 0.8])
TOWARD = RNG.normal(0, 1, 3)


def met(origin, along):
    """Where a ray meets the plane through 0."""
    return origin - along * (origin @ NORMAL / (along @ NORMAL))


def slope(value, step=1e-6):
    """Derivative of a function of six numbers at 0."""
    return [(value(step * row) - value(-step * row)) / (2 * step) for row in np.eye(6)]


def test_the_derivative_by_a_turn_and_a_shift_is_that_of_the_place_that_is_met():
    views = ball(3)
    poses = Poses(views)
    origin, along = poses.centers[1], views[1].directions(np.array([[20.0, 30.0]]))[0]
    along = along if along @ NORMAL < -0.2 else -NORMAL + 0.1 * along
    along /= np.linalg.norm(along)

    def value(move):
        turned = Rotation.from_rotvec(move[:3]).apply(along)
        return met(origin + move[3:], turned) @ TOWARD

    x = met(origin, along)[None]
    p = by_rays(along[None], NORMAL[None], TOWARD[None])
    poses.carried(np.array([1]), x, p)
    assert poses.slopes[1] == pytest.approx(slope(value), rel=1e-5, abs=1e-5)
    assert (poses.slopes[[0, 2]] == 0).all()


def test_cameras_move_against_each_other_only():
    """All of them together can go anywhere with the surface."""
    poses = Poses(ball(5))
    before = poses.centers.copy()
    for _ in range(3):
        views = RNG.integers(0, 5, 40)
        poses.carried(views, RNG.normal(0, 1, (40, 3)), RNG.normal(0, 1, (40, 3)))
        poses.update(1e-3)
    assert np.abs(poses.moves).max() > 1e-4
    assert np.abs(poses.moves.mean(0)).max() < 1e-15
    assert np.allclose(poses.centers.mean(0), before.mean(0))


def test_cameras_that_are_taken_as_exact_stay():
    views = ball(4)
    poses = Poses(views)
    poses.update(1.0)
    assert (poses.centers == [view.center for view in views]).all()
    assert np.allclose(poses.turns, [view.turn for view in views], atol=1e-15)


@pytest.mark.slow
def test_cameras_that_are_off_come_closer_to_where_they_were():
    """Only what they are off by against each other can be known."""
    truth = ball(12, pixels=64, color=lambda x: 0.5 + 0.3 * np.sin(3 * x))
    rng = np.random.default_rng(0)
    off = rng.normal(0, np.deg2rad(0.3), (12, 3))
    turns = Rotation.from_rotvec(off - off.mean(0)).as_matrix()
    views = [dataclasses.replace(v, rotation=v.rotation @ t.T) for v, t in zip(truth, turns, strict=True)]
    small = dataclasses.replace(FAST_PHOTOS.field.network, levels=5, finest=64, log2_rows=14)
    field = dataclasses.replace(FAST_PHOTOS.field, steps=300, network=small)
    config = mending_cameras(dataclasses.replace(FAST_PHOTOS, rays=1024, field=field))
    mended = []

    def look(progress, field):
        mended[:] = [field.cameras.moves.copy()]

    surface = igr.reconstruct_images(views, config=config, on_step=look, options=igr.PhotoOptions(held_out=0))
    assert surface.details["cameras_mended"]["turned_degrees"] > 0.1
    off, left = (np.cross(*pair) for pair in _looked(truth, views, mended[0], surface.frame.scale))
    assert np.linalg.norm(left, axis=1).mean() < 0.7 * np.linalg.norm(off, axis=1).mean()


def _looked(truth, views, moves, scale):
    """For cameras as given and as mended: where they look, and should look to see what they saw: the ball's center
    from where they stand, which a turn and a shift can both make up for."""
    target = np.array([5.0, 0, -2])
    found = []
    for mended in (np.zeros_like(moves), moves):
        should, do = [], []
        for true, view, move in zip(truth, views, mended, strict=True):
            turn = Rotation.from_rotvec(move[:3]).as_matrix()
            toward = target - view.center - scale * move[3:]
            should.append(toward / np.linalg.norm(toward))
            pixel, _ = true.seen_at(target[None])
            do.append(turn @ view.directions(pixel)[0])
        found.append((np.array(should), np.array(do)))
    return found
