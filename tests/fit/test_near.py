"""What the oriented points say of the distance right beside them."""

import numpy as np
import pytest
from shapes import torus

from igr.cloud.neighbors import Neighbors
from igr.config import FAST
from igr.fit.near import distances, near_space


def sphere(count=3000, radius=0.8):
    normals = np.random.default_rng(0).normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    return radius * normals, normals


def test_the_distance_to_a_sphere_is_known_better_than_by_its_planes():
    points, normals = sphere()
    known = near_space(points, normals, Neighbors(points), config=FAST.sampling, seed=0)
    truth = np.linalg.norm(known.points, axis=1) - 0.8
    spacing = float(np.median(Neighbors(points).spacing(6)))
    plane = spacing**2 / (8 * 0.8)  # what the plane through a point is off by
    assert np.median(np.abs(known.target - truth)) < 0.25 * plane


def test_on_a_plane_it_is_exact():
    points = np.c_[np.random.default_rng(0).uniform(-0.5, 0.5, (2000, 2)), np.zeros(2000)]
    normals = np.tile([0.0, 0.0, 1.0], (2000, 1))
    known = near_space(points, normals, Neighbors(points), config=FAST.sampling, seed=0)
    assert known.target == pytest.approx(known.points[:, 2], abs=1e-6)


def test_it_turns_with_the_cloud():
    points, normals = torus(2000)
    near = Neighbors(points)
    turn = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    places = points[:200] + 0.03 * np.random.default_rng(4).normal(size=(200, 3))
    turned = distances(places @ turn, points @ turn, normals @ turn, Neighbors(points @ turn), neighbor=12)
    assert turned == pytest.approx(distances(places, points, normals, near, neighbor=12), abs=1e-9)


def test_a_curve_in_the_plane_has_distances_too():
    angle = np.linspace(0, 2 * np.pi, 400, endpoint=False)
    circle = np.c_[np.cos(angle), np.sin(angle)]
    known = near_space(0.7 * circle, circle, Neighbors(0.7 * circle), config=FAST.sampling, seed=0)
    close = np.abs(np.linalg.norm(known.points, axis=1) - 0.7) < 0.1
    truth = np.linalg.norm(known.points[close], axis=1) - 0.7
    assert np.abs(known.target[close] - truth).max() < 2e-3


def test_two_points_are_enough():
    points, normals = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0]]), np.array([[0.0, 0.0, 1.0]] * 2)
    known = near_space(points, normals, Neighbors(points), config=FAST.sampling, seed=0)
    assert np.isfinite(known.target).all()
