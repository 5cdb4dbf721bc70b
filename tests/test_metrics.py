"""Protocols against known distances and an independent implementation."""

import numpy as np
import pytest
import trimesh

from igr.errors import InputError
from igr.metrics import PROTOCOLS, compare


def sphere(radius=1.0, center=(0, 0, 0), subdivisions=5):
    mesh = trimesh.creation.icosphere(subdivisions=subdivisions, radius=radius)
    return mesh.apply_translation(center)


def test_concentric_spheres_are_their_gap_apart():
    result = compare(sphere(1.1), sphere(1.0))
    assert result.chamfer == pytest.approx(0.1, rel=5e-3)
    assert result.hausdorff == pytest.approx(0.1, rel=2e-2)
    assert result.normal_consistency == pytest.approx(1, abs=1e-2)
    assert result.f_score == 0.0
    assert compare(sphere(1.1), sphere(1.0), threshold=0.2).f_score == 1.0


def test_a_surface_is_no_distance_from_itself():
    assert compare(sphere(), sphere()).chamfer == pytest.approx(0, abs=1e-9)


def test_half_of_a_surface_has_an_f_score_of_two_thirds():
    """All of it is right and half of the reference is covered: 2·1·½ / (1 + ½)."""
    other = sphere(1.0)
    other.apply_translation([10.0, 0.0, 0.0])
    both = trimesh.util.concatenate([sphere(1.0), other])
    assert compare(sphere(1.0), both, threshold=0.2).f_score == pytest.approx(2 / 3, abs=0.02)


def test_the_two_directions_are_named_right():
    both = trimesh.util.concatenate([sphere(), sphere(center=(10, 0, 0))])
    extra = compare(both, sphere())
    assert extra.accuracy > 4
    assert extra.completeness < 1e-9
    assert extra.hausdorff == pytest.approx(10, rel=0.02)


def test_squared_protocols_sum_squared_distances():
    result = compare(sphere(1.1), sphere(1.0), protocol="deepsdf")
    assert result.chamfer == pytest.approx(2 * 0.01, rel=0.1)


def test_srb_measures_to_all_points_of_the_reference():
    points = np.asarray(sphere().vertices)
    result = compare(sphere(1.1), points, protocol="srb", samples=100_000)
    assert result.completeness == pytest.approx(0.1, rel=0.02)
    assert result.normal_consistency is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_results_scale_with_the_surfaces(protocol):
    power = 2 if PROTOCOLS[protocol].squared else 1
    small = compare(sphere(1.1, subdivisions=3), sphere(subdivisions=3), protocol=protocol, samples=5000)
    large = compare(sphere(11, subdivisions=3), sphere(10, subdivisions=3), protocol=protocol, samples=5000)
    assert large.chamfer == pytest.approx(10**power * small.chamfer, rel=1e-6)
    assert large.f_score == pytest.approx(small.f_score)


def test_distances_agree_with_an_independent_implementation():
    oracle = pytest.importorskip("point_cloud_utils")
    from igr import metrics

    rng = np.random.default_rng(0)
    mesh, points = sphere(subdivisions=3), rng.normal(size=(2000, 3))
    vertices, faces = np.asarray(mesh.vertices, float), np.asarray(mesh.faces)
    source = metrics.SurfaceSamples(points, None, None)
    ours, _ = metrics._distances(source, metrics.SurfaceSamples(vertices, None, (vertices, faces)), True)
    theirs, _, _ = oracle.closest_points_on_mesh(points, vertices, faces)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
    to_points, _ = metrics._distances(source, metrics.SurfaceSamples(vertices, None, None), False)
    nearest, _ = oracle.k_nearest_neighbors(points, vertices, 1)
    np.testing.assert_allclose(to_points, nearest.ravel(), atol=1e-6)


@pytest.mark.parametrize("protocol", ["l1", "deepsdf", "shapenet", "srb"])
def test_protocols_agree_with_an_independent_implementation(protocol):
    oracle = pytest.importorskip("point_cloud_utils")
    from igr import metrics

    mesh, reference = sphere(1.1, subdivisions=3), sphere(subdivisions=4)
    rule, rng = PROTOCOLS[protocol], np.random.default_rng(0)
    found = metrics.sample_surface(metrics.as_triangles(mesh), 5000, rng).points
    truth = np.asarray(reference.vertices, float)
    if not rule.all_reference_points:
        truth = metrics.sample_surface(metrics.as_triangles(reference), 5000, rng).points
    ours = compare(mesh, reference, protocol=protocol, samples=5000)
    there, _ = oracle.k_nearest_neighbors(found, truth, 1)
    back, _ = oracle.k_nearest_neighbors(truth, found, 1)
    power = 2 if rule.squared else 1
    assert ours.accuracy == pytest.approx((there**power).mean(), abs=1e-6)
    assert ours.completeness == pytest.approx((back**power).mean(), abs=1e-6)
    assert ours.hausdorff == pytest.approx(oracle.hausdorff_distance(found, truth), abs=1e-6)
    if not rule.squared:
        assert 2 * ours.chamfer == pytest.approx(oracle.chamfer_distance(found, truth), abs=1e-6)
    both = np.concatenate([there.ravel(), back.ravel()])
    for share in (50, 95, 99):
        assert getattr(ours, f"percentile{share}") == pytest.approx(np.percentile(both, share), abs=1e-6)


def test_points_in_order_are_the_same_points_and_near_each_other():
    from igr.metrics import near_order

    points = np.random.default_rng(0).uniform(-5, 3, (20_000, 3))
    order = near_order(points)
    np.testing.assert_array_equal(np.sort(order), np.arange(20_000))
    jumps = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
    assert jumps.mean() < 0.1 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()


@pytest.mark.slow
def test_a_million_samples_take_seconds():
    import time

    mesh, reference = sphere(1.1, subdivisions=6), sphere(subdivisions=6)
    for protocol in ("surface", "srb"):
        began = time.monotonic()
        compare(mesh, reference, protocol=protocol, samples=1_000_000)
        assert time.monotonic() - began < 30  # 2 to 7 s on two idle cores


@pytest.mark.parametrize(
    ("reference", "protocol", "message"),
    [
        (sphere(), "best", "no protocol 'best'"),
        (np.zeros((5, 3)), "surface", "has only points"),
        ((np.zeros((3, 3)), np.zeros((0, 3), int)), "surface", "is empty"),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, protocol, message):
    with pytest.raises(InputError, match=message):
        compare(sphere(subdivisions=1), reference, protocol=protocol)
