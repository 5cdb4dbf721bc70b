"""What an oriented cloud tells about space: sign and distance, 2D and 3D, holes closed."""

import numpy as np
import pytest
from shapes import sphere

from igr.cloud.neighbors import Neighbors
from igr.fit.far import far_space, indicator, inside_of, within_hull


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


@pytest.mark.parametrize("d", [2, 3])
def test_what_is_not_seen_ends_within_the_hull_of_what_is(d):
    points, normals = sphere(6000, d, radius=0.7)
    up = points[:, -1] > 0
    known = known_space(points[up], normals[up])
    radius, height = np.linalg.norm(known.points, axis=1), known.points[:, -1]
    clear = (height > 0.1) & (np.abs(radius - 0.7) > 0.05)
    np.testing.assert_array_equal(known.target[clear] < 0, radius[clear] < 0.7)
    assert (known.target[height < -0.15] > 0).all()


def test_three_sides_of_a_box_are_closed_by_the_plane_through_their_corners():
    rng = np.random.default_rng(0)
    side, place = rng.integers(0, 3, 9000), rng.uniform(-0.5, 0.5, (9000, 3))
    place[np.arange(9000), side] = 0.5
    known = known_space(place, np.eye(3)[side])
    behind = known.points.sum(1) + 0.5  # the other corners lie in the plane where this is zero
    assert (known.target[behind < -0.25] > 0).all()
    inside = (np.abs(known.points).max(1) < 0.45) & (behind > 0.1)
    assert inside.sum() > 1000
    assert (known.target[inside] < 0).all()


@pytest.mark.parametrize("bend", [-0.3, 0.0, 0.3])
def test_a_sheet_that_is_closed_by_force_is_a_slab_or_filled_to_its_rim(bend):
    x, y = np.random.default_rng(0).uniform(-0.6, 0.6, (2, 12_000))
    normals = np.c_[-2 * bend * x, -2 * bend * y, np.ones(len(x))]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    known = known_space(np.c_[x, y, bend * (x * x + y * y)], normals)
    lowest = min(0, bend * 0.72)
    assert (known.target[known.points[:, 2] < lowest - 0.15] > 0).all()
    assert (known.target[np.abs(known.points[:, :2]).max(1) > 0.75] > 0).all()
    assert (known.target[known.points[:, 2] > max(0, bend * 0.72) + 0.05] > 0).all()


def test_closed_clouds_and_rooms_are_left_as_they_are():
    points, normals = sphere(20_000, radius=0.7)
    for share in (2.0, 0.95):  # all of it, or without a cap
        some = points[:, 2] < 0.7 * share
        near, inside = Neighbors(points[some]), indicator(points[some], normals[some])
        assert (within_hull(inside, points[some], normals[some], near) is inside) == (share > 1)
        inside = indicator(points[some], -normals[some])
        assert within_hull(inside, points[some], -normals[some], near) is inside
