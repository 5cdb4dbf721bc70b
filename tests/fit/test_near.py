"""What the oriented points say of the distance right beside them."""

import numpy as np
import pytest
from shapes import torus

from igr.cloud.neighbors import Neighbors
from igr.config import FAST
from igr.fit.far import inside_of
from igr.fit.near import distances, near_space


def sphere(count=3000, radius=0.8):
    normals = np.random.default_rng(0).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals, normals


def beside(points, normals):
    """Places beside the cloud with the distances that it tells, as the default preset draws them."""
    near = Neighbors(points)
    inside = inside_of(points, normals, near, seed=0)
    return near_space(points, normals, near, inside, config=FAST.sampling, seed=0)


def test_the_distance_to_a_sphere_is_known_better_than_by_its_planes():
    points, normals = sphere()
    known = beside(points, normals)
    truth = np.linalg.norm(known.points, axis=1) - 0.8
    spacing = float(np.median(Neighbors(points).spacing(6)))
    plane = spacing**2 / (8 * 0.8)  # what the plane through a point is off by
    assert np.median(np.abs(known.target - truth)) < 0.25 * plane


def test_on_a_plane_it_is_exact():
    points = np.c_[np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 2)), np.zeros(2000)]
    normals = np.tile([0.0, 0.0, 1.0], (2000, 1))
    known = beside(points, normals)
    assert known.target == pytest.approx(known.points[:, 2], abs=1e-6)


def test_it_turns_with_the_cloud():
    points, normals = torus(2000)
    near = Neighbors(points)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    places = points[:200] + 0.03 * np.random.default_rng(4).normal(size=(200, 3))
    cloud = points @ turn, normals @ turn, Neighbors(points @ turn)
    turned, agreed, _ = distances(places @ turn, *cloud, neighbor=12)
    known, alike, _ = distances(places, points, normals, near, neighbor=12)
    assert turned == pytest.approx(known, abs=1e-9)
    assert (agreed == alike).all()


def test_a_curve_in_the_plane_has_distances_too():
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.c_[np.cos(angle), np.sin(angle)]
    known = beside(0.7 * circle, circle)
    close = np.abs(np.linalg.norm(known.points, axis=1) - 0.7) < 0.1
    truth = np.linalg.norm(known.points[close], axis=1) - 0.7
    assert np.abs(known.target[close] - truth).max() < 2e-3


def test_two_points_are_enough():
    points, normals = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]), np.array([[0.0, 0.0, 1.0]] * 2)
    known = beside(points, normals)
    assert np.isfinite(known.target).all()


def test_what_few_points_of_thin_limbs_tell_has_the_right_side():
    points, normals = torus(300, tube=0.1)
    known = beside(points, normals)
    ring = np.hypot(np.linalg.norm(known.points[:, :2], axis=1) - 0.6, known.points[:, 2])
    wrong = (np.sign(known.target) != np.sign(ring - 0.1)) & (abs(ring - 0.1) > 0.03)
    assert len(known.points) > 500
    assert wrong.mean() < 0.01


@pytest.mark.parametrize("degrees", [20, 60])
def test_below_the_edge_of_a_crevice_the_distance_is_bounded(degrees):
    """Its sides differ on the distance; the place is nowhere near either, and behind both."""
    rng, half = np.random.default_rng(0), np.radians(degrees / 2)
    along, up = rng.uniform(-0.5, 0.5, 4000), rng.uniform(0, 0.5, 4000)
    side = rng.choice([-1.0, 1.0], 4000)
    points = np.c_[side * up * np.tan(half), along, up]
    normals = np.c_[-side * np.cos(half), np.zeros(4000), np.full(4000, np.sin(half))]
    near = Neighbors(points)
    dense = np.median(near.spacing(12))
    depth = rng.uniform(1, 2, 500) * dense
    places = np.c_[np.zeros(500), rng.uniform(-0.4, 0.4, 500), -depth]
    known, told, sure = distances(places, points, normals, near, neighbor=12)
    assert told.mean() > 0.9
    assert sure.mean() < 0.1
    assert (known[told] < 0).all()
    assert np.median(abs(known + depth)[told]) < 0.25 * dense


def test_points_that_contradict_each_other_tell_nothing():
    points, normals = sphere()
    near = Neighbors(points)
    places = points + 0.05 * normals
    turned = normals * np.random.default_rng(0).choice([-1, 1], (len(points), 1))
    assert distances(places, points, normals, near, neighbor=12)[1].mean() > 0.99
    assert distances(places, points, turned, near, neighbor=12)[1].mean() < 0.5


def test_a_distance_is_sure_where_a_point_lies_close_to_the_foot():
    rng = np.random.default_rng(0)
    points, normals = np.c_[rng.uniform(-0.5, 0.5, (4000, 2)), np.zeros(4000)], np.tile([0.0, 0.0, 1.0], (4000, 1))
    near = Neighbors(points)
    dense = np.median(near.spacing(12))
    x, y, z = rng.uniform(-0.4, 0.4, (3, 1000))
    above = np.c_[x, y, 2 * dense * z]
    past = above + [1, 0, 0]
    past[:, 0] = 0.5 + rng.uniform(1, 2, 1000) * dense  # whose feet are beyond the border of the sheet
    assert distances(above, points, normals, near, neighbor=12)[2].mean() > 0.95
    known, told, sure = distances(past, points, normals, near, neighbor=12)
    assert told.mean() > 0.9
    assert known[told] == pytest.approx(past[told, 2], abs=1e-9)
    assert not sure.any()
