"""Far from its cloud a fitted surface is as exact as near it, whatever it is asked."""

import numpy as np
import pytest
from shapes import QUICK, directions, sphere

import igr

pytestmark = pytest.mark.numerical

CENTER = np.array([1000.0, -2000.0, 300.0])


@pytest.fixture(scope="module")
def ball():
    """A ball of radius 50."""
    points, normals = sphere()
    return igr.reconstruct(50 * points + CENTER, normals=normals, config=QUICK)


@pytest.mark.parametrize("radii", [2, 3, 10, 1e4])
def test_distances_are_true(ball, radii):
    x = CENTER + 50 * radii * directions(2000, seed=1)
    error = ball.distance(x) / (50 * (radii - 1)) - 1
    assert np.sqrt(np.square(error).mean()) < 0.005


def test_gradients_are_outward_and_of_length_one(ball):
    outward = directions(2000, seed=1)
    gradient = ball.gradient(CENTER + 150 * outward)
    np.testing.assert_allclose(np.linalg.norm(gradient, axis=1), 1, rtol=1e-6)
    assert (gradient * outward).sum(1).min() > 0.998  # feet lie a twentieth of the radius apart
    np.testing.assert_allclose(ball.normals(CENTER + 150 * outward), gradient, atol=1e-6)


def test_slopes_across_the_border_are_about_one(ball):
    rng = np.random.default_rng(2)
    start, stop = CENTER + rng.uniform(45, 90, (2, 2000, 1)) * directions(4000, seed=2).reshape(2, 2000, 3)
    step = stop - start
    rise = np.abs(ball.distance(stop) - ball.distance(start)) / np.linalg.norm(step, axis=1)
    assert rise.max() < 1.05


def test_far_places_are_moved_onto_the_surface(ball):
    there = ball.project(CENTER + 1000 * directions(500, seed=3))
    assert abs(np.linalg.norm(there - CENTER, axis=1) - 50).max() < 1.0


def test_offsets_lie_where_they_should(ball):
    for mesh in (ball.mesh(resolution=16, level=100.0), igr.offset(ball, 100.0).mesh(resolution=16)):
        radius = np.linalg.norm(mesh.vertices - CENTER, axis=1)
        assert radius.mean() == pytest.approx(150, rel=0.005)
        assert radius.std() < 1.0


def test_combinations_are_true_too(ball):
    beside = igr.placed(ball, shift=[400.0, 0, 0])
    x = CENTER + [200.0, 300, 0] + 50 * directions(200, seed=4)
    truth = [np.linalg.norm(x - CENTER - shift, axis=1) - 50 for shift in (0, [400.0, 0, 0])]
    np.testing.assert_allclose((ball | beside).distance(x), np.minimum(*truth), rtol=0.01)
    np.testing.assert_allclose(igr.shell(ball, 20.0).distance(x), truth[0] - 10, rtol=0.01)


def test_rays_from_far_away_meet_the_surface(ball):
    outward = directions(200, seed=5)
    found = ball.cast_rays(CENTER + 5000 * outward, -outward, multiple_hits=False)
    assert len(found.locations) == 200
    assert abs(np.linalg.norm(found.locations - CENTER, axis=1) - 50).max() < 1.0


def test_a_saved_surface_is_the_same_far_away(ball, tmp_path):
    ball.save(tmp_path / "ball.igr")
    x = CENTER + np.random.default_rng(6).uniform(-500, 500, (500, 3))
    np.testing.assert_array_equal(igr.Surface.load(tmp_path / "ball.igr").distance(x), ball.distance(x))


def test_a_curve_is_true_too():
    points, normals = sphere(300, 2)
    circle = igr.reconstruct(points, normals=normals, config=QUICK)
    x = 5 * directions(500, 2)
    np.testing.assert_allclose(circle.distance(x), 4, rtol=0.01)
