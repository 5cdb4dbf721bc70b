"""What was measured at the points is told at the surface: the same there, smooth between, of the right side."""

import copy
import dataclasses
import pickle

import igl
import numpy as np
import pytest
import trimesh
from analytic import AnalyticField, plane_surface, sphere_surface
from shapes import QUICK, directions

import igr
from igr.cloud.frame import Frame
from igr.errors import InputError
from igr.store.tensors import write_tensors
from igr.surface.attributes import Measured, vertex_colors
from igr.surface.file import surface_file


def smooth(p):
    return 0.5 + 0.4 * np.sin(3 * p)


def checker(p):
    return np.where((np.floor(3 * p).astype(int).sum(1) % 2)[:, None], [0.9, 0.1, 0.1], [0.1, 0.1, 0.9])


def waves(p):
    return 0.5 + 0.25 * np.sin(12 * p) + 0.2 * np.sin(9 * p[:, [1, 2, 0]] + 1)


def colors(pattern, p):
    return np.round(255 * pattern(p)).astype(np.uint8)


def told(values, *, surface=None):
    """A sphere of radius 1 around (1, 2, 3) whose samples have such attributes, functions of the unit vector."""
    surface = surface or sphere_surface(1.0, (1.0, 2.0, 3.0), samples=5000)
    outward = surface.samples / np.linalg.norm(surface.samples, axis=1, keepdims=True)
    surface.measured = Measured({name: np.asarray(value(outward)) for name, value in values.items()})
    return surface


def copy_of(surface):
    return igr.Surface(surface.field, surface.frame, surface.config, samples=surface.samples, near=surface.near)


@pytest.fixture(scope="module")
def scan():
    """A scan of 20,000 points with all kinds of attributes, its duplicate and unusable rows among them."""
    outward = directions(20_000, seed=3)
    rows = np.r_[np.arange(20_000), [5, 7]]
    points = 50 * outward[rows] + [1000, -2000, 300]
    points[100] = np.nan
    values = {
        "colors": colors(smooth, outward)[rows],
        "intensity": (1000 * (1 + outward[:, 0])).astype(np.uint16)[rows],
        "height": outward[rows, 2],
        "classification": (1 + (outward[:, 2] > 0)).astype(np.uint8)[rows],
        "gps_time": 1e9 + outward[rows, 1],
    }
    return igr.as_cloud(points, outward[rows], attributes=values), outward


@pytest.fixture(scope="module")
def ball(scan):
    return igr.reconstruct(scan[0], config=QUICK)


def test_attributes_reach_the_surface_through_cleaning_and_fitting(ball, scan):
    cloud, _ = scan
    found = ball.attributes(cloud.points)
    assert set(found) == set(cloud.attributes) == set(ball.details["attributes"])
    assert all(
        found[name].dtype == kind for name, kind in (("colors", "u1"), ("intensity", "u2"), ("height", "f4"))
    )
    assert np.median(abs(found["colors"].astype(int) - cloud.attributes["colors"])) == 0
    assert abs(found["intensity"].astype(int) - cloud.attributes["intensity"]).max() < 60
    assert abs(found["height"] - cloud.attributes["height"]).max() < 0.05
    assert (found["classification"] == cloud.attributes["classification"]).mean() > 0.99
    assert abs(found["gps_time"] - cloud.attributes["gps_time"]).max() < 0.05  # float32 has steps of 64 there


def test_a_colored_scan_becomes_a_colored_mesh():
    surface = sphere_surface(samples=20_000)
    mesh, points = surface.mesh(attributes=False), surface.frame.to_input(surface.samples)
    _, face, places = igl.point_mesh_squared_distance(points, np.asarray(mesh.vertices), np.asarray(mesh.faces))
    weight = trimesh.triangles.points_to_barycentric(mesh.triangles[face], places)
    for pattern in (smooth, checker, waves):
        painted = told({"colors": lambda p, f=pattern: colors(f, p)}, surface=copy_of(surface))
        found = painted.attributes(mesh.vertices)["colors"]
        at_points = np.einsum("nk,nkc->nc", weight, found[mesh.faces[face]].astype(float))
        assert np.median(abs(at_points - colors(pattern, points))) <= 3


def test_values_do_not_jump_between_places():
    surface = told({"height": lambda p: p[:, 2]})
    path = np.linspace(0, 1, 20_000)[:, None]
    arc = np.c_[np.cos(path), np.sin(path), 0 * path] + [1, 2, 3]
    steps = abs(np.diff(surface.attributes(arc)["height"]))
    assert steps.max() < 0.01  # of a range of 2, and the samples are 0.05 apart


