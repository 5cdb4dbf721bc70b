"""The zero level set: the same surface as dense marching cubes, at a fraction of the evaluations."""

import numpy as np
import pytest
import trimesh
from analytic import sphere_surface, to_box, to_sphere, to_torus
from skimage.measure import marching_cubes

from igr import machine
from igr.errors import FitError, InputError
from igr.mesh.extract import extract_contours, extract_mesh

BOX = np.array([[-1.0, -1, -1], [1, 1, 1]])


def plate(x):
    return to_box(x, (0.7, 0.7, 0.02))


def two_balls(x):
    return np.minimum(to_sphere(x - [0.5, 0, 0], 0.3), to_sphere(x + [0.5, 0, 0], 0.2))


def steep(x):
    return 3 * to_sphere(x)


def shallow(x):
    return 0.2 * to_sphere(x)


FIELDS = [to_sphere, to_torus, to_box, plate, two_balls, steep, shallow]


def gradient_of(field):
    def gradient(x, h=1e-5):
        steps = h * np.eye(3)
        return np.stack([(field(x + s) - field(x - s)) / (2 * h) for s in steps], 1)

    return gradient


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("with_gradient", [True, False])
def test_same_surface_as_dense_marching_cubes(field, with_gradient):
    resolution = 96
    gradient = gradient_of(field) if with_gradient else None
    vertices, faces, _ = extract_mesh(field, BOX, resolution=resolution, gradient=gradient)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    ticks = np.linspace(-1, 1, resolution + 1)
    grid = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), -1).reshape(-1, 3)
    dense, dense_faces, _, _ = marching_cubes(field(grid).reshape([resolution + 1] * 3), 0.0)
    truth = trimesh.Trimesh(dense * 2 / resolution - 1, dense_faces, process=False)
    if truth.volume < 0:
        truth.invert()
    assert mesh.is_watertight
    assert mesh.body_count == truth.body_count
    assert mesh.volume == pytest.approx(truth.volume, rel=2e-2)
    assert mesh.area == pytest.approx(truth.area, rel=2e-2)
    assert abs(field(vertices)).max() < 0.02 * 2 / resolution * 3.1


@pytest.mark.parametrize("field", FIELDS)
def test_normals_point_outward_and_no_triangle_is_degenerate(field):
    vertices, faces, _ = extract_mesh(field, BOX, resolution=64)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.volume > 0
    assert mesh.area_faces.min() > 0
    outward = gradient_of(field)(mesh.triangles_center)
    assert ((mesh.face_normals * outward).sum(1) > 0).mean() > 0.98


@pytest.mark.parametrize("field", [to_sphere, to_torus, to_box])
def test_far_fewer_evaluations_than_dense(field):
    _, _, stats = extract_mesh(field, BOX, resolution=512)
    assert stats.evaluations < 513**3 / 20


def test_an_offset_surface_lies_at_its_distance():
    for level in (-0.2, 0.15):
        vertices, _, _ = extract_mesh(to_sphere, BOX, resolution=64, level=level)
        np.testing.assert_allclose(np.linalg.norm(vertices, axis=1), 0.7 + level, atol=1e-3)


def test_the_box_grows_until_it_holds_the_surface():
    vertices, faces, stats = extract_mesh(to_sphere, 0.4 * BOX, resolution=32)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.7**3, rel=0.02)
    assert (stats.box[0] < -0.7).all()
    assert (stats.box[1] > 0.7).all()


def test_no_surface_is_a_clear_error():
    with pytest.raises(FitError, match="no"):
        extract_mesh(lambda x: to_sphere(x) + 5, BOX, resolution=32)


def test_a_field_that_is_not_finite_is_a_clear_error():
    with pytest.raises(FitError, match="finite"):
        extract_mesh(lambda x: np.full(len(x), np.nan), BOX, resolution=32)


SQUARE = np.array([[-1.0, -1], [1, 1]])


def signed_area(curve):
    x, y = curve[:, 0], curve[:, 1]
    return 0.5 * (x[:-1] * y[1:] - x[1:] * y[:-1]).sum()


def test_a_circle_is_one_closed_curve_counter_clockwise():
    (curve,) = extract_contours(to_sphere, SQUARE, resolution=128)
    assert (curve[0] == curve[-1]).all()
    np.testing.assert_allclose(np.linalg.norm(curve, axis=1), 0.7, atol=1e-3)
    assert signed_area(curve) == pytest.approx(np.pi * 0.49, rel=1e-2)


def test_a_ring_has_an_outer_and_an_inner_curve():
    curves = extract_contours(lambda x: np.abs(to_sphere(x, 0.6)) - 0.15, SQUARE, resolution=128)
    areas = sorted(signed_area(curve) for curve in curves)
    assert len(areas) == 2
    np.testing.assert_allclose(areas, [-np.pi * 0.45**2, np.pi * 0.75**2], rtol=1e-2)


def test_no_curve_is_a_clear_error():
    with pytest.raises(FitError):
        extract_contours(lambda x: to_sphere(x) + 5, SQUARE, resolution=64)


@pytest.mark.parametrize("resolution", [3, 0, -8, 8.5, 1 << 17, 10**30, "64", None, float("nan")])
def test_a_resolution_is_a_whole_number_that_makes_sense(resolution):
    curve = sphere_surface(1.0, (0.0, 0.0))
    for made in (
        curve.contour,
        *([] if resolution is None else [sphere_surface().mesh]),
    ):  # None: as it has detail
        with pytest.raises(InputError, match="a resolution must be a whole number from 4 to 65,536"):
            made(resolution=resolution)
    if resolution != 3:
        with pytest.raises(InputError, match="resolution of a grid must be a whole number from 1 to 2,048"):
            sphere_surface().to_grid(resolution)


def test_a_huge_resolution_is_refused_before_memory_is_asked_for(monkeypatch):
    """By one sentence, and after few evaluations; numpy said that it could not allocate 58 GiB."""
    monkeypatch.setattr(machine, "available", lambda: 16e9)
    asked = []
    with pytest.raises(InputError, match=r"at a resolution of 20,000 takes up to .* GB .* use a lower resolution"):
        extract_mesh(lambda x: asked.append(len(x)) or to_sphere(x), BOX, resolution=20_000)
    assert sum(asked) < 1_000_000
    with pytest.raises(InputError, match=r"60,001 × 60,001 places takes up to .* use a lower resolution"):
        extract_contours(to_sphere, SQUARE, resolution=60_000)


def test_a_surface_far_out_is_refused_before_memory_is_asked_for(monkeypatch):
    monkeypatch.setattr(machine, "available", lambda: 1e9)
    for level in (1e4, 1e38):
        with pytest.raises(InputError, match="a level closer to the surface"):
            extract_mesh(to_sphere, BOX, resolution=64, level=level)
    for level in (1e300, np.inf, np.nan):
        with pytest.raises(InputError, match="finite level"):
            extract_mesh(to_sphere, BOX, resolution=64, level=level)


def test_a_fine_mesh_of_a_small_surface_needs_no_dense_grid():
    _, faces, stats = extract_mesh(lambda x: to_sphere(x, 0.02), BOX, resolution=2048)
    assert len(faces) == pytest.approx(2 * 1.5 * 4 * np.pi * (0.02 * 1024) ** 2, rel=0.1)
    assert stats.evaluations < 500_000  # a grid of an eighth of the resolution has 17 million
