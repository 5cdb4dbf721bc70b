"""Rays that meet a ball, or miss it."""

import numpy as np

from igr.idr.rays import first_hits, least_along

BOX = np.array([[-1.2] * 3, [1.2] * 3])


def distance(x):
    return np.linalg.norm(x, axis=1) - 1


def bundle(count=2000):
    rng = np.random.default_rng(0)
    origins = rng.normal(0, 1, (count, 3))
    origins *= 4 / np.linalg.norm(origins, axis=1, keepdims=True)
    directions = rng.uniform(-1.3, 1.3, (count, 3)) - origins
    return origins, directions / np.linalg.norm(directions, axis=1, keepdims=True)


def test_rays_meet_a_ball_where_it_is():
    origins, directions = bundle()
    along = -(origins * directions).sum(1)
    nearest = np.sqrt(np.maximum((origins**2).sum(1) - along**2, 0))
    found = first_hits(distance, origins, directions, BOX)
    sure = np.abs(nearest - 1) > 1e-3
    assert (found.hit == (nearest < 1))[sure].all()
    met = found.hit & (nearest < 0.999)
    expected = along - np.sqrt(np.maximum(1 - nearest**2, 0))
    assert np.abs(found.depth - expected)[met].max() < 5e-3


def test_rays_that_miss_tell_where_they_are_nearest():
    origins, directions = bundle()
    along = -(origins * directions).sum(1)
    nearest = np.sqrt(np.maximum((origins**2).sum(1) - along**2, 0))
    found = first_hits(distance, origins, directions, BOX)
    close = ~found.hit & (nearest > 1.001) & (nearest < 1.1)
    least = distance(origins + found.depth[:, None] * directions)
    assert np.abs(least - (nearest - 1))[close].max() < 0.02


def test_the_deepest_place_of_a_ray_is_found():
    origins, directions = bundle(300)
    along = -(origins * directions).sum(1)
    nearest = np.sqrt(np.maximum((origins**2).sum(1) - along**2, 0))
    depth = least_along(distance, origins, directions, BOX, np.full(300, 0.5))
    through = nearest < 0.5
    assert np.abs(distance(origins + depth[:, None] * directions) - (nearest - 1))[through].max() < 0.01
