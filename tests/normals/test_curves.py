"""A few points in the plane joined to curves: thin gaps stay open, holes are holes."""

import numpy as np
import pytest
import scipy.optimize

import igr
from igr.normals.curves import inside, outline_normals
from igr.normals.estimate import orient_normals
from igr.normals.given import judge_normals

pytestmark = pytest.mark.numerical


def ring(radius, n, center=(0.0, 0.0)):
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    normals = np.c_[np.cos(angle), np.sin(angle)]
    return np.array(center) + radius * normals, normals


def comb(teeth=4, step=0.1):
    """An outline with slits no wider than the distance between its points, and its normals."""
    corners = [(0.0, 0.0)]
    for tooth in range(teeth):
        left = 0.4 * tooth
        corners += [(left, 2.0), (left + 0.3, 2.0)] + (
            [(left + 0.3, 0.5), (left + 0.4, 0.5)] * (tooth < teeth - 1)
        )
    corners = np.array([*corners, (0.4 * teeth - 0.1, 0.0)])
    points, normals = [], []
    for a, b in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        count = max(1, round(np.linalg.norm(b - a) / step))
        at = (np.arange(count) + 0.5)[:, None] / count
        points.append(a + at * (b - a))
        normals.append(np.tile(np.array([a[1] - b[1], b[0] - a[0]]) / np.linalg.norm(b - a), (count, 1)))
    return np.concatenate(points), np.concatenate(normals)


def test_a_hole_and_an_island_are_told_apart():
    parts = [ring(3, 85), ring(2, 55), ring(1, 28), ring(1, 28, center=(6, 0))]
    points = np.concatenate([part for part, _ in parts])
    truth = np.concatenate([parts[0][1], -parts[1][1], parts[2][1], parts[3][1]])
    normals, agreement = outline_normals(points)
    assert ((normals * truth).sum(1) > 0.99).all()
    assert (agreement == 1).all()


def test_slits_as_wide_as_the_spacing_stay_open():
    points, truth = comb()
    normals, _ = orient_normals(points)
    assert ((normals * truth).sum(1) > 0).mean() > 0.97


@pytest.mark.parametrize("noise", [0.0, 0.005])
def test_a_comb_of_few_points_is_reconstructed(noise):
    points, _ = comb()
    noisy = points + np.random.default_rng(0).normal(0, noise, points.shape)
    surface = igr.reconstruct(noisy)
    slits = np.array([[0.35 + 0.4 * tooth, 1.2] for tooth in range(3)])
    teeth = np.array([[0.15 + 0.4 * tooth, 1.2] for tooth in range(4)])
    assert (surface.distance(slits) > 0).all()
    assert (surface.distance(teeth) < 0).all()


def test_many_points_are_not_joined():
    assert outline_normals(ring(1, 1000)[0]) is None


def test_inside_by_even_and_odd():
    square = np.array([[0.0, 0], [2, 0], [2, 2], [0, 2]])
    places = np.array([[0.25, 1], [1, 1], [3, 1]])
    assert inside([square, 0.5 + 0.5 * square], places).tolist() == [True, False, False]


@pytest.fixture
def programs(monkeypatch):
    """The options of every integer program that is solved."""
    solve, seen = scipy.optimize.milp, []

    def milp(*args, **kwargs):
        seen.append(dict(kwargs["options"]))
        return solve(*args, **kwargs)

    monkeypatch.setattr(scipy.optimize, "milp", milp)
    return seen


def two_noisy_circles(n=120):
    rng = np.random.default_rng(1)
    angle = rng.uniform(0, 2 * np.pi, n)
    radius = np.where(np.arange(n) % 2, 1, 0.9) + rng.normal(0, 0.05, n)
    return np.c_[radius * np.cos(angle), radius * np.sin(angle)]


def test_a_slower_machine_finds_the_same_curves(programs):
    """The search ends after so many nodes: one that ends after so many seconds gives other curves elsewhere."""
    first = outline_normals(two_noisy_circles())
    again = outline_normals(two_noisy_circles())
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert len(programs) == 2
    assert all("node_limit" in options and "time_limit" not in options for options in programs)


@pytest.mark.parametrize("kind", ["scattered", "grid", "sunflower"])
def test_points_that_follow_no_curve_are_joined_without_a_long_search(kind, programs):
    """Hardly anything is decided by the relaxed program there; what is left for the search is bounded."""
    turn, step = 2.39996 * np.arange(120), np.sqrt(np.arange(120) + 0.5)
    points = {
        "scattered": np.random.default_rng(0).uniform(-1, 1, (120, 2)),
        "grid": np.stack(np.meshgrid(np.arange(12.0), np.arange(10.0)), -1).reshape(-1, 2),
        "sunflower": np.c_[step * np.cos(turn), step * np.sin(turn)],
    }[kind]
    normals, agreement = outline_normals(points)
    joined = np.linalg.norm(normals, axis=1) > 0
    assert joined.mean() > 0.8
    np.testing.assert_allclose(np.linalg.norm(normals[joined], axis=1), 1)
    assert ((agreement >= 0) & (agreement <= 1)).all()
    assert len(programs) == 1


def test_noise_of_half_the_spacing_leaves_most_sides_right():
    points, truth = ring(1, 100)
    noisy = points + np.random.default_rng(0).normal(0, 0.03, points.shape)
    normals, _ = outline_normals(noisy)
    assert ((normals * truth).sum(1) > 0).mean() > 0.95


def test_given_normals_cost_one_search(programs):
    points, normals = ring(1, 100)
    flipped = normals * np.where(np.arange(100) % 2, -1, 1)[:, None]
    judged = judge_normals(points, flipped)
    assert judged.use == "re-oriented"
    assert ((judged.normals * normals).sum(1) > 0.99).all()
    assert len(programs) == 1
