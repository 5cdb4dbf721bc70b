"""A fitted surface: in the input's frame and units, moving with the input, exact after a round trip."""

import dataclasses

import numpy as np
import pytest
from analytic import plane_surface
from shapes import QUICK, directions, rotation, sphere

import igr
from igr.config import ObjectiveConfig
from igr.errors import InputError
from igr.surface.file import surface_file

pytestmark = pytest.mark.numerical

SMALL = dataclasses.replace(QUICK, steps=20)


@pytest.fixture(scope="module")
def ball():
    points, normals = sphere()
    return igr.reconstruct(50 * points + [1000, -2000, 300], normals=normals, config=QUICK)


def test_a_sphere_is_a_sphere_in_millimetres_off_the_origin(ball):
    mesh = ball.mesh(resolution=64)
    radius = np.linalg.norm(mesh.vertices - [1000, -2000, 300], axis=1)
    assert abs(radius - 50).max() < 1.0
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 50**3, rel=0.02)


def test_distance_is_in_input_units_and_negative_inside(ball):
    x = np.array([[1000.0, -2000.0, 330.0], [1000, -2000, 340], [1000, -2000, 355]])
    np.testing.assert_allclose(ball.distance(x), [-20, -10, 5], atol=1.0)


def test_gradient_is_a_unit_vector_pointing_outward(ball):
    outward = directions(200, seed=5)
    gradient = ball.gradient(50 * outward + [1000, -2000, 300])
    assert abs(np.linalg.norm(gradient, axis=1) - 1).mean() < 0.1
    assert (gradient * outward).sum(1).min() > 0.9
    np.testing.assert_allclose(np.linalg.norm(ball.normals(outward * 50 + [1000, -2000, 300]), axis=1), 1)


def test_projected_points_lie_on_the_surface(ball):
    outward = directions(200, seed=5)
    projected = ball.project(outward * np.linspace(45, 55, 200)[:, None] + [1000, -2000, 300])
    assert abs(ball.distance(projected)).max() < 0.01
    assert abs(np.linalg.norm(projected - [1000, -2000, 300], axis=1) - 50).max() < 1.0


def test_an_offset_surface_is_larger_by_the_offset(ball):
    radius = np.linalg.norm(ball.mesh(resolution=64, level=5.0).vertices - [1000, -2000, 300], axis=1)
    assert radius.mean() == pytest.approx(55, abs=1.0)


def test_round_trip_through_a_file_is_exact(ball, tmp_path):
    ball.save(tmp_path / "ball.igr")
    again = igr.Surface.load(tmp_path / "ball.igr")
    x = np.random.default_rng(0).uniform(-60, 60, (500, 3)) + [1000, -2000, 300]
    np.testing.assert_array_equal(ball.distance(x), again.distance(x))
    assert again.config == ball.config
    assert again.details == ball.details


def test_tensors_are_accepted_and_answered_by_tensors(ball):
    torch = pytest.importorskip("torch")
    x = np.array([[1000.0, -2000.0, 300.0]])
    answer = ball.distance(torch.tensor(x))
    assert isinstance(answer, torch.Tensor)
    assert answer.item() == pytest.approx(ball.distance(x)[0])


@pytest.mark.parametrize("bad", [np.zeros(3), np.zeros((4, 2)), np.zeros((2, 2, 3))])
def test_points_of_another_shape_are_refused(ball, bad):
    with pytest.raises(InputError, match=r"expected points of shape \(n, 3\)"):
        ball.distance(bad)


def test_many_points_and_none_are_answered(ball):
    assert ball.distance(np.empty((0, 3))).shape == (0,)
    assert ball.gradient(np.empty((0, 3))).shape == (0, 3)
    assert ball.distance(np.zeros((300_000, 3))).shape == (300_000,)


def test_a_surface_has_no_contour_and_a_curve_no_mesh(ball):
    with pytest.raises(InputError, match="use mesh"):
        ball.contour()


