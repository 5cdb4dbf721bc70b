"""The same command gives the same bytes; a cloud moved, turned or scaled gives the surface moved with it."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from shapes import QUICK as QUICK_FIT
from shapes import ellipsoid, rotation

import igr
from igr.cli.main import main
from igr.cloud.read import read_table
from igr.store.tensors import read_tensors

pytestmark = pytest.mark.numerical

SHORT = dataclasses.replace(QUICK_FIT, steps=200, sampling=dataclasses.replace(QUICK_FIT.sampling, surface=512))
QUICK = ["--steps", "60", "--resolution", "32"]


def igr_run(folder, *arguments):
    """What a command of `igr` writes to mesh and model, in a process of its own."""
    folder.mkdir()
    example = [sys.executable, "-m", "igr", "example"]
    subprocess.run([*example, "body", "scan.ply", "--points", "1500"], cwd=folder, check=True)
    subprocess.run([*example, "outline", "leaf.xyz", "--points", "400"], cwd=folder, check=True)
    command = [sys.executable, "-m", "igr", "reconstruct", *arguments, "--model", "model.igr"]
    environment = os.environ | {"PYTHONHASHSEED": "random", "OMP_NUM_THREADS": "1"}
    subprocess.run(command, cwd=folder, check=True, capture_output=True, env=environment)
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".igr", ".svg", ".ply")}


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["scan.ply", *QUICK],
        ["scan.ply", "--normals", "ignore", *QUICK],
        ["scan.ply", "--objective", "sald", *QUICK],
        ["leaf.xyz", *QUICK],
        ["leaf.xyz", "--normals", "ignore", *QUICK],
        ["leaf.xyz", "--device", "torch", "--steps", "5", "--resolution", "32"],
        ["leaf.xyz", "--preset", "paper", "--steps", "20", "--resolution", "32"],
    ],
    ids=" ".join,
)
def test_the_same_command_gives_the_same_bytes(tmp_path, arguments):
    first, second = igr_run(tmp_path / "first", *arguments), igr_run(tmp_path / "second", *arguments)
    assert len(first) >= 2
    assert first == second


def test_model_and_report_say_what_computed_it(tmp_path):
    leaf, model, page = (str(tmp_path / name) for name in ("leaf.xyz", "model.igr", "page.html"))
    assert main(["example", "outline", leaf, "--points", "400"]) == 0
    assert main(["reconstruct", leaf, "--model", model, "--report", page, *QUICK]) == 0
    details = json.loads(read_tensors(Path(model))[1]["details"])
    assert details["machine"]["device"] == "cpu"
    assert details["machine"]["threads"] >= 1
    assert "machine</td><td>device: cpu; threads: " in Path(page).read_text()


@pytest.fixture(scope="module")
def surface():
    points, normals = ellipsoid()
    return igr.reconstruct(points, normals=normals, config=SHORT)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
@pytest.mark.parametrize("bare", [False, True], ids=["normals", "bare"])
def test_extreme_units_change_the_last_digits_only(surface, scale, bare):
    points, normals = ellipsoid()
    plain = igr.reconstruct(points, config=SHORT) if bare else surface
    scaled = igr.reconstruct(points * scale, normals=None if bare else normals, config=SHORT)
    x = np.random.default_rng(1).uniform(-1.1, 1.1, (500, 3))
    np.testing.assert_allclose(scaled.distance(x * scale) / scale, plain.distance(x), atol=1e-2)
    assert abs(scaled.distance(points * scale)).mean() < 1e-3 * scale


def test_a_power_of_two_changes_nothing(surface):
    points, normals = ellipsoid()
    doubled = igr.reconstruct(2**40 * points, normals=normals, config=SHORT)
    x = np.random.default_rng(1).uniform(-1.1, 1.1, (500, 3))
    np.testing.assert_array_equal(doubled.distance(2**40 * x) / 2**40, surface.distance(x))


@pytest.mark.parametrize("size", [50.0, 0.1])
def test_millimeters_survive_where_surveyors_have_them(surface, size):
    place, (points, normals) = np.array([500_000.0, 4_000_000.0, 300.0]), ellipsoid()
    far = igr.reconstruct(place + size * points, normals=normals, config=SHORT)
    x = np.random.default_rng(1).uniform(-1.1, 1.1, (500, 3))
    np.testing.assert_allclose(far.distance(place + size * x) / size, surface.distance(x), atol=1e-2)
    mesh = far.mesh(resolution=48)
    assert abs(far.distance(np.asarray(mesh.vertices))).max() < 1e-3 * size  # a hundredth of a cell of the mesh


def test_a_turned_cloud_gives_the_turned_surface(surface):
    points, normals = ellipsoid()
    turn = rotation(seed=2)
    turned = igr.reconstruct(points @ turn, normals=normals @ turn, config=SHORT)
    x = points + np.random.default_rng(1).uniform(-0.1, 0.1, (len(points), 1)) * normals  # where f is a distance
    difference = turned.distance(x @ turn) - surface.distance(x)  # the grids of features do not turn with it
    assert abs(difference).mean() < 2e-3
    assert abs(turned.distance(points @ turn)).mean() < 1e-3


def test_other_threads_same_result(monkeypatch, surface):
    points, normals = ellipsoid()
    monkeypatch.setenv("IGR_THREADS", "1")
    alone = igr.reconstruct(points, normals=normals, config=SHORT)
    assert alone.details["machine"]["threads"] == 1
    for name, values in alone.field.state().items():
        np.testing.assert_array_equal(values, surface.field.state()[name])


def test_ten_points_with_normals_are_a_surface():
    points, normals = ellipsoid(10)
    few = igr.reconstruct(points, normals=normals, config=SHORT)
    mesh = few.mesh(resolution=48)
    assert mesh.is_watertight
    assert few.details["normals"] == "given"
    assert np.abs(mesh.extents - [2, 1.6, 1.2]).max() < 0.5


def test_points_that_the_surface_misses_are_said():
    points, normals = ellipsoid()
    said = []
    both, directions = np.vstack([points, points + [20_000, 0, 0]]), np.vstack([normals, normals])
    igr.reconstruct(both, normals=directions, config=SHORT, notify=said.append)
    assert any("misses the points by" in note and "one by one" in note for note in said)
    said.clear()
    igr.reconstruct(points, normals=normals, config=SHORT, notify=said.append)
    assert not said


def test_a_cloud_of_one_point_many_times_is_refused():
    with pytest.raises(igr.InputError, match="1 usable point"):
        igr.reconstruct(np.ones((100, 3)))


def test_example_clouds_are_the_same_everywhere(tmp_path):
    for name in ("a.ply", "b.ply"):
        subprocess.run(
            [sys.executable, "-m", "igr", "example", "body", tmp_path / name, "--points", "500"], check=True
        )
    np.testing.assert_array_equal(read_table(tmp_path / "a.ply").points, read_table(tmp_path / "b.ply").points)
