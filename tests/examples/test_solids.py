"""Analytic solids: their distance is a distance, and their mesh is closed and outward."""

import igl
import numpy as np
import pytest
import trimesh

from examples.clouds.solids import SOLIDS, sample_solid, solid_distance, solid_mesh

VOLUMES = {"sphere": 4 / 3 * np.pi, "torus": 2 * np.pi**2 * 0.35**2, "box": 2 * 1.4 * 1.0}


@pytest.fixture(params=SOLIDS)
def name(request):
    return request.param


def test_the_mesh_is_closed_outward_and_on_the_surface(name):
    vertices, faces = solid_mesh(name)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.is_winding_consistent
    assert mesh.body_count == 1
    assert mesh.volume == pytest.approx(VOLUMES.get(name, mesh.volume), rel=2e-3)
    assert mesh.volume > 0
    np.testing.assert_allclose(solid_distance(name, vertices)[0], 0, atol=1e-12)


def test_the_distance_is_that_to_the_nearest_point_of_the_surface(name):
    x = np.random.default_rng(0).uniform(-1.8, 1.8, (400, 3))
    distance, gradient = solid_distance(name, x)
    squared = igl.point_mesh_squared_distance(x, *solid_mesh(name))[0]
    np.testing.assert_allclose(np.abs(distance), np.sqrt(squared), atol=2e-3)
    np.testing.assert_allclose(solid_distance(name, x - distance[:, None] * gradient)[0], 0, atol=1e-9)


def test_inside_is_negative(name):
    points, normals = sample_solid(name, 200, np.random.default_rng(0))
    assert (igl.fast_winding_number(*solid_mesh(name), points - 0.05 * normals) > 0.9).all()
    assert (solid_distance(name, points - 0.05 * normals)[0] < 0).all()
    assert (solid_distance(name, points + 0.05 * normals)[0] > 0).all()


def test_the_gradient_is_that_of_the_distance(name):
    x = np.random.default_rng(1).uniform(-1.5, 1.5, (300, 3))
    steps = 1e-6 * np.eye(3)
    ahead, behind = (np.stack([solid_distance(name, x + sign * step)[0] for step in steps], 1) for sign in (1, -1))
    _, gradient = solid_distance(name, x)
    close = np.abs((ahead - behind) / 2e-6 - gradient).max(1) < 1e-4
    assert close.mean() > 0.99  # but where two points of the surface are equally near
    np.testing.assert_allclose(np.linalg.norm(gradient, axis=1), 1, atol=1e-12)


def test_points_are_spread_evenly():
    points, _ = sample_solid("sphere", 20_000, np.random.default_rng(0))
    for axis in points.T:  # each coordinate of the unit sphere is uniform (Archimedes)
        np.testing.assert_allclose(np.histogram(axis, 10, (-1, 1))[0], 2000, rtol=0.12)
