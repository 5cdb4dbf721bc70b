"""Normals of bare points: outward, moving with the points, honest about what they do not know."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from shapes import blob, rotation

from examples.clouds.solids import sample_solid
from igr.examples import example_cloud
from igr.normals.directions import principal_axes
from igr.normals.estimate import orient, orient_normals


def share_right(points, truth, normals=None):
    normals = orient_normals(points)[0] if normals is None else normals
    return ((normals * truth).sum(1) > 0).mean()


@pytest.mark.parametrize("name", ["sphere", "torus", "box", "knot", "body", "outline"])
def test_normals_of_the_examples_point_outward(name):
    cloud = example_cloud(name, points=600 if name == "outline" else 8000)
    assert share_right(cloud.points, cloud.normals) > 0.985


@settings(max_examples=5)
@given(seed=st.integers(0, 10**6))
def test_normals_of_any_body_point_outward(seed):
    assert share_right(*blob(4000, seed)) > 0.99


@pytest.mark.parametrize("name", ["torus", "knot", "outline"])
def test_noise_is_survived(name):
    cloud = example_cloud(name, points=600 if name == "outline" else 10_000)
    size = np.ptp(cloud.points, axis=0).max() / 2
    noisy = cloud.points + np.random.default_rng(0).normal(0, 0.01 * size, cloud.points.shape)
    assert share_right(noisy, cloud.normals) > 0.97


def test_a_hole_does_not_turn_the_sign():
    cloud = example_cloud("sphere", points=5000)
    kept = cloud.points[:, 2] < 0.75
    assert share_right(cloud.points[kept], cloud.normals[kept]) > 0.99


def test_a_cavity_is_found_by_counting():
    outer, inner = example_cloud("sphere", points=6000), example_cloud("sphere", points=3000, seed=1)
    points = np.concatenate([outer.points, 0.5 * inner.points])
    normals = np.concatenate([outer.normals, -inner.normals])
    assert share_right(points, normals) > 0.98


def test_a_thin_plate_has_two_sides():
    rng = np.random.default_rng(0)
    flat = rng.uniform(-1, 1, (20_000, 2))
    side = rng.choice([-1.0, 1.0], len(flat))
    points = np.c_[flat, 0.05 * side]
    truth = np.c_[0 * flat, side]
    middle = np.abs(flat).max(1) < 0.9
    normals, _ = orient_normals(points)
    assert share_right(points[middle], truth[middle], normals[middle]) > 0.98


def test_units_and_place_do_not_matter():
    cloud = example_cloud("knot", points=4000)
    plain, moved = orient(cloud.points), orient(1000 * cloud.points + [5e5, -2e6, 10])
    assert ((plain.normals * moved.normals).sum(1) > 0.999).mean() > 0.99
    assert moved.spacing == pytest.approx(1000 * plain.spacing, rel=1e-6)


def test_clean_solids_are_trusted_and_confidence_knows_its_errors():
    knot = orient(sample_solid("knot", 8000, np.random.default_rng(0))[0])
    assert knot.quality > 0.95
    assert knot.confidence.mean() > 0.8
    body = example_cloud("body", points=8000)
    found = orient(body.points)
    right = (found.normals * body.normals).sum(1) > 0
    assert found.confidence[right].mean() > 2 * found.confidence[~right].mean()


def test_same_points_same_normals():
    cloud = example_cloud("torus", points=2000)
    np.testing.assert_array_equal(orient_normals(cloud.points)[0], orient_normals(cloud.points)[0])


@pytest.mark.parametrize(
    "stretch",
    [(1, 1, 1), (1, 1, 1e-4), (1, 1e-5, 1e-5), (1, 1, 0), (1, 0, 0), (0, 0, 0), (1e-90,) * 3, (1e90,) * 3],
)
def test_neighborhoods_vary_along_orthogonal_axes_as_their_covariance_says(stretch):
    points = np.random.default_rng(0).normal(size=(1000, 9, 3)) * stretch @ rotation(seed=1)
    variances, axes = principal_axes(points.reshape(-1, 3), np.arange(9000).reshape(1000, 9))
    centered = points - points.mean(1, keepdims=True)
    covariance, size = np.swapaxes(centered, 1, 2) @ centered, np.maximum(variances[:, -1:, None], 1e-300)
    np.testing.assert_allclose(covariance @ axes / size, axes * variances[:, None] / size, atol=1e-14)
    np.testing.assert_allclose(np.swapaxes(axes, 1, 2) @ axes, np.tile(np.eye(3), (1000, 1, 1)), atol=1e-14)
    assert (np.diff(variances, axis=1) >= 0).all()
