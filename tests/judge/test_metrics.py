"""Protocols against known distances and an independent implementation."""

import numpy as np
import pytest
import trimesh
from shapes import ball

from igr.errors import InputError
from igr.judge.metrics import PROTOCOLS, compare


def test_concentric_spheres_are_their_gap_apart():
    result = compare(ball(1.1), ball(1.0))
    assert result.chamfer == pytest.approx(0.1, rel=5e-3)
    assert result.hausdorff == pytest.approx(0.1, rel=2e-2)
    assert result.normal_consistency == pytest.approx(1, abs=1e-2)
    assert result.f_score == 0.0
    assert compare(ball(1.1), ball(1.0), threshold=0.2).f_score == 1.0


def test_a_surface_is_no_distance_from_itself():
    assert compare(ball(), ball()).chamfer == pytest.approx(0, abs=1e-9)


def test_half_of_a_surface_has_an_f_score_of_two_thirds():
    """All of it is right and half of the reference is covered: 2·1·½ / (1 + ½)."""
    other = ball(1.0)
    other.apply_translation([10.0, 0.0, 0.0])
    both = trimesh.util.concatenate([ball(1.0), other])
    assert compare(ball(1.0), both, threshold=0.2).f_score == pytest.approx(2 / 3, abs=0.02)


def test_the_two_directions_are_named_right():
    both = trimesh.util.concatenate([ball(), ball(center=(10, 0, 0))])
    extra = compare(both, ball())
    assert extra.accuracy > 4
    assert extra.completeness < 1e-9
    assert extra.hausdorff == pytest.approx(10, rel=0.02)


def test_squared_protocols_sum_squared_distances():
    result = compare(ball(1.1), ball(1.0), protocol="deepsdf")
    assert result.chamfer == pytest.approx(2 * 0.01, rel=0.1)


@pytest.mark.parametrize(
    ("protocol", "chamfer"), [("surface", 0.2), ("srb", 0.2), ("l1", 0.2), ("deepsdf", 0.08), ("shapenet", 0.08)]
)
def test_each_protocol_combines_the_directions_as_its_authors_do(protocol, chamfer):
    """Means of the distances, or sums of the mean squares, of two squares 0.2 apart."""
    raised = mesh_of(strip(0, 1, [0, 0, 0.2]))
    found = compare(raised, mesh_of(strip(0, 1)), protocol=protocol, samples=20_000)
    if protocol != "srb":  # whose reference are four corners, far from the samples
        assert found.chamfer == pytest.approx(chamfer, rel=0.02)
    assert found.completeness == pytest.approx(chamfer if chamfer > 0.1 else chamfer / 2, rel=0.02)


def test_srb_measures_to_all_points_of_the_reference():
    points = np.asarray(ball().vertices)
    result = compare(ball(1.1), points, protocol="srb", samples=100_000)
    assert result.completeness == pytest.approx(0.1, rel=0.02)
    assert result.normal_consistency is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_results_scale_with_the_surfaces(protocol):
    power = 2 if PROTOCOLS[protocol].squared else 1
    small = compare(ball(1.1, subdivisions=3), ball(subdivisions=3), protocol=protocol, samples=5000)
    large = compare(ball(11, subdivisions=3), ball(10, subdivisions=3), protocol=protocol, samples=5000)
    assert large.chamfer == pytest.approx(10**power * small.chamfer, rel=1e-6)
    assert large.f_score == pytest.approx(small.f_score)


def test_distances_agree_with_an_independent_implementation():
    oracle = pytest.importorskip("point_cloud_utils")
    from igr.judge import metrics

    rng = np.random.default_rng(0)
    mesh, points = ball(subdivisions=3), rng.normal(size=(2000, 3))
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
    from igr.judge import metrics

    mesh, reference = ball(1.1, subdivisions=3), ball(subdivisions=4)
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


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_the_f_score_is_the_harmonic_mean_of_the_shares_within_the_threshold(share):
    """Squares of side 1; of the reconstruction `share` lies on the reference, which is covered to `share` too."""
    apart = [50.0, 0, 0]
    found = strip(0, share) + strip(share, 1, apart)
    result = compare(mesh_of(found), mesh_of(strip(0, 1)), threshold=1e-6, samples=20_000)
    assert result.f_score == pytest.approx(share, abs=0.02)
    half = compare(mesh_of(strip(0, share)), mesh_of(strip(0, 1)), threshold=1e-6, samples=20_000)
    assert half.f_score == pytest.approx(2 * share / (1 + share), abs=0.02)


def strip(start, end, moved=(0, 0, 0)):
    """The part of the unit square between two abscissas, as two triangles."""
    a, b, c, d = np.array([[start, 0, 0], [end, 0, 0], [end, 1, 0], [start, 1, 0]], float) + moved
    return [[a, b, c], [a, c, d]]


def mesh_of(triangles):
    return np.reshape(triangles, (-1, 3)), np.arange(3 * len(triangles)).reshape(-1, 3)


def test_figures_are_told_in_the_units_of_the_input_and_as_a_share_of_the_reference():
    small, large = (compare(ball(1.1 * r), ball(r), samples=2000) for r in (1, 1000))
    assert small.diagonal == pytest.approx(2 * 3**0.5, rel=1e-3)
    assert small.threshold == pytest.approx(0.01 * small.diagonal)
    assert large.threshold == pytest.approx(1000 * small.threshold)
    assert small.to_dict()["chamfer_relative"] == pytest.approx(0.1 / (2 * 3**0.5), rel=0.01)
    assert large.to_dict()["chamfer_relative"] == pytest.approx(small.to_dict()["chamfer_relative"])
    assert small.to_dict()["hausdorff"] == small.hausdorff