def test_colors_are_mixed_in_linear_light():
    surface = told({"colors": lambda p: np.where(p[:, :1] > 0, [255, 255, 255], [0, 0, 0]).astype(np.uint8)})
    arc = np.linspace(-0.2, 0.2, 4001)
    mixed = surface.attributes(np.c_[np.sin(arc), np.cos(arc), 0 * arc] + [1, 2, 3])["colors"][:, 0]
    found = mixed[(mixed > 0) & (mixed < 255)]
    assert len(found) > 20
    assert np.median(found) > 150  # half the light is 188


def test_far_from_data_colors_fade_to_gray_and_others_are_the_nearest():
    surface = sphere_surface(1.0, (0.0, 0.0, 0.0), samples=5000)
    upper = surface.samples[surface.samples[:, 2] > 0]
    half = igr.Surface(
        surface.field,
        surface.frame,
        surface.config,
        samples=upper,
        measured=Measured(
            {
                "colors": np.tile(np.array([[255, 0, 0]], np.uint8), (len(upper), 1)),
                "height": upper[:, 2],
                "scan": np.full(len(upper), 7),
            }
        ),
    )
    found = half.attributes(np.array([[0, 0, 1.0], [1, 0, 0], [0, 0, -1.0], [np.nan, 0, 0], [1e300, 0, 0]]))
    np.testing.assert_array_equal(found["colors"][[0, 1]], [[255, 0, 0]] * 2)
    np.testing.assert_array_equal(found["colors"][2:], np.full((3, 3), 128))
    assert found["height"][0] == pytest.approx(0.5, abs=0.01)
    assert np.isfinite(found["height"][2])
    assert np.isnan(found["height"][3:]).all()
    np.testing.assert_array_equal(found["scan"], [7, 7, 7, 0, 0])
    angle = np.linspace(0, np.pi, 300)
    red = half.attributes(np.c_[np.sin(angle), 0 * angle, np.cos(angle)])["colors"][:, 0].astype(int)
    assert (np.diff(red) <= 0).mean() > 0.95  # it fades, and does not come back
    assert len(np.unique(red)) > 10


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_sides_of_a_thin_wall_do_not_bleed(share):
    """Red above and blue below a wall thinner than its points are apart, also where one side has few; at most it
    fades there."""
    rng = np.random.default_rng(1)
    plane = rng.uniform(-0.5, 0.5, (8000, 2))
    above = rng.random(8000) < share
    points = np.c_[plane, np.where(above, 0.002, -0.002)]
    field = AnalyticField(3, lambda x: abs(x[:, 2]) - 0.002, lambda x: np.sign(x[:, 2:]) * [[0.0, 0, 1]])
    paint = np.where(above[:, None], [255, 0, 0], [0, 0, 255]).astype(np.uint8)
    wall = igr.Surface(field, Frame(np.zeros(3), 1.0), QUICK, samples=points, measured=Measured({"colors": paint}))
    places = rng.uniform(-0.4, 0.4, (500, 2))
    for height, own in ((0.002, 0), (-0.002, 2)):
        found = wall.attributes(np.c_[places, np.full(500, height)])["colors"]
        assert (found[:, own] > found[:, 2 - own]).mean() > 0.99
        assert (found[:, own] == 255).mean() > 0.9


def test_samples_off_the_surface_count_less():
    surface = told({"height": lambda p: np.zeros(len(p))})
    off = np.random.default_rng(0).random(5000) < 0.3
    surface.samples[off] *= 1.05
    surface.measured.values["height"][off] = 1
    again = igr.Surface(
        surface.field, surface.frame, surface.config, samples=surface.samples, measured=surface.measured
    )
    assert again.attributes(directions(500, seed=2) + [1, 2, 3])["height"].mean() < 0.05


def test_missing_values_are_left_out_of_the_mean():
    surface = told({"height": lambda p: np.where(p[:, 0] > 0, np.nan, 1.0)})
    found = surface.attributes(directions(500, seed=2) + [1, 2, 3])["height"]
    assert set(found[np.isfinite(found)]) == {1.0}
    assert 0.4 < np.isnan(found).mean() < 0.5


def test_a_mesh_carries_them_and_an_offset_one_too():
    values = {"colors": lambda p: colors(smooth, p), "height": lambda p: p[:, 2]}
    surface = told(values)
    for level in (0.0, 0.5):
        mesh = surface.mesh(resolution=32, level=level)
        outward = (mesh.vertices - [1, 2, 3]) / (1 + level)
        assert abs(mesh.vertex_attributes["height"] - outward[:, 2]).max() < 0.1
        assert np.median(abs(vertex_colors(mesh).astype(int) - colors(smooth, outward))) < 3
    plain = surface.mesh(resolution=32, attributes=False)
    assert vertex_colors(plain) is None
    assert len(plain.vertex_attributes) == 0
    np.testing.assert_array_equal(plain.vertices, surface.mesh(resolution=32).vertices)