def test_inward_normals_are_turned_with_a_message():
    points, normals = sphere(1000)
    heard = []
    surface = igr.reconstruct(points, normals=-normals, config=QUICK, notify=heard.append)
    assert any("point inward" in note for note in heard)
    assert surface.distance(np.zeros((1, 3)))[0] < -0.5


def test_same_seed_same_field():
    points, normals = sphere(500)
    first, second = (igr.reconstruct(points, normals=normals, config=SMALL) for _ in range(2))
    for name, value in surface_file(first)[0].items():
        np.testing.assert_array_equal(value, surface_file(second)[0][name], err_msg=name)


def test_the_result_moves_with_the_input():
    points, normals = sphere(2000)
    points = points * [1.0, 0.6, 0.8]
    normals = normals / [1.0, 0.6, 0.8]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turn, shift, scale = rotation(), np.array([5e5, -2e6, 10.0]), 137.0
    plain = igr.reconstruct(points, normals=normals, config=QUICK)
    moved = igr.reconstruct(scale * points @ turn.T + shift, normals=normals @ turn.T, config=QUICK)
    x = np.random.default_rng(0).uniform(-1, 1, (400, 3))
    difference = moved.distance(scale * x @ turn.T + shift) / scale - plain.distance(x)
    near = abs(plain.distance(x)) < 0.2
    assert abs(difference[near]).mean() < 0.01


@pytest.mark.parametrize("with_normals", [True, False])
def test_a_circle_is_a_circle(with_normals):
    points, normals = sphere(300, 2)
    config = QUICK if with_normals else dataclasses.replace(QUICK, objective=ObjectiveConfig(normals=0.3))
    surface = igr.reconstruct(20 * points + 500, normals=normals if with_normals else "ignore", config=config)
    (curve,) = surface.contour(resolution=128)
    assert (curve[0] == curve[-1]).all()
    assert abs(np.linalg.norm(curve - 500, axis=1) - 20).max() < 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"config": "quick"}, "no preset 'quick'"),
        ({"normals": "maybe"}, "must be 'auto', 'trust', 'ignore' or an array"),
        ({"options": igr.Options(resume=True)}, "needs the folder of the run"),
    ],
)
def test_wrong_options_are_refused_in_one_sentence(options, message):
    with pytest.raises(InputError, match=message):
        igr.reconstruct(sphere(50)[0], **options)


def test_no_more_points_are_taken_than_the_run_visits():
    points, normals = sphere(5000)
    config = dataclasses.replace(SMALL, steps=2, sampling=dataclasses.replace(SMALL.sampling, surface=1000))
    heard: list[str] = []
    surface = igr.reconstruct(points, normals=normals, config=config, notify=heard.append)
    assert any("taking 2,000 of the points" in note for note in heard)
    assert len(surface.samples) == 2000
    assert surface.details["points"] == 5000


def test_a_surface_that_never_ends_is_closed_at_twice_the_box(caplog):
    plane = plane_surface(radius=50.0, center=(1000.0, -2000.0, 300.0))
    mesh = plane.mesh(resolution=32)
    assert mesh.is_watertight
    assert mesh.extents.max() < 2.2 * np.ptp(plane.box, axis=0).max() * plane.frame.scale
    assert "closed there" in caplog.text


def test_grids_grow_with_the_cloud_and_told_steps_stay():
    points, normals = sphere(7000)
    config = dataclasses.replace(SMALL, adapt=True, network=dataclasses.replace(SMALL.network, carries=1000))
    surface = igr.reconstruct(points, normals=normals, config=config, options=igr.Options(steps=3))
    assert surface.details["fit"]["steps"] == surface.config.steps == 3
    assert surface.config.network.log2_rows == SMALL.network.log2_rows + 2


def test_the_triangles_are_those_of_the_mesh():
    surface = plane_surface()
    vertices, faces = surface.triangles(resolution=16)
    mesh = surface.mesh(resolution=16)
    np.testing.assert_array_equal(vertices, mesh.vertices)
    np.testing.assert_array_equal(faces, mesh.faces)
