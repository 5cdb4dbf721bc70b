"""A mesh of fewer triangles is the same surface: as closed, with the same borders, moved by as much as is told."""

import json

import numpy as np
import pytest
import shapes
import trimesh
from scipy.spatial import KDTree

import igr
from igr.cli.main import main
from igr.mesh.triangles import decimated, is_watertight, moved, read_mesh
from igr.surface.attributes import vertex_colors


def borders(faces):
    """The edges that have one triangle."""
    edges = np.sort(np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]]), axis=1)
    found, uses = np.unique(edges, axis=0, return_counts=True)
    assert uses.max() <= 2
    return found[uses == 1]


def sheet(side=120):
    """A wave over the unit square, open."""
    x, y = (part.ravel() for part in np.meshgrid(*2 * [np.linspace(0, 1, side)]))
    place = np.arange(side * side).reshape(side, side)
    a, b, c, d = (part.ravel() for part in (place[:-1, :-1], place[:-1, 1:], place[1:, 1:], place[1:, :-1]))
    faces = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
    return np.stack([x, y, 0.1 * np.sin(6 * x)], axis=1), faces


@pytest.mark.parametrize("at", [0.0, 5e6])
def test_a_sphere_stays_a_closed_sphere(at):
    ball = trimesh.creation.icosphere(subdivisions=6)
    mesh = np.asarray(ball.vertices) + at, np.asarray(ball.faces)
    vertices, faces = decimated(*mesh, 2000)
    assert 1900 <= len(faces) <= 2000
    assert is_watertight(faces)
    assert set(range(len(vertices))) == set(faces.ravel())
    few = trimesh.Trimesh(vertices - at, faces, process=False)
    assert few.volume == pytest.approx(ball.volume, rel=0.01)
    assert np.abs(np.linalg.norm(few.vertices, axis=1) - 1).max() < 0.01
    mean, most = moved(mesh, (vertices, faces))
    assert 0 < mean < most < 0.01
    apart = np.abs(trimesh.proximity.signed_distance(few, ball.vertices[::50]))
    assert mean == pytest.approx(apart.mean(), rel=0.1)


def test_a_mesh_of_no_more_triangles_is_handed_through():
    mesh = sheet(20)
    assert decimated(*mesh, 1000)[1] is mesh[1]


def test_the_borders_of_an_open_sheet_stay():
    vertices, faces = sheet()
    few, corners = decimated(vertices, faces, 3000)
    assert len(corners) <= 3000
    before, after = borders(faces), borders(corners)
    assert len(before) == len(after)
    assert KDTree(few[np.unique(after)]).query(vertices[np.unique(before)])[0].max() == 0
    assert moved((vertices, faces), (few, corners))[1] < 0.005
    borders_alone = decimated(vertices, faces, 50)
    assert len(borders(borders_alone[1])) == len(before)


@pytest.mark.parametrize("triangles", [200, 500, 1500])
def test_what_touches_itself_afterwards_is_still_closed(triangles):
    """Eighty thin needles side by side, which fold flat."""
    needle = trimesh.creation.box((0.01, 0.01, 1)).subdivide().subdivide()
    places = np.random.default_rng(3).uniform(0, 1, (80, 3))
    vertices = np.concatenate([needle.vertices + place for place in places])
    faces = np.concatenate([needle.faces + i * len(needle.vertices) for i in range(80)])
    assert is_watertight(decimated(vertices, faces, triangles)[1])


@pytest.fixture(scope="module")
def colored(tmp_path_factory):
    """A ball, red above and blue below, and its model."""
    folder = tmp_path_factory.mktemp("colored")
    points, normals = shapes.sphere(3000)
    colors = np.where(points[:, 2:] > 0, [250, 20, 20], [20, 20, 250]).astype(np.uint8)
    told = {"colors": colors, "intensity": points[:, 2].copy()}
    cloud = igr.as_cloud(points, normals, attributes=told)
    surface = igr.reconstruct(cloud, config=shapes.QUICK)
    surface.save(folder / "ball.igr")
    return folder


def test_a_colored_body_keeps_its_colors_and_attributes(colored, capsys):
    given = ["mesh", str(colored / "ball.igr"), "--resolution", "96", "--triangles", "1500"]
    assert main([*given, "-o", str(colored / "few.ply")]) == 0
    said = capsys.readouterr().err
    assert "watertight" in said
    assert "not watertight" not in said
    assert "decimated from" in said
    mesh = trimesh.load(colored / "few.ply", process=False)
    assert 1400 <= len(mesh.faces) <= 1500
    colors, height = vertex_colors(mesh), mesh.vertices[:, 2]
    clear = np.abs(height) > 0.15
    np.testing.assert_array_equal(colors[clear, 0] > 128, height[clear] > 0)
    held = mesh.metadata["_ply_raw"]["vertex"]["data"]
    assert np.abs(held["intensity"].ravel() - height).max() < 0.1
    assert held["confidence"].min() > 0


def test_how_far_it_moved_is_told_in_numbers(colored, capsys):
    given = ["mesh", str(colored / "ball.igr"), "--resolution", "64", "--json", "-o", str(colored / "few.stl")]
    assert main([*given, "--triangles", "800"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["triangles"] <= 800 < found["decimated"]["triangles"]
    assert 0 < found["decimated"]["moved"] < found["decimated"]["moved_most"] < 0.1
    assert len(read_mesh(colored / "few.stl")[1]) == found["triangles"]
    assert main([*given, "--triangles", "10000000"]) == 0
    assert "decimated" not in json.loads(capsys.readouterr().out)


def test_too_few_triangles_are_refused_before_the_work(colored, capsys):
    assert main(["mesh", str(colored / "ball.igr"), "--triangles", "3"]) == 2
    assert "--triangles 3 is too few" in capsys.readouterr().err