def test_normals_that_differ_by_an_angle_agree_by_its_cosine():
    flat = mesh_of(strip(0, 1))
    tilted = flat[0] @ np.array([[1, 0, 0], [0, np.cos(1), np.sin(1)], [0, -np.sin(1), np.cos(1)]])
    assert compare(flat, flat, samples=100).normal_consistency == pytest.approx(1)
    assert compare(flat, (tilted, flat[1]), samples=100).normal_consistency == pytest.approx(np.cos(1))
    assert compare(flat, (flat[0], flat[1][:, ::-1]), samples=100).normal_consistency == pytest.approx(-1)
    points = compare(flat, (tilted, flat[1]), protocol="l1", samples=100)
    assert points.normal_consistency == pytest.approx(np.cos(1))


def test_samples_lie_evenly_on_the_triangles():
    from igr.judge.metrics import face_areas, sample_surface

    vertices, faces = mesh_of([*strip(0, 1), *strip(0, 3, [0, 0, 5]), [[9, 9, 9]] * 3])
    np.testing.assert_allclose(face_areas(vertices, faces), [0.5, 0.5, 1.5, 1.5, 0])
    found = sample_surface((vertices, faces), 40_000, np.random.default_rng(0))
    assert len(found.points) == 40_000
    np.testing.assert_array_equal(found.normals, np.tile([0.0, 0, 1], (40_000, 1)))
    for height, width in ((0, 1), (5, 3)):
        own = found.points[found.points[:, 2] == height]
        assert len(own) == pytest.approx(10_000 * width, rel=0.03)
        counts = np.histogram2d(own[:, 0], own[:, 1], 4, [[0, width], [0, 1]])[0]
        assert counts.sum() == len(own)
        np.testing.assert_allclose(counts / len(own), 1 / 16, atol=0.01)


@pytest.mark.parametrize(("scale", "shift"), [(1, 0), (1e-6, 7), (1e9, -3e9), (1, 100)])
def test_order_goes_through_one_octant_after_the_other(scale, shift):
    from igr.judge.metrics import near_order

    grid = np.stack(np.meshgrid(*[np.arange(8)] * 3, indexing="ij"), -1).reshape(-1, 3)
    grid = np.random.default_rng(0).permutation(grid)
    for edge in (1, 2, 4):  # cubes of this edge are each visited without leaving them, x slowest
        cubes = (grid[near_order(grid * scale + shift)] // edge).reshape(-1, edge**3, 3)
        assert (cubes == cubes[:, :1]).all()
    np.testing.assert_array_equal(cubes[:3, 0], [[0, 0, 0], [0, 0, 1], [0, 1, 0]])


def test_equal_points_stay_in_order():
    from igr.judge.metrics import near_order

    np.testing.assert_array_equal(near_order(np.full((5, 3), 7.0)), np.arange(5))


def test_points_in_order_are_the_same_points_and_near_each_other():
    from igr.judge.metrics import near_order

    points = np.random.default_rng(0).uniform(-5, 3, (20_000, 3))
    order = near_order(points)
    np.testing.assert_array_equal(np.sort(order), np.arange(20_000))
    jumps = np.linalg.norm(np.diff(points[order], axis=0), axis=1)
    assert jumps.mean() < 0.1 * np.linalg.norm(np.diff(points, axis=0), axis=1).mean()


@pytest.mark.parametrize(
    ("reference", "protocol", "message"),
    [
        (ball(), "best", "no protocol 'best'"),
        (np.zeros((5, 3)), "surface", "has only points"),
        ((np.zeros((3, 3)), np.zeros((0, 3), int)), "surface", "is empty"),
    ],
)
def test_what_cannot_be_compared_is_refused(reference, protocol, message):
    with pytest.raises(InputError, match=message):
        compare(ball(subdivisions=1), reference, protocol=protocol)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ([[0.0, 0, 0]], "a mesh or .* is needed here, not a list"),
        (None, "a mesh or .* is needed here, not a NoneType"),
        ((1, 2, 3), "a mesh or .* is needed here, not a tuple"),
        ((np.eye(3), np.eye(3)), "triangles are whole numbers"),
        ((np.eye(3), [[0, 1]]), "triangles are whole numbers"),
        ((np.eye(3), [[0, 1, 3]]), "triangles name vertices 0 to 3 of 3"),
        ((np.eye(2), [[0, 1, 1]]), "expected points of shape"),
        (np.zeros((4, 2)), "expected points of shape|not a ndarray"),
        (np.full((4, 3), np.nan), "must be finite|not a ndarray"),
        (np.zeros((0, 3)), "at least one|not a ndarray"),
    ],
)
def test_what_is_no_mesh_is_refused_in_one_sentence(wrong, message):
    mesh = (np.eye(3), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match=message):
        compare(mesh, wrong, protocol="l1", samples=10)
    with pytest.raises(InputError, match=message):
        compare(wrong, mesh, samples=10)


@pytest.mark.parametrize("options", [{"samples": 0}, {"samples": 2.5}, {"threshold": 0.0}, {"threshold": np.nan}])
def test_samples_and_threshold_are_positive(options):
    mesh = (np.eye(3), np.array([[0, 1, 2]]))
    with pytest.raises(InputError, match="must be"):
        compare(mesh, mesh, **options)
