"""What is measured of an open surface is measured to where it ends; of a closed one nothing changes."""

import copy

import numpy as np
import pytest
from analytic import AnalyticField, sphere_surface, to_sphere
from shapes import QUICK, directions, sphere

import igr
from igr import FAST, Surface
from igr.cloud.frame import Frame

pytestmark = pytest.mark.numerical
CENTER = np.array([1.0, 2.0, 3.0])


def _open(dimension, distance, gradient, samples):
    """An open surface with an exact closed field, twice as large as in the unit frame and around `CENTER`."""
    field = AnalyticField(dimension, distance, gradient)
    return Surface(field, Frame(CENTER[:dimension], 2.0), FAST, samples=samples, details={"open": True})


def half(dimension=3):
    """The upper half of the unit sphere (circle) around `CENTER`, and how far below its middle it ends."""
    points = sphere(8000 if dimension == 3 else 800, dimension, radius=0.5)[0]
    surface = _open(
        dimension,
        lambda x: to_sphere(x, 0.5),
        lambda x: x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12),
        points[points[:, -1] > 0],
    )
    parts = [surface.mesh(resolution=128).vertices] if dimension == 3 else surface.contour(resolution=128)
    return surface, CENTER[dimension - 1] - np.concatenate(parts)[:, -1].min()


def to_half(x, below):
    """Distance (n,) from places around the origin to the part of the unit sphere that lies above -below."""
    across, up = np.linalg.norm(x[:, :-1], axis=1), x[:, -1]
    length = np.linalg.norm(x, axis=1)
    rim = np.hypot(across - np.sqrt(1 - below**2), up + below)
    return np.where(up >= -below * length, np.abs(length - 1), rim)


@pytest.mark.parametrize("dimension", [2, 3])
def test_the_distance_to_half_a_sphere_is_that_to_its_rim_where_the_rest_was_cut_off(dimension):
    surface, below = half(dimension)
    assert 0 < below < 0.15
    x = np.random.default_rng(0).uniform(-2, 2, (4000, dimension))
    found = surface.distance(x + CENTER[:dimension])
    np.testing.assert_array_equal(found < 0, np.linalg.norm(x, axis=1) < 1)  # the sides of the closed one
    assert np.abs(found) == pytest.approx(to_half(x, 0.0), abs=0.15)
    assert np.abs(np.abs(found) - to_half(x, below)).mean() < 0.03  # the rim is not quite even
    above = to_half(x, 0.0) < np.hypot(np.linalg.norm(x[:, :-1], axis=1) - 1, x[:, -1]) - 1e-9
    assert np.abs(found)[above] == pytest.approx(to_half(x, 0.0)[above], abs=2e-3)
    far = np.zeros((3, dimension))
    far[:, -1] = [-100, -1e6, np.nan]
    assert surface.distance(CENTER[:dimension] + far) == pytest.approx([100, 1e6, np.nan], rel=0.01, nan_ok=True)
    assert surface.distance(np.zeros((0, dimension))).shape == (0,)


def test_gradients_are_those_of_the_distance_and_lead_onto_what_is_left():
    surface, below = half()
    x = np.random.default_rng(1).uniform(-2, 2, (2000, 3)) + CENTER
    gradient, step = surface.gradient(x), 1e-5
    ends = [surface.distance(x + step * axis) - surface.distance(x - step * axis) for axis in np.eye(3)]
    differ = np.linalg.norm(np.stack(ends, 1) / (2 * step) - gradient, axis=1)
    assert np.quantile(differ, 0.995) < 1e-4  # all but where the sign jumps
    assert np.linalg.norm(gradient, axis=1) == pytest.approx(1, abs=0.2)
    assert to_half(surface.project(x) - CENTER, below) == pytest.approx(0, abs=0.1)
    assert np.median(to_half(surface.project(x) - CENTER, below)) < 1e-3


