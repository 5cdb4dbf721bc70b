"""Predicting scans: each has its row, the ones that cannot be used too, and nothing of the others is lost."""

import itertools
import json

import numpy as np
import pytest
import torch
import trimesh
from families import SMALL, ellipsoid

from igr.errors import FitError, InputError
from igr.space.encode import EncodeOptions
from igr.space.network import SpaceField, SpaceNetwork, make_network
from igr.space.predict import evaluate_scans, read_scan, scan_errors, scans_of
from igr.space.space import ShapeSpace
from igr.surface.surface import Surface

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


@pytest.fixture
def three(tmp_path):
    for index, name in enumerate("abc"):
        np.save(tmp_path / f"{name}.npy", ellipsoid((0.5, 0.5, 0.4 + 0.05 * index), 500))
    return {name: tmp_path / f"{name}.npy" for name in "abc"}


def failing_for(monkeypatch, method, bad, problem):
    """Makes a method of a class fail at its calls of these numbers."""
    (kind, name), calls = method, itertools.count()
    plain = getattr(kind, name)

    def perhaps(self, *args, **more):
        if next(calls) in bad:
            raise problem
        return plain(self, *args, **more)

    monkeypatch.setattr(kind, name, perhaps)


def table(out, name="errors.json"):
    return {row["scan"]: row for row in json.loads((out / name).read_text())["scans"]}


@pytest.mark.parametrize("method", [(Surface, "mesh"), (ShapeSpace, "decode")], ids=["mesh", "decode"])
@pytest.mark.parametrize("problem", [FitError("there is no surface"), InputError("no number"), MemoryError()])
def test_a_scan_without_a_surface_loses_nothing_of_the_evaluation(
    spheres, three, tmp_path, monkeypatch, method, problem
):
    out = tmp_path / "out"
    failing_for(monkeypatch, method, {1}, problem)
    rows = list(evaluate_scans(spheres, three, out, QUICK, resolution=24))
    assert [row["scan"] for row in rows] == ["a", "b", "c"]
    assert rows[1] == {"scan": "b", "error": str(problem) or "there is not enough memory for it"}
    assert list(table(out).values()) == rows
    assert {path.name for path in out.iterdir()} == {"a.ply", "c.ply", "errors.json"}


def test_a_scan_whose_fit_fails_loses_nothing_of_its_batch(spheres, three, tmp_path, monkeypatch):
    failing_for(monkeypatch, (ShapeSpace, "encode_all"), {0, 2}, FitError("the fit was not finite"))
    rows = {row["scan"]: row for row in evaluate_scans(spheres, three, tmp_path / "out", QUICK, resolution=24)}
    assert rows["b"] == {"scan": "b", "error": "the fit was not finite"}
    assert rows["a"]["watertight"]
    assert rows["c"]["watertight"]


def test_skipping_keeps_the_earlier_rows_in_the_order_of_the_scans(spheres, three, tmp_path):
    out = tmp_path / "out"
    two = {name: three[name] for name in "ac"}
    first = list(evaluate_scans(spheres, two, out, QUICK, resolution=24))
    again = list(evaluate_scans(spheres, three, out, QUICK, resolution=24, skip=True))
    assert [row["scan"] for row in again] == ["b"]
    assert list(table(out).values()) == [first[0], again[0], first[1]]
    alone = {"c": three["c"]}
    assert not list(evaluate_scans(spheres, alone, out, QUICK, resolution=24, skip=True))
    assert list(table(out)) == ["c", "a", "b"]  # of other scans, too


def test_skipping_tries_again_what_failed_and_what_has_lost_its_mesh(spheres, three, tmp_path, monkeypatch):
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        failing_for(patch, (Surface, "mesh"), {0}, FitError("there is no surface"))
        list(evaluate_scans(spheres, three, out, QUICK, resolution=24))
    (out / "b.ply").unlink()
    again = list(evaluate_scans(spheres, three, out, QUICK, resolution=24, skip=True))
    assert [row["scan"] for row in again] == ["a", "b"]
    assert not [row for row in table(out).values() if "error" in row]


def test_skipping_keeps_what_other_ranks_found(spheres, three, tmp_path):
    out = tmp_path / "out"
    for rank in (0, 1):
        list(evaluate_scans(spheres, three, out, QUICK, resolution=24, rank=(rank, 2)))
    shares = [table(out, f"errors_{rank}_of_2.json") for rank in (0, 1)]
    assert [list(share) for share in shares] == [["a", "c"], ["b"]]
    assert not list(evaluate_scans(spheres, three, out, QUICK, resolution=24, skip=True))
    assert table(out) == shares[0] | shares[1]
    (out / "c.ply").unlink()
    for rank, expected in ((0, ["c"]), (1, [])):
        rows = evaluate_scans(spheres, three, out, QUICK, resolution=24, skip=True, rank=(rank, 2))
        assert [row["scan"] for row in rows] == expected
    assert [list(table(out, f"errors_{rank}_of_2.json")) for rank in (0, 1)] == [["a", "c"], ["b"]]


@pytest.mark.parametrize("content", ['{"scans": [{"scan": "a"', "[]", '{"scans": [3]}', '{"scans": [{}]}', ""])
def test_a_damaged_table_is_said_and_left_as_it_is(spheres, three, tmp_path, content):
    out = tmp_path / "out"
    out.mkdir()
    (out / "errors.json").write_text(content)
    with pytest.raises(InputError, match=r"errors\.json is damaged.*move it away"):
        list(evaluate_scans(spheres, three, out, QUICK, resolution=24, skip=True))
    assert (out / "errors.json").read_text() == content


def test_what_is_finished_stands_in_the_table_when_an_evaluation_is_stopped(spheres, three, tmp_path):
    out = tmp_path / "out"
    evaluation = evaluate_scans(spheres, three, out, QUICK, resolution=24)
    row = next(evaluation)
    evaluation.close()
    assert list(table(out).values()) == [row]


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