def test_a_surface_without_attributes_tells_none_and_its_file_is_as_before():
    surface = sphere_surface()
    assert surface.attributes(surface.samples) == {}
    assert surface._attributes is None
    cloud = igr.as_cloud(directions(300, seed=0), directions(300, seed=0))
    bare = igr.reconstruct(cloud, config=dataclasses.replace(QUICK, steps=3))
    assert not any(name.startswith("attribute") for name in surface_file(bare)[0])
    assert "attributes" not in bare.details


COPIES = {"pickle": lambda value: pickle.loads(pickle.dumps(value)), "copy": copy.copy}  # noqa: S301


def test_they_are_saved_and_copied(ball, scan, tmp_path):
    ball.save(tmp_path / "a.igr")
    again = igr.Surface.load(tmp_path / "a.igr")
    assert again.to_bytes() == ball.to_bytes()
    places = scan[0].points[:100]
    for copied in (again, *(how(ball) for how in COPIES.values())):
        for name, values in ball.attributes(places).items():
            np.testing.assert_allclose(copied.attributes(places)[name].astype(float), values, atol=1.0, rtol=1e-5)


def test_more_points_than_samples_keep_their_attributes(monkeypatch, scan, tmp_path):
    cloud, _ = scan
    few = dataclasses.replace(QUICK, steps=20)
    monkeypatch.setattr("igr.reconstruction.MAX_SAMPLES", 2000)
    surface = igr.reconstruct(cloud, config=few, options=igr.Options(run=tmp_path / "run"))
    assert len(surface.samples) == 2000
    assert len(surface.measured.points) == len(cloud)
    found = surface.attributes(cloud.points)["gps_time"]
    assert np.median(abs(found - cloud.attributes["gps_time"])) < 1e-3
    saved = igr.Surface.load(tmp_path / "run" / "model.safetensors")
    np.testing.assert_allclose(saved.attributes(cloud.points)["gps_time"], found, rtol=0, atol=1e-4)
    resumed = igr.reconstruct(
        cloud, config=dataclasses.replace(few, steps=22), options=igr.Options(run=tmp_path / "run", resume=True)
    )
    np.testing.assert_array_equal(resumed.measured.points, surface.measured.points)
    monkeypatch.setattr("igr.surface.attributes.KEPT", 500)
    assert len(igr.reconstruct(cloud, config=few).measured.points) == 500


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("attribute.height", np.zeros(3, np.float32)),
        ("attribute.height", np.zeros((5000, 2, 2), np.float32)),
        ("attribute.colors", np.zeros((5000, 3), np.float32)),
        ("attributes.points", np.zeros((4, 3), np.float32)),
        ("attributes.points", np.full((5000, 3), np.nan, np.float32)),
    ],
)
def test_attributes_that_do_not_fit_are_refused(tmp_path, ball, name, values):
    arrays, entries = surface_file(ball)
    write_tensors(tmp_path / "a.igr", arrays | {name: values}, entries)
    with pytest.raises(InputError, match=r"a\.igr is damaged"):
        igr.Surface.load(tmp_path / "a.igr")


def test_combinations_have_the_attributes_that_all_parts_have():
    one = told({"scan": lambda p: np.full(len(p), 1), "height": lambda p: p[:, 2]})
    other = told(
        {"scan": lambda p: np.full(len(p), 2)}, surface=sphere_surface(1.0, (2.5, 2.0, 3.0), samples=5000)
    )
    both = one | other
    found = both.attributes(np.array([[0.0, 2, 3], [3.5, 2, 3]]))
    assert set(found) == {"scan"}
    np.testing.assert_array_equal(found["scan"], [1, 2])
    assert (one | plane_surface(1.0, (1.0, 2.0, 3.0))).attributes(np.zeros((1, 3))) == {}
    moved = igr.offset(igr.placed(one, scale=2.0, shift=[1, 0, 0]), 0.3)
    assert moved.attributes(np.array([[3.0, 4.0, 8.3]]))["height"] == pytest.approx(1, abs=0.02)
    wall = igr.shell(one, 0.1)
    assert wall.attributes(np.array([[1, 2, 4.05], [1, 2, 3.95]]))["height"] == pytest.approx(1, abs=0.02)


def test_tensors_are_answered_by_tensors():
    torch = pytest.importorskip("torch")
    found = told({"height": lambda p: p[:, 2]}).attributes(torch.tensor([[1.0, 2.0, 4.0]]))["height"]
    assert found.dtype == torch.float32


def test_a_curve_tells_them_too():
    surface = told({"height": lambda p: p[:, 1]}, surface=sphere_surface(2.0, (0.0, 0.0), samples=500))
    assert surface.attributes(np.array([[0.0, 2.0]]))["height"] == pytest.approx(1, abs=0.01)
