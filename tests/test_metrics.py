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
