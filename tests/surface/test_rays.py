"""Rays meet a sphere where geometry says, and by trimesh's conventions."""

import numpy as np
import pytest
import trimesh
from analytic import sphere_surface

from igr.errors import InputError

CENTER = np.array([1000.0, -2000.0, 300.0])


@pytest.fixture(scope="module")
def ball():
    return sphere_surface(50.0, CENTER)


def random_rays(n=300, seed=0):
    rng = np.random.default_rng(seed)
    return CENTER + rng.normal(size=(n, 3)) * 60, rng.normal(size=(n, 3)) * 7


def test_locations_and_rays_are_those_of_geometry(ball):
    origins, directions = random_rays()
    hits = ball.cast_rays(origins, directions)
    along = directions / np.linalg.norm(directions, axis=1, keepdims=True)
    middle = -((origins - CENTER) * along).sum(1)
    inside = 2500 - ((origins - CENTER) ** 2).sum(1) + middle**2
    for ray in range(len(origins)):
        half = np.sqrt(max(inside[ray], 0))
        expected = [depth for depth in (middle[ray] - half, middle[ray] + half) if depth > 0 and half > 0]
        found = ((hits.locations[hits.index_ray == ray] - origins[ray]) * along[ray]).sum(1)
        if half > 1:
            np.testing.assert_allclose(found, expected, atol=1e-3)


@pytest.mark.parametrize("multiple_hits", [True, False])
def test_conventions_are_those_of_trimesh(ball, multiple_hits):
    mesh = trimesh.creation.icosphere(subdivisions=5, radius=50).apply_translation(CENTER)
    aims = np.random.default_rng(3).uniform(-20, 20, (40, 3))
    origins = CENTER + [0, 0, 200] + aims * [1, 1, 0]
    rays = origins, np.tile([0.0, 0.0, -3.0], (40, 1))
    places, index_ray, _ = mesh.ray.intersects_location(*rays, multiple_hits=multiple_hits)
    order = np.lexsort([-places[:, 2], index_ray])
    hits = ball.cast_rays(*rays, multiple_hits=multiple_hits)
    np.testing.assert_array_equal(hits.index_ray, index_ray[order])
    np.testing.assert_allclose(hits.locations, places[order], atol=0.05)


def test_hits_lie_on_the_surface_ahead_and_in_order(ball):
    origins, directions = random_rays(2000, seed=1)
    locations, index_ray, normals = ball.cast_rays(origins, directions)
    assert abs(np.linalg.norm(locations - CENTER, axis=1) - 50).max() < 1e-4
    ahead = ((locations - origins[index_ray]) * directions[index_ray]).sum(1)
    assert (ahead > 0).all()
    order = np.lexsort([np.linalg.norm(locations - origins[index_ray], axis=1), index_ray])
    np.testing.assert_array_equal(order, np.arange(len(order)))
    np.testing.assert_allclose(normals, (locations - CENTER) / 50, atol=1e-4)


def test_a_ray_through_the_middle_enters_and_leaves(ball):
    hits = ball.cast_rays([CENTER - [1e6, 0, 0]], [[2.0, 0, 0]])
    np.testing.assert_allclose(hits.locations, [CENTER - [50, 0, 0], CENTER + [50, 0, 0]], atol=1e-3)
    np.testing.assert_allclose(hits.normals, [[-1, 0, 0], [1, 0, 0]], atol=1e-6)
    first = ball.cast_rays([CENTER - [1e6, 0, 0]], [[2.0, 0, 0]], multiple_hits=False)
    np.testing.assert_array_equal(first.locations, hits.locations[:1])


def test_a_ray_from_inside_only_leaves(ball):
    hits = ball.cast_rays([CENTER], [[0.0, 0, -1]])
    np.testing.assert_allclose(hits.locations, [CENTER - [0, 0, 50]], atol=1e-3)


def test_rays_that_miss_and_no_rays_meet_nothing(ball):
    for origins in (np.array([CENTER + [0, 0, 200]]), np.empty((0, 3))):
        hits = ball.cast_rays(origins, np.tile([1.0, 0, 0], (len(origins), 1)))
        assert hits.locations.shape == hits.normals.shape == (0, 3)
        assert hits.index_ray.shape == (0,)


def test_rays_work_in_the_plane():
    hits = sphere_surface(2.0, (10.0, 0.0)).cast_rays([[0.0, 0.0]], [[1.0, 0.0]])
    np.testing.assert_allclose(hits.locations, [[8, 0], [12, 0]], atol=1e-4)


@pytest.mark.parametrize(
    ("origins", "directions", "message"),
    [
        ([[0.0, 0, 0]], [[0.0, 0, 0]], "no direction zero"),
        ([[np.nan, 0, 0]], [[1.0, 0, 0]], "must be finite"),
        ([[0.0, 0, 0]], [[1.0, 0, 0]] * 2, "do not belong together"),
    ],
)
def test_impossible_rays_are_refused(ball, origins, directions, message):
    with pytest.raises(InputError, match=message):
        ball.cast_rays(origins, directions)
