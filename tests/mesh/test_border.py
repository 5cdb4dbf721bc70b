"""Where an open scan ends, its surface ends; what is closed stays closed."""

import json

import numpy as np
import pytest
import trimesh
from shapes import QUICK, sphere

import igr
from igr.cli.main import main
from igr.cloud.neighbors import Neighbors
from igr.mesh.border import EDGE, unsupported
from igr.mesh.gaps import gaps
from igr.mesh.triangles import cut


@pytest.fixture(scope="module")
def plane():
    """A square sheet with a small and a large hole, and the triangles of the plane around it."""
    rng = np.random.default_rng(0)
    points = np.c_[rng.uniform(-1, 1, (20_000, 2)), np.zeros(20_000)]
    small = np.linalg.norm(points[:, :2] - [0.5, 0.5], axis=1) < 0.05
    large = np.linalg.norm(points[:, :2] + [0.3, 0.3], axis=1) < 0.4
    grid = np.linspace(-1.5, 1.5, 151)
    x, y = np.meshgrid(grid, grid, indexing="ij")
    corner = np.arange(151 * 151).reshape(151, 151)
    a, b, c, d = (part.ravel() for part in (corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]))
    faces = np.concatenate([np.c_[a, b, c], np.c_[a, c, d]])
    return Neighbors(points[~(small | large)]), np.c_[x.ravel(), y.ravel(), 0 * x.ravel()], faces


def borders(mesh):
    """The number of closed border curves of a mesh."""
    once = trimesh.grouping.group_rows(mesh.edges_sorted, require_count=1)
    return len(trimesh.graph.connected_components(mesh.edges[once]))


def test_a_gap_is_as_wide_as_the_samples_are_apart():
    points = np.stack(np.meshgrid(np.arange(20.0), np.arange(20.0), [0.0]), -1).reshape(-1, 3)
    places = np.array([[10.5, 10.5, 0.0], [10.0, 10.0, 3.0], [25.0, 10.0, 0.0]])
    inner, border = 5**0.5 / 2, 3 / 2  # half the distance of a grid's point to its 16th neighbor
    apart = [0.5**0.5 / inner, 3.0 / inner, 6.0 / border]
    assert gaps(places, Neighbors(points)) == pytest.approx(apart, rel=0.01)
    assert gaps(7 * places, Neighbors(7 * points)) == pytest.approx(gaps(places, Neighbors(points)))


def test_crowds_of_samples_are_not_taken_for_their_spacing():
    """Overlapping scans, and lines that were drawn denser, tore meshes that are finer than the cloud."""
    rng = np.random.default_rng(0)
    even = np.c_[rng.uniform(-1, 1, (2000, 2)), np.zeros(2000)]
    crowd = even[::10, None] + 1e-4 * rng.normal(size=(200, 6, 3))
    crowded = Neighbors(np.concatenate([even, crowd.reshape(-1, 3)]))
    places = even[::10] + [0.01, 0, 0]
    assert np.median(gaps(places, crowded)) < 1.5 * np.median(gaps(places, Neighbors(even)))


def test_a_sheet_ends_at_its_border_and_keeps_only_large_holes(plane):
    near, vertices, faces = plane
    gap, share = unsupported(vertices, faces, near)
    mesh = trimesh.Trimesh(*cut(vertices, faces, gap, EDGE)[:2], process=False)
    area, border, spacing = 4 - np.pi * 0.4**2, 8 + 2 * np.pi * 0.4, float(np.median(near.spacing(4)))
    assert 0 < mesh.area - area < border * EDGE * spacing
    assert share == pytest.approx(1 - mesh.area / 9, abs=0.02)
    assert borders(mesh) == 2
    assert mesh.is_winding_consistent
    assert np.abs(mesh.vertices).max() < 1.05


@pytest.mark.parametrize(("hole", "count"), [(0.05, 3), (0.2, 2), (1.0, 1)])
def test_how_wide_holes_are_closed_can_be_said(plane, hole, count):
    near, vertices, faces = plane
    gap = unsupported(vertices, faces, near, hole)[0]
    mesh = trimesh.Trimesh(*cut(vertices, faces, gap, EDGE)[:2], process=False)
    assert borders(mesh) == count


