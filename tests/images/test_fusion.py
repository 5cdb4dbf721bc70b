"""Depths of many views become one body."""

import numpy as np
from photographed import ball

from igr.images.fusion import Carved, occupancy
from igr.images.hull import Hull
from igr.images.stereo import DepthMap

CENTER, RADIUS = np.array([5.0, 0, -2]), 2.0
BITE, BITTEN = CENTER + [0, 0, 2.0], 1.4
"""A ball that was bitten off the ball above: its silhouettes hide most of the hollow."""


def energy(u, evidence):
    steps = [np.diff(u, axis=axis, append=np.take(u, [-1], axis)) for axis in range(3)]
    return np.sqrt(sum(step**2 for step in steps)).sum() - (evidence * u).sum()


def depths(view, wrong=0.0):
    """What a view of the bitten ball sees, but for a share of pixels that are anywhere in it."""
    rows, columns = np.nonzero(view.mask)
    along = view.directions(np.stack([columns, rows], 1).astype(float))
    length, away = meets(view.center, along, CENTER, RADIUS, -1), meets(view.center, along, BITE, BITTEN, 1)
    place = view.center + length[:, None] * along
    inside = np.linalg.norm(place - BITE, axis=1) < BITTEN
    length = np.where(inside, away, length)
    rng = np.random.default_rng(0)
    length = np.where(rng.random(len(length)) < wrong, rng.uniform(6.5, 9.5, len(length)), length)
    beyond = np.linalg.norm(view.center + length[:, None] * along - CENTER, axis=1) > RADIUS + 1e-6
    depth = np.full(view.mask.shape, np.nan)
    depth[rows, columns] = np.where(beyond, np.nan, length * (along @ view.rotation[2]))
    return DepthMap(view, depth, 0.1)


def meets(origin, along, center, radius, side):
    middle = along @ (center - origin)
    square = radius**2 - ((center - origin) ** 2).sum() + middle**2
    return middle + side * np.sqrt(np.maximum(square, 0))


def right(found):
    """Share of places within the ball, farther than a pixel from the hollow's surface, that are told rightly."""
    x = CENTER + np.random.default_rng(1).uniform(-2, 2, (4000, 3))
    edge = np.linalg.norm(x - BITE, axis=1) - BITTEN
    x, edge = (a[(np.linalg.norm(x - CENTER, axis=1) < RADIUS - 0.1) & (np.abs(edge) > 0.1)] for a in (x, edge))
    return ((found(x) < 0) == (edge > 0)).mean()


def test_without_depths_all_of_the_hull_stays():
    inside = np.ones((6, 7, 8), bool)
    inside[:2, :3] = False
    assert (occupancy(np.full(inside.shape, 0.02, np.float32), inside) > 0.5)[inside].all()
    views = ball(8, pixels=48)
    nothing = [DepthMap(view, np.full(view.mask.shape, np.nan), 0.1) for view in views]
    hull = Hull(views)
    x = CENTER + np.random.default_rng(0).normal(0, 1.5, (200, 3))
    whole = Carved(hull, nothing, cells=48)
    on_the_grid = whole.low + whole.cell * np.array([[20.0, 24, 24], [24, 24, 24]])  # exactly: it was no number
    x = np.concatenate([x, on_the_grid])
    assert (whole(x) == hull(x)).all()


def test_nothing_near_it_is_less_than_the_minimum():
    rng = np.random.default_rng(0)
    evidence = rng.normal(0, 1, (9, 9, 9)).astype(np.float32)
    evidence[3:6, 3:6, 3:6] += 2
    found = occupancy(evidence, np.ones(evidence.shape, bool))
    least = energy(found, evidence)
    assert least < energy((evidence > 0).astype(float), evidence)
    for _ in range(50):
        other = np.clip(found + 0.1 * rng.normal(0, 1, found.shape), 0, 1)
        assert least < energy(other, evidence)


def test_a_hollow_opens_where_rays_pass_through_it():
    views = ball(14, pixels=64)
    hull = Hull(views)
    assert hull(BITE[None] - [0, 0, 0.5])[0] < -0.3
    carved = Carved(hull, [depths(view) for view in views], cells=48)
    assert right(carved) > 0.99


def test_one_view_that_sees_the_floor_is_enough_and_wrong_depths_do_not_matter():
    views = ball(14, pixels=64)
    hull = Hull(views)
    maps = [depths(view, wrong=0.02) for view in views]
    assert right(Carved(hull, maps, cells=48)) > 0.98
    above = [found for found in maps if found.view.center[2] > 3]
    floor = np.array([[0, 0, -1.2]]) + BITE
    alone = [found if found.view.center[2] < 3 or found is above[0] else blind(found) for found in maps]
    assert Carved(hull, alone, cells=48)(floor)[0] > 0


def blind(found):
    return DepthMap(found.view, np.full_like(found.depth, np.nan), found.step)
