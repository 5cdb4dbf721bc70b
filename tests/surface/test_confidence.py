"""What supports a surface: sure where samples are, unsure where it was filled in, and trimmed there on request."""

import numpy as np
import pytest
import trimesh
from scipy.stats import spearmanr
from shapes import QUICK, sphere

import igr
from igr.cli.main import main
from igr.cloud.frame import Frame
from igr.errors import InputError
from igr.examples import example_cloud
from igr.show.render import View, render
from igr.surface.confidence import missed

pytestmark = pytest.mark.numerical


@pytest.fixture(scope="module")
def bowl():
    """A sphere of radius 10 whose upper cap is missing."""
    points, normals = sphere(6000)
    kept = points[:, 2] < 0.6
    return igr.reconstruct(10 * points[kept], normals=normals[kept], config=QUICK)


def test_confidence_is_high_at_data_low_in_the_hole_and_none_far_away(bowl):
    places = np.array([[0, 0, -10.0], [0, 10, 0], [0, 0, 9.9], [0, 0, 30]])
    at_data, beside, hole, far = bowl.confidence(places)
    assert min(at_data, beside) > 0.7
    assert hole < 0.15
    assert far < 0.01


def test_confidence_ranks_the_true_error_around_a_hole(bowl):
    """A flattened cap: the fill is smooth, so it misses the sphere the more the farther from its border."""
    vertices = np.asarray(bowl.mesh(resolution=96).vertices)
    near_hole = vertices[:, 2] > 5
    error = abs(np.linalg.norm(vertices, axis=1) - 10)
    assert spearmanr(1 - bowl.confidence(vertices)[near_hole], error[near_hole])[0] > 0.6


def test_confidence_survives_saving_and_knows_no_units(bowl, tmp_path):
    bowl.save(tmp_path / "bowl.igr")
    places = np.random.default_rng(0).uniform(-12, 12, (50, 3))
    again = igr.Surface.load(tmp_path / "bowl.igr")
    np.testing.assert_allclose(again.confidence(places), bowl.confidence(places), atol=1e-6)
    again.frame = Frame(1000 * again.frame.center, 1000 * again.frame.scale)
    np.testing.assert_allclose(again.confidence(1000 * places), bowl.confidence(places), atol=1e-6)


def test_trimming_opens_the_mesh_where_no_sample_is(bowl):
    whole, open_ = bowl.mesh(resolution=64), bowl.mesh(resolution=64, trim=1.5)
    assert whole.is_watertight
    assert not open_.is_watertight
    assert open_.triangles_center[:, 2].max() < 8
    assert 0.75 < open_.area / whole.area < 0.9
    with pytest.raises(InputError, match="nothing of the surface lies so close to a sample"):
        bowl.mesh(resolution=64, trim=1e-9)


def test_a_single_view_is_closed_without_ghosts_and_unsure_of_its_back():
    points, _ = sphere(4000)
    seen = 10 * points[points[:, 2] > 0.2]
    surface = igr.reconstruct(seen, config=QUICK)
    mesh = surface.mesh(resolution=64, surface="closed")
    assert mesh.is_watertight
    assert mesh.body_count == 1
    assert np.linalg.norm(mesh.vertices, axis=1).max() < 11
    confidence = surface.confidence(np.asarray(mesh.vertices))
    back, front = mesh.vertices[:, 2] < 1, mesh.vertices[:, 2] > 4
    assert np.median(confidence[front]) > 0.8
    assert np.median(confidence[back]) < 0.3


def test_a_picture_shows_what_was_filled_in(bowl):
    plain, colored = (render(bowl, View(0, 70, 60, flag)).astype(int) for flag in (False, True))
    redder = (colored[..., 0] - colored[..., 2]) - (plain[..., 0] - plain[..., 2])
    assert 0.05 < (redder > 40).mean() < 0.6
    np.testing.assert_array_equal(plain[0, 0], [255, 255, 255])


def test_curves_are_trimmed_too():
    angle = np.linspace(0.5, 2 * np.pi - 0.5, 300)
    circle = np.c_[np.cos(angle), np.sin(angle)]
    surface = igr.reconstruct(5 * circle, normals=circle, config=QUICK)
    assert len(surface.contour()) == 1
    (arc,) = surface.contour(trim=0.5)
    assert np.linalg.norm(arc[0] - arc[-1]) > 2
    assert arc[:, 0].max() < 5 * np.cos(0.4)


@pytest.mark.parametrize("suffix", ["ply", "glb"])
def test_the_command_writes_confidence_and_trims(tmp_path, suffix, capsys):
    cloud = example_cloud("sphere", points=3000)
    kept = cloud.points[:, 2] < 0.7
    np.save(tmp_path / "bowl.npy", np.c_[cloud.points[kept], cloud.normals[kept]])
    target = tmp_path / f"bowl.{suffix}"
    options = ["--steps", "60", "--resolution", "48", "--trim", "0.2", "-o", str(target)]
    assert main(["reconstruct", str(tmp_path / "bowl.npy"), *options]) == 0
    assert ", open," in capsys.readouterr().err
    mesh = trimesh.load(target, process=False, force="mesh")
    if suffix == "glb":
        confidence = mesh.vertex_attributes["_confidence"]
    else:
        confidence = mesh.metadata["_ply_raw"]["vertex"]["data"]["confidence"]
    assert len(confidence) == len(mesh.vertices)
    assert ((confidence >= 0) & (confidence <= 1)).all()
    assert main(["reconstruct", str(tmp_path / "bowl.npy"), "--trim", "-1"]) == 2


def test_points_of_two_layers_around_their_surface_are_told_from_noise():
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 0.02, 5000)
    layers = np.where(rng.random(5000) < 0.5, 0.1, -0.1) + noise
    assert "layers closer than the points are (0.3 apart)" in missed(layers, 0.3, 0.02)
    for fitting in (noise, 0.1 + noise, 3 * noise, rng.laplace(0, 0.06, 5000)):
        assert missed(fitting, 0.3, 0.02) == ""
    assert "misses the points" in missed(1 + noise, 0.3, 0.02)