def test_a_cut_mesh_is_a_manifold_whose_border_is_the_line():
    mesh = trimesh.creation.icosphere(4)
    vertices, faces = np.asarray(mesh.vertices), np.asarray(mesh.faces)
    below = trimesh.Trimesh(*cut(vertices, faces, vertices[:, 2], 0.3)[:2], process=False)
    edges, count = np.unique(below.edges_sorted, axis=0, return_counts=True)
    assert count.max() == 2
    assert below.vertices[edges[count == 1]][..., 2] == pytest.approx(0.3, abs=0.01)
    assert below.area == pytest.approx(2 * np.pi * 1.3, rel=0.01)
    nothing = cut(vertices, faces, vertices[:, 2], -2.0)
    assert len(nothing[1]) == 0


def test_half_a_sphere_is_open_and_a_sphere_is_closed():
    points, normals = sphere(6000)
    upper = points[:, 2] > 0
    whole = igr.reconstruct(points, normals=normals, config=QUICK)
    half = igr.reconstruct(10 * points[upper], normals=normals[upper], config=QUICK)
    assert not whole.is_open
    assert whole.mesh(resolution=64).is_watertight
    assert half.is_open
    assert 0.25 < half.invented() < 0.45
    mesh = half.mesh(resolution=64)
    assert borders(mesh) == 1
    assert mesh.area == pytest.approx(2 * np.pi * 100, rel=0.05)
    assert mesh.vertices[:, 2].min() > -1
    assert half.mesh(resolution=64, surface="closed").is_watertight
    assert half.mesh(resolution=64, level=1.0).is_watertight  # an offset has a thickness


def test_what_was_decided_is_said_and_saved(tmp_path):
    points, normals = sphere(4000)
    upper, said = points[:, 2] > 0, []
    surface = igr.reconstruct(points[upper], normals=normals[upper], config=QUICK, notify=said.append)
    assert any("the scan is open" in note and "%" in note for note in said)
    surface.save(tmp_path / "half.igr")
    assert igr.Surface.load(tmp_path / "half.igr").is_open
    options = igr.Options(surface="closed")
    closed = igr.reconstruct(
        points[upper], normals=normals[upper], config=QUICK, options=options, notify=said.append
    )
    assert closed.mesh(resolution=32).is_watertight
    assert any(note.startswith("closed as asked") for note in said)


def test_an_arc_stays_open_and_a_circle_closed():
    angle = np.linspace(0, np.pi, 300)
    arc = np.c_[np.cos(angle), np.sin(angle)]
    surface = igr.reconstruct(5 * arc, normals=arc, config=QUICK)
    assert surface.is_open
    (curve,) = surface.contour()
    assert np.linalg.norm(curve[[0, -1]], axis=1) == pytest.approx(5, abs=0.2)
    assert np.linalg.norm(np.diff(curve, axis=0), axis=1).sum() == pytest.approx(5 * np.pi, rel=0.03)
    circle = np.concatenate([arc, -arc])
    assert not igr.reconstruct(circle, normals=circle, config=QUICK).is_open


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"surface": "half"}, "'half'"),
        ({"holes": -1.0}, "holes -1"),
        ({"trim": 0.0}, "trim 0"),
        ({"surface": "closed", "holes": 1.0}, "leave out one"),
        ({"trim": 1.0, "holes": 1.0}, "leave out the width"),
    ],
)
def test_what_contradicts_itself_is_refused(options, complaint):
    surface = igr.reconstruct(sphere(500)[0], normals=sphere(500)[1], config=QUICK)
    with pytest.raises(igr.InputError, match=complaint):
        surface.mesh(resolution=16, **options)


def test_the_command_says_that_a_sheet_is_open(tmp_path, capsys):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-1, 1, (2, 3000))
    np.save(tmp_path / "sheet.npy", np.c_[x, y, 0.1 * np.sin(3 * x)])
    command = ["reconstruct", str(tmp_path / "sheet.npy"), "--steps", "60", "--resolution", "48", "--json"]
    assert main(command) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["open"] is True
    assert result["components"] == 1
    assert main([*command, "--surface", "closed"]) == 0
    assert json.loads(capsys.readouterr().out)["watertight"] is True
