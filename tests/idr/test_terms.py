"""Each term of IDR's loss against its equation and against finite differences."""

import numpy as np
import pytest

from igr.idr import terms

RNG = np.random.default_rng(0)


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def slope(value, at, step=1e-6):
    """Derivative of a function's value by each entry of an array."""
    found = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        ends = []
        for sign in (1, -1):
            moved = at.copy()
            moved[index] += sign * step
            ends.append(value(moved))
        found[index] = (ends[0] - ends[1]) / (2 * step)
    return found


def test_a_ray_meets_a_plane_where_it_does():
    """f is linear there, so that the first order of equation 3 is all there is."""
    normal = unit(RNG.normal(0, 1, (1, 3)))[0]
    v = unit(RNG.normal(0, 1, (20, 3)) - 6 * normal)
    x = RNG.normal(0, 0.1, (20, 3))
    f = x @ normal - 0.3
    met, _ = terms.surface_points(x, v, f, np.broadcast_to(normal, x.shape))
    assert np.abs(met @ normal - 0.3).max() < 1e-12
    assert np.abs(np.cross(met - x, v)).max() < 1e-12


def test_the_place_moves_with_f_as_equation_3_says():
    v, g = unit(RNG.normal(0, 1, (8, 3)) - [0, 0, 3]), unit(RNG.normal(0, 0.3, (8, 3)) + [0, 0, 1])
    x, f = RNG.normal(0, 1, (8, 3)), RNG.normal(0, 0.1, 8)
    toward = RNG.normal(0, 1, (8, 3))
    _, by_f = terms.surface_points(x, v, f, g)
    expected = slope(lambda f: (terms.surface_points(x, v, f, g)[0] * toward).sum(), f)
    assert np.allclose((by_f * toward).sum(1), expected, atol=1e-6)


def test_a_grown_sphere_is_met_earlier():
    """x̂ moves by −v/(∇f·v) for each unit that f falls: exactly as rays meet a sphere that grows."""
    origin, v = np.array([[0.0, 0.2, -3]]), np.array([[0.0, 0, 1]])
    depth = [3 - np.sqrt(radius**2 - 0.04) for radius in (1.0, 1.0 + 1e-6)]
    x = origin + depth[0] * v
    _, by_f = terms.surface_points(x, v, np.zeros(1), unit(x))
    assert (by_f[0] @ v[0]) * -1e-6 == pytest.approx(depth[1] - depth[0], rel=1e-4)


def test_normals_have_length_one_and_their_derivative_is_right():
    g, toward = RNG.normal(0, 1, (6, 3)), RNG.normal(0, 1, (6, 3))
    n, dg = terms.unit_normals(g, toward)
    assert np.allclose(np.linalg.norm(n, axis=1), 1)
    assert np.allclose(dg, slope(lambda g: (terms.unit_normals(g)[0] * toward).sum(), g), atol=1e-6)


def test_the_color_loss_is_the_papers():
    colors, seen = RNG.random((7, 3)), RNG.random((7, 3))
    value, by_colors = terms.color_loss(colors, seen, 10)
    assert value == pytest.approx(sum(np.abs(a - b).sum() for a, b in zip(colors, seen, strict=True)) / 10)
    assert np.allclose(by_colors, slope(lambda c: terms.color_loss(c, seen, 10)[0], colors), atol=1e-6)


def test_the_mask_loss_is_the_papers():
    f, inside, alpha = RNG.normal(0, 0.05, 9), RNG.random(9) < 0.5, 50.0
    value, by_f = terms.mask_loss(f, inside, alpha, 12)
    shown = 1 / (1 + np.exp(alpha * f))
    entropy = -np.where(inside, np.log(shown), np.log(1 - shown))
    assert value == pytest.approx(entropy.sum() / (alpha * 12))
    assert np.allclose(by_f, slope(lambda f: terms.mask_loss(f, inside, alpha, 12)[0], f), atol=1e-6)


def test_outside_the_hull_only_a_distance_that_is_too_small_counts():
    f, distance = np.array([0.1, 0.3, -0.2]), np.array([0.2, 0.2, 0.1])
    value, by_f = terms.outside_hull(f, distance)
    assert value == pytest.approx((0.1 + 0 + 0.3) / 3)
    assert np.allclose(by_f, slope(lambda f: terms.outside_hull(f, distance)[0], f), atol=1e-6)
