"""What an oriented cloud tells about space: sign and distance, 2D and 3D, holes closed."""

import numpy as np
import pytest
from shapes import sphere

from igr.cloud.neighbors import Neighbors
from igr.fit.far import far_space, indicator, inside_of


def known_space(points, normals, trust=None):
    """Places anywhere with the distances that the cloud tells."""
    near = Neighbors(points)
    return far_space(points, near, inside_of(points, normals, near, seed=0, trust=trust), extent=1.1, seed=0)


@pytest.mark.parametrize("d", [2, 3])
def test_areas_add_up_to_the_surface(d):
    points, _ = sphere(4000, d, radius=0.7)
    assert Neighbors(points).areas().sum() == pytest.approx(
        2 * np.pi * 0.7 if d == 2 else 4 * np.pi * 0.7**2, rel=0.15
    )


@pytest.mark.parametrize("d", [2, 3])
def test_known_distances_of_a_sphere_are_right(d):
    points, normals = sphere(4000, d, radius=0.7)
    known = known_space(points, normals)
    truth = np.linalg.norm(known.points, axis=1) - 0.7
    assert (np.sign(known.target) == np.sign(truth)).all()
    assert np.abs(known.target - truth).mean() < 0.01
    assert len(known.points) > 20_000


@pytest.mark.parametrize("d", [2, 3])
def test_a_cavity_is_outside_though_its_wall_is_trusted_less(d):
    points, normals = sphere(4000, d, radius=0.7)
    wall, trust = 0.5 * points[::3], np.repeat([1.0, 0.3], [len(points), len(points[::3])])
    cloud = np.concatenate([points, wall]), np.concatenate([normals, -normals[::3]])
    known = known_space(*cloud, trust)
    radius = np.linalg.norm(known.points, axis=1)
    np.testing.assert_array_equal(known.target < 0, (radius > 0.35) & (radius < 0.7))


@pytest.mark.parametrize("d", [2, 3])
def test_a_hole_is_closed(d):
    points, normals = sphere(4000, d, radius=0.7)
    kept = points[:, 0] < 0.55  # a cap is missing
    known = known_space(points[kept], normals[kept])
    radius = np.linalg.norm(known.points, axis=1)
    assert (known.target[radius < 0.45] < 0).all()
    assert (known.target[radius > 0.85] > 0).all()
    behind = (known.points[:, 0] > 0.72) & (radius < 0.9)
    assert np.abs(known.target[behind]).max() < 0.35


def test_a_cavity_is_outside():
    points, normals = sphere(8000, radius=0.7)
    inner, inner_normals = sphere(4000, seed=1, radius=0.7)
    both = np.concatenate([points, 0.5 * inner])
    known = known_space(both, np.concatenate([normals, -inner_normals]))
    radius = np.linalg.norm(known.points, axis=1)
    assert (known.target[radius < 0.3] > 0).all()
    assert (known.target[(radius > 0.45) & (radius < 0.6)] < 0).all()


def test_the_membrane_lies_on_the_points():
    points, normals = sphere(4000, radius=0.7)
    membrane = indicator(points, normals).membrane()
    assert np.abs(np.linalg.norm(membrane, axis=1) - 0.7).max() < 0.02
