"""Predicting scans: each has its row, the ones that cannot be used too, and nothing of the others is lost."""

import json

import numpy as np
import pytest
import torch
import trimesh
from families import SMALL, ellipsoid

from igr.errors import InputError
from igr.latentfit import EncodeOptions
from igr.shapespace import ShapeSpace
from igr.spaceeval import evaluate_scans, read_scan, scan_errors, scans_of
from igr.spacefield import SpaceField, SpaceNetwork, make_network

QUICK = EncodeOptions(steps=5, pose="upright")


@pytest.fixture(scope="module")
def spheres():
    """A space before its training, whose shapes are about spheres of half the size that it is for."""
    generator = torch.Generator().manual_seed(0)
    network = SpaceNetwork(make_network(SMALL, 3), 0.1 * torch.randn(3, 4, generator=generator))
    return ShapeSpace(SpaceField(network), SMALL, names=("a", "b", "c"), scale=1.0, reach=0.5)


def test_a_scan_that_cannot_be_used_does_not_stop_the_others(spheres, tmp_path):
    np.save(tmp_path / "good.npy", ellipsoid((0.5, 0.5, 0.5), 500))
    np.save(tmp_path / "planar.npy", ellipsoid((0.5, 0.5, 0.5), 500)[:, :2])
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    out = tmp_path / "out"
    rows = {row["scan"]: row for row in evaluate_scans(spheres, scans_of(tmp_path), out, QUICK, resolution=32)}
    assert "broken.npy" in rows["broken"]["error"]
    assert rows["planar"]["error"] == "planar.npy has 2 dimensions, the shape space 3"
    assert rows["good"]["watertight"]
    assert {path.name for path in out.iterdir()} == {"good.ply", "errors.json"}
    assert {row["scan"]: row for row in json.loads((out / "errors.json").read_text())["scans"]} == rows
    mesh = trimesh.load_mesh(out / "good.ply")
    measured = scan_errors(mesh.vertices, mesh.faces, read_scan(tmp_path / "good.npy"))
    assert measured["mean_to_surface"] == pytest.approx(rows["good"]["mean_to_surface"], rel=1e-4)


def test_refining_brings_a_mesh_nearer_to_its_scan(spheres, tmp_path):
    np.save(tmp_path / "a.npy", ellipsoid((0.5, 0.4, 0.45), 500))
    found = [
        next(evaluate_scans(spheres, scans_of(tmp_path / "a.npy"), tmp_path / "out", QUICK, resolution=48, **more))
        for more in ({}, {"refine_seconds": 1.0})
    ]
    assert found[1]["mean_to_surface"] < found[0]["mean_to_surface"]


def test_errors_are_distances_from_the_points_to_the_triangles(tmp_path):
    np.save(tmp_path / "a.npy", np.vstack([ellipsoid((1.1,) * 3, 3000), ellipsoid((0.7,) * 3, 3000)]))
    ball = trimesh.creation.icosphere(subdivisions=5)
    errors = scan_errors(np.asarray(ball.vertices), np.asarray(ball.faces), read_scan(tmp_path / "a.npy"))
    assert errors["mean_to_surface"] == pytest.approx(0.2, abs=2e-3)
    assert errors["median_to_surface"] == pytest.approx(0.2, abs=0.11)
    assert errors["percentile_95_to_surface"] == pytest.approx(0.3, abs=2e-3)
    assert errors["largest_to_surface"] == pytest.approx(0.3, abs=2e-3)
    assert errors["percent_of_size"] == pytest.approx(100 * 0.2 / (2.2 * 3**0.5), rel=0.02)


def test_samples_are_put_back_to_where_their_scan_was(tmp_path):
    table = ellipsoid((0.5, 0.4, 0.3), 100)
    np.save(tmp_path / "a.npy", table)
    (tmp_path / "a.json").write_text(json.dumps({"center": [1.0, 2.0, 3.0], "scale": 10.0}))
    cloud = read_scan(tmp_path / "a.npy")
    np.testing.assert_allclose(cloud.points, 10 * table[:, :3] + [1, 2, 3])
    np.testing.assert_allclose(cloud.normals, table[:, 3:])


def test_scans_are_those_of_the_path_and_the_split(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 3)))
    np.save(tmp_path / "b.npy", np.zeros((3, 3)))
    assert list(scans_of(tmp_path)) == ["a", "b"]
    assert list(scans_of(tmp_path / "b.npy")) == ["b"]
    with pytest.raises(InputError, match="no such file or folder"):
        scans_of(tmp_path / "c.npy")