def test_rays_pass_where_the_surface_was_cut_off():
    surface, below = half()
    start = np.random.default_rng(2).uniform(-1.1, 1.1, (3000, 3))
    start[:, 2] = -3
    up = np.tile([0.0, 0, 1], (3000, 1))
    first = surface.cast_rays(start + CENTER, up, multiple_hits=False)
    both = surface.cast_rays(start + CENTER, up)
    across = np.linalg.norm(start[:, :2], axis=1)
    np.testing.assert_array_equal(np.unique(first.index_ray), first.index_ray)
    assert set(np.flatnonzero(across < 0.98)) <= set(first.index_ray) <= set(np.flatnonzero(across < 1))
    height = first.locations[:, 2] - CENTER[2]
    inner = across[first.index_ray] < np.sqrt(1 - below**2) - 0.02
    assert height[inner] == pytest.approx(np.sqrt(1 - across[first.index_ray][inner] ** 2), abs=1e-3)
    assert both.locations[:, 2].min() > CENTER[2] - below - 0.02
    assert first.normals == pytest.approx(first.locations - CENTER, abs=1e-3)
    closed = igr.as_closed(surface).cast_rays(start + CENTER, up)
    assert len(closed.locations) > len(both.locations) + 0.2 * (across < 1).sum()  # the box ends below, too


def test_a_sheet_is_measured_to_its_border_and_a_shell_goes_around_it():
    rng = np.random.default_rng(3)
    flat = np.c_[np.zeros(6000), rng.uniform(-0.5, 0.5, (6000, 2))]
    sheet = _open(3, lambda x: x[:, 0], lambda x: np.tile([1.0, 0, 0], (len(x), 1)), flat)
    x = rng.uniform(-2, 2, (3000, 3))
    beyond = np.maximum(np.abs(x[:, 1:]) - 1, 0)
    truth = np.sqrt(x[:, 0] ** 2 + (beyond**2).sum(1))
    found = sheet.distance(x + CENTER)
    np.testing.assert_array_equal(found < 0, x[:, 0] < 0)
    assert np.abs(found) == pytest.approx(truth, abs=0.08)
    inner = ~(beyond > 0).any(1)
    assert found[inner] == pytest.approx(x[inner, 0], abs=1e-3)
    wall = igr.shell(sheet, 0.2).mesh(resolution=48)
    assert wall.is_watertight
    side = sheet.mesh(resolution=128).area ** 0.5
    around = 4 * side * np.pi * 0.1**2 / 2  # half a cylinder along the border, quarters of a ball in its corners
    assert wall.volume == pytest.approx(0.2 * side**2 + around, rel=0.03)


def test_what_needs_an_inside_takes_the_closed_surface():
    surface, _ = half()
    closed = igr.as_closed(surface)
    below = CENTER - [[0, 0, 1.5]]
    assert surface.distance(below) == pytest.approx(1.8, abs=0.15)
    assert closed.distance(below) == pytest.approx(0.5, abs=1e-6)
    assert not closed.is_open
    assert closed.mesh(resolution=32).is_watertight
    assert igr.offset(surface, 0.5).distance(below) == pytest.approx(0.0, abs=1e-6)
    assert (surface | surface).distance(below) == pytest.approx(0.5, abs=1e-6)
    assert surface.mesh(resolution=32, level=0.2).volume == pytest.approx(4 / 3 * np.pi * 1.2**3, rel=0.02)
    assert surface.normals(below) == pytest.approx(np.array([[0, 0, -1.0]]), abs=1e-6)
    ball = sphere_surface()
    assert igr.as_closed(ball) is ball
    assert ball.ended is None
    with pytest.raises(igr.InputError, match="not with a str"):
        igr.as_closed("ball")


def test_a_fitted_half_sphere_measures_alike_when_saved_and_copied(tmp_path):
    points = directions(6000)
    up = points[:, 2] > 0
    surface = igr.reconstruct(points[up], normals=points[up], config=QUICK)
    x = np.random.default_rng(4).uniform(-1.5, 1.5, (1000, 3))
    found = surface.distance(x)
    assert np.abs(np.abs(found) - to_half(x, 0.0)).mean() < 0.03
    assert np.abs(found) == pytest.approx(to_half(x, 0.0), abs=0.15)
    surface.save(tmp_path / "half.igr")
    for other in (igr.Surface.load(tmp_path / "half.igr"), copy.copy(surface)):
        np.testing.assert_array_equal(other.distance(x), found)
    grid = surface.to_grid(12)
    np.testing.assert_allclose(grid.values.ravel(), surface.distance(grid.points()), atol=1e-6)
